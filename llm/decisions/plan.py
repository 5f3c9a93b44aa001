"""A planner's changes of the rates."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jaxecon.config.names import Style
from jaxecon.core.text import decimals_apart
from jaxecon.planners.base import possible_changes
from llm.decisions.history import without_older_history
from llm.decisions.rate_changes import RateChanges, allowed_changes
from llm.decisions.shared import Bracket, Cues, EconomyFacts


class BracketGroup(NamedTuple):
    """The people whose income of the year lies in one bracket, and the tax raised in it.

    people: their share. income: mean, $/year. utility: mean. revenue: of the tax on all incomes'
    part within the bracket, $/year per person of the economy; revenue_before: the same a year
    earlier, None before the second year.
    """

    people: float
    income: float
    utility: float
    revenue: float
    revenue_before: float | None = None


class PlannerYear(NamedTuple):
    """One year a planner remembers.

    rates: (k,) fractions; welfare: mean of the year's last days. settling: whether workers may not
    have adjusted to the rates yet: the first year at these.
    """

    year: int
    rates: tuple[float, ...]
    welfare: float
    settling: bool = False


class TriedSchedule(NamedTuple):
    """What a schedule brought.

    rates: (k,) fractions. years: number of years of which the next three are: the settled ones or,
    without any, those in which workers may not have adjusted yet (settling). mean, lowest, highest:
    welfare.
    """

    rates: tuple[float, ...]
    years: int
    mean: float
    lowest: float
    highest: float
    settling: bool = False


class Noise(NamedTuple):
    """How the welfare of one settled schedule varies: standard deviation, number of repeats."""

    deviation: float
    repeats: int


class UntriedRates(NamedTuple):
    """Rates of one bracket, fractions, that were not tried beside the best schedule.

    bracket: counted from 0.
    """

    bracket: int
    rates: tuple[float, ...]


@dataclass(frozen=True)
class PlanObservation:
    """What a planner knows when it sets next year's schedule."""

    year: int  # the year to plan
    cohort: str
    agent: int
    economy: EconomyFacts
    brackets: tuple[Bracket, ...]  # in force until now
    history: tuple[PlannerYear, ...]
    groups: tuple[BracketGroup, ...]
    mean_hours: float  # of last year, h/week
    mean_income: float  # $/year, as is the rebate
    rebate: float
    tried: tuple[TriedSchedule, ...] = ()  # distinct schedules, the best first
    best: TriedSchedule | None = None  # the best of all
    untried: tuple[UntriedRates, ...] = ()  # beside the best, or beside the rates in force
    last_change: tuple[PlannerYear, PlannerYear] | None = None  # the last two years
    noise: Noise | None = None
    counts: bool = True  # whether numbers of years, ranges and the noise are told
    cues: Cues = Cues()
    max_change: int = 20  # percentage points
    style: Style = "io"
    day: int = 0


def next_rates(rate: float, max_change: int) -> list[tuple[int, float]]:
    """Each allowed change of a rate, in percentage points, with the rate that it leads to."""
    return [
        (change, min(max(rate + change / 100, 0.0), 1.0)) for change in possible_changes(max_change)
    ]


def _decimals(o: PlanObservation) -> int:
    """The decimals of welfare: no more than its noise and its precision (float32) bear."""
    values = [t.mean for t in o.tried] + [y.welfare for y in o.history]
    decimals = decimals_apart(values, resolution=1e-6)
    noise = [] if o.noise is None or o.noise.deviation == 0 else [0.0, o.noise.deviation]
    return min(decimals, decimals_apart(noise)) if noise else decimals


class Plan(RateChanges):
    """A planner's changes of the rates. Falls back on no change."""

    template = "plan"
    rules: tuple[str, ...] = ("economy", "allowed", "style")

    def values(self, observation: PlanObservation) -> dict[str, Any]:
        o = observation
        return vars(o) | {
            "allowed": allowed_changes(o.max_change),
            "outcomes": [next_rates(b.rate, o.max_change) for b in o.brackets],
            "decimals": _decimals(o),
        }

    def shorter(self, observation: PlanObservation) -> PlanObservation | None:
        if observation.history:
            return without_older_history(observation)
        if observation.tried:
            return replace(observation, tried=observation.tried[: len(observation.tried) // 2])
        return None
