"""A planner that is a language model."""

import jax
import numpy as np

from jaxecon.planners.base import PlannerContext, YearObservation, changed_schedule
from jaxecon.taxation import TaxSchedule
from llm.bridge import Bridge, Plan
from llm.memory import PlannerMemory
from llm.prompts import BracketGroup, PlanObservation
from llm.workers import brackets_of


class LLMPlanner:
    """Shows the model what its schedules achieved and moves each rate by what it answers. Implements planners.Planner.

    window: years of history the model is shown, at least.
    """

    name = "llm"

    def __init__(self, bridge: Bridge, window: int) -> None:
        self._bridge, self._window = bridge, window

    def init(self, context: PlannerContext, key: jax.Array) -> PlannerMemory:
        return PlannerMemory.empty(context.initial.brackets, self._window)

    def propose(self, state: PlannerMemory, observation: YearObservation, key: jax.Array) -> tuple[TaxSchedule, PlannerMemory]:
        rates = np.round(np.asarray(observation.schedule.rates, float), 6)
        state = state.append(observation.year, rates, observation.welfare)
        seen = PlanObservation(
            year=observation.year + 1,
            cohort="planner",
            agent=0,
            brackets=brackets_of(observation.schedule),
            history=state.history(),
            best=state.best,
            groups=tuple(
                BracketGroup(float(p), float(z), float(u))
                for p, z, u in zip(observation.people, observation.income, observation.utility, strict=True)
            ),
            mean_hours=observation.mean_hours,
            mean_income=observation.mean_income,
            rebate=observation.rebate,
        )
        (decision,) = self._bridge.decide(Plan(), [seen])
        return changed_schedule(observation.schedule, decision.value), state
