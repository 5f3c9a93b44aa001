"""Whether a worker stands for election, and with which rates."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxecon.config.names import Style
from jaxecon.planners.base import MAX_CHANGE
from llm.decisions.base import Parsed, Unusable
from llm.decisions.election import PastYear
from llm.decisions.history import without_older_history
from llm.decisions.rate_changes import allowed_changes, parse_changes, plan_schema
from llm.decisions.replies import answer_schema, only_object, reasoning_tokens, yes_no
from llm.decisions.shared import Bracket, EconomyFacts, Objective

# What all workers are told, whether they stand or have been elected.
POLICY_RULES = ("economy", "allowed", "brackets", "objective", "style")


@dataclass(frozen=True)
class CandidacyObservation:
    """What a worker knows when it is asked to stand.

    Once elected it knows the same when it sets the rates (PolicyObservation).
    """

    year: int  # the year whose rates are at stake
    cohort: str
    agent: int
    economy: EconomyFacts
    brackets: tuple[Bracket, ...]  # in force until now
    persona: str
    skill: float  # $/year per weekly hour
    history: tuple[PastYear, ...]
    hours: float  # mean of the last year, h/week; the next three in $/year
    income: float
    tax: float
    rebate: float
    leads: bool = False
    objective: Objective = "egotistical"
    max_change: int = 20  # percentage points
    style: Style = "io"
    day: int = 0


@lru_cache
def candidacy_schema(
    brackets: int, style: Style = "io", max_change: int = MAX_CHANGE
) -> dict[str, Any]:
    """The schema of a yes or no, and of one change per bracket."""
    return answer_schema(
        style,
        stand={"type": "boolean"},
        changes=plan_schema(brackets, "io", max_change)["properties"]["changes"],
    )


def parse_candidacy(
    text: str, brackets: int, max_change: int = MAX_CHANGE
) -> Parsed[tuple[int, ...] | None]:
    """Read changes, percentage points per bracket, from {"stand": true, "changes": [...]}.

    The value is None where the worker does not stand. Raises Unusable.
    """
    answer, repaired = only_object(text, "stand", "changes")
    stands, coerced = yes_no(answer["stand"], "stand")
    repaired = repaired or coerced
    if not stands:
        return Parsed(None, repaired)
    if "changes" not in answer:
        raise Unusable(f"changes must be a list of {brackets} numbers")
    moves, coerced = parse_changes(answer["changes"], brackets, max_change)
    return Parsed(moves, repaired or coerced)


class Candidacy:
    """The changes of the rates (percentage points) with which a worker stands for election.

    None means that it does not stand, and is the fallback.
    """

    name = template = "candidacy"
    rules: tuple[str, ...] = POLICY_RULES

    def values(self, observation: CandidacyObservation) -> dict[str, Any]:
        return vars(observation) | {"allowed": allowed_changes(observation.max_change)}

    def schema(self, observation: CandidacyObservation) -> dict[str, Any]:
        return candidacy_schema(
            len(observation.brackets), observation.style, observation.max_change
        )

    def parse(self, text: str, observation: CandidacyObservation) -> Parsed[tuple[int, ...] | None]:
        return parse_candidacy(text, len(observation.brackets), observation.max_change)

    def fallback(self, observation: CandidacyObservation) -> None:
        return None

    def tokens(self, observation: CandidacyObservation) -> int:
        return 24 + 6 * len(observation.brackets) + reasoning_tokens(observation.style)

    def shorter(self, observation: CandidacyObservation) -> CandidacyObservation | None:
        return without_older_history(observation)
