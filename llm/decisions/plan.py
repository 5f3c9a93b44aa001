"""A planner's changes of the rates."""

import math
from dataclasses import dataclass

from jaxecon.core.text import amount_text
from llm.decisions.base import Style
from llm.decisions.history import without_older_or_worse
from llm.decisions.rate_changes import RateChanges, allowed_changes
from llm.decisions.wording import (
    Bracket,
    Cues,
    Statistics,
    bracket_lines,
    form_text,
    percents,
    set_year_line,
    statistics_line,
    trend_text,
)
from llm.messages import Message


@dataclass(frozen=True)
class BracketGroup:
    """The people whose income of the year lies in one bracket.

    people: their share. income: mean, $/year. utility: mean.
    """

    people: float
    income: float
    utility: float


@dataclass(frozen=True)
class PlannerYear:
    """One year a planner remembers.

    rates: (k,) fractions; welfare: mean of the year's last days.
    """

    year: int
    rates: tuple[float, ...]
    welfare: float


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
    mean_hours: float  # of last year, h/week
    mean_income: float  # $/year, as is the rebate
    rebate: float
    statistics: Statistics | None = None
    trend: tuple[PlannerYear, PlannerYear] | None = None  # the last two years, to judge the change
    cues: Cues = Cues()
    max_change: int = 20  # percentage points
    style: Style = "io"
    day: int = 0


def _rules(o: PlanObservation) -> str:
    form = form_text(o.style, '"changes": [C1, C2, ...]')
    return (
        "You are the tax planner of an economy. Once a year you set the marginal tax rate of each "
        "bracket to make social "
        "welfare as high as you can. All taxes are paid back to everyone as the same rebate. "
        "Welfare counts the utility of the "
        "poor more than that of the rich. High rates make people work less.\n"
        f"You may change each rate by one of {allowed_changes(o.max_change)} percentage points; "
        "rates stay between 0 and 100 %.\n"
        f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
    )


def _memory_lines(o: PlanObservation) -> list[str]:
    """The lines on what the planner remembers, and what it is advised."""
    lines = []
    if o.history:
        lines.append(
            "Schedules so far, rates from the lowest bracket up, with the welfare they reached:"
        )
    lines += [f"Year {y.year + 1}: {_outcome(y)}" for y in o.history]
    if o.statistics is not None and o.statistics.count:
        lines.append(statistics_line(o.statistics, "years", "welfare"))
    if o.best and not (o.cues.exploit and len(o.best) == 1):  # the cue already names the only one
        lines.append("Best schedules tried:")
        lines += [f"{_outcome(y)} (year {y.year + 1})" for y in o.best]
    if o.trend is not None:
        before, after = o.trend
        change = after.welfare - before.welfare
        if math.isfinite(change):
            moved = f"the rates went from {percents(before.rates)} to {percents(after.rates)}"
            lines.append(trend_text(moved, "welfare", change))
    if o.cues.exploit and o.best:
        action = "Exploration is over: now go to the best so far" if o.cues.final else "Best so far"
        lines.append(f"{action}: year {o.best[0].year + 1}: {_outcome(o.best[0])}")
    if o.cues.explore:
        lines.append("Schedules that have not been tried may be better: explore.")
    return lines


def _outcome(y: PlannerYear) -> str:
    return f"{percents(y.rates)}: welfare {amount_text(y.welfare)}"


def _present_lines(o: PlanObservation) -> list[str]:
    """The lines on last year's economy and the schedule that is to be changed."""
    groups = [
        f"{line}: {100 * g.people:.1f} % of the people, mean income {g.income:,.0f}, mean utility "
        f"{amount_text(g.utility)}"
        for line, g in zip(bracket_lines(o.brackets), o.groups, strict=True)
    ]
    return [
        f"Last year: {o.mean_hours:.1f} hours a week, mean income {o.mean_income:,.0f}, rebate "
        f"{o.rebate:,.0f}.",
        "The rates now, and who earns in each bracket:",
        *groups,
        set_year_line(o.year, len(o.brackets)),
    ]


class Plan(RateChanges):
    """A planner's changes of the rates. Falls back on no change."""

    def messages(self, observation: PlanObservation) -> tuple[Message, ...]:
        lines = [*_memory_lines(observation), *_present_lines(observation)]
        return Message("system", _rules(observation)), Message("user", "\n".join(lines))

    def shorter(self, observation: PlanObservation) -> PlanObservation | None:
        return without_older_or_worse(observation)
