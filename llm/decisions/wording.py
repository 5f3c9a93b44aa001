"""Words and structures that several prompts share.

Prompts are laid out for the engine's prefix cache, which reuses common beginnings: rules and this
year's schedule (the same for all agents of a kind) | what is constant for one agent | its history,
which grows at its end | what is new on this day.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxecon.core.text import amount_text
from llm.decisions.base import Style
from llm.messages import Message

Objective = Literal["egotistical", "altruistic", "adversarial"]


class Bracket(NamedTuple):
    """One bracket of a tax schedule. threshold: $/year where it begins; rate: fraction."""

    threshold: float
    rate: float


@dataclass(frozen=True)
class Statistics:
    """Running statistics of an agent's days, or of a planner's years, with a finite metric.

    count: number of days or years. mean, deviation: mean and standard deviation of the metric.
    hours: mean, h/week.
    """

    count: int
    mean: float
    deviation: float
    hours: float = 0.0


@dataclass(frozen=True)
class Cues:
    """What a prompt advises.

    explore: try something new. exploit: remember what has been best so far. final: choose it now.
    """

    explore: bool = False
    exploit: bool = False
    final: bool = False


def try_again(messages: Sequence[Message], reply: str, problem: str) -> tuple[Message, ...]:
    """The chat, continued after a reply that could not be used.

    The reply's white space is shortened: JSON allows any number of line breaks, and a small model
    that got stuck in them would go on with them.
    """
    return (
        *messages,
        Message("assistant", " ".join(reply.split())[:300]),
        Message(
            "user",
            f"That answer cannot be used: {problem}. Answer again, with JSON only, on one line.",
        ),
    )


def person_lines(persona: str, skill: float) -> list[str]:
    """The lines on what is constant for one worker. skill: $/year per weekly hour."""
    pay = f"Your pay: {skill:,.0f} dollars a year per weekly hour ({40 * skill:,.0f} at 40 hours)."
    return [persona, pay] if persona else [pay]


def statistics_line(statistics: Statistics, unit: str, metric: str, hours: str = "") -> str:
    """Mean and spread of the metric over all days or years. hours: text on the mean hours."""
    s = statistics
    spread = f", spread {amount_text(s.deviation)}" if s.count > 1 else ""
    return f"Over {s.count} {unit}: {hours}mean {metric} {amount_text(s.mean)}{spread}."


def trend_text(what: str, metric: str, change: float) -> str:
    """The sentence on what followed the last change of a decision."""
    effect = (
        "stayed the same"
        if change == 0
        else f"{'rose' if change > 0 else 'fell'} by {amount_text(abs(change))}"
    )
    return f"Last time {what}, and {metric} {effect}."


def form_text(style: Style, answer: str) -> str:
    """The form of the JSON object to answer with. answer: its fields without braces."""
    return f'{{"reasoning": "one short sentence", {answer}}}' if style == "cot" else f"{{{answer}}}"


def bracket_lines(brackets: Sequence[Bracket]) -> list[str]:
    """A tax schedule, one line a bracket."""
    tops = [*(b.threshold for b in brackets[1:]), None]
    return [
        f"{100 * b.rate:.0f} % on income from {b.threshold:,.0f}"
        + (f" to {top:,.0f}" if top is not None else " up")
        for b, top in zip(brackets, tops, strict=True)
    ]


def percents(rates: Sequence[float]) -> str:
    """Rates (fractions), from the lowest bracket up, such as `10/25/40 %`."""
    return "/".join(f"{100 * r:.0f}" for r in rates) + " %"


def set_year_line(year: int, brackets: int) -> str:
    """The request for changes of the rates. year: the one to plan, counted from 0."""
    return (
        f"Set year {year + 1}: give {brackets} change{'s' if brackets > 1 else ''}, "
        "one per bracket."
    )
