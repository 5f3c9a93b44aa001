"""Words and structures that several prompts share.

Prompts are laid out for the engine's prefix cache, which reuses whatever begins alike: rules and
this year's schedule (the same for all agents of a kind) | what is constant of one agent | its
history, appended to since an anchor | the day's tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from jaxecon.core.text import amount_text
from llm.decisions.base import Style
from llm.messages import Message

Objective = Literal["egotistical", "altruistic", "adversarial"]


class Bracket(NamedTuple):
    """threshold: $/year; rate: fraction."""

    threshold: float
    rate: float


@dataclass(frozen=True)
class Statistics:
    """Of all that an agent has lived, with a finite metric: days or years, mean and standard
    deviation of it, mean hours.
    """

    lived: int
    mean: float
    deviation: float
    hours: float = 0.0


@dataclass(frozen=True)
class Cues:
    """explore: try something new.

    exploit: what has been best so far, and, where final, to take it.
    """

    explore: bool = False
    exploit: bool = False
    final: bool = False


_REASONING = "one short sentence"


def try_again(messages: Sequence[Message], reply: str, problem: str) -> tuple[Message, ...]:
    """The chat continued after a reply that could not be used.

    Its blanks are left out: a small model that lost itself in line breaks (JSON allows any number)
    would go on with them.
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
    """What is constant of one worker."""
    pay = f"Your pay: {skill:,.0f} dollars a year per weekly hour ({40 * skill:,.0f} at 40 hours)."
    return [persona, pay] if persona else [pay]


def trend_text(what: str, metric: str, change: float) -> str:
    effect = (
        "stayed the same"
        if change == 0
        else f"{'rose' if change > 0 else 'fell'} by {amount_text(abs(change))}"
    )
    return f"Last time {what}, and {metric} {effect}."


def form_text(style: Style, answer: str) -> str:
    return f'{{"reasoning": "{_REASONING}", {answer}}}' if style == "cot" else f"{{{answer}}}"


def bracket_lines(brackets: Sequence[Bracket]) -> list[str]:
    tops = [*(b.threshold for b in brackets[1:]), None]
    return [
        f"{100 * b.rate:.0f} % on income from {b.threshold:,.0f}"
        + (f" to {top:,.0f}" if top is not None else " up")
        for b, top in zip(brackets, tops, strict=True)
    ]


def percents(rates: Sequence[float]) -> str:
    return "/".join(f"{100 * r:.0f}" for r in rates) + " %"
