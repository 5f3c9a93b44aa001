"""Structured observations, and the chat messages they become.

Laid out for the engine's prefix cache, which reuses whatever begins alike: rules and this year's schedule (the same for
all agents) | what is constant of one agent | its history, appended to since an anchor | the day's tail.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxecon.planners.base import CHANGES
from jaxecon.words import amount_text
from llm.engine import Message


@dataclass(frozen=True)
class Bracket:
    """threshold: $/year; rate: fraction."""

    threshold: float
    rate: float


@dataclass(frozen=True)
class WorkerDay:
    """One day a worker remembers. h/week; $/year at annual rates; utility in $/year."""

    year: int
    day: int
    hours: float
    income: float
    tax: float
    rebate: float
    utility: float


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
    best: PlannerYear
    groups: tuple[BracketGroup, ...]
    mean_hours: float
    mean_income: float
    rebate: float
    day: int = 0


_LABOR_RULES = """\
You are a worker in an economy with an income tax. Each day you choose how many hours a week you work.
Income per year = your pay per weekly hour x hours. Tax is taken bracket by bracket. All taxes are paid back to everyone \
as the same rebate.
"""

_LINEAR = "Your utility = income - tax + rebate - effort."
_CURVED = "Your utility rises with income - tax + rebate, each further dollar counting less, and falls with effort."

_LABOR_TASK = """ Effort rises steeply with hours. Find the hours that give you the highest utility.
Answer with JSON only: {"hours": H}, H one of """

_PLAN_RULES = f"""\
You are the tax planner of an economy. Once a year you set the marginal tax rate of each bracket to make social welfare as \
high as you can. All taxes are paid back to everyone as the same rebate. Welfare counts the utility of the poor more than \
that of the rich. High rates make people work less.
You may change each rate by one of {", ".join(f"{c:+d}" if c else "0" for c in CHANGES)} percentage points; rates stay \
between 0 and 100 %.
Answer with JSON only: {{"changes": [C1, C2, ...]}}, one number per bracket, lowest bracket first."""


def labor_messages(observation: LaborObservation) -> tuple[Message, ...]:
    """Chat for today's hours."""
    lines = [f"Your pay: {observation.skill:,.0f} dollars a year per weekly hour ({40 * observation.skill:,.0f} at 40 hours)."]
    if observation.history:
        lines.append("Your days so far:")
    lines += [
        f"Year {d.year + 1} day {d.day + 1}: {d.hours:.0f} hours, income {d.income:,.0f}, tax {d.tax:,.0f}, "
        f"rebate {d.rebate:,.0f}, utility {amount_text(d.utility)}"
        for d in observation.history
    ]
    tail = f"Today is year {observation.year + 1} day {observation.day + 1}. Yesterday's rebate: {observation.rebate:,.0f}."
    if observation.history:
        best = max(observation.history, key=lambda d: d.utility)
        tail += f" Your best of these days: {best.hours:.0f} hours with utility {amount_text(best.utility)}."
    lines.append(tail + " How many hours a week do you work today?")
    utility = _CURVED if observation.curvature > 0 else _LINEAR
    rules = _LABOR_RULES + utility + _LABOR_TASK + ", ".join(map(str, observation.choices)) + "."
    system = "\n".join([rules, "This year's tax:", *_bracket_lines(observation.brackets)])
    return Message("system", system), Message("user", "\n".join(lines))


def plan_messages(observation: PlanObservation) -> tuple[Message, ...]:
    """Chat for next year's schedule."""
    lines = ["Schedules so far, rates from the lowest bracket up, with the welfare they reached:"]
    lines += [f"Year {y.year + 1}: {_percents(y.rates)}: welfare {amount_text(y.welfare)}" for y in observation.history]
    best = observation.best
    lines.append(f"Best so far: year {best.year + 1}: {_percents(best.rates)}: welfare {amount_text(best.welfare)}")
    lines.append(
        f"Last year: {observation.mean_hours:.1f} hours a week, mean income {observation.mean_income:,.0f}, "
        f"rebate {observation.rebate:,.0f}."
    )
    lines.append("By bracket:")
    lines += [
        f"{line}: {100 * g.people:.1f} % of the people, mean income {g.income:,.0f}, mean utility {amount_text(g.utility)}"
        for line, g in zip(_bracket_lines(observation.brackets), observation.groups, strict=True)
    ]
    count = len(observation.brackets)
    lines.append(f"Set year {observation.year + 1}: give {count} change{'s' if count > 1 else ''}, one per bracket.")
    return Message("system", _PLAN_RULES), Message("user", "\n".join(lines))


def try_again(messages: Sequence[Message], reply: str, problem: str) -> tuple[Message, ...]:
    """The chat continued after a reply that could not be used."""
    return (
        *messages,
        Message("assistant", reply[:300]),
        Message("user", f"That answer cannot be used: {problem}. Answer again, with JSON only."),
    )


def _bracket_lines(brackets: Sequence[Bracket]) -> list[str]:
    tops = [*(b.threshold for b in brackets[1:]), None]
    return [
        f"{100 * b.rate:.0f} % on income from {b.threshold:,.0f}" + (f" to {top:,.0f}" if top is not None else " up")
        for b, top in zip(brackets, tops, strict=True)
    ]


def _percents(rates: Sequence[float]) -> str:
    return "/".join(f"{100 * r:.0f}" for r in rates) + " %"
