"""What the observations of several kinds of decision have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxecon.kernels.welfare import DEFAULT_FLOOR, WelfareKind

Objective = Literal["egotistical", "altruistic", "adversarial"]


class Bracket(NamedTuple):
    """One bracket of a tax schedule. threshold: $/year where it begins; rate: fraction."""

    threshold: float
    rate: float


@dataclass(frozen=True)
class Cues:
    """What a prompt advises.

    explore: try something new. exploit: remember what has been best so far. final: choose it now.
    """

    explore: bool = False
    exploit: bool = False
    final: bool = False


@dataclass(frozen=True)
class EconomyFacts:
    """What is true of an economy as long as it runs, as far as prompts say it.

    Attributes:
        years: Of the run.
        days: Of a year.
        decide_every: Days for which a worker's decision holds.
        curvature: Of the utility of consumption.
        welfare: The welfare function's name.
        floor: $/year; its floor.
        epsilon: Its inequality aversion (atkinson).
        judged: Whether people are asked whether they are satisfied.
        counted: Whether welfare counts the penalty of those who are not.
        public_spending: $/year per person, taken from the taxes before they are paid back.
        rebate_floor: $/year; the least that the rebate can be. None: it may be a tax.
        saving: Whether people save, and have income from wealth.
        inertia: Whether workers cannot change their hours on some days.
    """

    years: int = 1
    days: int = 1
    decide_every: int = 1
    curvature: float = 0.0
    welfare: WelfareKind = "inverse_income"
    floor: float = DEFAULT_FLOOR
    epsilon: float = 1.0
    judged: bool = False
    counted: bool = False
    public_spending: float = 0.0
    rebate_floor: float | None = None
    saving: bool = False
    inertia: bool = False


@dataclass(frozen=True)
class YearSoFar:
    """What a worker knows of itself when it looks back on a tax year.

    hours (h/week), income, tax and rebate ($/year) are means of the days that are over.
    """

    year: int
    day: int  # the last one that is over
    cohort: str
    agent: int
    economy: EconomyFacts
    brackets: tuple[Bracket, ...]
    skill: float  # $/year per weekly hour
    persona: str
    hours: float
    income: float
    tax: float
    rebate: float


def merged(brackets: Sequence[Bracket]) -> tuple[Bracket, ...]:
    """The schedule with neighbours of one rate as one bracket."""
    return tuple(
        bracket
        for i, bracket in enumerate(brackets)
        if i == 0 or bracket.rate != brackets[i - 1].rate
    )
