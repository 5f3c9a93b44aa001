"""Structured observations, and the chat messages they become.

Laid out for the engine's prefix cache, which reuses whatever begins alike: rules and this year's schedule (the same for
all agents of a kind) | what is constant of one agent | its history, appended to since an anchor | the day's tail.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from jaxecon.planners.base import changes
from jaxecon.words import amount_text
from llm.engine import Message
from llm.schemas import Style

Objective = Literal["egotistical", "altruistic", "adversarial"]


class Bracket(NamedTuple):
    """threshold: $/year; rate: fraction."""

    threshold: float
    rate: float


class WorkerDay(NamedTuple):
    """One day a worker remembers. h/week; $/year at annual rates. metric: what the worker wants more (or less) of."""

    year: int
    day: int
    hours: float
    income: float
    tax: float
    rebate: float
    metric: float


@dataclass(frozen=True)
class Statistics:
    """Of all that an agent has lived, with a finite metric: days or years, mean and standard deviation of it, mean hours."""

    lived: int
    mean: float
    deviation: float
    hours: float = 0.0


@dataclass(frozen=True)
class Trend:
    """The last change of a worker's hours, and of its metric."""

    hours: float
    metric: float


@dataclass(frozen=True)
class Cues:
    """explore: try something new. exploit: what has been best so far, and, where final, to take it."""

    explore: bool = False
    exploit: bool = False
    final: bool = False


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


@dataclass(frozen=True)
class SatisfactionObservation:
    """What a worker looks back on when it is asked whether it is satisfied. $/year, means of the tax year so far."""

    year: int
    day: int
    cohort: str
    agent: int
    brackets: tuple[Bracket, ...]
    skill: float
    persona: str
    hours: float
    income: float
    tax: float
    rebate: float
    satisfied: bool  # until now: what it stays if no answer can be used


@dataclass(frozen=True)
class PersonaObservation:
    """Somebody whom the model is to describe. facts: the template's words."""

    cohort: str
    agent: int
    facts: str
    year: int = 0
    day: int = 0


@dataclass(frozen=True)
class PlannerYear:
    """One year a planner remembers. rates: fractions; welfare: mean of the year's last days."""

    year: int
    rates: tuple[float, ...]
    welfare: float


@dataclass(frozen=True)
class BracketGroup:
    """Who ended the year in one bracket. people: share; income: mean, $/year; utility: mean."""

    people: float
    income: float
    utility: float


@dataclass(frozen=True)
class PlanObservation:
    """What a planner knows when it sets next year's schedule."""

    year: int  # the year to plan
    cohort: str
    agent: int
    brackets: tuple[Bracket, ...]  # in force until now
    history: tuple[PlannerYear, ...]
    best: tuple[PlannerYear, ...]  # distinct schedules, the best first
    groups: tuple[BracketGroup, ...]
    mean_hours: float
    mean_income: float
    rebate: float
    statistics: Statistics | None = None
    trend: tuple[PlannerYear, PlannerYear] | None = None  # the last two years, where the last change is to be judged
    cues: Cues = Cues()
    max_change: int = 20  # percentage points
    style: Style = "io"
    day: int = 0


_ECONOMY = """\
You are a worker in an economy with an income tax. Each day you choose how many hours a week you work.
Income per year = your pay per weekly hour x hours. Tax is taken bracket by bracket. All taxes are paid back to everyone \
as the same rebate.
"""

_LINEAR = "Your utility = income - tax + rebate - effort."
_CURVED = "Your utility rises with income - tax + rebate, each further dollar counting less, and falls with effort."
_EFFORT = " Effort rises steeply with hours. "
_GOALS: dict[Objective, str] = {
    "egotistical": "Find the hours that give you the highest utility.",
    "altruistic": "You want what is best for everyone: find your hours that make social welfare highest. Social welfare is the "
    "mean of everyone's utility, in which the poor count more; your taxes are paid back to all.",
    "adversarial": "You want to harm the others: find your hours that make social welfare lowest. Social welfare is the mean of "
    "everyone's utility, in which the poor count more; your taxes are paid back to all.",
}
_METRICS: dict[Objective, str] = {"egotistical": "utility", "altruistic": "social welfare", "adversarial": "social welfare"}

_SATISFACTION_RULES = """\
You live in an economy with an income tax. Tax is taken bracket by bracket. All taxes are paid back to everyone as the same \
rebate. Say, as the person you are, whether you are satisfied with the tax you pay and the rebate you get.
Answer with JSON only: {"satisfied": true} or {"satisfied": false}"""

_PERSONA_RULES = """\
Describe a person to themselves, in the second person ("You are ..."), in two or three plain sentences: their work, their \
daily life and what they think of taxes. Keep every fact you are given.
Answer with JSON only: {"persona": "..."}"""

_REASONING = "one short sentence"


def labor_messages(observation: LaborObservation) -> tuple[Message, ...]:
    """Chat for today's hours."""
    o = observation
    metric = _METRICS[o.objective]
    lines = person_lines(o.persona, o.skill)
    if o.history:
        lines.append("Your days so far:")
    lines += [_day_line(d, metric) for d in o.history]
    tail = [f"Today is year {o.year + 1} day {o.day + 1}. Yesterday's rebate: {o.rebate:,.0f}."]
    if o.statistics is not None and o.statistics.lived:
        s = o.statistics
        spread = f", spread {amount_text(s.deviation)}" if s.lived > 1 else ""
        tail.append(f"Over {s.lived} days: mean {s.hours:.0f} hours, mean {metric} {amount_text(s.mean)}{spread}.")
    if o.best:
        best = "; ".join(f"{d.hours:.0f}: {amount_text(d.metric)}{_when(d, o.year)}" for d in o.best)
        tail.append(f"The best {metric} that hours brought: {best}.")
    if o.trend is not None and math.isfinite(o.trend.metric):
        tail.append(_trend_text(f"you worked {_hours_change(o.trend.hours)}", metric, o.trend.metric))
    if o.cues.exploit and o.top is not None:
        action = "Now take what has been best" if o.cues.final else "Best so far"
        tail.append(f"{action}: {o.top.hours:.0f} hours with {metric} {amount_text(o.top.metric)}{_when(o.top, o.year)}.")
    if o.cues.explore:
        tail.append("Hours that you have not tried may be better: explore.")
    lines.append(" ".join(tail) + " How many hours a week do you work today?")
    system = _labor_rules(o.curvature > 0, o.objective, o.style, o.choices, o.brackets)
    return Message("system", system), Message("user", "\n".join(lines))


@lru_cache(maxsize=64)  # the same for all agents of a cohort, all year
def _labor_rules(
    curved: bool, objective: Objective, style: Style, choices: tuple[int, ...], brackets: tuple[Bracket, ...]
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


@lru_cache(maxsize=65_536)  # said again on every day that remembers it
def _day_line(day: WorkerDay, metric: str) -> str:
    return (
        f"Year {day.year + 1} day {day.day + 1}: {day.hours:.0f} hours, income {day.income:,.0f}, tax {day.tax:,.0f}, "
        f"rebate {day.rebate:,.0f}, {metric} {amount_text(day.metric)}"
    )


def satisfaction_messages(observation: SatisfactionObservation) -> tuple[Message, ...]:
    """Chat for whether a worker is satisfied."""
    o = observation
    system = "\n".join([_SATISFACTION_RULES, "This year's tax:", *bracket_lines(o.brackets)])
    share = f" ({100 * o.tax / o.income:.0f} % of it)" if o.income > 0 else ""
    lines = person_lines(o.persona, o.skill)
    lines.append(
        f"In year {o.year + 1} you worked {o.hours:.0f} hours a week, earned {o.income:,.0f}, paid {o.tax:,.0f} in tax{share} "
        f"and got a rebate of {o.rebate:,.0f}. Are you satisfied?"
    )
    return Message("system", system), Message("user", "\n".join(lines))


def persona_messages(observation: PersonaObservation) -> tuple[Message, ...]:
    """Chat for a persona in the model's own words."""
    return Message("system", _PERSONA_RULES), Message("user", observation.facts)


def plan_messages(observation: PlanObservation) -> tuple[Message, ...]:
    """Chat for next year's schedule."""
    o = observation
    form = form_text(o.style, '"changes": [C1, C2, ...]')
    points = ", ".join(f"{c:+d}" if c else "0" for c in changes(o.max_change))
    system = (
        "You are the tax planner of an economy. Once a year you set the marginal tax rate of each bracket to make social "
        "welfare as high as you can. All taxes are paid back to everyone as the same rebate. Welfare counts the utility of the "
        "poor more than that of the rich. High rates make people work less.\n"
        f"You may change each rate by one of {points} percentage points; rates stay between 0 and 100 %.\n"
        f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
    )
    lines = []
    if o.history:
        lines.append("Schedules so far, rates from the lowest bracket up, with the welfare they reached:")
    lines += [f"Year {y.year + 1}: {percents(y.rates)}: welfare {amount_text(y.welfare)}" for y in o.history]
    if o.statistics is not None and o.statistics.lived:
        s = o.statistics
        spread = f", spread {amount_text(s.deviation)}" if s.lived > 1 else ""
        lines.append(f"Over {s.lived} years: mean welfare {amount_text(s.mean)}{spread}.")
    if o.best and not (o.cues.exploit and len(o.best) == 1):  # the cue says the only one
        lines.append("Best schedules tried:")
        lines += [f"{percents(y.rates)}: welfare {amount_text(y.welfare)} (year {y.year + 1})" for y in o.best]
    if o.trend is not None:
        before, after = o.trend
        moved, change = f"the rates went from {percents(before.rates)} to {percents(after.rates)}", after.welfare - before.welfare
        if math.isfinite(change):
            lines.append(_trend_text(moved, "welfare", change))
    if o.cues.exploit and o.best:
        y = o.best[0]
        action = "Exploration is over: now go to the best so far" if o.cues.final else "Best so far"
        lines.append(f"{action}: year {y.year + 1}: {percents(y.rates)}: welfare {amount_text(y.welfare)}")
    if o.cues.explore:
        lines.append("Schedules that have not been tried may be better: explore.")
    lines.append(f"Last year: {o.mean_hours:.1f} hours a week, mean income {o.mean_income:,.0f}, rebate {o.rebate:,.0f}.")
    lines.append("The rates now, and who earns in each bracket:")
    lines += [
        f"{line}: {100 * g.people:.1f} % of the people, mean income {g.income:,.0f}, mean utility {amount_text(g.utility)}"
        for line, g in zip(bracket_lines(o.brackets), o.groups, strict=True)
    ]
    count = len(o.brackets)
    lines.append(f"Set year {o.year + 1}: give {count} change{'s' if count > 1 else ''}, one per bracket.")
    return Message("system", system), Message("user", "\n".join(lines))


def try_again(messages: Sequence[Message], reply: str, problem: str) -> tuple[Message, ...]:
    """The chat continued after a reply that could not be used. Its blanks are left out: a small model that lost itself in line
    breaks (JSON allows any number) would go on with them."""
    return (
        *messages,
        Message("assistant", " ".join(reply.split())[:300]),
        Message("user", f"That answer cannot be used: {problem}. Answer again, with JSON only, on one line."),
    )


def person_lines(persona: str, skill: float) -> list[str]:
    """What is constant of one worker."""
    pay = f"Your pay: {skill:,.0f} dollars a year per weekly hour ({40 * skill:,.0f} at 40 hours)."
    return [persona, pay] if persona else [pay]


def _when(day: WorkerDay, year: int) -> str:
    """The year of a day under another schedule than this year's."""
    return "" if day.year == year else f" (year {day.year + 1})"


def _hours_change(hours: float) -> str:
    return "the same hours" if abs(hours) < 0.5 else f"{abs(hours):.0f} hours {'more' if hours > 0 else 'less'}"


def _trend_text(what: str, metric: str, change: float) -> str:
    effect = "stayed the same" if change == 0 else f"{'rose' if change > 0 else 'fell'} by {amount_text(abs(change))}"
    return f"Last time {what}, and {metric} {effect}."


def form_text(style: Style, answer: str) -> str:
    return f'{{"reasoning": "{_REASONING}", {answer}}}' if style == "cot" else f"{{{answer}}}"


def bracket_lines(brackets: Sequence[Bracket]) -> list[str]:
    tops = [*(b.threshold for b in brackets[1:]), None]
    return [
        f"{100 * b.rate:.0f} % on income from {b.threshold:,.0f}" + (f" to {top:,.0f}" if top is not None else " up")
        for b, top in zip(brackets, tops, strict=True)
    ]


def percents(rates: Sequence[float]) -> str:
    return "/".join(f"{100 * r:.0f}" for r in rates) + " %"
