"""The protocol of engines."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxecon.core.text import estimated_tokens
from llm.messages import Completion, Message, Request, Usage

OnCompletion = Callable[[int, Completion], None]


@runtime_checkable
class Engine(Protocol):
    """A language model behind any transport.

    A new engine is one file with a class like this, one line in `llm.engines.registry`, and one
    line with its words in `jaxecon.config.names.ENGINES`.
    """

    @property
    def identity(self) -> dict[str, str]:
        """What answers, as a part of the key under which every answer is stored.

        Returns:
            "engine" and "model", and what else tells one model's answers from another's, such as
            hashes of weights and chat template.
        """
        ...

    @property
    def description(self) -> dict[str, Any]:
        """What a run's manifest records about the engine besides its identity.

        Returns:
            Versions, device and sizes, as JSON; nothing that changes an answer's key.
        """
        ...

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer all requests as one batch.

        Args:
            requests: one chat each, in any number.
            on_completion: called once for each request, with its index and completion, in the
                calling thread, as they finish. A request that fails by itself has a Completion
                with `error`.

        Raises:
            EngineError: the engine itself is gone; what was answered before has been reported.
        """
        ...

    def prompt_tokens(self, request: Request) -> int:
        """Length of the request's prompt.

        Args:
            request: one that need not have been asked.

        Returns:
            Tokens, by the model's own tokenizer where there is one.
        """
        ...

    def close(self) -> None:
        """Free the engine's memory and processes. Safe to call twice."""
        ...


def estimated_usage(request: Request, answer: str) -> Usage:
    """The tokens of a request and its answer, for engines without a tokenizer at hand."""
    return Usage(estimated_prompt_tokens(request.messages), 0, estimated_tokens(answer))


def estimated_prompt_tokens(messages: Sequence[Message]) -> int:
    """Tokens of a prompt, likewise: those of its texts, and some around each message."""
    return sum(estimated_tokens(m.content) + 8 for m in messages)
