"""What a planner remembers: recent years, and what each schedule brought.

Pure JAX.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import pytree

SCHEDULES = 32  # distinct schedules that are remembered, the best ones
SETTLING_YEARS = 1  # years after a change of the rates in which workers are still adjusting
_SAME = 5e-7  # rates closer than this count as one schedule


@pytree
class TriedSchedules:
    """Distinct schedules and the welfare they brought; s places, the best first.

    Arrays of two rows are over years in which workers were still settling (row 0) and over the
    years after that (row 1).

    Attributes:
        rates: (s, k).
        last_year: (s,) the last year in force; -1 for an empty place.
        years: (2, s) numbers of years.
        mean, lowest, highest: (2, s) welfare over these years; 0 without any.
    """

    rates: Array
    last_year: Array
    years: Array
    mean: Array
    lowest: Array
    highest: Array

    @classmethod
    def empty(cls, brackets: int, dtype: type) -> "TriedSchedules":
        """Return as many empty places as are remembered."""
        zero = jnp.zeros((2, SCHEDULES), dtype)
        return cls(
            jnp.zeros((SCHEDULES, brackets), dtype),
            jnp.full(SCHEDULES, -1, jnp.int32),
            jnp.zeros((2, SCHEDULES), jnp.int32),
            zero,
            zero,
            zero,
        )

    @property
    def value(self) -> Array:
        """What each schedule is judged by, (s,): the mean of its settled years.

        Without any, it is the mean of the years in which workers were still settling; -inf for an
        empty place.
        """
        mean = jnp.where(self.years[1] > 0, self.mean[1], self.mean[0])
        return jnp.where(self.last_year >= 0, mean, -jnp.inf)

    def place_of(self, rates: Array) -> tuple[Array, Array]:
        """Return the place of a schedule, and whether it is there.

        If it is not, the place is the last one, which holds the worst schedule or none.
        """
        same = (self.last_year >= 0) & jnp.all(jnp.abs(self.rates - rates) < _SAME, axis=1)
        known = jnp.any(same)
        return jnp.where(known, jnp.argmax(same), SCHEDULES - 1), known

    def with_year(
        self, year: Array, rates: Array, welfare: Array, settled: Array
    ) -> "TriedSchedules":
        """Return them with one more year, in order.

        settled: whether workers had settled. A schedule that is not there takes the worst one's
        place if it is better.
        """
        place, known = self.place_of(rates)
        row = settled.astype(jnp.int32)
        years = jnp.where(known, self.years[:, place], 0).at[row].add(1)
        count = years[row]
        first = count == 1
        before = self.mean[row, place]
        # minus infinity stays, and is not subtracted from itself
        finite = jnp.isfinite(before) & jnp.isfinite(welfare)
        updated = jnp.where(
            finite, before + (welfare - before) / count.astype(welfare.dtype), -jnp.inf
        )

        def entry(old: Array, new: Array) -> Array:
            """A column of two rows with the year's in its row."""
            return jnp.where(known, old[:, place], 0).at[row].set(jnp.where(first, welfare, new))

        mean = entry(self.mean, updated)
        lowest = entry(self.lowest, jnp.minimum(self.lowest[row, place], welfare))
        highest = entry(self.highest, jnp.maximum(self.highest[row, place], welfare))
        value = jnp.where(years[1] > 0, mean[1], mean[0])
        enters = known | (value > self.value[place]) | (self.last_year[place] < 0)

        def put(old: Array, new: Array) -> Array:
            return jnp.where(enters, old.at[..., place].set(new), old)

        changed = TriedSchedules(
            jnp.where(enters, self.rates.at[place].set(rates), self.rates),
            put(self.last_year, year),
            put(self.years, years),
            put(self.mean, mean),
            put(self.lowest, lowest),
            put(self.highest, highest),
        )
        return changed._in_order()

    def _in_order(self) -> "TriedSchedules":
        # empty places last, behind schedules whose welfare is minus infinity
        order = jnp.lexsort((-self.value, self.last_year < 0))
        return TriedSchedules(
            self.rates[order],
            self.last_year[order],
            self.years[:, order],
            self.mean[:, order],
            self.lowest[:, order],
            self.highest[:, order],
        )


@pytree
class PlannerMemory:
    """The rates and the welfare of past years. k brackets.

    The shapes are fixed, so that it works under jit and vmap and fits into checkpoints.

    When all m places for recent years are taken, the older half is dropped at once. In other years
    the oldest one stays, so that prompts which show the memory begin with the same text from year
    to year.

    A year's welfare is what a schedule brings only once workers have adjusted to it: the first year
    and SETTLING_YEARS after each change of the rates are kept apart.

    Attributes:
        years, rates, welfare: (m,), (m, k), (m,), the recent years, oldest first.
        settling: (m,) bool, whether workers were still settling.
        count: how many of the m places are filled.
        in_force: for how many years the rates of the last year have been in force.
        schedules: what each schedule brought, the best first.
        repeats, repeat_squares: how often a schedule's settled welfare was seen again, and the sum
            of squared deviations from that schedule's mean (Welford 1962).
        revenue: (k,) last year's tax revenue by bracket, $/year per person; NaN where not told.
    """

    years: Array
    rates: Array
    welfare: Array
    settling: Array
    count: Array
    in_force: Array
    schedules: TriedSchedules
    repeats: Array
    repeat_squares: Array
    revenue: Array

    @classmethod
    def empty(cls, brackets: int, window: int, dtype: type = np.float32) -> "PlannerMemory":
        """Return a memory of no years.

        window: the least number of recent years kept; up to twice as many are. There are at least
        two places, so that the effect of the last change is known.
        """
        recent = max(2 * window, 2)
        zero = jnp.zeros((), jnp.int32)
        return cls(
            jnp.zeros(recent, jnp.int32),
            jnp.zeros((recent, brackets), dtype),
            jnp.zeros(recent, dtype),
            jnp.zeros(recent, bool),
            zero,
            zero,
            TriedSchedules.empty(brackets, dtype),
            zero,
            jnp.zeros((), dtype),
            np.full(brackets, np.nan, dtype),  # type: ignore[arg-type]
        )

    def appended(
        self,
        year: ArrayLike,
        rates: Array,
        welfare: ArrayLike,
        revenue: ArrayLike | None = None,
    ) -> "PlannerMemory":
        """Return the memory with one more year.

        rates: (k,) fractions. welfare: in the unit of utility; NaN counts as minus infinity.
        revenue: (k,) by bracket, $/year per person; None where not told.
        """
        welfare = jnp.asarray(welfare, self.welfare.dtype)
        welfare = jnp.where(jnp.isnan(welfare), -jnp.inf, welfare)
        rates = jnp.asarray(rates, self.rates.dtype)
        year = jnp.asarray(year, jnp.int32)
        last = jnp.maximum(self.count - 1, 0)
        same = jnp.all(jnp.abs(rates - self.rates[last]) < _SAME)
        # a branch with other rates leaves out a year
        same = same & (self.count > 0) & (self.years[last] == year - 1)
        in_force = jnp.where(same, self.in_force + 1, 1).astype(self.in_force.dtype)
        settled = in_force > SETTLING_YEARS
        repeats, squares = self._repeats(rates, welfare, settled)
        places = self.years.shape[0]
        full = self.count == places

        def with_last(old: Array, new: Array) -> Array:
            moved = jnp.where(full, jnp.roll(old, -(places // 2), axis=0), old)
            return moved.at[at].set(new)

        at = jnp.where(full, places - places // 2, self.count)
        return PlannerMemory(
            with_last(self.years, year),
            with_last(self.rates, rates),
            with_last(self.welfare, welfare),
            with_last(self.settling, ~settled),
            at + 1,
            in_force,
            self.schedules.with_year(year, rates, welfare, settled),
            repeats,
            squares,
            self.revenue if revenue is None else jnp.asarray(revenue, rates.dtype),
        )

    def _repeats(self, rates: Array, welfare: Array, settled: Array) -> tuple[Array, Array]:
        """Return the number of repeats and their squared deviations with a year more."""
        place, known = self.schedules.place_of(rates)
        years, mean = self.schedules.years[1, place], self.schedules.mean[1, place]
        again = settled & known & (years > 0) & jnp.isfinite(welfare) & jnp.isfinite(mean)
        change = jnp.where(again, welfare - mean, 0)
        share = years.astype(welfare.dtype) / (years + 1).astype(welfare.dtype)
        return self.repeats + again.astype(self.repeats.dtype), (
            self.repeat_squares + change * change * share
        )

    @property
    def noise(self) -> Array:
        """By how much the welfare of one settled schedule varies from year to year.

        A standard deviation, pooled over the schedules; 0 before the first repeat.
        """
        return jnp.sqrt(
            self.repeat_squares / jnp.maximum(self.repeats, 1).astype(self.repeat_squares.dtype)
        )
