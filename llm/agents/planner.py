"""A planner that is a language model."""

import jax
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.pytree import pytree
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import (
    Planner,
    PlannerContext,
    YearObservation,
    changed_schedule,
    in_last_tenth,
)
from jaxecon.planners.memory import PlannerMemory
from llm.agents.workers import brackets_of
from llm.bridge import Bridge
from llm.decisions.plan import BracketGroup, Plan, PlannerYear, PlanObservation
from llm.decisions.wording import Cues, Statistics

_appended = jax.jit(PlannerMemory.appended)
PLANNER = "planner"  # the cohort under which its decisions are recorded


@pytree
class LLMPlannerState:
    """The planner's state: its memory of past years."""

    memory: PlannerMemory


class LLMPlanner(Planner):
    """Shows the model what its schedules achieved, and changes each rate as it answers.

    Implements jaxecon.planners.base.Planner.
    """

    name = "llm"

    def __init__(self, bridge: Bridge, config: Config) -> None:
        self._bridge, self._settings, self._style = bridge, config.planner, config.llm.style

    def init(self, context: PlannerContext, key: jax.Array) -> LLMPlannerState:
        kept, initial = self._settings.memory, context.initial
        memory = PlannerMemory.empty(
            initial.brackets, kept.window, kept.best, initial.rates.dtype.type
        )
        return LLMPlannerState(memory)

    def propose(
        self, state: LLMPlannerState, observation: YearObservation, key: jax.Array
    ) -> tuple[TaxSchedule, LLMPlannerState]:
        memory = _appended(
            state.memory, observation.year, observation.schedule.rates, observation.welfare
        )
        (decision,) = self._bridge.decide(
            Plan(), [self._seen(jax.tree.map(np.asarray, memory), observation)]
        )
        schedule = changed_schedule(observation.schedule, decision.value, self._settings.max_change)
        return schedule, LLMPlannerState(memory)

    def _seen(self, memory: PlannerMemory, observation: YearObservation) -> PlanObservation:
        settings, planned = self._settings.memory, observation.year + 1
        recent = [
            _year(*entry)
            # only the filled places
            for entry in zip(
                memory.years[: memory.count], memory.rates, memory.welfare, strict=False
            )
        ]
        kept = max(settings.best, 1 if settings.exploitation else 0)
        best = [
            _year(*entry)
            for entry in zip(memory.best_years, memory.best_rates, memory.best_welfare, strict=True)
        ]
        final = bool(in_last_tenth(planned, observation.years))
        return PlanObservation(
            year=planned,
            cohort=PLANNER,
            agent=0,
            brackets=brackets_of(observation.schedule),
            history=tuple(recent) if settings.window else (),
            best=tuple(y for y in best if y.year >= 0)[:kept],
            groups=tuple(
                BracketGroup(float(p), float(z), float(u))
                for p, z, u in zip(
                    observation.people, observation.income, observation.utility, strict=True
                )
            ),
            mean_hours=observation.mean_hours,
            mean_income=observation.mean_income,
            rebate=observation.rebate,
            statistics=Statistics(
                int(memory.finite_years), float(memory.mean), float(memory.deviation)
            )
            if settings.statistics
            else None,
            trend=(recent[-2], recent[-1]) if settings.direction_hint and len(recent) > 1 else None,
            cues=Cues(settings.exploration and not final, settings.exploitation, final),
            max_change=self._settings.max_change,
            style=self._style,
        )


def _year(year: np.ndarray, rates: np.ndarray, welfare: np.ndarray) -> PlannerYear:
    return PlannerYear(int(year), tuple(round(float(r), 6) for r in rates), float(welfare))
