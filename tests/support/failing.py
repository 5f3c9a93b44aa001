"""Engines that fail in one way or another until they are healed."""

import json
from collections.abc import Callable, Sequence

from jaxecon.core.errors import EngineError
from llm.engines.base import OnCompletion
from llm.engines.simulated import SimulatedEngine
from llm.messages import Completion, Request, Usage

ERROR = Completion("", "error", error="HTTP 400: this is not for me")
NONSENSE = Completion("I would rather not say.", usage=Usage(100, 0, 9))
CUT = Completion('{"hours', "length", usage=Usage(100, 0, 48))
EMPTY = Completion("", usage=Usage(100, 0, 0))


def dead(request: Request) -> Completion:
    """As a server that is gone."""
    raise EngineError("the server is gone")


Failure = Completion | Callable[[Request], Completion]


class FailingEngine(SimulatedEngine):
    """The simulated engine, which fails where it is told to until it is healed.

    how: the reply of a failure, or a function that raises. where: which requests fail; may depend
    on how many came before. name: the model's name, part of its identity. Every reply depends on
    its request alone, so that runs can be compared.

    Attributes:
        asked: Every request.
        healed: While it is False, requests fail.
    """

    def __init__(
        self,
        how: Failure = ERROR,
        where: Callable[[Request, int], bool] = lambda request, before: True,
        *,
        name: str = "first",
    ) -> None:
        self.how, self.where, self.name = how, where, name
        self.asked: list[Request] = []
        self.healed = False

    @property
    def identity(self) -> dict[str, str]:
        return {"engine": "scripted", "model": self.name}

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        for i, request in enumerate(requests):
            before = len(self.asked)
            self.asked.append(request)
            if not self.healed and self.where(request, before):
                on_completion(
                    i, self.how if isinstance(self.how, Completion) else self.how(request)
                )
            else:
                super().complete(
                    [request], on_completion=lambda _, completion, i=i: on_completion(i, completion)
                )


def sound(name: str = "first") -> FailingEngine:
    """One that never fails."""
    return FailingEngine(where=lambda request, before: False, name=name)


def hours(value: int) -> str:
    return json.dumps({"hours": value})
