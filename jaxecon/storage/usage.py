"""What language models did, added up."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class LLMUsage:
    """What language models did, added up. `seconds` is time spent waiting for the engine."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    dollars: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def decisions(self) -> int:
        return sum(self.statuses.values())

    @property
    def fallbacks(self) -> int:
        return self.statuses.get("fallback", 0)

    def since(self, earlier: "LLMUsage") -> "LLMUsage":
        return LLMUsage(
            self.calls - earlier.calls,
            self.prompt_tokens - earlier.prompt_tokens,
            self.cached_tokens - earlier.cached_tokens,
            self.completion_tokens - earlier.completion_tokens,
            self.seconds - earlier.seconds,
            self.dollars - earlier.dollars,
            {k: v - earlier.statuses.get(k, 0) for k, v in self.statuses.items()},
        )
