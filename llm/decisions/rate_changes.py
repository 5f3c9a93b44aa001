"""Changes of the rates, as planners and elected workers give them."""

from functools import lru_cache
from typing import Any, Protocol

from jaxecon.planners.base import MAX_CHANGE, changes
from llm.decisions.base import Parsed, Style, Unusable
from llm.decisions.history import reasoning_tokens
from llm.decisions.replies import answer_in, number_in, only_object
from llm.decisions.wording import Bracket
from llm.messages import DecisionKindName


def parse_plan(text: str, brackets: int, max_change: int = MAX_CHANGE) -> Parsed[tuple[int, ...]]:
    """Changes in percentage points, one per bracket, from {"changes": [...]}. Raises Unusable."""
    answer, repaired = only_object(text, "changes")
    moves, coerced = parse_changes(answer["changes"], brackets, max_change)
    return Parsed(moves, repaired or coerced)


@lru_cache
def plan_schema(brackets: int, style: Style = "io", max_change: int = MAX_CHANGE) -> dict[str, Any]:
    change = {"type": "integer", "enum": list(changes(max_change))}
    return answer_in(
        style,
        changes={"type": "array", "items": change, "minItems": brackets, "maxItems": brackets},
    )


class WithRates(Protocol):
    """What is known of the schedule that is to be changed. max_change: percentage points."""

    @property
    def brackets(self) -> tuple[Bracket, ...]: ...
    @property
    def style(self) -> Style: ...
    @property
    def max_change(self) -> int: ...


class RateChanges:
    """Changes of the rates in percentage points, one per bracket. Falls back on no change."""

    name: DecisionKindName = "plan"

    def schema(self, observation: WithRates) -> dict[str, Any]:
        return plan_schema(len(observation.brackets), observation.style, observation.max_change)

    def parse(self, text: str, observation: WithRates) -> Parsed[tuple[int, ...]]:
        return parse_plan(text, len(observation.brackets), observation.max_change)

    def fallback(self, observation: WithRates) -> tuple[int, ...]:
        return (0,) * len(observation.brackets)

    def tokens(self, observation: WithRates) -> int:
        return 16 + 6 * len(observation.brackets) + reasoning_tokens(observation.style)


def parse_changes(answer: Any, brackets: int, max_change: int) -> tuple[tuple[int, ...], bool]:
    """Percentage points, and whether they had to be read out of something else."""
    if not isinstance(answer, list) or len(answer) != brackets:
        raise Unusable(f"changes must be a list of {brackets} numbers")
    allowed = changes(max_change)
    moves, repaired = [], False
    for item in answer:
        change, coerced = number_in(item, "every change")
        if change not in allowed:
            raise Unusable(f"every change must be one of {', '.join(map(str, allowed))}")
        moves.append(int(change))
        repaired = repaired or coerced
    return tuple(moves), repaired
