"""Wording that the prompts of elections share: standing, voting, setting the rates once elected.

They are laid out as in wording.py: rules and this year's schedule | what is constant for one worker
| its years | the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from jaxecon.core.text import amount_text
from llm.decisions.rate_changes import allowed_changes
from llm.decisions.wording import Bracket, Objective, bracket_lines, percents, person_lines
from llm.messages import Message


@dataclass(frozen=True)
class PastYear:
    """A year that a worker remembers.

    leader: who set its rates, in words, "" where nobody was elected. rates: (k,) fractions;
    utility: the worker's own, mean of the year.
    """

    year: int
    leader: str
    rates: tuple[float, ...]
    utility: float


class VoterBackground(Protocol):
    """What a worker knows about itself and the last year when it is asked about an election.

    skill: $/year per weekly hour; hours: h/week; the others $/year.
    """

    @property
    def persona(self) -> str: ...
    @property
    def skill(self) -> float: ...
    @property
    def history(self) -> tuple[PastYear, ...]: ...
    @property
    def hours(self) -> float: ...
    @property
    def income(self) -> float: ...
    @property
    def tax(self) -> float: ...
    @property
    def rebate(self) -> float: ...


_SETTING = """\
You are a worker in an economy with an income tax. Tax is taken bracket by bracket. All taxes are \
paid back to everyone as the same rebate. High rates make people work less. """

ELECTION = "Each year the workers elect one of themselves, who sets next year's tax rates.\n"

ENDS: dict[Objective, str] = {
    "egotistical": "your own utility becomes as high as possible",
    "altruistic": "everyone is as well off as possible, the poor above all",
    "adversarial": "everyone is as badly off as possible",
}


def election_chat(
    brackets: tuple[Bracket, ...],
    rules: Sequence[str],
    lines: Sequence[str],
    setting: str = ELECTION,
) -> tuple[Message, ...]:
    """The chat that asks a question about an election.

    rules: lines of the system message before the rates; lines: the user's; setting: who sets the
    rates.
    """
    system = [_SETTING + setting + rules[0], *rules[1:], "The rates now:", *bracket_lines(brackets)]
    return Message("system", "\n".join(system)), Message("user", "\n".join(lines))


def changes_line(max_change: int) -> str:
    """The line on how much the rates may change. max_change: percentage points."""
    return (
        f"The rates may change by {allowed_changes(max_change)} percentage points each; "
        "they stay between 0 and 100 %."
    )


def about_lines(o: VoterBackground) -> list[str]:
    """The lines that tell a worker about itself, its years and the last year."""
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
