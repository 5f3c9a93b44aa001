"""Requests and completions, the same for every language model."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]

# How a request ended that has more tokens than the server takes: this, a colon, and how many it
# takes (0 where it does not say).
TOO_LONG = "too_long"
# How a stream ended that does not say why its model stopped.
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Message:
    role: Role
    content: str


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. temperature >= 0 (0 is greedy), top_p in (0, 1], max_tokens >= 1."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_tokens: int = 32


@dataclass(frozen=True)
class Draw:
    """Tells equal prompts apart, so that agents with the same prompt do not share an answer."""

    seed: int
    kind: str
    year: int
    day: int
    cohort: str
    agent: int
    attempt: int = 0


@dataclass(frozen=True)
class Request:
    """One chat to complete.

    `schema` is a bounded JSON schema that the engine enforces where it can.

    observation: what the messages were written from. Only the simulated engine reads it; it is not
    part of the key. template: hash of the template that they were written with.
    """

    messages: tuple[Message, ...]
    schema: dict[str, Any] | None
    sampling: Sampling
    draw: Draw
    observation: Any = field(default=None, compare=False, repr=False)
    template: str = ""


@dataclass(frozen=True)
class Usage:
    """Tokens of one completion. cached_tokens: of the prompt, from the engine's prefix cache."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Completion:
    """The answer to a request.

    `error` says why there is no text, such as a prompt that is too long; it concerns only this
    request.
    """

    text: str
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    error: str | None = None

    @property
    def may_be_cut(self) -> bool:
        """Whether the text may end before the answer does."""
        return self.finish_reason in ("length", UNFINISHED)

    @property
    def longest_taken(self) -> int | None:
        """Tokens that the server takes, where this request has more; 0 where it does not say.

        None for every other request. It is read from `finish_reason`, which transcripts keep, so
        that a replay cuts the same histories.
        """
        ended, _, tokens = self.finish_reason.partition(":")
        return int(tokens) if ended == TOO_LONG and re.fullmatch("[0-9]{1,12}", tokens) else None
