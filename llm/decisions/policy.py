"""An elected worker's changes of the rates."""

from dataclasses import dataclass

from llm.decisions import prompts
from llm.decisions.candidacy import CandidacyObservation
from llm.decisions.history import without_older_history
from llm.decisions.rate_changes import RateChanges, allowed_changes
from llm.messages import Message


@dataclass(frozen=True)
class PolicyObservation(CandidacyObservation):
    """What an elected worker knows. announced: (k,) rates that it stood for, None without any."""

    announced: tuple[float, ...] | None = None


class Policy(RateChanges):
    """An elected worker's changes of the rates. Falls back on no change."""

    def messages(self, observation: PolicyObservation) -> tuple[Message, ...]:
        allowed = allowed_changes(observation.max_change)
        return prompts.messages("policy", **vars(observation), allowed_changes=allowed)

    def shorter(self, observation: PolicyObservation) -> PolicyObservation | None:
        return without_older_history(observation)
