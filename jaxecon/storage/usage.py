"""Usage of language models: calls, tokens, time and money."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LLMUsage:
    """Calls of language models, and the decisions made from them, added up.

    calls: completions, retries included. prompt_tokens, completion_tokens: of these calls;
    cached_tokens: prompt tokens that came from the engine's prefix cache. seconds: spent waiting
    for the engines. dollars: by the configured prices. statuses: numbers of decisions by status
    ("ok", "repaired", "retried", "fallback"). substitute_calls: of these calls, those to the model
    of `llm.fallback` in another one's place.
    """

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    dollars: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)
    substitute_calls: int = 0

    @property
    def decisions(self) -> int:
        """The number of decisions made."""
        return sum(self.statuses.values())

    @property
    def fallbacks(self) -> int:
        """The number of decisions without a usable reply."""
        return self.statuses.get("fallback", 0)

    def __add__(self, other: "LLMUsage") -> "LLMUsage":
        return self._combined(other, 1)

    def since(self, earlier: "LLMUsage") -> "LLMUsage":
        """The usage after `earlier`, which is a part of this."""
        return self._combined(earlier, -1)

    def _combined(self, other: "LLMUsage", sign: int) -> "LLMUsage":
        statuses = self.statuses
        if other.statuses:
            statuses = {
                status: self.statuses.get(status, 0) + sign * other.statuses.get(status, 0)
                for status in {**self.statuses, **other.statuses}
            }
        return LLMUsage(
            self.calls + sign * other.calls,
            self.prompt_tokens + sign * other.prompt_tokens,
            self.cached_tokens + sign * other.cached_tokens,
            self.completion_tokens + sign * other.completion_tokens,
            self.seconds + sign * other.seconds,
            self.dollars + sign * other.dollars,
            statuses,
            self.substitute_calls + sign * other.substitute_calls,
        )
