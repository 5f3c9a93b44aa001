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
from jaxecon.planners.memory import PlannerMemory, TriedSchedules
from llm.agents.exploration import untried_rates
from llm.agents.facts import brackets_of, facts_of, rates_of
from llm.bridge import Bridge
from llm.decisions.plan import (
    BracketGroup,
    Noise,
    Plan,
    PlannerYear,
    PlanObservation,
    TriedSchedule,
)
from llm.decisions.shared import Cues

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
        self._bridge, self._settings = bridge, config.planner
        self._style = config.llm.style_of("plan")
        self._facts = facts_of(config)

    def init(self, context: PlannerContext, key: jax.Array) -> LLMPlannerState:
        initial, dtype = context.initial, context.initial.rates.dtype
        memory = PlannerMemory.empty(initial.brackets, self._settings.memory.window, dtype.type)
        return LLMPlannerState(memory)

    def propose(
        self, state: LLMPlannerState, observation: YearObservation, key: jax.Array
    ) -> tuple[TaxSchedule, LLMPlannerState]:
        memory = _appended(
            state.memory,
            observation.year,
            observation.schedule.rates,
            observation.welfare,
            revenue_by_bracket(observation),
        )
        seen = self._seen(jax.tree.map(np.asarray, memory), observation, state.memory)
        (decision,) = self._bridge.decide(Plan(), [seen])
        schedule = changed_schedule(observation.schedule, decision.value, self._settings.max_change)
        return schedule, LLMPlannerState(memory)

    def _seen(
        self,
        memory: PlannerMemory,
        observation: YearObservation,
        before: PlannerMemory,
    ) -> PlanObservation:
        """What the model is told. before: the memory without the observed year."""
        settings, planned = self._settings.memory, observation.year + 1
        recent = _recent_years(memory)
        tried = _tried_schedules(memory.schedules)
        best = tried[0] if tried and np.isfinite(tried[0].mean) else None
        final = bool(in_last_tenth(planned, observation.years))
        cues = Cues(settings.exploration and not final, settings.exploitation, final)
        brackets = brackets_of(observation.schedule)
        now = tuple(bracket.rate for bracket in brackets)
        centre = best.rates if best is not None and cues.exploit else now
        known = [t.rates for t in tried] + [y.rates for y in recent]
        return PlanObservation(
            year=planned,
            cohort=PLANNER,
            agent=0,
            economy=self._facts,
            brackets=brackets,
            history=recent if settings.window else (),
            groups=_groups(observation, memory, before),
            mean_hours=observation.mean_hours,
            mean_income=observation.mean_income,
            rebate=observation.rebate,
            tried=tried[: settings.best],
            best=best,
            untried=untried_rates(centre, known),
            last_change=_last_change(recent) if settings.direction_hint else None,
            noise=Noise(float(memory.noise), int(memory.repeats)) if memory.repeats else None,
            counts=settings.statistics,
            cues=cues,
            max_change=self._settings.max_change,
            style=self._style,
        )


def revenue_by_bracket(observation: YearObservation) -> np.ndarray:
    """The revenue of the tax on the parts of incomes within each bracket, $/year per person, (k,).

    It is that of the mean incomes of the year, by the bracket in which these lie.
    """
    thresholds = np.asarray(observation.schedule.thresholds, float)
    rates = np.asarray(observation.schedule.rates, float)
    people, income = np.asarray(observation.people), np.asarray(observation.income)
    above = people.sum() - np.cumsum(people)  # who earns beyond the bracket
    width = np.append(np.diff(thresholds), 0.0)
    return rates * (people * (income - thresholds) * (people > 0) + above * width)


def _groups(
    observation: YearObservation, memory: PlannerMemory, before: PlannerMemory
) -> tuple[BracketGroup, ...]:
    """Who earned in each bracket, and what the tax raised there, by the memory and before it."""
    count = int(before.count)
    follows = count > 0 and int(before.years[count - 1]) == observation.year - 1
    revenue_before = np.asarray(before.revenue) if follows else np.full_like(memory.revenue, np.nan)
    rows = zip(
        observation.people,
        observation.income,
        observation.utility,
        memory.revenue,
        revenue_before,
        strict=True,
    )
    return tuple(
        BracketGroup(
            float(people),
            float(income),
            float(utility),
            float(raised),
            float(earlier) if np.isfinite(earlier) else None,
        )
        for people, income, utility, raised, earlier in rows
    )


def _recent_years(memory: PlannerMemory) -> tuple[PlannerYear, ...]:
    """The recent years, oldest first."""
    columns = (memory.years, memory.rates, memory.welfare, memory.settling)
    return tuple(
        PlannerYear(int(year), rates_of(rates), float(welfare), bool(settling))
        for year, rates, welfare, settling in zip(
            *(column[: int(memory.count)] for column in columns), strict=True
        )
    )


def _tried_schedules(schedules: TriedSchedules) -> tuple[TriedSchedule, ...]:
    """What each schedule brought, the best first."""
    found = []
    for place in range(int(np.sum(schedules.last_year >= 0))):
        row = int(schedules.years[1, place] > 0)
        mean, lowest, highest = (
            float(values[row, place])
            for values in (schedules.mean, schedules.lowest, schedules.highest)
        )
        years = int(schedules.years[row, place])
        rates = rates_of(schedules.rates[place])
        found.append(TriedSchedule(rates, years, mean, lowest, highest, settling=not row))
    return tuple(found)


def _last_change(recent: tuple[PlannerYear, ...]) -> tuple[PlannerYear, PlannerYear] | None:
    """The last two years; None without two of finite welfare, one after the other."""
    if len(recent) < 2:
        return None
    before, after = recent[-2:]
    known = np.isfinite(before.welfare) and np.isfinite(after.welfare)
    return (before, after) if known and after.year == before.year + 1 else None
