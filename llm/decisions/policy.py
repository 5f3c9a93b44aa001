"""An elected worker's changes of the rates."""

from dataclasses import dataclass
from typing import Any

from llm.decisions.candidacy import POLICY_RULES, CandidacyObservation
from llm.decisions.history import without_older_history
from llm.decisions.rate_changes import RateChanges, allowed_changes


@dataclass(frozen=True)
class PolicyObservation(CandidacyObservation):
    """What an elected worker knows. announced: (k,) rates that it stood for, None without any."""

    announced: tuple[float, ...] | None = None


class Policy(RateChanges):
    """An elected worker's changes of the rates. Falls back on no change."""

    template = "policy"
    rules: tuple[str, ...] = POLICY_RULES

    def values(self, observation: PolicyObservation) -> dict[str, Any]:
        return vars(observation) | {"allowed": allowed_changes(observation.max_change)}

    def shorter(self, observation: PolicyObservation) -> PolicyObservation | None:
        return without_older_history(observation)
