"""The cohorts whose hours come from outside the compiled economy: language-model workers."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.config.survey import Survey
from jaxecon.economy.devices import Layout
from jaxecon.economy.impossible_hours import ImpossibleHours
from jaxecon.economy.state import AgentSums, Day, Economy, EconomyState, YearPlan
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.simulation import programs
from jaxecon.simulation.people import People, new_agents
from jaxecon.simulation.ports import ExternalWorkers
from jaxecon.storage.survey import SurveyAnswer


class HybridCohorts:
    """The cohorts without a mechanical rule, and the workers that decide for them.

    names: these cohorts; none in a mechanical run. survey: what they are asked when a year ends.
    waiting: a context that is entered while the workers are asked, so that a signal can interrupt
    the wait.
    """

    def __init__(
        self,
        layout: Layout | None,
        economy: Economy,
        workers: ExternalWorkers | None,
        survey: Survey,
        waiting: Callable[[], AbstractContextManager[None]],
    ) -> None:
        rules = dict(economy.rules)
        self.names = [name for name in economy.cohorts if name not in rules]
        if self.names and workers is None:
            raise ValueError(
                f"cohorts {', '.join(self.names)} have no rule and no workers to decide for them"
            )
        self._layout, self._economy = layout, economy
        self._workers, self._survey, self._waiting = workers, survey, waiting

    @property
    def memories(self) -> dict[str, Any]:
        """What the workers remember; nothing in a mechanical run."""
        return {} if self._workers is None else self._workers.state

    def restore(self, memories: Mapping[str, Any]) -> None:
        if self._workers is not None:
            self._workers.restore(memories)

    def begin_year(self, people: People, state: EconomyState, *, first_day: bool) -> None:
        """Give the workers this year's skills; newcomers enter on the first day only."""
        if self._workers is None:
            return
        new = new_agents(state)
        skills = people.skills
        self._workers.begin_year(
            {name: skills[name] for name in self.names},
            {name: first_day & new[name] for name in self.names},
        )

    def choose(
        self, year: int, day: int, schedule: TaxSchedule, plan: YearPlan, state: EconomyState
    ) -> tuple[dict[str, jax.Array], EconomyState]:
        """Today's hours of all cohorts, mechanical ones included; and the state after them."""
        assert self._workers is not None
        rebate = float(state.rebate)
        # Dispatched, not awaited: the mechanical cohorts act while the engine works.
        hours, state = programs.act(self._layout, self._economy, plan, state)
        with self._waiting():
            chosen = self._workers.decide(year, day, schedule, rebate)
        dtype = state.rebate.dtype
        return hours | {name: jnp.asarray(h, dtype) for name, h in chosen.items()}, state

    def settle(
        self,
        year: int,
        day: int,
        plan: YearPlan,
        state: EconomyState,
        sums: AgentSums,
        hours: dict[str, jax.Array],
    ) -> tuple[EconomyState, AgentSums, Day, ImpossibleHours]:
        """Compute the day's taxes, rebate and utilities, and let the workers observe them.

        Returns the state of the next day, the sums, the day's statistics, and who worked impossible
        hours, (cohorts,).
        """
        assert self._workers is not None
        state, sums, record, outcomes = programs.settle(
            self._layout, self._economy, plan, state, sums, hours
        )
        theirs = {name: outcomes[name] for name in self.names}
        worked = {name: outcome.hours for name, outcome in outcomes.items()}
        impossible = programs.impossible_hours(self._layout, self._economy, worked)
        self._workers.observe(year, day, theirs, float(self._economy.judged_welfare(record)))
        return state, sums, record, impossible

    def judge(
        self, year: int, days_done: int, schedule: TaxSchedule, sums: AgentSums, people: People
    ) -> dict[str, jax.Array]:
        """Who is satisfied with the year so far, (n,) bool by cohort; empty in a mechanical run."""
        if not self.names:
            return {}
        assert self._workers is not None
        means = self._means(days_done, sums, people)
        with self._waiting():
            answers = self._workers.judge(year, days_done - 1, schedule, means)
        return {name: jnp.asarray(x) for name, x in answers.items()}

    def answer(
        self,
        year: int,
        days: int,
        schedule: TaxSchedule,
        sums: AgentSums | None,
        people: People,
    ) -> list[SurveyAnswer]:
        """Everybody's answers to the survey's questions at the end of a year of so many days."""
        questions = self._survey.asked_in(year)
        if not questions:
            return []
        assert self._workers is not None
        assert sums is not None
        means = self._means(days, sums, people)
        with self._waiting():
            return self._workers.answer(questions, year, schedule, means)

    def _means(
        self, days_done: int, sums: AgentSums, people: People
    ) -> dict[str, dict[str, np.ndarray]]:
        """By cohort: means of the year's first days, (n,); hours in h/week, the rest in $/year."""
        means = {}
        for name in self.names:
            hours = np.asarray(sums.hours[name]) / days_done
            means[name] = {
                "hours": hours,
                "income": people.columns[name]["skill"] * hours,
                "tax": np.asarray(sums.tax[name]) / days_done,
                "rebate": np.asarray(sums.rebate) / days_done,
            }
        return means
