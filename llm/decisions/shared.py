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
class Welfare:
    """What social welfare is in an economy: the settings of section `welfare` that decide it.

    function: its name. floor: $/year. epsilon: inequality aversion of atkinson. counted: whether
    the penalty of the dissatisfied counts.
    """

    function: WelfareKind = "inverse_income"
    floor: float = DEFAULT_FLOOR
    epsilon: float = 1.0
    counted: bool = False


def merged(brackets: Sequence[Bracket]) -> tuple[Bracket, ...]:
    """The schedule with neighbours of one rate as one bracket."""
    return tuple(
        bracket
        for i, bracket in enumerate(brackets)
        if i == 0 or bracket.rate != brackets[i - 1].rate
    )
