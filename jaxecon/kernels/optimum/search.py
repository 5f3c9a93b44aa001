"""Searches of the space of schedules: grid, gradient, differential evolution, pattern search, and
the budget's multiplier.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxecon.core.draws import draw, named_key, uniform
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum.density import past_bunching
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.optimum.space import (
    SEARCHES,
    Effort,
    Judge,
    Limits,
    Method,
    SearchResult,
    Space,
    project,
    schedule_at,
)
from jaxecon.kernels.taxation import TaxSchedule, fill_empty

Array = jax.Array

ArrayLike = jax.typing.ArrayLike

CERTIFIED_STEP = 0.01  # of a rate; of the logarithm of a free threshold


_STEPS = (0.02, 0.01, 0.005, 0.002, 0.001, CERTIFIED_STEP)  # of the polish; the last only verifies

_MAX_MOVES = 1000

ROUNDING = 4.0  # epsilons of welfare: smaller differences are none

_DIFFERENCE = 0.002  # of a rate, for the slopes of smoothed welfare

_BISECTIONS = 24  # of the constraint's multiplier

_ELEMENTS = 2**20  # of (schedules, brackets, workers) evaluated at once


@dataclass(frozen=True, eq=False)
class Searcher:
    """The searches over one problem's space. Lives within one trace."""

    problem: LeaderProblem
    space: Space
    limits: Limits
    method: Method
    points: int
    effort: Effort
    seed: Array
    table: ResponseTable | None  # of the thresholds, where they are given

    def schedule(self, x: Array) -> TaxSchedule:
        return schedule_at(self.space, self.limits, x)

    def project(self, x: Array) -> Array:
        return project(self.space, self.limits, x)

    def neighbours(self, x: Array, step: ArrayLike) -> Array:
        moves = jnp.asarray(self.space.directions, x.dtype)
        return jax.vmap(lambda move: self.project(x + step * move))(moves)

    def exact(self, points: Array, judge: Judge) -> Array:
        """What exact responses to points (m, size) are judged to be worth, (m,); -inf where that is
        not a number.
        """
        return self.exact_with_rebate(points, judge)[0]

    def exact_with_rebate(self, points: Array, judge: Judge) -> tuple[Array, Array]:
        """`exact`, and each point's rebate, (m,) $/year."""

        def value(x: Array) -> tuple[Array, Array]:
            outcome = self.problem.outcome(self.schedule(x), table=self.table)
            judged = judge(
                self.problem.welfare_of(self.problem.settled_utility(outcome)), outcome.rebate
            )
            return jnp.where(jnp.isnan(judged), -jnp.inf, judged), outcome.rebate

        each = self.space.brackets * self.problem.skill.shape[0]
        # two batches at least: within one, XLA fuses the making of the points into the workers'
        # loop and repeats it there
        batches = max(2, -(-points.shape[0] * each // _ELEMENTS))
        size = -(-points.shape[0] // batches)
        # filled up with points again, for a smaller last batch would be compiled a second time
        whole = jnp.resize(points, (batches * size, points.shape[1])).reshape(batches, size, -1)
        judged, rebate = jax.lax.map(jax.vmap(value), whole)
        return judged.ravel()[: points.shape[0]], rebate.ravel()[: points.shape[0]]

    def smoothed(self, x: Array, judge: Judge) -> Array:
        return judge(*self.problem.smoothed(self.schedule(x), self.table))

    def feasible_welfare(self, welfare: Array, rebate: Array) -> Array:
        if self.problem.rebate_floor is None:
            return welfare
        slack = 8 * np.finfo(welfare.dtype).eps * jnp.max(self.problem.skill)
        return jnp.where(rebate >= self.problem.rebate_floor - slack, welfare, -jnp.inf)

    # --- searches ---------------------------------------------------------------------------------

    def search(self, judge: Judge) -> tuple[SearchResult, dict[str, Array], Array]:
        """The best point, what each search reached, and which of SEARCHES found it."""
        if self.method == "grid":
            every = self.grid(judge)
            return (
                every,
                self._reached(grid=every.value),
                jnp.asarray(SEARCHES.index("grid"), jnp.int32),
            )
        if self.space.size == 1 and self.method == "auto":
            line = self.line(judge)
            return (
                line,
                self._reached(grid=line.value),
                jnp.asarray(SEARCHES.index("grid"), jnp.int32),
            )
        members = self.starts(self.effort.population)
        evaluations = 0
        if self.method != "population":
            members = members.at[: self.effort.starts].set(
                self.gradient(members[: self.effort.starts], judge)
            )
            evaluations += self.effort.starts * self.effort.gradient_steps
        generations = 1 if self.method == "gradient" else self.effort.generations
        members, value, first = self.population(members, judge, generations)
        evaluations += self.effort.population * generations
        reached = {"gradient": first} if self.method != "population" else {}
        if self.method != "gradient":
            reached["population"] = jnp.max(value)
        best = jnp.argsort(-value)[: self.effort.polished]
        polished = jax.lax.map(lambda i: self.polish(members[i], value[i], judge), best)
        top = jnp.argmax(polished.value)
        evolved = reached.get("population", -jnp.inf) > reached.get("gradient", -jnp.inf)
        found = SearchResult(
            polished.x[top],
            polished.value[top],
            evaluations + jnp.sum(polished.evaluations, dtype=jnp.int32),
        )
        by = jnp.where(evolved, SEARCHES.index("population"), SEARCHES.index("gradient"))
        return found, self._reached(**reached), by

    def _reached(self, **reached: Array) -> dict[str, Array]:
        nothing = jnp.full((), jnp.nan, self.problem.skill.dtype)
        return {name: reached.get(name, nothing) for name in SEARCHES}

    def starts(self, count: int) -> Array:
        """Points spread evenly over the space: flat taxes, then Roberts' (2018) low-discrepancy
        sequence.
        """
        k, size = self.space.brackets, self.space.size
        golden = _roberts_root(size)
        sequence = (
            0.5 + np.outer(np.arange(1, count + 1), golden ** -np.arange(1.0, size + 1))
        ) % 1
        flats = min(count // 4, 8)
        sequence[:flats, :k] = ((np.arange(flats) + 0.5) / max(flats, 1))[:, None]
        dtype = self.problem.skill.dtype
        rates = self.limits.low + (self.limits.high - self.limits.low) * jnp.asarray(
            sequence[:, :k], dtype
        )
        if self.space.free_thresholds:
            given = jnp.log(self.limits.thresholds[1:])
            spread = (
                jnp.asarray(sequence[:, k:] - 0.5, dtype).at[: count // 2].set(0)
            )  # half keep those given
            rates = jnp.concatenate(
                [rates, given[None] + 2 * spread], axis=1
            )  # within a factor e of those given
        return jax.vmap(self.project)(rates)

    def grid(self, judge: Judge) -> SearchResult:
        """Every combination of `points` rates, a chunk at a time."""
        k, count = self.space.brackets, self.points**self.space.brackets
        chunk = min(count, max(1, _ELEMENTS // (k * self.problem.skill.shape[0])))
        place = jnp.asarray(self.points ** np.arange(k - 1, -1, -1), jnp.int32)

        def point(index: Array) -> Array:
            digit = (index // place) % self.points
            return self.limits.low + (self.limits.high - self.limits.low) * digit / (
                self.points - 1
            )

        def one_chunk(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
            index = jnp.minimum(start + jnp.arange(chunk), count - 1)
            x = jax.vmap(point)(index).astype(self.problem.skill.dtype)
            value = self.exact(x, lambda *given: self.feasible_welfare(judge(*given), given[1]))
            if self.space.monotone:
                value = jnp.where(jnp.all(jnp.diff(x, axis=1) >= 0, axis=1), value, -jnp.inf)
            top = jnp.argmax(value)
            better = value[top] > best[1]
            return (
                jnp.where(better, x[top], best[0]),
                jnp.where(better, value[top], best[1]),
            ), None

        nothing = (
            self.project(self.starts(1)[0]),
            jnp.full((), -jnp.inf, self.problem.skill.dtype),
        )
        (x, value), _ = jax.lax.scan(one_chunk, nothing, jnp.arange(0, count, chunk))
        return SearchResult(x, value, jnp.asarray(count, jnp.int32))

    def line(self, judge: Judge) -> SearchResult:
        """One rate: nested grids, each within two steps of the best of the one before; down to 1e-6
        of the bounds.
        """
        rounds, count = 4, 101
        width = self.limits.high - self.limits.low

        def look(i: Array, carry: SearchResult) -> SearchResult:
            step = width / (count - 1) / (count // 4) ** i
            offsets = (jnp.arange(count) - count // 2) * step
            x = jax.vmap(self.project)(carry.x[None] + offsets[:, None])
            value = self.exact(x, judge)
            top = jnp.argmax(value)
            better = value[top] > carry.value
            return SearchResult(
                jnp.where(better, x[top], carry.x),
                jnp.where(better, value[top], carry.value),
                carry.evaluations + count,
            )

        middle = (self.limits.low + self.limits.high)[None] / 2
        start = SearchResult(middle, jnp.full((), -jnp.inf, middle.dtype), jnp.zeros((), jnp.int32))
        return jax.lax.fori_loop(0, rounds, look, start)

    def gradient(self, starts: Array, judge: Judge) -> Array:
        """Adam on the smoothed response from each start, kept within the space."""
        steps = self.effort.gradient_steps
        adam = optax.adam(
            optax.cosine_decay_schedule(0.05, steps), eps=1e-20
        )  # whatever unit welfare has
        slope = jax.jacfwd(
            lambda x: -self.smoothed(x, judge)
        )  # as fast as backwards for a few rates, and compiles sooner

        def climb(start: Array) -> Array:
            def step(
                carry: tuple[Array, optax.OptState], _: None
            ) -> tuple[tuple[Array, optax.OptState], None]:
                x, state = carry
                downhill = slope(x)
                updates, state = adam.update(
                    jnp.where(jnp.isfinite(downhill), downhill, 0), state, x
                )
                return (self.project(optax.apply_updates(x, updates)), state), None

            return jax.lax.scan(step, (start, adam.init(start)), None, length=steps)[0][0]

        return jax.lax.map(climb, starts)

    def population(
        self, members: Array, judge: Judge, generations: int
    ) -> tuple[Array, Array, Array]:
        """Differential evolution, best/1/bin and current/1/bin in turn with dithered scale (Storn
        and Price 1997), on the exact response.

        Returns the members, what they are worth, and the best of the first `effort.starts` as
        given.
        """
        count, size = members.shape
        key = named_key(self.seed, "differential evolution")

        def generation(
            carry: tuple[Array, Array, Array], number: Array
        ) -> tuple[tuple[Array, Array, Array], None]:
            x, value, first = carry
            words = draw(key, number, 0, count * (size + 4)).first
            chance = uniform(words, x.dtype).reshape(count, size + 4)
            one, other = (jnp.floor(chance[:, i] * count).astype(jnp.int32) for i in (0, 1))
            towards = jnp.where(jnp.arange(count)[:, None] % 2 == 0, x[jnp.argmax(value)][None], x)
            mutant = towards + (0.3 + 0.6 * chance[:, 2:3]) * (x[one] - x[other])
            whole = jnp.arange(size)[None] == jnp.floor(
                chance[:, 3:4] * size
            )  # this coordinate in any case
            taken = whole | (chance[:, 4:] < 0.8)
            trial = jax.vmap(self.project)(
                jnp.where(taken & (number > 0), mutant, x)
            )  # the first only looks
            worth = self.exact(trial, judge)
            first = jnp.where(number > 0, first, jnp.max(worth[: self.effort.starts]))
            better = worth >= value
            return (
                jnp.where(better[:, None], trial, x),
                jnp.where(better, worth, value),
                first,
            ), None

        unknown = jnp.full((), -jnp.inf, members.dtype)
        start = (members, jnp.full(count, -jnp.inf, members.dtype), unknown)
        return jax.lax.scan(generation, start, jnp.arange(generations))[0]

    def polish(self, x: Array, value: Array, judge: Judge) -> SearchResult:
        """Pattern search on the exact response: to the best neighbour while one is better, at ever
        smaller steps, and back to larger ones after each success.

        Ends when none is better at any of _STEPS in a row, 0.01 last.
        """
        steps = jnp.asarray(_STEPS, x.dtype)

        def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
            _, _, level, moves = carry
            return (level < len(_STEPS)) & (moves < _MAX_MOVES)

        def look_around(
            carry: tuple[Array, Array, Array, Array],
        ) -> tuple[Array, Array, Array, Array]:
            x, value, level, moves = carry
            around = self.neighbours(x, steps[level])
            worth = self.exact(around, judge)
            top = jnp.argmax(worth)
            rounding = ROUNDING * np.finfo(value.dtype).eps * jnp.abs(value)
            better = worth[top] > value + jnp.where(
                jnp.isfinite(value), rounding, 0
            )  # from -inf any way up is one
            level = jnp.where(
                better, jnp.where(level == len(_STEPS) - 1, 1, jnp.maximum(level - 1, 0)), level + 1
            )
            return (
                jnp.where(better, around[top], x),
                jnp.where(better, worth[top], value),
                level,
                moves + 1,
            )

        zero = jnp.zeros((), jnp.int32)
        x, value, _, moves = jax.lax.while_loop(unfinished, look_around, (x, value, zero, zero))
        return SearchResult(x, value, moves * len(self.space.directions))

    def filled(self, x: Array, income: Array) -> tuple[Array, Array]:
        """The point with the rates of idle brackets those of the bracket below (the first: above);
        and which are idle, (k,).

        Idle is a bracket that holds nobody (income: (n,) at x) and whose rate changes nothing: one
        that would have people at another rate is kept empty by its own.
        """
        k = self.space.brackets
        thresholds = past_bunching(self.schedule(x).thresholds)
        bracket = jnp.clip(jnp.searchsorted(thresholds, income, side="left") - 1, 0, k - 1)
        empty = jnp.zeros(k, jnp.int32).at[bracket].add(1) == 0
        rates = fill_empty(x[:k], empty)
        alone = jax.vmap(lambda i: x.at[i].set(rates[i]))(jnp.arange(k))
        value = self.exact(jnp.concatenate([x[None], alone]), self.feasible_welfare)
        idle = empty & (
            value[1:] >= value[0] - ROUNDING * np.finfo(x.dtype).eps * jnp.abs(value[0])
        )
        return x.at[:k].set(fill_empty(x[:k], idle)), idle

    # --- the revenue constraint -------------------------------------------------------------------

    def constrained(self, free: SearchResult, worth: Array) -> tuple[SearchResult, Array, Array]:
        """The best schedule that can pay the rebate's floor, the constraint's multiplier, and
        whether there is one.

        Maximises (1-q)*welfare/worth + q*rebate, worth the welfare of a dollar of rebate, and
        bisects q, in which the rebate rises; then polishes welfare among feasible schedules.
        multiplier: q/(1-q)*worth, welfare per $.
        """

        def judge(q: ArrayLike) -> Judge:
            return lambda welfare, rebate: jnp.asarray((1 - q) * welfare / worth + q * rebate)

        def rebate_at(x: Array) -> Array:
            return self.problem.outcome(self.schedule(x), table=self.table).rebate

        assert self.problem.rebate_floor is not None
        floor = jnp.asarray(self.problem.rebate_floor, free.x.dtype)
        binds = self.exact(free.x[None], self.feasible_welfare)[0] == -jnp.inf
        richest, _, _ = self.search(judge(1.0))
        feasible = self.exact(richest.x[None], self.feasible_welfare)[0] > -jnp.inf

        def halve(
            carry: tuple[Array, Array, Array, Array, Array],
        ) -> tuple[Array, Array, Array, Array, Array]:
            low, high, poor, rich, evaluations = carry
            q = (low + high) / 2
            ends = jnp.stack([poor, rich])
            both = jax.lax.map(
                lambda end: self.polish(end[0], end[1], judge(q)),
                (ends, self.exact(ends, judge(q))),
            )
            x = both.x[jnp.argmax(both.value)]
            pays = rebate_at(x) >= floor
            low, high = jnp.where(pays, low, q), jnp.where(pays, q, high)
            poor, rich = jnp.where(pays, poor, x), jnp.where(pays, x, rich)
            return low, high, poor, rich, evaluations + jnp.sum(both.evaluations, dtype=jnp.int32)

        one = jnp.ones((), free.x.dtype)
        start = (0 * one, one, free.x, richest.x, free.evaluations + richest.evaluations)
        low, high, _, rich, evaluations = jax.lax.fori_loop(
            0, _BISECTIONS, lambda _, carry: halve(carry), start
        )
        x = jnp.where(binds, rich, free.x)
        polished = self.polish(
            x, self.exact(x[None], self.feasible_welfare)[0], self.feasible_welfare
        )
        feasible = feasible | ~binds
        x = jnp.where(feasible, polished.x, richest.x)
        q = (low + high) / 2
        multiplier = jnp.where(binds, q / (1 - q) * worth, 0)
        return (
            SearchResult(x, polished.value, evaluations + polished.evaluations),
            multiplier,
            feasible,
        )

    def slopes(self, x: Array, multiplier: Array) -> Array:
        """Derivative of smoothed welfare (and the multiplier's worth of rebate) in each rate, (k,),
        by differences; one side only at the bounds.
        """
        unit = jnp.eye(self.space.brackets, self.space.size, dtype=x.dtype)
        ends = jnp.concatenate([x[None] + _DIFFERENCE * unit, x[None] - _DIFFERENCE * unit])
        ends = ends.at[:, : self.space.brackets].set(
            jnp.clip(ends[:, : self.space.brackets], self.limits.low, self.limits.high)
        )
        value = jax.lax.map(lambda x: self.smoothed(x, lambda w, r: w + multiplier * r), ends)
        up, down = jnp.split(value, 2)
        apart = jnp.sum(ends[: self.space.brackets] - ends[self.space.brackets :], axis=1)
        return (up - down) / apart


def _roberts_root(size: int) -> float:
    """The root above 1 of g^(size+1) = g + 1, which Roberts' sequence is built on."""
    root = 2.0
    for _ in range(50):
        root = (1 + root) ** (1 / (size + 1))
    return root
