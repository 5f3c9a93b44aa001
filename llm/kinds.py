"""The kinds of decision: what is asked, in which form it is answered, and what happens where no answer can be used."""

from bisect import bisect_left
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol, TypeVar

from llm.election_prompts import (
    CandidacyObservation,
    PolicyObservation,
    VoteObservation,
    candidacy_messages,
    policy_messages,
    vote_messages,
)
from llm.engine import DecisionKindName, Message
from llm.prompts import (
    LaborObservation,
    PersonaObservation,
    PlanObservation,
    SatisfactionObservation,
    labor_messages,
    persona_messages,
    plan_messages,
    satisfaction_messages,
)
from llm.schemas import (
    MOST_PERSONA,
    MOST_REASONING,
    Parsed,
    Style,
    candidacy_schema,
    labor_schema,
    parse_candidacy,
    parse_labor,
    parse_persona,
    parse_plan,
    parse_satisfaction,
    parse_vote,
    persona_schema,
    plan_schema,
    satisfaction_schema,
    vote_schema,
)

Value = TypeVar("Value")
Observation = TypeVar("Observation", bound="Addressed")
Seen = TypeVar("Seen", bound="Addressed", contravariant=True)
Shortened = TypeVar("Shortened", LaborObservation, PlanObservation)
Remembering = TypeVar("Remembering", LaborObservation, PlanObservation, CandidacyObservation, PolicyObservation, VoteObservation)

_MOST_DAYS = 2**17  # at least as many as a year may have


class Addressed(Protocol):
    """Every observation says whose decision it is, and when."""

    @property
    def year(self) -> int: ...
    @property
    def day(self) -> int: ...
    @property
    def cohort(self) -> str: ...
    @property
    def agent(self) -> int: ...


class DecisionKind(Protocol[Seen, Value]):
    """What the bridge needs to know of one kind of decision."""

    name: DecisionKindName

    def messages(self, observation: Seen) -> tuple[Message, ...]: ...
    def schema(self, observation: Seen) -> dict[str, Any]: ...
    def parse(self, text: str, observation: Seen) -> Parsed[Value]: ...
    def fallback(self, observation: Seen) -> Value: ...
    def tokens(self, observation: Seen) -> int:
        """What the longest allowed answer needs."""
        ...

    def shorter(self, observation: Seen) -> Any:
        """The observation with less of its history, for a prompt that is too long; None where there is no less."""
        ...


_parse_labor = lru_cache(maxsize=4096)(parse_labor)  # models say the same few things


class Labor:
    """Hours a week. Falls back on the hours of the day before."""

    name: DecisionKindName = "labor"

    def messages(self, observation: LaborObservation) -> tuple[Message, ...]:
        return labor_messages(observation)

    def schema(self, observation: LaborObservation) -> dict[str, Any]:
        return labor_schema(observation.choices, observation.style)

    def parse(self, text: str, observation: LaborObservation) -> Parsed[int]:
        return _parse_labor(text, observation.choices)

    def fallback(self, observation: LaborObservation) -> int:
        return observation.last_hours

    def tokens(self, observation: LaborObservation) -> int:
        return 16 + _reasoning_tokens(observation.style)

    def shorter(self, observation: LaborObservation) -> LaborObservation | None:
        return _shorter(observation)


class _RateChanges:
    """Changes of the rates in percentage points, one per bracket. Falls back on no change."""

    name: DecisionKindName = "plan"

    def schema(self, observation: PlanObservation | PolicyObservation) -> dict[str, Any]:
        return plan_schema(len(observation.brackets), observation.style, observation.max_change)

    def parse(self, text: str, observation: PlanObservation | PolicyObservation) -> Parsed[tuple[int, ...]]:
        return parse_plan(text, len(observation.brackets), observation.max_change)

    def fallback(self, observation: PlanObservation | PolicyObservation) -> tuple[int, ...]:
        return (0,) * len(observation.brackets)

    def tokens(self, observation: PlanObservation | PolicyObservation) -> int:
        return 16 + 6 * len(observation.brackets) + _reasoning_tokens(observation.style)


class Plan(_RateChanges):
    """A planner's changes of the rates."""

    def messages(self, observation: PlanObservation) -> tuple[Message, ...]:
        return plan_messages(observation)

    def shorter(self, observation: PlanObservation) -> PlanObservation | None:
        return _shorter(observation)


class Satisfaction:
    """Whether a worker is satisfied with its tax and rebate. Falls back on what it was."""

    name: DecisionKindName = "satisfaction"

    def messages(self, observation: SatisfactionObservation) -> tuple[Message, ...]:
        return satisfaction_messages(observation)

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


class DescribePersona:
    """Somebody in the model's own words. Falls back on the template's."""

    name: DecisionKindName = "persona"

    def messages(self, observation: PersonaObservation) -> tuple[Message, ...]:
        return persona_messages(observation)

    def schema(self, observation: PersonaObservation) -> dict[str, Any]:
        return persona_schema()

    def parse(self, text: str, observation: PersonaObservation) -> Parsed[str]:
        return parse_persona(text)

    def fallback(self, observation: PersonaObservation) -> str:
        return observation.facts

    def tokens(self, observation: PersonaObservation) -> int:
        return 16 + MOST_PERSONA // 3

    def shorter(self, observation: PersonaObservation) -> None:
        return None


class Candidacy:
    """Whether a worker stands, and with which changes of the rates (percentage points); None: it does not. Falls back on None."""

    name: DecisionKindName = "candidacy"

    def messages(self, observation: CandidacyObservation) -> tuple[Message, ...]:
        return candidacy_messages(observation)

    def schema(self, observation: CandidacyObservation) -> dict[str, Any]:
        return candidacy_schema(len(observation.brackets), observation.style, observation.max_change)

    def parse(self, text: str, observation: CandidacyObservation) -> Parsed[tuple[int, ...] | None]:
        return parse_candidacy(text, len(observation.brackets), observation.max_change)

    def fallback(self, observation: CandidacyObservation) -> None:
        return None

    def tokens(self, observation: CandidacyObservation) -> int:
        return 24 + 6 * len(observation.brackets) + _reasoning_tokens(observation.style)

    def shorter(self, observation: CandidacyObservation) -> CandidacyObservation | None:
        return _without_older_history(observation)


class Vote:
    """Candidates' numbers from 1, as `schemas.parse_vote`. Falls back on a vote for nobody."""

    name: DecisionKindName = "vote"

    def messages(self, observation: VoteObservation) -> tuple[Message, ...]:
        return vote_messages(observation)

    def schema(self, observation: VoteObservation) -> dict[str, Any]:
        return vote_schema(observation.method, len(observation.candidates), observation.style)

    def parse(self, text: str, observation: VoteObservation) -> Parsed[tuple[int, ...]]:
        return parse_vote(text, observation.method, len(observation.candidates))

    def fallback(self, observation: VoteObservation) -> tuple[int, ...]:
        return ()

    def tokens(self, observation: VoteObservation) -> int:
        numbers = 1 if observation.method == "plurality" else len(observation.candidates)
        return 16 + 4 * numbers + _reasoning_tokens(observation.style)

    def shorter(self, observation: VoteObservation) -> VoteObservation | None:
        return _without_older_history(observation)


class Policy(_RateChanges):
    """An elected worker's changes of the rates."""

    def messages(self, observation: PolicyObservation) -> tuple[Message, ...]:
        return policy_messages(observation)

    def shorter(self, observation: PolicyObservation) -> PolicyObservation | None:
        return _without_older_history(observation)


def _without_older_history(observation: Remembering) -> Remembering | None:
    """Without up to the older half of the history; None where there is none.

    It then begins at a multiple of the largest power of two of days that takes no more than half. Such a beginning stays from
    day to day, and with it what the prefix cache holds; half of a history that grows would begin later every other day.
    """
    numbers = [entry.year * _MOST_DAYS + getattr(entry, "day", 0) for entry in observation.history]
    if not numbers:
        return None
    most, gone, step = (len(numbers) + 1) // 2, 1, 1
    while (further := bisect_left(numbers, (numbers[0] // step + 1) * step)) <= most and step < 2 * numbers[-1]:
        gone, step = further, 2 * step
    return replace(observation, history=observation.history[gone:])


def _reasoning_tokens(style: Style) -> int:
    return MOST_REASONING // 3 + 16 if style == "cot" else 0


def _shorter(observation: Shortened) -> Shortened | None:
    """Without the older half of the history; then without the worst half of the best."""
    if observation.history:
        return _without_older_history(observation)
    if observation.best:
        return replace(observation, best=observation.best[: len(observation.best) // 2])
    return None
