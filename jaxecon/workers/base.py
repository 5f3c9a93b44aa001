"""The protocol of a decision rule: what decides a cohort's hours."""

from typing import Any, Protocol, runtime_checkable

from jax import Array

from jaxecon.core.draws import Draws
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.cohort import Cohort

__all__ = [
    "Cohort",
    "HasDayLayout",
    "Observation",
    "Parameters",
    "Plan",
    "State",
    "WorkerRule",
    "checked",
]

Parameters = Any  # a pytree of scalars, the rule's own
State = Any  # a pytree of arrays, first axis = agents, the rule's own
Plan = Any  # a pytree of tables that a year's days reuse, the rule's own


@pytree
class Observation:
    """What workers know on a day besides the schedule; scalars."""

    rebate: Array  # yesterday's R, $/year
    progress: Array  # of the tax year, 0 on its first day, 1 on its last


class WorkerRule(Protocol):
    """One cohort's behaviour: a stateless object whose methods are pure and traced by JAX.

    A run calls `parameters` and `init` once, `start_year` once a year, and `act` and `learn` once a
    day. Parameters, state and plan are pytrees of the rule's own making.
    """

    def parameters(self, **values: float) -> Parameters:
        """Turn the names and numbers of a configuration into the rule's parameters.

        Args:
            values: the configuration's parameters; those left out have defaults (`checked`).

        Returns:
            A pytree of scalars.

        Raises:
            ValueError: for an unknown name or a number out of range, with a message of one line.
        """
        ...

    def init(
        self, params: Parameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> State:
        """Return the state before the first day.

        Args:
            params: from `parameters`.
            cohort: the people who decide, n agents.
            schedule: the first schedule.
            rebate: the equilibrium's rebate under that schedule, scalar $/year.

        Returns:
            A pytree of arrays whose first axis has length n.
        """
        ...

    def start_year(
        self, params: Parameters, cohort: Cohort, state: State, schedule: TaxSchedule
    ) -> tuple[State, Plan]:
        """Return the state on a year's first day, and a plan: tables that the year's days reuse.

        The plan follows from params, cohort and schedule alone: a run that is resumed within a year
        computes it again.

        Args:
            params: from `parameters`.
            cohort: the people who decide, n agents.
            state: at the end of the year before.
            schedule: the year's schedule.

        Returns:
            The state, of the same structure, and the plan.
        """
        ...

    def act(
        self, params: Parameters, plan: Plan, state: State, draws: Draws, observation: Observation
    ) -> tuple[Array, State]:
        """Choose the hours of one day.

        Args:
            params: from `parameters`.
            plan: from `start_year`.
            state: before the day.
            draws: the day's random words, two for each agent.
            observation: what workers know besides the schedule.

        Returns:
            Hours, (n,) h/week, and the state.
        """
        ...

    def learn(
        self, params: Parameters, plan: Plan, state: State, hours: Array, outcome: Outcome
    ) -> State:
        """Update the state with the day's outcome.

        Args:
            params: from `parameters`.
            plan: from `start_year`.
            state: from `act`.
            hours: (n,) h/week actually worked (workers who cannot adjust work yesterday's hours).
            outcome: this cohort's incomes and taxes of the day, and the rebate.

        Returns:
            The state before the next day.
        """
        ...


@runtime_checkable
class HasDayLayout(Protocol):
    """Optional methods of a rule whose state has another memory layout during a year's days.

    If a rule has both, `act` and `learn` get the state as `enter` returns it. `enter` is called
    before the days of a year (or of a part of it), `leave` after them. They move values without
    changing any: `leave(enter(state))` equals `state`, and checkpoints store the latter.
    """

    def enter(self, state: State) -> State:
        """Convert the stored state to the layout that `act` and `learn` use."""
        ...

    def leave(self, state: State) -> State:
        """Convert a state from `act` or `learn` back to the stored layout."""
        ...


def checked(
    rule: str, values: dict[str, float], **ranges: tuple[float, float, float]
) -> dict[str, float]:
    """Return a rule's parameters: the configuration's values, and defaults for those left out.

    Args:
        rule: the rule's name, for messages.
        values: the configuration's parameters.
        ranges: the default, the lowest and the highest value of each parameter.

    Raises:
        ValueError: naming the parameter, the value and the accepted range.
    """
    for name, value in values.items():
        if name not in ranges:
            raise ValueError(
                f"parameters.{name}: {rule} has no such parameter; one of "
                f"{', '.join(ranges) or '(none)'}"
            )
        _, low, high = ranges[name]
        if not low <= value <= high:
            raise ValueError(f"parameters.{name}: {value}; {rule} accepts [{low:g}, {high:g}]")
    return {name: float(values.get(name, default)) for name, (default, _, _) in ranges.items()}
