"""A planner that keeps the first schedule."""

import jax

from jaxecon.planners.base import Planner, PlannerContext, YearObservation
from jaxecon.taxation import TaxSchedule


class Fixed(Planner):
    name = "fixed"

    def init(self, context: PlannerContext, key: jax.Array) -> tuple[()]:
        return ()

    def propose(self, state: tuple[()], observation: YearObservation, key: jax.Array) -> tuple[TaxSchedule, tuple[()]]:
        return observation.schedule, state
