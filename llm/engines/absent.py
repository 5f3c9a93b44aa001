"""The engine of a resumed run whose server is still gone, while another model stands in for it."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxecon.core.errors import EngineError
from llm.engines.base import OnCompletion, estimated_prompt_tokens
from llm.messages import Request


class AbsentEngine:
    """A server that cannot be reached, known by what it answered before.

    identity: that of the engine in the run so far. why: one line, with which every batch fails.
    """

    def __init__(self, identity: Mapping[str, str], why: str) -> None:
        self._identity, self._why = dict(identity), why

    @property
    def identity(self) -> dict[str, str]:
        """The identity in the run so far, under which its answers are stored."""
        return dict(self._identity)

    @property
    def description(self) -> dict[str, Any]:
        """What the manifest records: why the server is not there."""
        return {"absent": self._why}

    def prompt_tokens(self, request: Request) -> int:
        """An estimate, as that of an engine whose server has the tokenizer."""
        return estimated_prompt_tokens(request.messages)

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Raise EngineError."""
        raise EngineError(self._why)

    def close(self) -> None:
        return
