"""What a worker is asked around an election: whether it stands, whom it votes for, which rates it
sets once elected.

Laid out as in prompts.py: rules and this year's schedule | what is constant of one worker | its
years | the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jaxecon.core.text import amount_text
from jaxecon.planners.base import changes
from llm.decisions.wording import Bracket, Objective, bracket_lines, percents, person_lines
from llm.messages import Message


@dataclass(frozen=True)
class LedYear:
    """A year that a worker lived.

    leader: who set its rates, in words, "" where nobody was elected. rates: fractions; utility: the
    worker's own, mean.
    """

    year: int
    leader: str
    rates: tuple[float, ...]
    utility: float


@dataclass(frozen=True)
class CandidateView:
    """One candidate as a voter sees it.

    rates: that it announced, None where it said nothing. pay: $/year at 40 hours, None where it is
    no worker. you: whether it is the voter.
    """

    rates: tuple[float, ...] | None
    pay: float | None
    leads: bool
    you: bool


_SETTING = """\
You are a worker in an economy with an income tax. Tax is taken bracket by bracket. All taxes are paid back to everyone as the \
same rebate. High rates make people work less. """

ELECTION = "Each year the workers elect one of themselves, who sets next year's tax rates.\n"

ENDS: dict[Objective, str] = {
    "egotistical": "your own utility becomes as high as possible",
    "altruistic": "everyone is as well off as possible, the poor above all",
    "adversarial": "everyone is as badly off as possible",
}

_MOVES = "The rates may change by {} percentage points each; they stay between 0 and 100 %."


def election_chat(
    brackets: tuple[Bracket, ...],
    rules: Sequence[str],
    lines: Sequence[str],
    setting: str = ELECTION,
) -> tuple[Message, ...]:
    system = [_SETTING + setting + rules[0], *rules[1:], "The rates now:", *bracket_lines(brackets)]
    return Message("system", "\n".join(system)), Message("user", "\n".join(lines))


def moves_text(max_change: int) -> str:
    return _MOVES.format(", ".join(f"{c:+d}" if c else "0" for c in changes(max_change)))


class VoterYear(Protocol):
    """What a voter knows of itself, and of the last year.

    skill: $/year per weekly hour; hours: h/week; the rest $/year.
    """

    @property
    def persona(self) -> str: ...
    @property
    def skill(self) -> float: ...
    @property
    def history(self) -> tuple[LedYear, ...]: ...
    @property
    def hours(self) -> float: ...
    @property
    def income(self) -> float: ...
    @property
    def tax(self) -> float: ...
    @property
    def rebate(self) -> float: ...


def about_lines(o: VoterYear) -> list[str]:
    lines = person_lines(o.persona, o.skill)
    if o.history:
        lines.append("Your years so far:")
    lines += [
        f"Year {y.year + 1}{y.leader and f', led by {y.leader}'}, {percents(y.rates)}: your "
        f"utility {amount_text(y.utility)}"
        for y in o.history
    ]
    lines.append(
        f"Last year you worked {o.hours:.0f} hours a week, earned {o.income:,.0f}, paid "
        f"{o.tax:,.0f} in tax and got a rebate of "
        f"{o.rebate:,.0f}."
    )
    return lines
