"""A vote on candidates."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxecon.config.names import Style
from jaxecon.planners.elections.voting import VotingMethod
from llm.decisions.base import Parsed, Unusable
from llm.decisions.election import PastYear
from llm.decisions.history import without_older_history
from llm.decisions.numbers import CANDIDATE, number_in
from llm.decisions.replies import answer_schema, list_in, only_field, reasoning_tokens
from llm.decisions.shared import Bracket, EconomyFacts, Objective


@dataclass(frozen=True)
class CandidateView:
    """One candidate as a voter sees it.

    rates: (k,) that it announced, None where it announced none. pay: $/year at 40 hours, None for a
    planner. you: whether it is the voter.
    """

    rates: tuple[float, ...] | None
    pay: float | None
    leads: bool
    you: bool


@dataclass(frozen=True)
class VoteObservation:
    """What a voter knows: as CandidacyObservation, and the candidates in the ballot's order."""

    year: int
    cohort: str
    agent: int
    economy: EconomyFacts
    brackets: tuple[Bracket, ...]
    persona: str
    skill: float
    history: tuple[PastYear, ...]
    hours: float
    income: float
    tax: float
    rebate: float
    candidates: tuple[CandidateView, ...]
    method: VotingMethod = "plurality"
    objective: Objective = "egotistical"
    style: Style = "io"
    day: int = 0


_FIELDS: dict[VotingMethod, str] = {
    "plurality": "vote",
    "approval": "approve",
    "instant_runoff": "ranking",
    "borda": "ranking",
}


@lru_cache
def vote_schema(method: VotingMethod, candidates: int, style: Style = "io") -> dict[str, Any]:
    """The schema of a number, or a list of numbers, of candidates on the ballot."""
    numbers = list(range(1, candidates + 1))
    if method == "plurality":
        return answer_schema(style, vote={"type": "integer", "enum": [0, *numbers]})
    several = {
        "type": "array",
        "items": {"type": "integer", "enum": numbers},
        "minItems": 0,
        "maxItems": candidates,
    }
    return answer_schema(style, **{_FIELDS[method]: several})


def parse_vote(text: str, method: VotingMethod, candidates: int) -> Parsed[tuple[int, ...]]:
    """Read candidates' numbers from 1: the chosen one, all approved, or a ranking, best first.

    Replies are {"vote": 2}, {"approve": [1, 3]} or {"ranking": [3, 1]}; the value () is a vote for
    nobody. A number that is repeated counts once. Raises Unusable.
    """
    answer, repaired = only_field(
        text, _FIELDS[method], lambda value: _chosen(value, method, candidates)
    )
    chosen, coerced = _chosen(answer, method, candidates)
    return Parsed(chosen, repaired or coerced)


def _chosen(answer: Any, method: VotingMethod, candidates: int) -> tuple[tuple[int, ...], bool]:
    """The numbers, and whether they were given in another form."""
    field, repaired = _FIELDS[method], False
    if method == "plurality":
        is_list = isinstance(answer, list) and len(answer) == 1
        repaired = is_list or answer is None
        answer = answer if is_list else [] if answer is None else [answer]
    listed = list_in(answer, field)
    repaired = repaired or (listed is not answer)
    chosen: list[int] = []
    for item in listed:
        number, coerced = number_in(item, field, CANDIDATE)
        if method == "plurality" and number == 0:
            return (), repaired or coerced
        if number not in range(1, candidates + 1):
            raise Unusable(
                f"{field} takes candidates' numbers, 1 to {candidates}"
                + (", or 0" if method == "plurality" else "")
            )
        repaired = repaired or coerced or number in chosen
        chosen += [int(number)] if number not in chosen else []
    return tuple(chosen), repaired


class Vote:
    """A vote: candidates' numbers as `parse_vote` reads them. Falls back on a vote for nobody."""

    name = template = "vote"
    rules: tuple[str, ...] = ("economy", "brackets", "method", "objective", "planners", "style")

    def values(self, observation: VoteObservation) -> dict[str, Any]:
        planners = any(candidate.pay is None for candidate in observation.candidates)
        return vars(observation) | {"planners": planners}

    def schema(self, observation: VoteObservation) -> dict[str, Any]:
        return vote_schema(observation.method, len(observation.candidates), observation.style)

    def parse(self, text: str, observation: VoteObservation) -> Parsed[tuple[int, ...]]:
        return parse_vote(text, observation.method, len(observation.candidates))

    def fallback(self, observation: VoteObservation) -> tuple[int, ...]:
        return ()

    def tokens(self, observation: VoteObservation) -> int:
        numbers = 1 if observation.method == "plurality" else len(observation.candidates)
        return 16 + 4 * numbers + reasoning_tokens(observation.style)

    def shorter(self, observation: VoteObservation) -> VoteObservation | None:
        return without_older_history(observation)
