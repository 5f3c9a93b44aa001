"""How one request finds the format in which a server takes it."""

from dataclasses import replace

from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.refusals import REFUSALS, names_what_is_missing
from llm.engines.openai.request_format import RAISED, RequestFormat
from llm.engines.openai.server import Server
from llm.messages import Request

_GUESSERS = 3  # requests of a kind that may guess in vain; then a refusal is the request's own


class Negotiation:
    """The format in which one request is tried; it begins with the server's.

    Where a server says what it refuses, that is left out. Where it only says no, one field after
    the other is left out (`RequestFormat.guesses`), by one request at a time. All others use what
    was learned once the request is answered: what does not help degrades nothing.
    """

    def __init__(self, server: Server, request: Request) -> None:
        self.used = server.format
        self.guessed = self.guessing = False
        self._server, self._request = server, request

    def adapt(self, failure: RequestFailure) -> bool:
        """Change the format after a failure. Returns whether to ask again in the new one."""
        return self.catch_up() or self.leave_out(self.used, failure)

    def catch_up(self) -> bool:
        """Take over what other requests have learned. Returns whether that is anything."""
        joined = self.used.joined(self._server.format)
        changed, self.used = joined != self.used, joined
        return changed

    def leave_out(self, used: RequestFormat, failure: RequestFailure) -> bool:
        """Leave out what the words of a failure are about. Returns whether they say it.

        used: the format that has failed.
        """
        changes = used.changes_after(failure)
        self.used = replace(used, **changes)
        return bool(changes)

    def may_guess(self, failure: RequestFailure) -> bool:
        """Whether a refusal may be one of the format, and it is not known of which part."""
        kind = self._request.draw.kind
        return (
            not self.guessed
            and self._request.schema is not None
            and failure.refused
            and failure.status in REFUSALS
            and not (failure.status == 404 and names_what_is_missing(failure))
            and kind not in self._server.accepted
            and self._server.guessed[kind] < _GUESSERS
        )

    def may_change(self, failure: RequestFailure) -> bool:
        """Whether another format may help."""
        return self.guessing or self.may_guess(failure) or bool(self.used.changes_after(failure))

    def raise_limit(self) -> bool:
        """Allow a longer answer, once. Returns whether there is room for it."""
        server, before = self._server, self.used
        self.used = replace(before, answer_factor=RAISED)
        lengths = [
            f.answer_tokens(self._request, server.max_model_len) for f in (before, self.used)
        ]
        return lengths[1] > lengths[0]
