"""What a cohort's behaviour is made of."""

from typing import Any, Protocol, runtime_checkable

import jax

from jaxecon.core.draws import Draws
from jaxecon.core.pytree import pytree, static
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import TaxSchedule

Array = jax.Array

Parameters = Any  # a pytree of scalars, the rule's own

State = Any  # a pytree of arrays, first axis = agents, the rule's own

Plan = Any  # a pytree: what a year's days reuse, the rule's own


@pytree
class Observation:
    """What workers know on a day besides the schedule. Scalars."""

    rebate: Array  # yesterday's R, $/year
    progress: Array  # of the tax year, 0 on its first day, 1 on its last


@pytree
class Cohort:
    """People of one kind.

    Arrays (n,); `preferences` scalar or (n,) fields.

    weight: survey weights, how many people each agent stands for (mean 1 over the whole economy).
    reference_consumption: x_ref, $/year, at the exact response to the US federal schedule with
    curvature 0.
    welfare_weight: g, what welfare gains from a dollar more of consumption for each, at that
    response; mean 1 under the
        survey weights over the whole economy. The fixed weights at curvature 0, where the welfare
        function has them.
    """

    skill: Array
    weight: Array
    preferences: Preferences
    reference_consumption: Array
    welfare_weight: Array
    name: str = static(default="")

    @property
    def size(self) -> int:
        return self.skill.shape[0]


class WorkerRule(Protocol):
    """One cohort's behaviour.

    Stateless object; all methods are pure and traced by JAX.

    `parameters` turns the user's names and numbers into a pytree and raises ValueError (one line)
    for a wrong one.
    """

    def parameters(self, **given: float) -> Parameters: ...

    def init(
        self, params: Parameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> State:
        """The state before the first day, given the first schedule and the rebate of its
        equilibrium.
        """
        ...

    def start_year(
        self, params: Parameters, cohort: Cohort, state: State, schedule: TaxSchedule
    ) -> tuple[State, Plan]:
        """The state on the year's first day, and tables that the days of a year under this schedule
        reuse.

        The tables follow from params, cohort and schedule alone: a run that is resumed within a
        year makes them again.
        """
        ...

    def act(
        self, params: Parameters, plan: Plan, state: State, draws: Draws, observation: Observation
    ) -> tuple[Array, State]:
        """Hours (n,) of one day, h/week."""
        ...

    def learn(
        self, params: Parameters, plan: Plan, state: State, hours: Array, outcome: Outcome
    ) -> State:
        """The state after the day's outcome (this cohort's part of it) is known."""
        ...


@runtime_checkable
class HasDayLayout(Protocol):
    """A rule whose `act` and `learn` take its state in another layout than it is kept in.

    Rules need not have this.

    `enter` is called before the days of a segment, `leave` after them; neither changes a value.
    """

    def enter(self, state: State) -> State: ...

    def leave(self, state: State) -> State: ...


def checked(
    rule: str, given: dict[str, float], **ranges: tuple[float, float, float]
) -> dict[str, float]:
    """Defaults overlaid with the given values. ranges: name=(default, lowest, highest).

    Raises ValueError naming the parameter, the value and the accepted range.
    """
    for name, value in given.items():
        if name not in ranges:
            raise ValueError(
                f"parameters.{name}: {rule} has no such parameter; one of "
                f"{', '.join(ranges) or '(none)'}"
            )
        _, low, high = ranges[name]
        if not low <= value <= high:
            raise ValueError(f"parameters.{name}: {value}; {rule} accepts [{low:g}, {high:g}]")
    return {name: float(given.get(name, default)) for name, (default, _, _) in ranges.items()}
