"""What a planner knows, what it may do, and the protocol that all planners share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.pytree import pytree, static, stored_as
from jaxecon.kernels.taxation import TaxSchedule

if TYPE_CHECKING:
    from jaxecon.planners.elections.voting import Election

State = Any

STEP = 10  # percentage points: a planner changes rates by multiples of this
MAX_CHANGE = 20  # percentage points a rate may move in a year (arXiv 2507.15815, section 4)


def possible_changes(max_change: int = MAX_CHANGE) -> tuple[int, ...]:
    """The percentage points by which a rate may move in a year: multiples of STEP."""
    return tuple(range(-max_change, max_change + 1, STEP))


def in_last_tenth(year: Any, years: Any) -> Any:
    """Whether a year is in the last tenth (rounded down) of a run of `years` years.

    year: counted from 0. Planners no longer explore in the last tenth.
    """
    return year >= years - years // 10


@pytree
class PlannerContext:
    """What a planner knows before the first year.

    Attributes:
        initial: The schedule of the first year.
        years: How many years the run has.
        seed: Of the run's draws.
    """

    initial: TaxSchedule
    years: int = static()
    seed: int = static(default=0)


@pytree
class YearObservation:
    """What a planner sees of the year that has just ended. k brackets.

    Attributes:
        year: The year, counted from 0.
        years: How many years the run has.
        schedule: In force that year.
        welfare: Mean over the last days of the year (`economy.summary.planner_window`).
        mean_hours: h/week.
        mean_income: $/year.
        rebate: $/year.
        people: (k,) share of the people whose income lies in each bracket.
        income: (k,) their mean income, $/year; 0 where a bracket holds nobody.
        utility: (k,) their mean utility; 0 where a bracket holds nobody.
        agent_means: By cohort in `Planner.asks`, each agent's means of the year, (n,) each, under
            the names hours, income, tax, rebate and utility.
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
    agent_means: dict[str, dict[str, np.ndarray]] = stored_as("lived", default_factory=dict)


class Planner(Protocol):
    """Sets the tax schedule of every year but the first, which is `PlannerContext.initial`.

    A planner of your own subclasses this and is passed to `je.run`. What it remembers goes into its
    state, a pytree of arrays, which checkpoints contain.

    Attributes:
        name: What the planner is called in tables.
        asks: The cohorts whose agents it sees one by one, in `YearObservation.agent_means`.
    """

    name: str
    asks: tuple[str, ...] = ()

    def init(self, context: PlannerContext, key: Array) -> State:
        """Return the planner's state before the first year.

        Args:
            context: What is known of the run.
            key: A JAX key of random numbers for this planner.

        Returns:
            A pytree of arrays.
        """
        ...

    def propose(
        self, state: State, observation: YearObservation, key: Array
    ) -> tuple[TaxSchedule, State]:
        """Return the next year's schedule.

        Args:
            state: As `init` or the last `propose` returned it.
            observation: Of the year that has just ended.
            key: A JAX key of random numbers for this year.

        Returns:
            The schedule, with the thresholds of `observation.schedule`, and the new state.
        """
        ...

    def leader(self, state: State) -> str:
        """Return the name, in tables, of whoever sets the rates.

        Args:
            state: After `propose`.

        Returns:
            The planner's name; of an elected planner, the elected worker's cohort and agent.
        """
        return self.name

    def election(self, state: State) -> "Election | None":
        """Return the last election.

        Args:
            state: After `propose`.

        Returns:
            Candidates, ballots and scores; None if nobody votes.
        """
        return None


def changed_schedule(
    schedule: TaxSchedule, points: Sequence[int], max_change: int = MAX_CHANGE
) -> TaxSchedule:
    """Return the schedule with each rate changed by `points`, and kept in 0..100 %.

    points: (k,) percentage points, each one of `possible_changes(max_change)`.

    Raises ValueError for other points, or if there is not one for each bracket.
    """
    allowed = possible_changes(max_change)
    if len(points) != schedule.brackets or any(p not in allowed for p in points):
        raise ValueError(
            f"changes: {list(points)}; {schedule.brackets} values, each one of "
            f"{', '.join(map(str, allowed))}"
        )
    rates = jnp.clip(schedule.rates + jnp.asarray(points, schedule.rates.dtype) / 100, 0, 1)
    return TaxSchedule(schedule.thresholds, jnp.round(rates, 6))
