"""Workers who learn from experience which choice of hours pays best."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.draws import Draws, uniform
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.preferences import REFERENCE_HOURS
from jaxecon.kernels.quantal import choice_payoffs, realised_payoff
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, checked

REACH = 10.0  # h/week: how far above or below the best choice a worker explores


@pytree
class AdaptiveParameters:
    recency: Array  # weight of the newest payoff
    explore_first: Array  # probability of exploring on a year's first day
    explore_last: Array  # the same on its last day


class Adaptive:
    """Workers who learn the value of each of their choices, and explore those near the best.

    Values are recency-weighted means of payoffs (Sutton and Barto 2018, eq. 2.5). They start at the
    exact payoffs under the first schedule and carry over from year to year. Each day a worker takes
    the choice with the highest value or, with a probability that falls geometrically over the year,
    explores: it takes a random choice within 10 h above or below, at least the next one (uniform
    exploration over all hours would swamp welfare). A payoff leaves out the rebate, which a
    worker's own choice does not change: otherwise every fall of the rebate would make all untried
    choices look better.

    Parameters: recency in (0, 1], default 0.5; explore_first and explore_last, probabilities,
    defaults 0.4 and 0.02.
    """

    def parameters(self, **values: float) -> AdaptiveParameters:
        tiny = 1e-12  # a geometric path cannot start or end at zero
        ranges = {
            "recency": (0.5, 1e-6, 1.0),
            "explore_first": (0.4, tiny, 1.0),
            "explore_last": (0.02, tiny, 1.0),
        }
        return AdaptiveParameters(**checked("adaptive", values, **ranges))  # type: ignore[arg-type]

    def init(
        self, params: AdaptiveParameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> Array:
        """Return the initial values, (n, c), in full-time incomes."""
        payoffs = choice_payoffs(
            schedule,
            cohort.skill,
            cohort.preferences,
            rebate,
            cohort.reference_consumption,
            np.asarray(cohort.choices),
        )
        return payoffs - (rebate / (REFERENCE_HOURS * cohort.skill))[:, None]

    def start_year(
        self, params: AdaptiveParameters, cohort: Cohort, state: Array, schedule: TaxSchedule
    ) -> tuple[Array, Cohort]:
        return state, cohort

    def enter(self, state: Array) -> Array:
        """Transpose to (c, n): a day's loops over agents then take sixteen in one instruction."""
        return state.T

    def leave(self, state: Array) -> Array:
        """Transpose back to (n, c), the layout in which the state is stored."""
        return state.T

    def act(
        self,
        params: AdaptiveParameters,
        plan: Cohort,
        state: Array,
        draws: Draws,
        observation: Observation,
    ) -> tuple[Array, Array]:
        ratio = jnp.asarray(params.explore_last, state.dtype) / params.explore_first
        chance = params.explore_first * ratio ** observation.progress.astype(state.dtype)
        explore = uniform(draws.first, state.dtype) < chance
        choices = plan.choices
        # the highest choice allowed: those above max_hours have value -inf and are never taken
        top = sum(
            (hours <= jnp.asarray(plan.preferences.max_hours)).astype(jnp.int32)
            for hours in choices[1:]
        )
        best, most = jnp.zeros(state.shape[1:], jnp.int32), state[0]
        for k in range(1, len(choices)):  # unrolled: one fused pass; the first of equal values wins
            best, most = jnp.where(state[k] > most, k, best), jnp.maximum(state[k], most)
        moved = _explored(choices, best, top, draws.second)
        # the choice between two arrays comes last: XLA would repeat a cheaper last operation, with
        # all that leads to it, for each use of hours
        return jnp.where(
            explore, _hours_of(choices, moved, state.dtype), _hours_of(choices, best, state.dtype)
        ), state

    def learn(
        self, params: AdaptiveParameters, plan: Cohort, state: Array, hours: Array, outcome: Outcome
    ) -> Array:
        payoff = realised_payoff(
            plan.skill, plan.preferences, outcome.consumption, hours, plan.reference_consumption
        )
        payoff = payoff - outcome.rebate / (REFERENCE_HOURS * plan.skill)
        # finite, so that ruin (no consumption at curvature > 0) can be unlearnt
        payoff = jnp.maximum(payoff, -1e6)
        chosen = hours[None] == jnp.asarray(plan.choices, hours.dtype)[:, None]
        return jnp.where(
            chosen, state + jnp.asarray(params.recency, state.dtype) * (payoff[None] - state), state
        )


def _explored(choices: tuple[float, ...], best: Array, top: Array | int, word: Array) -> Array:
    """The number of a random choice within REACH of the best, (n,).

    At either end, exploration turns back. top: the highest choice allowed. word: random.
    """
    hours = np.asarray(choices)
    near = np.abs(hours[:, None] - hours) <= REACH
    above = np.maximum(np.triu(near, 1).sum(axis=1), 1)
    below = np.maximum(np.tril(near, -1).sum(axis=1), 1)
    up = jnp.where(best == 0, True, jnp.where(best == top, False, (word & 1).astype(bool)))
    if above.max() == below.max() == 1:
        distance = jnp.ones_like(best)
    else:
        within = jnp.where(up, jnp.asarray(above)[best], jnp.asarray(below)[best])
        distance = 1 + ((word >> 1) % within.astype(word.dtype)).astype(best.dtype)
    return jnp.clip(jnp.where(up, best + distance, best - distance), 0, top)


def _hours_of(choices: tuple[float, ...], number: Array, dtype: np.dtype) -> Array:
    """The hours of the choices with these numbers, (n,): a product where they are even steps."""
    hours = np.asarray(choices, dtype)
    steps = np.arange(len(choices), dtype=dtype) * hours[1]
    if hours[0] == 0 and np.array_equal(steps, hours):
        return number.astype(dtype) * hours[1]
    return jnp.asarray(hours)[number]
