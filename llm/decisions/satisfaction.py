"""Whether a worker is satisfied with its tax and rebate."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llm.decisions.base import Parsed, Unusable
from llm.decisions.replies import object_schema, only_field, yes_no
from llm.decisions.shared import YearSoFar, merged


@dataclass(frozen=True)
class SatisfactionObservation(YearSoFar):
    """What a worker looks back on when it is asked whether it is satisfied."""

    satisfied: bool  # until now: what it stays if no answer can be used


@lru_cache
def satisfaction_schema() -> dict[str, Any]:
    """The schema of a yes or no."""
    return object_schema(satisfied={"type": "boolean"})


def parse_satisfaction(text: str) -> Parsed[bool]:
    """Read yes or no from {"satisfied": true}; words in quotes are understood. Raises Unusable."""
    answer, repaired = only_field(text, "satisfied", _truth_value)
    satisfied, coerced = yes_no(answer, "satisfied")
    return Parsed(satisfied, repaired or coerced)


def _truth_value(value: Any) -> tuple[bool, bool]:
    # a bare "no" may be the beginning of a refusal; JSON's and Python's literals are answers
    if not isinstance(value, bool):
        raise Unusable("satisfied must be true or false")
    return yes_no(value, "satisfied")


class Satisfaction:
    """Whether a worker is satisfied with its tax and rebate. Falls back on its last answer."""

    name = template = "satisfaction"
    rules: tuple[str, ...] = ("economy", "brackets")

    def values(self, observation: SatisfactionObservation) -> dict[str, Any]:
        return vars(observation) | {"brackets": merged(observation.brackets)}

    def schema(self, observation: SatisfactionObservation) -> dict[str, Any]:
        return satisfaction_schema()

    def parse(self, text: str, observation: SatisfactionObservation) -> Parsed[bool]:
        return parse_satisfaction(text)

    def fallback(self, observation: SatisfactionObservation) -> bool:
        return observation.satisfied

    def tokens(self, observation: SatisfactionObservation) -> int:
        return 16

    def shorter(self, observation: SatisfactionObservation) -> None:
        return None
