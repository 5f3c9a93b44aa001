"""A planner that keeps the first schedule."""

import jax

from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import Planner, PlannerContext, YearObservation


class Fixed(Planner):
    name = "fixed"

    def init(self, context: PlannerContext, key: jax.Array) -> tuple[()]:
        return ()

    def propose(
        self, state: tuple[()], observation: YearObservation, key: jax.Array
    ) -> tuple[TaxSchedule, tuple[()]]:
        return observation.schedule, state
