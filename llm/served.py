"""An engine together with what the settings say about it, and the model that stands in for it."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from jaxecon.config.language import Price, Serving
from jaxecon.core.errors import EngineError, UserError
from jaxecon.storage.usage import LLMUsage
from llm.engines.base import Engine
from llm.messages import Completion, Request


@dataclass
class ServedModel:
    """An engine, and what the bridge knows about it.

    restart: starts a replacement if the engine dies; used at most once. max_model_len: tokens of
    prompt and answer together. price: dollars per million tokens. setting: the section of the
    settings that asks for it. substitute: what is asked where this one has no answer
    (`llm.fallback`). gone: why it died, after which the substitute answers everything; None while
    it has not.
    turn: held while the engine answers, since it may serve some cohorts and stand in for others.
    """

    engine: Engine
    restart: Callable[[], Engine] | None = None
    max_model_len: int = 1_048_576
    price: Price = field(default_factory=Price)
    setting: str = "llm"
    substitute: "ServedModel | None" = None
    restarts: int = field(default=0, init=False)
    gone: str | None = field(default=None, init=False)
    turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def chain(self) -> "Iterator[ServedModel]":
        """This model, its substitute, the substitute's substitute, .."""
        model: ServedModel | None = self
        while model is not None:
            yield model
            model = model.substitute

    @property
    def room(self) -> int:
        """Tokens of prompt and answer that each model of the chain takes."""
        return min(model.max_model_len for model in self.chain)

    def prompt_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt: the most that a model of the chain makes of it.

        Those of a model that has died count too, so that a resumed run asks in the same words.
        """
        return max(model.engine.prompt_tokens(request) for model in self.chain)

    def close(self) -> None:
        """Close the engine that serves now, which may have been restarted."""
        self.engine.close()

    def usage(self, completion: Completion) -> LLMUsage:
        """What one completion used and cost."""
        used, price = completion.usage, self.price
        cached = price.prompt if price.cached is None else price.cached
        fresh = used.prompt_tokens - used.cached_tokens
        dollars = (
            fresh * price.prompt
            + used.cached_tokens * cached
            + used.completion_tokens * price.completion
        ) / 1e6
        return LLMUsage(
            1,
            used.prompt_tokens,
            used.cached_tokens,
            used.completion_tokens,
            dollars=dollars,
        )


@contextmanager
def naming_settings_of(section: str) -> Iterator[None]:
    """Name settings in errors of an engine by the model's section: an engine says llm for its own.

    section: such as llm.others.big.
    """
    try:
        yield
    except (UserError, EngineError) as error:
        line = in_section(section, str(error))
        if line == str(error):
            raise
        raise type(error)(line) from error


def in_section(section: str, line: str) -> str:
    """A line of an engine with the settings of a model, which it calls llm.NAME, by their section.

    Those that all models share, such as llm.max_tokens, keep their names.
    """
    return re.sub(
        r"\bllm\.(\w+)",
        lambda name: f"{section}.{name[1]}" if name[1] in Serving.model_fields else name[0],
        line,
    )
