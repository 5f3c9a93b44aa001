"""Workers who learn from experience which of eleven choices of hours pays best."""

import jax.numpy as jnp
from jax import Array

from jaxecon.core.draws import Draws, uniform
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import HOURS
from jaxecon.kernels.preferences import REFERENCE_HOURS
from jaxecon.kernels.quantal import choice_payoffs, realised_payoff
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, checked


@pytree
class AdaptiveParameters:
    recency: Array  # weight of the newest payoff
    explore_first: Array  # probability of exploring on a year's first day
    explore_last: Array  # the same on its last day


class Adaptive:
    """Workers who learn the value of each of the eleven choices, and explore one step up or down.

    Values are recency-weighted means of payoffs (Sutton and Barto 2018, eq. 2.5). They start at the
    exact payoffs under the first schedule and carry over from year to year. Each day a worker takes
    the choice with the highest value or, with a probability that falls geometrically over the year,
    explores the choice 10 h above or below it (uniform exploration over all hours would swamp
    welfare). A payoff leaves out the rebate, which a worker's own choice does not change: otherwise
    every fall of the rebate would make all untried choices look better.

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
        """Return the initial values, (n, 11), in full-time incomes."""
        payoffs = choice_payoffs(
            schedule, cohort.skill, cohort.preferences, rebate, cohort.reference_consumption
        )
        return payoffs - (rebate / (REFERENCE_HOURS * cohort.skill))[:, None]

    def start_year(
        self, params: AdaptiveParameters, cohort: Cohort, state: Array, schedule: TaxSchedule
    ) -> tuple[Array, Cohort]:
        return state, cohort

    def enter(self, state: Array) -> Array:
        """Transpose to (11, n): a day's loops over agents then take sixteen in one instruction."""
        return state.T

    def leave(self, state: Array) -> Array:
        """Transpose back to (n, 11), the layout in which the state is stored."""
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
        step = jnp.where(draws.second & 1, 1, -1)
        # the highest choice allowed: those above max_hours have value -inf and are never taken; at
        # either end, exploration takes the only neighbour
        top = sum(
            (HOURS[k] <= jnp.asarray(plan.preferences.max_hours)).astype(jnp.int32)
            for k in range(1, len(HOURS))
        )
        best, most = jnp.zeros(state.shape[1:], jnp.int32), state[0]
        for k in range(1, len(HOURS)):  # unrolled: one fused pass; the first of equal values wins
            best, most = jnp.where(state[k] > most, k, best), jnp.maximum(state[k], most)
        moved = best + step
        moved = jnp.where(
            moved < 0, jnp.minimum(1, top), jnp.where(moved > top, jnp.maximum(top - 1, 0), moved)
        )
        step = HOURS[1] - HOURS[0]
        # the choice between two arrays comes last: XLA would repeat a cheaper last operation, with
        # all that leads to it, for each use of hours
        return jnp.where(
            explore, moved.astype(state.dtype) * step, best.astype(state.dtype) * step
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
        chosen = hours[None] == jnp.asarray(HOURS, hours.dtype)[:, None]
        return jnp.where(
            chosen, state + jnp.asarray(params.recency, state.dtype) * (payoff[None] - state), state
        )
