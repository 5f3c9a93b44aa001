"""What an engine is."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from llm.messages import Completion, Message, Request

OnCompletion = Callable[[int, Completion], None]


@runtime_checkable
class Engine(Protocol):
    """A language model behind any transport."""

    @property
    def identity(self) -> dict[str, str]:
        """What answers: engine, model, a fingerprint of weights or revision, and of the chat
        template.

        Part of every key.
        """
        ...

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer all requests as one batch, calling on_completion(index, completion) once each, as
        they finish.

        One request's failure is a Completion with `error`; EngineError means that the engine itself
        is gone.
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
    """For engines without a tokenizer at hand: a token per three bytes, which English rarely
    exceeds.
    """
    return sum(-(-len(m.content.encode()) // 3) + 8 for m in messages)
