"""The one interface in front of every language model."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
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
    """One chat to complete. `schema` is a bounded JSON schema that the engine enforces where it can.

    observation: what the messages were written from. Only the simulated engine reads it; it is no part of the key.
    """

    messages: tuple[Message, ...]
    schema: dict[str, Any] | None
    sampling: Sampling
    draw: Draw
    observation: Any = field(default=None, compare=False, repr=False)


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

    @property
    def description(self) -> dict[str, Any]:
        """What a run's manifest says of it besides its identity."""
        ...

    def prompt_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt, by the model's own tokenizer where there is one."""
        ...

    def close(self) -> None:
        """Free the engine's memory and processes. Safe to call twice."""
        ...


def estimated_tokens(messages: Sequence[Message]) -> int:
    """For engines without a tokenizer at hand: a token per three bytes, which English rarely exceeds."""
    return sum(-(-len(m.content.encode()) // 3) + 8 for m in messages)


def request_key(identity: dict[str, str], request: Request) -> str:
    """SHA-256 over content and draw: what a stored response is found by.

    Content: engine identity, sampling, messages, schema. Timings, cached tokens and transport retries stay outside. The text
    is that of one JSON object with sorted keys; put together from parts, because most are the same for thousands of requests.
    """
    d = request.draw
    draw = (
        f'{{"agent":{d.agent},"attempt":{d.attempt},"cohort":{_quoted(d.cohort)},"day":{d.day},"kind":{_quoted(d.kind)},'
        f'"seed":{d.seed},"year":{d.year}}}'
    )
    messages = ",".join(f"[{_quoted(m.role)},{_quoted(m.content)}]" for m in request.messages)
    text = (
        f'{{"draw":{draw},"identity":{_identity_text(tuple(identity.items()))},"messages":[{messages}],'
        f'"sampling":{_sampling_text(request.sampling)},"schema":{_schema_text(request.schema)}}}'
    )
    return hashlib.sha256(text.encode()).hexdigest()


_quoted = json.encoder.encode_basestring  # a JSON string, without escapes for what is not ASCII


def compact_json(value: object) -> str:
    """JSON with sorted keys and nothing to spare: the same text for the same value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@lru_cache(maxsize=256)
def _identity_text(identity: tuple[tuple[str, str], ...]) -> str:
    return compact_json(dict(identity))


@lru_cache(maxsize=256)
def _sampling_text(sampling: Sampling) -> str:
    return compact_json(vars(sampling))


_SCHEMAS: dict[int, tuple[object, str]] = {}  # by id, with the schema itself, which keeps the id its own


def _schema_text(schema: dict[str, Any] | None) -> str:
    """Schemas are shared objects that nobody changes."""
    known = _SCHEMAS.get(id(schema))
    if known is None:
        if len(_SCHEMAS) >= 256:
            _SCHEMAS.clear()
        known = _SCHEMAS[id(schema)] = schema, compact_json(schema)
    return known[1]
