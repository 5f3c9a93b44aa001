"""An engine without a model: replies come from a function.

For tests of the bridge and measurements of its overhead.

It is no configuration of a run: nothing it says is a language model's.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llm.engines.base import OnCompletion, estimated_tokens
from llm.messages import Completion, Request


class ScriptedEngine:
    """reply: from a request to a Completion; may raise EngineError.

    `asked` keeps every request, in order.
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
        return estimated_tokens(request.messages)

    def close(self) -> None:
        return
