"""What has been learned about a server: its models, whether it is there, the format of requests."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from jaxecon.core.errors import EngineError
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.fatal import fatal_line
from llm.engines.openai.network import proxy_to
from llm.engines.openai.request_format import RequestFormat
from llm.messages import Request


@dataclass
class Server:
    """One server and model, as all requests of an engine know it.

    key_name: the environment variable with the key. patience: seconds that the server may be gone.
    max_model_len: tokens of prompt and answer. extra_body: what the user adds to every request.
    models: the names that it lists. answered: requests that it has answered so far; reached_at:
    when the last of them was sent that has been answered (time.monotonic). accepted: kinds
    of decisions that it has answered in the format. guessed: by kind, how often a guess at what it
    refuses has led nowhere. notes: what has been learned, in words for the user. lost_since: since
    when it has been gone, if it is; resume_at: until when it asks for a pause (both
    time.monotonic).
    """

    url: str
    model: str
    key_name: str
    patience: float
    max_model_len: int = 1_048_576
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    format: RequestFormat = field(default_factory=RequestFormat)
    models: list[str] = field(default_factory=list)
    answered: int = 0
    reached_at: float = -math.inf
    accepted: set[str] = field(default_factory=set)
    guessed: Counter[str] = field(default_factory=Counter)
    guessing: asyncio.Lock = field(default_factory=asyncio.Lock)
    notes: list[str] = field(default_factory=list)
    is_limit_noted: bool = False
    lost_since: float | None = None
    resume_at: float = 0.0

    def body(self, request: Request, used: RequestFormat) -> dict[str, Any]:
        """What is sent for a request; what the user adds comes last."""
        return used.body(self.model, request, self.max_model_len) | dict(self.extra_body)

    def learn(self, used: RequestFormat, request: Request) -> None:
        """Keep the format in which a request has been answered, for all further requests."""
        self.accepted.add(request.draw.kind)
        learned = self.format.joined(used)
        if learned != self.format:
            self.note(learned.words(self.format))
            self.format = learned

    def note(self, words: str) -> None:
        """Keep, once, what has been learned about the server: the user is told after the batch."""
        if words not in self.notes:
            self.notes.append(words)

    def note_limit(self, tokens: int) -> None:
        """Tell the user, once, that a prompt was too long which the settings allow.

        tokens: of prompt and answer; 0 where it does not name them.
        """
        if not self.is_limit_noted:
            self.is_limit_noted = True
            taken = f"only {tokens} tokens" if tokens else "fewer tokens than llm.max_model_len"
            self.note(
                f"takes {taken}: it refuses each longer prompt before its history is cut; "
                f"llm.max_model_len={tokens or '...'} saves these refusals"
            )

    def raise_if_fatal(self, failure: RequestFailure) -> None:
        """Raise EngineError for a failure that every further request would meet too."""
        line = fatal_line(
            failure, url=self.url, key=self.key_name, model=self.model, models=self.models
        )
        if line is not None:
            self.give_up(line)
        if failure.retry_after is not None and failure.retry_after > self.patience:
            self.give_up(
                f"llm.base_url: {self.url} is to be left alone for {failure.retry_after:.0f} s "
                f"({failure}); resume the run then"
            )

    def patience_left(self, failure: RequestFailure) -> float:
        """Seconds left to wait for the end of an outage. Raises EngineError once there are none."""
        now = time.monotonic()
        self.lost_since = self.lost_since or now
        left = self.lost_since + self.patience - now
        if left <= 0 and failure.silent:
            self.give_up(
                f"llm.base_url: {self.url} has answered nothing for {self.patience:g} s "
                f"({failure}); start the server again, or raise llm.timeout_seconds"
            )
        if left <= 0:
            self.raise_if_proxy_gone(failure)
            self.give_up(
                f"llm.base_url: {self.url} cannot be reached for {self.patience:g} s "
                f"({failure}); start the server again"
            )
        return left

    def raise_if_proxy_gone(self, failure: RequestFailure) -> None:
        """Raise EngineError where nothing answers and the way leads through a proxy.

        failure: of a request that reached nobody.
        """
        proxy = proxy_to(self.url) if failure.unreachable else None
        if proxy is not None:
            self.give_up(
                f"{proxy.variable}: the proxy {proxy.address} gives no connection to {self.url} "
                f"({failure}); start it or the server, or correct or unset the variable (NO_PROXY "
                "names servers to be reached without it)"
            )

    def refuses_all(self, failure: str) -> NoReturn:
        """Raise EngineError: not one request was answered, in any format."""
        self.give_up(
            f"llm.base_url: {self.url} refuses every request ({failure}); see llm.model and "
            "llm.extra_body"
        )

    def give_up(self, line: str) -> NoReturn:
        """Raise EngineError with a line for the user."""
        raise EngineError(line) from None
