"""Usage of language models: calls, tokens, time and money."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LLMUsage:
    """Sums over requests and decisions.

    cached_tokens: of the prompt tokens, those that the engine had in its cache. seconds: spent
    waiting for the engine. statuses: decisions by how they ended (ok, repaired, retried, fallback).
    """

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    dollars: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def decisions(self) -> int:
        """All of them, however they ended."""
        return sum(self.statuses.values())

    @property
    def fallbacks(self) -> int:
        """Decisions without a usable answer."""
        return self.statuses.get("fallback", 0)

    def since(self, earlier: "LLMUsage") -> "LLMUsage":
        """The part after an earlier reading."""
        return LLMUsage(
            self.calls - earlier.calls,
            self.prompt_tokens - earlier.prompt_tokens,
            self.cached_tokens - earlier.cached_tokens,
            self.completion_tokens - earlier.completion_tokens,
            self.seconds - earlier.seconds,
            self.dollars - earlier.dollars,
            {k: v - earlier.statuses.get(k, 0) for k, v in self.statuses.items()},
        )
