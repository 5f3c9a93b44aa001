"""Workers who know the schedule and respond to it exactly."""

from jax import Array

from jaxecon.core.draws import Draws
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, checked


@pytree
class BestResponsePlan:
    """The exact response to a year's schedule, and what is needed to compute it again.

    hours: (n,) h/week, used at curvature 0, where the rebate does not matter.
    """

    cohort: Cohort
    schedule: TaxSchedule
    hours: Array

    @classmethod
    def of(cls, cohort: Cohort, schedule: TaxSchedule) -> "BestResponsePlan":
        """Return a cohort's plan for a year under the schedule."""
        return cls(cohort, schedule, best_response(schedule, cohort.skill, cohort.preferences))

    def response(self, rebate: Array) -> Array:
        """The best response to the schedule and a rebate ($/year), (n,) h/week."""
        if self.cohort.preferences.consumption_curvature == 0:
            return self.hours
        return best_response(self.schedule, self.cohort.skill, self.cohort.preferences, rebate)


class Rational:
    """The best response to the schedule and yesterday's rebate."""

    def parameters(self, **values: float) -> tuple[()]:
        checked("rational", values)
        return ()

    def init(
        self, params: tuple[()], cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> tuple[()]:
        return ()

    def start_year(
        self, params: tuple[()], cohort: Cohort, state: tuple[()], schedule: TaxSchedule
    ) -> tuple[tuple[()], BestResponsePlan]:
        return state, BestResponsePlan.of(cohort, schedule)

    def act(
        self,
        params: tuple[()],
        plan: BestResponsePlan,
        state: tuple[()],
        draws: Draws,
        observation: Observation,
    ) -> tuple[Array, tuple[()]]:
        return plan.response(observation.rebate), state

    def learn(
        self,
        params: tuple[()],
        plan: BestResponsePlan,
        state: tuple[()],
        hours: Array,
        outcome: Outcome,
    ) -> tuple[()]:
        return state
