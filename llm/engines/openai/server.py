"""What has been learned about a server: its models, whether it is there, the format of requests."""

import logging
import time
from dataclasses import dataclass, field, replace
from typing import NoReturn

from jaxecon.core.errors import EngineError
from llm.engines.openai.failure import FATAL, RequestFailure
from llm.engines.openai.request_format import RequestFormat

_NOTES = logging.getLogger("jaxecon")


@dataclass
class Server:
    """One server and model, as all requests of an engine know it.

    key_name: the environment variable with the key. patience: seconds that the server may be gone.
    models: the names that it lists. answered: requests that it has answered so far.
    notes: what has been learned, as the user was told. lost_since: since when it has been gone,
    if it is; resume_at: until when it asks for a pause (both time.monotonic).
    """

    url: str
    model: str
    key_name: str
    patience: float
    format: RequestFormat = field(default_factory=RequestFormat)
    models: list[str] = field(default_factory=list)
    answered: int = 0
    notes: list[str] = field(default_factory=list)
    lost_since: float | None = None
    resume_at: float = 0.0

    def adapt_format(self, used: RequestFormat, failure: RequestFailure) -> bool:
        """Adapt the format to a failure. Returns whether to ask again in another format.

        used: the format of the failed request; another request may have adapted it already.
        """
        changes = used.changes_after(failure)
        for name, value in changes.items():
            if getattr(self.format, name) == getattr(used, name):
                self.format = replace(self.format, **{name: value})
        return bool(changes)

    def note(self, words: str) -> None:
        """Tell the user, once, what has been learned about the server."""
        if words not in self.notes:
            self.notes.append(words)
            _NOTES.warning("%s: %s", self.url, words)

    def raise_if_fatal(self, failure: RequestFailure) -> None:
        """Raise EngineError for a failure that every further request would meet too."""
        if failure.status in FATAL:
            known = f" (it has {', '.join(self.models[:5])})" if self.models else ""
            line = FATAL[failure.status]
            self._give_up(
                line.format(
                    url=self.url, key=self.key_name, model=self.model, known=known, words=failure
                )
            )
        if 300 <= failure.status < 400:
            self._give_up(
                f"llm.base_url: {self.url} sends its callers elsewhere ({failure}); give the "
                "address it means"
            )
        if failure.status == 429 and "insufficient_quota" in failure.complaint:
            self._give_up(
                f"llm.api_key_env: the account at {self.url} has used up its quota ({failure})"
            )
        if failure.status in (400, 422) and failure.parameter in ("temperature", "top_p"):
            self._give_up(
                f"llm.{failure.parameter}: {self.model} at {self.url} does not take it ({failure})"
            )
        if failure.retry_after is not None and failure.retry_after > self.patience:
            self._give_up(
                f"llm.base_url: {self.url} is to be left alone for {failure.retry_after:.0f} s "
                f"({failure}); resume the run then"
            )

    def patience_left(self, failure: RequestFailure) -> float:
        """Seconds left to wait for the end of an outage. Raises EngineError once there are none."""
        now = time.monotonic()
        self.lost_since = self.lost_since or now
        left = self.lost_since + self.patience - now
        if left <= 0:
            self._give_up(
                f"llm.base_url: {self.url} cannot be reached for {self.patience:g} s "
                f"({failure}); start the server again"
            )
        return left

    def _give_up(self, line: str) -> NoReturn:
        raise EngineError(line) from None
