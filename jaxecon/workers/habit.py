"""Workers who move part of the way to their best response each day."""

import jax.numpy as jnp
from jax import Array

from jaxecon.core.draws import Draws
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, checked
from jaxecon.workers.rational import BestResponsePlan


@pytree
class HabitParameters:
    speed: Array  # share of the distance to the best response that a day closes


class Habit:
    """Partial adjustment to the best response, l_t = l_(t-1) + speed*(l* - l_(t-1)).

    l_(t-1) are the hours worked yesterday; the first are the best response to the first schedule.

    Parameter: speed, share per day in [0, 1], default 0.1.
    """

    def parameters(self, **values: float) -> HabitParameters:
        return HabitParameters(
            **checked("habit", values, speed=(0.1, 0.0, 1.0))  # type: ignore[arg-type]
        )

    def init(
        self, params: HabitParameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> Array:
        return best_response(schedule, cohort.skill, cohort.preferences, rebate)

    def start_year(
        self, params: HabitParameters, cohort: Cohort, state: Array, schedule: TaxSchedule
    ) -> tuple[Array, BestResponsePlan]:
        return state, BestResponsePlan.of(cohort, schedule)

    def act(
        self,
        params: HabitParameters,
        plan: BestResponsePlan,
        state: Array,
        draws: Draws,
        observation: Observation,
    ) -> tuple[Array, Array]:
        return state + jnp.asarray(params.speed, state.dtype) * (
            plan.response(observation.rebate) - state
        ), state

    def learn(
        self,
        params: HabitParameters,
        plan: BestResponsePlan,
        state: Array,
        hours: Array,
        outcome: Outcome,
    ) -> Array:
        return hours
