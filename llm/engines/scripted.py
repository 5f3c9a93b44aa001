"""An engine without a model: replies come from a function.

It is for tests of the bridge and for measuring its overhead. A run cannot be configured with it,
since nothing it says comes from a language model.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llm.engines.base import OnCompletion, estimated_prompt_tokens
from llm.messages import Completion, Request


class ScriptedEngine:
    """An engine that answers with a function.

    reply: makes a Completion from a request; may raise EngineError. `asked` keeps every request, in
    order.
    """

    def __init__(self, reply: Callable[[Request], Completion]) -> None:
        self._reply = reply
        self.asked: list[Request] = []

    @property
    def identity(self) -> dict[str, str]:
        return {"engine": "scripted", "model": "none"}

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        for i, request in enumerate(requests):
            self.asked.append(request)
            on_completion(i, self._reply(request))

    @property
    def description(self) -> dict[str, Any]:
        return {}

    def prompt_tokens(self, request: Request) -> int:
        return estimated_prompt_tokens(request.messages)

    def close(self) -> None:
        return
