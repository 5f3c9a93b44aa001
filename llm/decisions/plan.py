"""A planner's changes of the rates."""

import math
from dataclasses import dataclass

from jaxecon.core.text import amount_text
from jaxecon.planners.base import changes
from llm.decisions.base import Style
from llm.decisions.history import shortened
from llm.decisions.rate_changes import RateChanges
from llm.decisions.wording import (
    Bracket,
    Cues,
    Statistics,
    bracket_lines,
    form_text,
    percents,
    trend_text,
)
from llm.messages import Message


@dataclass(frozen=True)
class BracketGroup:
    """Who ended the year in one bracket. people: share; income: mean, $/year; utility: mean."""

    people: float
    income: float
    utility: float


@dataclass(frozen=True)
class PlannerYear:
    """One year a planner remembers. rates: fractions; welfare: mean of the year's last days."""

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
    mean_hours: float
    mean_income: float
    rebate: float
    statistics: Statistics | None = None
    trend: tuple[PlannerYear, PlannerYear] | None = (
        None  # the last two years, where the last change is to be judged
    )
    cues: Cues = Cues()
    max_change: int = 20  # percentage points
    style: Style = "io"
    day: int = 0


def plan_messages(observation: PlanObservation) -> tuple[Message, ...]:
    """Chat for next year's schedule."""
    o = observation
    form = form_text(o.style, '"changes": [C1, C2, ...]')
    points = ", ".join(f"{c:+d}" if c else "0" for c in changes(o.max_change))
    system = (
        "You are the tax planner of an economy. Once a year you set the marginal tax rate of each "
        "bracket to make social "
        "welfare as high as you can. All taxes are paid back to everyone as the same rebate. "
        "Welfare counts the utility of the "
        "poor more than that of the rich. High rates make people work less.\n"
        f"You may change each rate by one of {points} percentage points; rates stay between 0 and "
        "100 %.\n"
        f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
    )
    lines = []
    if o.history:
        lines.append(
            "Schedules so far, rates from the lowest bracket up, with the welfare they reached:"
        )
    lines += [
        f"Year {y.year + 1}: {percents(y.rates)}: welfare {amount_text(y.welfare)}"
        for y in o.history
    ]
    if o.statistics is not None and o.statistics.lived:
        s = o.statistics
        spread = f", spread {amount_text(s.deviation)}" if s.lived > 1 else ""
        lines.append(f"Over {s.lived} years: mean welfare {amount_text(s.mean)}{spread}.")
    if o.best and not (o.cues.exploit and len(o.best) == 1):  # the cue says the only one
        lines.append("Best schedules tried:")
        lines += [
            f"{percents(y.rates)}: welfare {amount_text(y.welfare)} (year {y.year + 1})"
            for y in o.best
        ]
    if o.trend is not None:
        before, after = o.trend
        moved, change = (
            f"the rates went from {percents(before.rates)} to {percents(after.rates)}",
            after.welfare - before.welfare,
        )
        if math.isfinite(change):
            lines.append(trend_text(moved, "welfare", change))
    if o.cues.exploit and o.best:
        y = o.best[0]
        action = "Exploration is over: now go to the best so far" if o.cues.final else "Best so far"
        lines.append(
            f"{action}: year {y.year + 1}: {percents(y.rates)}: welfare {amount_text(y.welfare)}"
        )
    if o.cues.explore:
        lines.append("Schedules that have not been tried may be better: explore.")
    lines.append(
        f"Last year: {o.mean_hours:.1f} hours a week, mean income {o.mean_income:,.0f}, rebate "
        f"{o.rebate:,.0f}."
    )
    lines.append("The rates now, and who earns in each bracket:")
    lines += [
        f"{line}: {100 * g.people:.1f} % of the people, mean income {g.income:,.0f}, mean utility "
        f"{amount_text(g.utility)}"
        for line, g in zip(bracket_lines(o.brackets), o.groups, strict=True)
    ]
    count = len(o.brackets)
    lines.append(
        f"Set year {o.year + 1}: give {count} change{'s' if count > 1 else ''}, one per bracket."
    )
    return Message("system", system), Message("user", "\n".join(lines))


class Plan(RateChanges):
    """A planner's changes of the rates."""

    def messages(self, observation: PlanObservation) -> tuple[Message, ...]:
        return plan_messages(observation)

    def shorter(self, observation: PlanObservation) -> PlanObservation | None:
        return shortened(observation)
