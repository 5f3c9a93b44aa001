"""Cohorts whose hours a language model chooses."""

from collections.abc import Mapping

import numpy as np

from jaxecon.equilibrium import Outcome
from jaxecon.labor import HOURS
from jaxecon.population import Cohort
from jaxecon.preferences import REFERENCE_HOURS
from jaxecon.taxation import TaxSchedule
from llm.bridge import Bridge, Labor
from llm.memory import WorkerMemory
from llm.prompts import Bracket, LaborObservation


class LLMWorkers:
    """All LLM cohorts of a run: one batch of labor decisions a day. Implements simulation.ExternalWorkers.

    cohorts: by name, in the order of the names. window: days of history an agent is shown, at least.
    """

    def __init__(self, bridge: Bridge, cohorts: Mapping[str, Cohort], window: int) -> None:
        self._bridge = bridge
        self._skill = {name: np.asarray(cohort.skill, float) for name, cohort in cohorts.items()}
        self._choices = {
            name: tuple(int(h) for h in HOURS if h <= np.max(c.preferences.max_hours)) for name, c in cohorts.items()
        }
        self._curvature = {name: c.preferences.consumption_curvature for name, c in cohorts.items()}
        self._memory = {name: WorkerMemory(cohort.size, window) for name, cohort in cohorts.items()}
        self._hours = {name: np.full(c.size, min(REFERENCE_HOURS, self._choices[name][-1])) for name, c in cohorts.items()}

    def decide(self, year: int, day: int, schedule: TaxSchedule, rebate: float) -> dict[str, np.ndarray]:
        """Hours (n,) by cohort. An agent without a usable answer repeats yesterday's hours (40 at the start)."""
        brackets = brackets_of(schedule)
        observations = [
            LaborObservation(
                year=year,
                day=day,
                cohort=name,
                agent=agent,
                brackets=brackets,
                skill=float(skill),
                rebate=rebate,
                history=self._memory[name].history(agent),
                last_hours=int(self._hours[name][agent]),
                choices=self._choices[name],
                curvature=self._curvature[name],
            )
            for name, skills in self._skill.items()
            for agent, skill in enumerate(skills)
        ]
        decisions = iter(self._bridge.decide(Labor(), observations))
        for name, skills in self._skill.items():
            self._hours[name] = np.array([next(decisions).value for _ in skills], float)
        return dict(self._hours)

    def observe(self, year: int, day: int, outcomes: dict[str, Outcome]) -> None:
        for name, outcome in outcomes.items():
            columns = {column: np.asarray(getattr(outcome, column), float) for column in WorkerMemory.COLUMNS}
            self._memory[name].append(year, day, **columns)


def brackets_of(schedule: TaxSchedule) -> tuple[Bracket, ...]:
    """The schedule as prompts show it."""
    return tuple(
        Bracket(float(t), round(float(r), 6))
        for t, r in zip(np.asarray(schedule.thresholds), np.asarray(schedule.rates), strict=True)
    )
