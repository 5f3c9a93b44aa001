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
Plan = Any  # a pytree: what a year's days reuse, the rule's own


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
        """Turns the names and numbers of a configuration into the rule's parameters.

        Args:
            values: the configuration's parameters; those left out have defaults (`checked`).

        Returns:
            A pytree of scalars.

        Raises:
            ValueError: in one line, for an unknown name or a number out of range.
        """
        ...

    def init(
        self, params: Parameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> State:
        """The state before the first day.

        Args:
            params: from `parameters`.
            cohort: the people who decide, n agents.
            schedule: the first schedule.
            rebate: of the equilibrium under it, scalar $/year.

        Returns:
            A pytree of arrays whose first axis has length n.
        """
        ...

    def start_year(
        self, params: Parameters, cohort: Cohort, state: State, schedule: TaxSchedule
    ) -> tuple[State, Plan]:
        """The state on a year's first day, and tables that the year's days reuse.

        The tables follow from params, cohort and schedule alone: a run that is resumed within a
        year computes them again.

        Args:
            params: from `parameters`.
            cohort: the people who decide, n agents.
            state: at the end of the year before.
            schedule: of the year.

        Returns:
            The state, of the same structure, and the plan.
        """
        ...

    def act(
        self, params: Parameters, plan: Plan, state: State, draws: Draws, observation: Observation
    ) -> tuple[Array, State]:
        """Chooses the hours of one day.

        Args:
            params: from `parameters`.
            plan: from `start_year`.
            state: before the day.
            draws: random words of the day, two for each agent.
            observation: what workers know besides the schedule.

        Returns:
            Hours, (n,) h/week, and the state.
        """
        ...

    def learn(
        self, params: Parameters, plan: Plan, state: State, hours: Array, outcome: Outcome
    ) -> State:
        """Takes the day's outcome into account.

        Args:
            params: from `parameters`.
            plan: from `start_year`.
            state: from `act`.
            hours: (n,) h/week, as worked (workers who cannot adjust work yesterday's).
            outcome: the day's incomes, taxes and rebate, this cohort's part.

        Returns:
            The state before the next day.
        """
        ...


@runtime_checkable
class HasDayLayout(Protocol):
    """Optional: a rule that wants its state in another memory layout during a year's days.

    A rule that has both methods is called with the state of `enter` in `act` and `learn`. `enter`
    is called before the days of a year (or of a part of it), `leave` after them. Neither changes a
    value: `leave(enter(state))` equals `state`, in which checkpoints keep it.
    """

    def enter(self, state: State) -> State:
        """The state as `act` and `learn` take it, from the state as it is kept."""
        ...

    def leave(self, state: State) -> State:
        """The state as it is kept, from the state as `act` and `learn` return it."""
        ...


def checked(
    rule: str, values: dict[str, float], **ranges: tuple[float, float, float]
) -> dict[str, float]:
    """A rule's parameters: defaults, with the configuration's in their place.

    Args:
        rule: its name, for messages.
        values: the configuration's parameters.
        ranges: for each parameter its default, its lowest and its highest value.

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
