"""Cohorts whose hours a language model chooses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxecon.config.settings import Config
from jaxecon.config.survey import Question
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.preferences import REFERENCE_HOURS, Preferences, disutility
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import in_last_tenth
from jaxecon.storage.survey import SurveyAnswer
from jaxecon.workers.base import Cohort
from llm.agents.facts import brackets_of, facts_of
from llm.agents.memory import MemoryExcerpt, WorkerMemory
from llm.agents.personas import sample_personas
from llm.agents.recollection import remembered
from llm.agents.worth import Worth, worth_of
from llm.bridge import Bridge
from llm.decisions.base import DecisionKind, Observation, Value
from llm.decisions.labor import Labor, LaborObservation
from llm.decisions.persona import DescribePersona, PersonaObservation
from llm.decisions.satisfaction import Satisfaction, SatisfactionObservation
from llm.decisions.shared import Bracket, Cues, Objective
from llm.decisions.survey import AnswerQuestion, SurveyObservation


@dataclass
class _LLMCohort:
    """An LLM cohort and what it remembers. Arrays are (n,)."""

    skill: np.ndarray
    preferences: Preferences
    choices: tuple[int, ...]
    objective: Objective
    personas: Sequence[str]
    memory: WorkerMemory
    hours: np.ndarray
    satisfied: np.ndarray


class LLMWorkers:
    """All LLM cohorts of a run; decisions of one kind on one day are one batch.

    Implements jaxecon.simulation.ports.ExternalWorkers.

    cohorts: by name, in the order of the names. With `population.personas.source: model`, the model
    is asked for their personas here.
    """

    def __init__(self, bridge: Bridge, cohorts: Mapping[str, Cohort], config: Config) -> None:
        self._bridge, self._config, self._settings = bridge, config, config.llm
        self._facts = facts_of(config)
        objectives = {c.name: c.objective for c in config.cohorts}
        self._cohorts = {
            name: self._cohort(cohort, objectives[name], personas)
            for (name, cohort), personas in zip(
                cohorts.items(), self._personas(cohorts), strict=True
            )
        }

    def _cohort(self, cohort: Cohort, objective: Objective, personas: Sequence[str]) -> _LLMCohort:
        """A cohort before the first day."""
        longest = np.asarray(cohort.preferences.max_hours).max()
        choices = tuple(int(hours) for hours in cohort.choices if hours <= longest)
        renewed = self._config.dynamics.skills.enabled
        return _LLMCohort(
            skill=np.asarray(cohort.skill, float),
            preferences=cohort.preferences,
            choices=choices,
            objective=objective,
            personas=personas,
            memory=WorkerMemory(
                cohort.size,
                self._settings.memory.window,
                # all choices, longer ones too: a branch may change preferences.max_hours
                [int(hours) for hours in cohort.choices],
                renewed=renewed,
            ),
            hours=np.full(cohort.size, _first_hours(choices)),
            satisfied=np.ones(cohort.size, bool),
        )

    def _personas(self, cohorts: Mapping[str, Cohort]) -> list[Sequence[str]]:
        settings = self._config.population.personas
        if settings.source == "none":
            return [[""] * cohort.size for cohort in cohorts.values()]
        people: list[Sequence[str]] = [
            [
                person.text
                for person in sample_personas(
                    np.asarray(cohort.skill, float),
                    seed=self._config.seed,
                    cohort=name,
                    correlation=settings.correlation,
                )
            ]
            for name, cohort in cohorts.items()
        ]
        if settings.source == "census":
            return people
        asked = [
            PersonaObservation(name, i, text)
            for name, texts in zip(cohorts, people, strict=True)
            for i, text in enumerate(texts)
        ]
        written = iter(self._bridge.decide(DescribePersona(), asked))
        return [[next(written).value for _ in texts] for texts in people]

    @property
    def personas(self) -> dict[str, Sequence[str]]:
        """The persona of every agent in words, by cohort; "" without one."""
        return {name: cohort.personas for name, cohort in self._cohorts.items()}

    @property
    def state(self) -> dict[str, Any]:
        """What every cohort remembers, for a checkpoint; personas are not stored but made again."""
        return {
            name: {"hours": c.hours, "satisfied": c.satisfied, "memory": c.memory.state}
            for name, c in self._cohorts.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier `state` of the same cohorts."""
        for name, cohort in self._cohorts.items():
            cohort.hours, cohort.satisfied = (
                np.array(state[name]["hours"]),
                np.array(state[name]["satisfied"]),
            )
            cohort.memory.restore(state[name]["memory"])

    def begin_year(
        self, skill: Mapping[str, np.ndarray], entered: Mapping[str, np.ndarray]
    ) -> None:
        """Take over this year's skills, (n,) by cohort.

        A newcomer has the persona of the worker it replaces, and no memory.
        """
        for name, cohort in self._cohorts.items():
            cohort.skill, new = np.asarray(skill[name], float), entered[name]
            cohort.hours = np.where(new, _first_hours(cohort.choices), cohort.hours)
            cohort.satisfied = cohort.satisfied | new
            cohort.memory.forget(new)

    def decide(
        self, year: int, day: int, schedule: TaxSchedule, rebate: float
    ) -> dict[str, np.ndarray]:
        """Hours (n,) by cohort.

        An agent without a usable answer repeats yesterday's hours (at the start 40, or the longest
        possible if that is less).
        """
        if (year * self._config.year.days + day) % self._settings.decide_every == 0:
            brackets, cues = brackets_of(schedule), self._cues(year, day)
            known = {
                name: self._what_they_know(cohort, year, schedule, rebate)
                for name, cohort in self._cohorts.items()
            }

            def observed(name: str, cohort: _LLMCohort, agent: int) -> LaborObservation:
                recalled, worth = known[name]
                return LaborObservation(
                    year=year,
                    day=day,
                    cohort=name,
                    agent=agent,
                    economy=self._facts,
                    brackets=brackets,
                    skill=float(cohort.skill[agent]),
                    rebate=rebate,
                    last_hours=int(cohort.hours[agent]),
                    choices=cohort.choices,
                    persona=cohort.personas[agent],
                    objective=cohort.objective,
                    cues=cues,
                    style=self._settings.style_of("labor"),
                    **remembered(
                        recalled[agent],
                        worth.of(agent),
                        cohort.choices,
                        int(cohort.hours[agent]),
                        cohort.objective,
                        cues,
                        self._settings.memory,
                    ),
                )

            for cohort, hours in self._ask_all(Labor(), observed):
                cohort.hours = np.array(hours, float)
        return {name: cohort.hours for name, cohort in self._cohorts.items()}

    @staticmethod
    def _what_they_know(
        cohort: _LLMCohort, year: int, schedule: TaxSchedule, rebate: float
    ) -> tuple[list[MemoryExcerpt], Worth]:
        """What a cohort remembers, and what each choice brings its agents at this schedule."""
        worth = worth_of(cohort.choices, schedule, cohort.skill, cohort.preferences, rebate)
        return cohort.memory.recall(year), worth

    def _cues(self, year: int, day: int) -> Cues:
        """The cues of a decision, which holds for llm.decide_every days.

        Decisions in the last tenth of the run are final, and so is a year's last one if it has
        several.
        """
        memory, every = self._settings.memory, self._settings.decide_every
        days = self._config.year.days
        is_last_of_year = every < days <= day + every
        final = bool(is_last_of_year or in_last_tenth(year * days + day, self._config.years * days))
        return Cues(memory.exploration and not final, memory.exploitation, final)

    def observe(self, year: int, day: int, outcomes: dict[str, Outcome], welfare: float) -> None:
        """Remember the day's outcomes."""
        for name, outcome in outcomes.items():
            cohort = self._cohorts[name]
            columns = {
                column: np.asarray(getattr(outcome, column), float)
                for column in ("hours", "income", "tax", "rebate")
            }
            effort = np.asarray(disutility(cohort.preferences, outcome.hours), float)
            cohort.memory.append(year, day, **columns, effort=effort, welfare=np.asarray(welfare))

    def judge(
        self,
        year: int,
        day: int,
        schedule: TaxSchedule,
        means: Mapping[str, Mapping[str, np.ndarray]],
    ) -> dict[str, np.ndarray]:
        """Whether each agent is satisfied, (n,) bool by cohort.

        means: by cohort, hours, income, tax and rebate of the year so far.
        """
        brackets = brackets_of(schedule)

        def observed(name: str, cohort: _LLMCohort, agent: int) -> SatisfactionObservation:
            return SatisfactionObservation(
                **self._looking_back(year, day, brackets, means, name, agent),
                satisfied=bool(cohort.satisfied[agent]),
            )

        for cohort, satisfied in self._ask_all(Satisfaction(), observed):
            cohort.satisfied = np.array(satisfied, bool)
        return {name: cohort.satisfied for name, cohort in self._cohorts.items()}

    def answer(
        self,
        questions: Sequence[Question],
        year: int,
        schedule: TaxSchedule,
        means: Mapping[str, Mapping[str, np.ndarray]],
    ) -> list[SurveyAnswer]:
        """Everybody's answers to questions, looking back on the year; one batch per question.

        means: as for `judge`. Nobody remembers having been asked.
        """
        brackets, day = brackets_of(schedule), self._config.year.days - 1
        known = [
            self._looking_back(year, day, brackets, means, name, agent)
            for name, cohort in self._cohorts.items()
            for agent in range(len(cohort.skill))
        ]
        answers = []
        for question in questions:
            asked = [SurveyObservation(**seen, question=question) for seen in known]
            decisions = self._bridge.decide(AnswerQuestion(question.name), asked)
            answers += [
                SurveyAnswer(o.cohort, o.agent, question, d.value, d.status)
                for o, d in zip(asked, decisions, strict=True)
            ]
        return answers

    def _looking_back(
        self,
        year: int,
        day: int,
        brackets: tuple[Bracket, ...],
        means: Mapping[str, Mapping[str, np.ndarray]],
        name: str,
        agent: int,
    ) -> dict[str, Any]:
        """What an agent of a cohort knows about itself and its year so far."""
        cohort = self._cohorts[name]
        return {
            "year": year,
            "day": day,
            "cohort": name,
            "agent": agent,
            "economy": self._facts,
            "brackets": brackets,
            "skill": float(cohort.skill[agent]),
            "persona": cohort.personas[agent],
            **{
                column: float(np.broadcast_to(means[name][column], cohort.skill.shape)[agent])
                for column in _LOOKED_BACK_ON
            },
        }

    def _ask_all(
        self,
        kind: DecisionKind[Observation, Value],
        observed: Callable[[str, _LLMCohort, int], Observation],
    ) -> Iterator[tuple[_LLMCohort, list[Value]]]:
        """Ask everybody in one batch; yield each cohort with its agents' answers.

        observed: makes an agent's observation from its cohort's name, the cohort and the agent's
        index.
        """
        observations = [
            observed(name, c, agent)
            for name, c in self._cohorts.items()
            for agent in range(len(c.skill))
        ]
        decisions = iter(self._bridge.decide(kind, observations))
        for cohort in self._cohorts.values():
            yield cohort, [next(decisions).value for _ in cohort.skill]


def _first_hours(choices: Sequence[int]) -> float:
    """The hours of a worker without a usable answer on its first day."""
    return float(min(choices, key=lambda hours: abs(hours - REFERENCE_HOURS)))


_LOOKED_BACK_ON = ("hours", "income", "tax", "rebate")
