"""What a simulation needs of others, and tells them."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.storage.diagnostics import Diagnostic
from jaxecon.storage.usage import LLMUsage


class ExternalWorkers(Protocol):
    """Cohorts whose hours come from outside the compiled economy."""

    def decide(
        self, year: int, day: int, schedule: TaxSchedule, rebate: float
    ) -> dict[str, np.ndarray]:
        """Hours (n,) by cohort name, for one day."""
        ...

    def begin_year(
        self, skill: Mapping[str, np.ndarray], entered: Mapping[str, np.ndarray]
    ) -> None:
        """Who they are this year, (n,) by cohort name, where skills change: skill, $/year per
        weekly hour; entered (bool): who is new in a retired worker's place and remembers nothing.

        Also called, with nobody new, where a run goes on within a year. Twice the same is as once.
        """
        ...

    def observe(self, year: int, day: int, outcomes: dict[str, Outcome], welfare: float) -> None:
        """What the day brought these cohorts, and the day's social welfare."""
        ...

    def judge(
        self,
        year: int,
        day: int,
        schedule: TaxSchedule,
        means: Mapping[str, Mapping[str, np.ndarray]],
    ) -> dict[str, np.ndarray]:
        """Who is satisfied, (n,) bool by cohort name, looking back on means of the year so far:
        hours, income, tax, rebate.
        """
        ...

    @property
    def state(self) -> dict[str, Any]:
        """What they remember, a pytree of NumPy arrays and Python numbers, which `observe` may
        change in place.
        """
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` was."""
        ...


class Meter(Protocol):
    """Where the usage of language models is read."""

    @property
    def usage(self) -> LLMUsage: ...


class Listener(Protocol):
    """Who is told how a run goes."""

    def on_days(
        self, year: int, days_done: int, day: Mapping[str, float], usage: LLMUsage
    ) -> None: ...

    def on_year(self, row: Mapping[str, Any], usage: LLMUsage) -> None: ...

    def on_signature(self, found: Diagnostic) -> None:
        """The first year in which a sign of failure is seen has just been told."""
        ...


class SilentListener:
    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: LLMUsage) -> None:
        return

    def on_year(self, row: Mapping[str, Any], usage: LLMUsage) -> None:
        return

    def on_signature(self, found: Diagnostic) -> None:
        return


class NoUsage:
    usage = LLMUsage()
