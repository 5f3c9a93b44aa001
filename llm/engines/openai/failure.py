"""What a server's errors mean."""

_TRANSIENT = frozenset({408, 409, 429})  # and all 5xx

GATEWAY_STATUSES = frozenset({502, 503, 504})  # what a proxy says of a server that is gone

# What every further request would meet too, by HTTP status.
FATAL = {
    401: "llm.api_key_env: {url} does not accept the key in {key} ({words})",
    402: "llm.api_key_env: {url} wants to be paid first ({words})",
    403: "llm.api_key_env: {url} does not allow this with the key in {key} ({words})",
    404: "llm.model: {url} does not have {model!r}{known}, or the address lacks its /v1 ({words})",
}


class RequestFailure(Exception):
    """A request without an answer.

    status: HTTP's, or what comes closest; 0 where the server said nothing. unreachable: nothing
    listens there. gateway: a proxy said that the server behind it is gone. complaint: all that the
    server said, in lower case; parameter: what it complained of. retry_after: seconds that it asks
    to be left alone.
    """

    def __init__(
        self,
        words: str,
        *,
        status: int = 0,
        unreachable: bool = False,
        gateway: bool = False,
        complaint: str = "",
        parameter: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(words)
        self.status, self.unreachable, self.gateway = status, unreachable, gateway
        self.complaint, self.parameter, self.retry_after = complaint, parameter, retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in _TRANSIENT or self.status >= 500 or self.status == 0


def system_error(error: BaseException) -> OSError | None:
    """What the operating system said beneath httpx's words, such as: connection refused."""
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.errno is not None:
            return beneath
        beneath = beneath.__cause__ or beneath.__context__
    return None
