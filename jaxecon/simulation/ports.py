"""The protocols by which a simulation talks to the world outside it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from jaxecon.config.survey import Question
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.storage.failure_diagnostics import Diagnostic
from jaxecon.storage.survey import SurveyAnswer
from jaxecon.storage.usage import LLMUsage


class ExternalWorkers(Protocol):
    """Cohorts whose hours come from outside the compiled economy.

    Years and days are counted from 0. Arrays have one element per agent of the cohort, (n,).
    """

    def decide(
        self, year: int, day: int, schedule: TaxSchedule, rebate: float
    ) -> dict[str, np.ndarray]:
        """Hours for one day.

        Args:
            year: of the run.
            day: of the year.
            schedule: in force.
            rebate: yesterday's, $/year.

        Returns:
            Hours by cohort, (n,), h/week.
        """
        ...

    def begin_year(
        self, skill: Mapping[str, np.ndarray], entered: Mapping[str, np.ndarray]
    ) -> None:
        """Take over this year's skills and newcomers, where skills change from year to year.

        Also called, with no newcomers, where a run is resumed within a year. Calling it twice has
        the same effect as calling it once.

        Args:
            skill: by cohort, (n,), $/year per weekly hour.
            entered: by cohort, (n,) bool: who is new, in a retired worker's place, and remembers
                nothing.
        """
        ...

    def observe(self, year: int, day: int, outcomes: dict[str, Outcome], welfare: float) -> None:
        """Take in what the day brought these cohorts.

        Args:
            year: of the run.
            day: of the year.
            outcomes: by cohort: hours, income, tax, rebate, utility, (n,) each.
            welfare: the day's social welfare.
        """
        ...

    def judge(
        self,
        year: int,
        day: int,
        schedule: TaxSchedule,
        means: Mapping[str, Mapping[str, np.ndarray]],
    ) -> dict[str, np.ndarray]:
        """Who is satisfied, looking back on the year so far.

        Args:
            year: of the run.
            day: the last one that is done.
            schedule: in force.
            means: of the year so far, by cohort: hours (h/week), income, tax and rebate ($/year),
                (n,) each.

        Returns:
            Satisfaction by cohort, (n,) bool.
        """
        ...

    def answer(
        self,
        questions: Sequence[Question],
        year: int,
        schedule: TaxSchedule,
        means: Mapping[str, Mapping[str, np.ndarray]],
    ) -> list[SurveyAnswer]:
        """Everybody's answers to questions, looking back on the year. They change nothing.

        Args:
            questions: each is asked by itself.
            year: of the run.
            schedule: in force.
            means: of the year, as for `judge`.

        Returns:
            One answer per question and agent.
        """
        ...

    @property
    def state(self) -> dict[str, Any]:
        """What the workers remember: a pytree of NumPy arrays and Python numbers.

        `observe` may change it in place.
        """
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier `state`.

        Args:
            state: an earlier value of the property.
        """
        ...


class Meter(Protocol):
    """Reports the usage of language models."""

    @property
    def usage(self) -> LLMUsage: ...


class Listener(Protocol):
    """Receives the progress of a run.

    Years and days are counted from 0.
    """

    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: LLMUsage) -> None:
        """Some days of a year have been simulated.

        Args:
            year: of the run.
            days_done: how many days of the year are done.
            day: statistics of the last of them, by name (`jaxecon.economy.state.Day`).
            usage: of language models since the run began.
        """
        ...

    def on_year(self, row: Mapping[str, Any], usage: LLMUsage) -> None:
        """A year has been recorded.

        Args:
            row: its row of years.parquet.
            usage: of language models since the run began.
        """
        ...

    def on_diagnostic(self, diagnostic: Diagnostic) -> None:
        """A diagnostic has been seen for the first time, in the year of the last `on_year`.

        Args:
            diagnostic: which, in which year, and what was seen.
        """
        ...

    def on_note(self, line: str) -> None:
        """Something happened that the user should know, such as another model taking over.

        Args:
            line: what, in one line. It may come from another thread.
        """
        ...


class SilentListener:
    """A listener that does nothing; a base class for those that need only some methods."""

    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: LLMUsage) -> None:
        return

    def on_year(self, row: Mapping[str, Any], usage: LLMUsage) -> None:
        return

    def on_diagnostic(self, diagnostic: Diagnostic) -> None:
        return

    def on_note(self, line: str) -> None:
        return


class NoUsage:
    """The meter of a run without language models."""

    usage = LLMUsage()
