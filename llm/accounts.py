"""What was spent for whom."""

from collections import Counter
from dataclasses import dataclass, field

from llm.messages import Completion


@dataclass
class Account:
    """What one cohort's decisions of one kind took. dollars by the configured prices."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    dollars: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)

    def add(self, reply: Completion, dollars: float) -> None:
        self.calls += 1
        self.prompt_tokens += reply.usage.prompt_tokens
        self.cached_tokens += reply.usage.cached_tokens
        self.completion_tokens += reply.usage.completion_tokens
        self.dollars += dollars
