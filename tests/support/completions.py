"""The completions of an engine, held to what `llm.engines.base.Engine` promises of them."""

import threading
from collections.abc import Sequence

from llm.engines.base import Engine
from llm.messages import Completion, Request


def collect(engine: Engine, requests: Sequence[Request]) -> list[Completion]:
    """The completions by index; each index must be reported once, in the thread that asked."""
    got: dict[int, Completion] = {}
    thread = threading.get_ident()

    def keep(index: int, completion: Completion) -> None:
        assert threading.get_ident() == thread
        assert index not in got
        got[index] = completion

    engine.complete(requests, on_completion=keep)
    assert sorted(got) == list(range(len(requests)))
    return [got[index] for index in range(len(requests))]
