"""How many hours a week a worker works."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

from jaxecon.config.names import Style
from jaxecon.core.text import decimals_apart
from llm.decisions.base import Parsed, Unusable
from llm.decisions.history import without_older_history
from llm.decisions.numbers import HOURS_A_WEEK, number_in
from llm.decisions.replies import answer_schema, only_field, reasoning_tokens
from llm.decisions.shared import Bracket, Cues, EconomyFacts, Objective, merged


class WorkerDay(NamedTuple):
    """One day a worker remembers.

    hours: h/week; income, tax, rebate: $/year at annual rates. effort: the disutility of the hours,
    $/year at curvature 0, else in the unit of utility. welfare: social welfare.
    """

    year: int
    day: int
    hours: float
    income: float
    tax: float
    rebate: float
    effort: float
    welfare: float


class TriedHours(NamedTuple):
    """What a choice of hours that a worker has tried brings it at this year's tax.

    hours: h/week. days: on how many days it worked them, of this year where it compares social
    welfare. tax: $/year. utility: income - tax - effort at curvature 0, else utility at yesterday's
    rebate; None where nothing would be left to live on. welfare: mean of social welfare over this
    year's days with these hours, None where there were none.
    """

    hours: int
    days: int
    tax: float
    utility: float | None
    welfare: float | None = None


class HoursChange(NamedTuple):
    """A worker's last change of hours.

    hours_before, hours: h/week. gain: of what it compares its hours by; None where that is not
    known.
    """

    hours_before: float
    hours: float
    gain: float | None


@dataclass(frozen=True)
class LaborObservation:
    """What a worker knows when it chooses today's hours."""

    year: int
    day: int
    cohort: str
    agent: int
    economy: EconomyFacts
    brackets: tuple[Bracket, ...]
    skill: float  # $/year per weekly hour
    rebate: float  # yesterday's, $/year
    history: tuple[WorkerDay, ...]
    last_hours: int  # what the worker does if no answer can be used
    choices: tuple[int, ...]  # h/week, rising
    persona: str = ""
    objective: Objective = "egotistical"
    tried: tuple[TriedHours, ...] = ()  # in order of hours
    best: TriedHours | None = None  # the best hours so far
    untried: tuple[int, ...] = ()  # hours beside the best, or beside those of yesterday
    last_change: HoursChange | None = None
    counts: bool = True  # whether the number of days is told
    cues: Cues = Cues()
    style: Style = "io"

    @property
    def values(self) -> list[float]:
        """What the hours that it knows are compared by: utility, or else social welfare."""
        known = self.tried if self.best is None else (*self.tried, self.best)
        own = self.objective == "egotistical"
        values = [t.utility if own else t.welfare for t in known]
        return [value for value in values if value is not None]


@lru_cache
def labor_schema(choices: tuple[int, ...], style: Style = "io") -> dict[str, Any]:
    """The schema of an answer that is one of the choices, h/week."""
    return answer_schema(style, hours={"type": "integer", "enum": list(choices)})


def parse_labor(text: str, choices: Sequence[int]) -> Parsed[int]:
    """Read hours per week from {"hours": n}.

    Hours between the choices are moved to the nearest one. Raises Unusable.
    """
    answer, repaired = only_field(text, "hours", _weekly_hours)
    hours, coerced = _weekly_hours(answer)
    if not min(choices) <= hours <= max(choices):
        raise Unusable(f"hours must be between {min(choices)} and {max(choices)}")
    nearest = (
        int(hours) if hours in choices else min(choices, key=lambda choice: abs(choice - hours))
    )
    return Parsed(nearest, repaired or coerced or nearest != hours)


def _weekly_hours(answer: Any) -> tuple[float, bool]:
    return number_in(answer, "hours", HOURS_A_WEEK)


_parse_labor = lru_cache(maxsize=4096)(parse_labor)  # models give the same few answers
_MAX_CACHED = 400  # characters of a reply


class Labor:
    """The decision on hours a week. Falls back on the hours of the day before."""

    name = template = "labor"
    rules: tuple[str, ...] = (
        "economy",
        "brackets",
        "choices",
        "any_whole_hours",
        "objective",
        "style",
    )

    def values(self, observation: LaborObservation) -> dict[str, Any]:
        o = observation
        return vars(o) | {
            "brackets": merged(o.brackets),
            "decimals": decimals_apart(o.values),
            "any_whole_hours": o.choices[-1] - o.choices[0] == len(o.choices) - 1,
        }

    def schema(self, observation: LaborObservation) -> dict[str, Any]:
        return labor_schema(observation.choices, observation.style)

    def parse(self, text: str, observation: LaborObservation) -> Parsed[int]:
        parse = _parse_labor if len(text) <= _MAX_CACHED else parse_labor
        return parse(text, observation.choices)

    def fallback(self, observation: LaborObservation) -> int:
        return observation.last_hours

    def tokens(self, observation: LaborObservation) -> int:
        return 16 + reasoning_tokens(observation.style)

    def shorter(self, observation: LaborObservation) -> LaborObservation | None:
        if observation.history:
            return without_older_history(observation)
        if len(observation.tried) > 1:
            return replace(observation, tried=_nearer_half(observation))
        return None


def _nearer_half(o: LaborObservation) -> tuple[TriedHours, ...]:
    """The half of the tried hours that are nearest to the best, or to yesterday's hours."""
    centre = o.last_hours if o.best is None else o.best.hours
    nearest = sorted(o.tried, key=lambda tried: abs(tried.hours - centre))
    kept = set(nearest[: len(nearest) // 2])
    return tuple(tried for tried in o.tried if tried in kept)
