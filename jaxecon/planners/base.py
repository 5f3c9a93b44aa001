"""What a planner is told, what it may do, and the protocol that all planners share."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon._pytree import pytree, static
from jaxecon.taxation import TaxSchedule

Array = jax.Array
State = Any

CHANGES = (-20, -10, 0, 10, 20)  # percentage points by which a rate may move in a year (arXiv 2507.15815, section 4)


@pytree
class PlannerContext:
    """What a planner knows before the first year, whose schedule is `initial`. years: how many the run has."""

    initial: TaxSchedule
    years: int = static()
    seed: int = static(default=0)


@pytree
class YearObservation:
    """What a planner sees of the year that just ended. k brackets.

    schedule: in force that year. welfare: mean over the year's last max(1, days//8) days. mean_hours: h/week.
    mean_income, rebate: $/year. By bracket of the year's income, (k,): people (share), income ($/year, mean) and
    utility (mean); zero where a bracket holds nobody.
    """

    year: int
    schedule: TaxSchedule
    welfare: float
    mean_hours: float
    mean_income: float
    rebate: float
    people: np.ndarray
    income: np.ndarray
    utility: np.ndarray


class Planner(Protocol):
    """Called at the start of each year but the first, which `PlannerContext.initial` governs."""

    name: str

    def init(self, context: PlannerContext, key: Array) -> State: ...

    def propose(self, state: State, observation: YearObservation, key: Array) -> tuple[TaxSchedule, State]: ...


def changed_schedule(schedule: TaxSchedule, points: Sequence[int]) -> TaxSchedule:
    """The schedule with each rate moved by so many percentage points, (k,) of CHANGES, kept in 0..100 %."""
    if len(points) != schedule.brackets or any(p not in CHANGES for p in points):
        raise ValueError(f"changes: {list(points)}; {schedule.brackets} values, each one of {', '.join(map(str, CHANGES))}")
    rates = jnp.clip(schedule.rates + jnp.asarray(points, schedule.rates.dtype) / 100, 0, 1)
    return TaxSchedule(schedule.thresholds, jnp.round(rates, 6))
