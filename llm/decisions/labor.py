"""How many hours a week a worker works."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from jaxecon.core.text import amount_text
from llm.decisions.base import Parsed, Style, Unusable
from llm.decisions.history import without_older_or_worse
from llm.decisions.replies import answer_schema, number_in, only_field, reasoning_tokens
from llm.decisions.wording import (
    Bracket,
    Cues,
    Objective,
    Statistics,
    bracket_lines,
    form_text,
    person_lines,
    statistics_line,
    trend_text,
)
from llm.messages import Message


@dataclass(frozen=True)
class Trend:
    """The last change of a worker's hours (h/week), and of its metric."""

    hours: float
    metric: float


class WorkerDay(NamedTuple):
    """One day a worker remembers.

    hours: h/week; income, tax, rebate: $/year at annual rates. metric: what the worker wants more
    (or less) of.
    """

    year: int
    day: int
    hours: float
    income: float
    tax: float
    rebate: float
    metric: float


@dataclass(frozen=True)
class LaborObservation:
    """What a worker knows when it chooses today's hours."""

    year: int
    day: int
    cohort: str
    agent: int
    brackets: tuple[Bracket, ...]
    skill: float  # $/year per weekly hour
    rebate: float  # yesterday's, $/year
    history: tuple[WorkerDay, ...]
    last_hours: int  # what the worker does if no answer can be used
    choices: tuple[int, ...]  # h/week
    curvature: float = 0.0  # of the utility of consumption
    persona: str = ""
    objective: Objective = "egotistical"
    best: tuple[WorkerDay, ...] = ()  # distinct hours, the best first
    top: WorkerDay | None = None  # the best of all, for the cue to exploit
    statistics: Statistics | None = None
    trend: Trend | None = None
    cues: Cues = Cues()
    style: Style = "io"


_ECONOMY = """\
You are a worker in an economy with an income tax. Each day you choose how many hours \
a week you work.
Income per year = your pay per weekly hour x hours. Tax is taken bracket by bracket. All taxes are \
paid back to everyone as the same rebate.
"""

_LINEAR = "Your utility = income - tax + rebate - effort."

_CURVED = (
    "Your utility rises with income - tax + rebate, each further dollar counting less, and falls "
    "with effort."
)

_EFFORT = " Effort rises steeply with hours. "

_GOALS: dict[Objective, str] = {
    "egotistical": "Find the hours that give you the highest utility.",
    "altruistic": "You want what is best for everyone: find your hours that make social welfare "
    "highest. Social welfare is the "
    "mean of everyone's utility, in which the poor count more; your taxes are paid back to all.",
    "adversarial": "You want to harm the others: find your hours that make social welfare lowest. "
    "Social welfare is the mean of "
    "everyone's utility, in which the poor count more; your taxes are paid back to all.",
}

_METRICS: dict[Objective, str] = {
    "egotistical": "utility",
    "altruistic": "social welfare",
    "adversarial": "social welfare",
}


@lru_cache(maxsize=64)  # the same for all agents of a cohort, all year
def _rules(
    curved: bool,
    objective: Objective,
    style: Style,
    choices: tuple[int, ...],
    brackets: tuple[Bracket, ...],
) -> str:
    form = form_text(style, '"hours": H')
    return "\n".join(
        [
            _ECONOMY + (_CURVED if curved else _LINEAR) + _EFFORT + _GOALS[objective],
            f"Answer with JSON only: {form}, H one of {', '.join(map(str, choices))}.",
            "This year's tax:",
            *bracket_lines(brackets),
        ]
    )


@lru_cache(maxsize=65_536)  # the same line on every day that remembers this one
def _day_line(day: WorkerDay, metric: str) -> str:
    return (
        f"Year {day.year + 1} day {day.day + 1}: {day.hours:.0f} hours, income {day.income:,.0f}, "
        f"tax {day.tax:,.0f}, "
        f"rebate {day.rebate:,.0f}, {metric} {amount_text(day.metric)}"
    )


def _today(o: LaborObservation, metric: str) -> list[str]:
    """The sentences of the day: what is new since yesterday, and what the worker is advised."""
    tail = [f"Today is year {o.year + 1} day {o.day + 1}. Yesterday's rebate: {o.rebate:,.0f}."]
    if o.statistics is not None and o.statistics.count:
        hours = f"mean {o.statistics.hours:.0f} hours, "
        tail.append(statistics_line(o.statistics, "days", metric, hours))
    if o.best:
        best = "; ".join(
            f"{d.hours:.0f}: {amount_text(d.metric)}{_other_year(d, o.year)}" for d in o.best
        )
        tail.append(f"The best {metric} that hours brought: {best}.")
    if o.trend is not None and math.isfinite(o.trend.metric):
        tail.append(
            trend_text(f"you worked {_hours_change(o.trend.hours)}", metric, o.trend.metric)
        )
    if o.cues.exploit and o.top is not None:
        action = "Now take what has been best" if o.cues.final else "Best so far"
        tail.append(
            f"{action}: {o.top.hours:.0f} hours with {metric} "
            f"{amount_text(o.top.metric)}{_other_year(o.top, o.year)}."
        )
    if o.cues.explore:
        tail.append("Hours that you have not tried may be better: explore.")
    return tail


def _other_year(day: WorkerDay, year: int) -> str:
    """The year of a remembered day if it had another schedule than this year's."""
    return "" if day.year == year else f" (year {day.year + 1})"


def _hours_change(hours: float) -> str:
    return (
        "the same hours"
        if abs(hours) < 0.5
        else f"{abs(hours):.0f} hours {'more' if hours > 0 else 'less'}"
    )


@lru_cache
def labor_schema(choices: tuple[int, ...], style: Style = "io") -> dict[str, Any]:
    """The schema of an answer that is one of the choices, h/week."""
    return answer_schema(style, hours={"type": "integer", "enum": list(choices)})


def parse_labor(text: str, choices: Sequence[int]) -> Parsed[int]:
    """Read hours per week from {"hours": n}.

    Hours between the choices are moved to the nearest one. Raises Unusable.
    """
    answer, repaired = only_field(text, "hours")
    hours, coerced = number_in(answer, "hours")
    if not min(choices) <= hours <= max(choices):
        raise Unusable(f"hours must be between {min(choices)} and {max(choices)}")
    nearest = (
        int(hours) if hours in choices else min(choices, key=lambda choice: abs(choice - hours))
    )
    return Parsed(nearest, repaired or coerced or nearest != hours)


_parse_labor = lru_cache(maxsize=4096)(parse_labor)  # models give the same few answers


class Labor:
    """The decision on hours a week. Falls back on the hours of the day before."""

    name = "labor"

    def messages(self, observation: LaborObservation) -> tuple[Message, ...]:
        o = observation
        metric = _METRICS[o.objective]
        lines = person_lines(o.persona, o.skill)
        if o.history:
            lines.append("Your days so far:")
        lines += [_day_line(d, metric) for d in o.history]
        today = " ".join(_today(o, metric))
        lines.append(f"{today} How many hours a week do you work today?")
        system = _rules(o.curvature > 0, o.objective, o.style, o.choices, o.brackets)
        return Message("system", system), Message("user", "\n".join(lines))

    def schema(self, observation: LaborObservation) -> dict[str, Any]:
        return labor_schema(observation.choices, observation.style)

    def parse(self, text: str, observation: LaborObservation) -> Parsed[int]:
        return _parse_labor(text, observation.choices)

    def fallback(self, observation: LaborObservation) -> int:
        return observation.last_hours

    def tokens(self, observation: LaborObservation) -> int:
        return 16 + reasoning_tokens(observation.style)

    def shorter(self, observation: LaborObservation) -> LaborObservation | None:
        return without_older_or_worse(observation)
