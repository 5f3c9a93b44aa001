"""What a planner is told, what it may do, and the protocol that all planners share."""

from collections.abc import Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.core.pytree import pytree, static
from jaxecon.kernels.taxation import TaxSchedule

if TYPE_CHECKING:
    from jaxecon.planners.elections.voting import Election

Array = jax.Array
State = Any

STEP = 10  # percentage points between the changes of a rate that a planner may choose
MAX_CHANGE = (
    20  # percentage points by which a rate may move in a year (arXiv 2507.15815, section 4)
)


def possible_changes(max_change: int = MAX_CHANGE) -> tuple[int, ...]:
    """The percentage points by which a rate may move in a year."""
    return tuple(range(-max_change, max_change + 1, STEP))


def in_last_tenth(year: Any, years: Any) -> Any:
    """Whether a year (0 the first) is in the last tenth of a run of so many, where exploration
    ends; rounded down.
    """
    return year >= years - years // 10


@pytree
class PlannerContext:
    """What a planner knows before the first year, whose schedule is `initial`.

    years: how many the run has.
    """

    initial: TaxSchedule
    years: int = static()
    seed: int = static(default=0)


@pytree
class YearObservation:
    """What a planner sees of the year that just ended.

    k brackets.

    year: of so many `years` of the run, counted from 0. schedule: in force that year. welfare: mean
    over the year's last max(1, days//8) days. mean_hours: h/week. mean_income, rebate: $/year. By
    bracket of the year's income, (k,): people (share), income ($/year, mean) and utility (mean);
    zero where a bracket holds nobody. lived: of the cohorts that the planner asks about, means of
    their year, (n,) each: hours, income, tax, rebate, utility.
    """

    year: int
    years: int
    schedule: TaxSchedule
    welfare: float
    mean_hours: float
    mean_income: float
    rebate: float
    people: np.ndarray
    income: np.ndarray
    utility: np.ndarray
    lived: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


class Planner(Protocol):
    """Called at the start of each year but the first, which `PlannerContext.initial` governs.

    asks: cohorts whose year it must see in `YearObservation.lived`.
    """

    name: str
    asks: tuple[str, ...] = ()

    def init(self, context: PlannerContext, key: Array) -> State: ...

    def propose(
        self, state: State, observation: YearObservation, key: Array
    ) -> tuple[TaxSchedule, State]: ...

    def leader(self, state: State) -> str:
        """Who sets the rates."""
        return self.name

    def election(self, state: State) -> "Election | None":
        """The last one, of planners that are elected."""
        return None


def changed_schedule(
    schedule: TaxSchedule, points: Sequence[int], max_change: int = MAX_CHANGE
) -> TaxSchedule:
    """The schedule with each rate moved by so many percentage points, (k,) of
    `possible_changes(max_change)`, kept in 0..100 %.
    """
    allowed = possible_changes(max_change)
    if len(points) != schedule.brackets or any(p not in allowed for p in points):
        raise ValueError(
            f"changes: {list(points)}; {schedule.brackets} values, each one of "
            f"{', '.join(map(str, allowed))}"
        )
    rates = jnp.clip(schedule.rates + jnp.asarray(points, schedule.rates.dtype) / 100, 0, 1)
    return TaxSchedule(schedule.thresholds, jnp.round(rates, 6))
