"""Changes of the tax rates: the answers of planners and elected workers."""

from functools import lru_cache
from typing import Any, Protocol

from jaxecon.config.names import Style
from jaxecon.planners.base import MAX_CHANGE, possible_changes
from llm.decisions.base import Parsed, Unusable
from llm.decisions.numbers import PERCENTAGE_POINTS, number_in
from llm.decisions.replies import answer_schema, list_in, only_field, reasoning_tokens
from llm.decisions.shared import Bracket

_NO_CHANGE = ("no change", "unchanged")


class WithRates(Protocol):
    """What is known about the schedule to be changed. max_change: percentage points."""

    @property
    def brackets(self) -> tuple[Bracket, ...]: ...
    @property
    def style(self) -> Style: ...
    @property
    def max_change(self) -> int: ...


def allowed_changes(max_change: int) -> str:
    """The percentage points by which a rate may change, as a prompt lists them."""
    return ", ".join(f"{change:+d}" if change else "0" for change in possible_changes(max_change))


@lru_cache
def plan_schema(brackets: int, style: Style = "io", max_change: int = MAX_CHANGE) -> dict[str, Any]:
    """The schema of one change per bracket."""
    change = {"type": "integer", "enum": list(possible_changes(max_change))}
    return answer_schema(
        style,
        changes={"type": "array", "items": change, "minItems": brackets, "maxItems": brackets},
    )


def parse_plan(text: str, brackets: int, max_change: int = MAX_CHANGE) -> Parsed[tuple[int, ...]]:
    """Changes in percentage points, one per bracket, from {"changes": [...]}. Raises Unusable."""
    answer, repaired = only_field(
        text, "changes", lambda value: parse_changes(value, brackets, max_change)
    )
    moves, coerced = parse_changes(answer, brackets, max_change)
    return Parsed(moves, repaired or coerced)


def parse_changes(answer: Any, brackets: int, max_change: int) -> tuple[tuple[int, ...], bool]:
    """The changes in percentage points, and whether any was not given as an integer."""
    listed = list_in(answer, "changes")
    if len(listed) != brackets:
        raise Unusable(f"changes must be a list of {brackets} numbers")
    allowed = possible_changes(max_change)
    moves, repaired = [], listed is not answer
    for item in listed:
        if isinstance(item, str) and item.strip().lower() in _NO_CHANGE:
            item = "0"
        change, coerced = number_in(item, "every change", PERCENTAGE_POINTS)
        if change not in allowed:
            raise Unusable(f"every change must be one of {', '.join(map(str, allowed))}")
        moves.append(int(change))
        repaired = repaired or coerced
    return tuple(moves), repaired


class RateChanges:
    """Changes of the rates in percentage points, one per bracket. Falls back on no change."""

    name = "plan"

    def schema(self, observation: WithRates) -> dict[str, Any]:
        return plan_schema(len(observation.brackets), observation.style, observation.max_change)

    def parse(self, text: str, observation: WithRates) -> Parsed[tuple[int, ...]]:
        return parse_plan(text, len(observation.brackets), observation.max_change)

    def fallback(self, observation: WithRates) -> tuple[int, ...]:
        return (0,) * len(observation.brackets)

    def tokens(self, observation: WithRates) -> int:
        return 16 + 6 * len(observation.brackets) + reasoning_tokens(observation.style)
