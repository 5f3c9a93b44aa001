"""The one interface in front of every language model."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

DecisionKindName = Literal["labor", "satisfaction", "plan", "candidacy", "vote", "persona"]
Role = Literal["system", "user", "assistant"]


class EngineError(RuntimeError):
    """The engine cannot go on (it did not start, or it died). The message is one line for the user."""


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
    """Which of many equal prompts this is: agents with the same words do not share an answer."""

    seed: int
    kind: str
    year: int
    day: int
    cohort: str
    agent: int
    attempt: int = 0


@dataclass(frozen=True)
class Request:
    """One chat to complete. `schema` is a bounded JSON schema that the engine enforces where it can."""

    messages: tuple[Message, ...]
    schema: dict[str, Any] | None
    sampling: Sampling
    draw: Draw


@dataclass(frozen=True)
class Usage:
    """Tokens of one completion; `cached_tokens` of the prompt came from the engine's prefix cache."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Completion:
    """What came back. `error` says why there is no text (a prompt too long, say); it concerns this request alone."""

    text: str
    finish_reason: str = "stop"
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    error: str | None = None


OnCompletion = Callable[[int, Completion], None]


@runtime_checkable
class Engine(Protocol):
    """A language model behind any transport."""

    @property
    def identity(self) -> dict[str, str]:
        """What answers: engine, model, a fingerprint of weights or revision, and of the chat template. Part of every key."""
        ...

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer all requests as one batch, calling on_completion(index, completion) once each, as they finish.

        One request's failure is a Completion with `error`; EngineError means that the engine itself is gone.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory and processes. Safe to call twice."""
        ...


def request_key(identity: dict[str, str], request: Request) -> str:
    """SHA-256 over content and draw: what a stored response is found by.

    Content: engine identity, sampling, messages, schema. Timings, cached tokens and transport retries stay outside.
    """
    content = {
        "identity": identity,
        "sampling": vars(request.sampling),
        "messages": [[m.role, m.content] for m in request.messages],
        "schema": request.schema,
        "draw": vars(request.draw),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
