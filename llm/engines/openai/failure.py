"""What a server's errors mean."""

_TRANSIENT = frozenset({408, 409, 429})  # and all 5xx

GATEWAY_STATUSES = frozenset({502, 503, 504})  # what a proxy answers for a server that is gone

# Errors that every further request would meet too, by HTTP status.
FATAL = {
    401: "llm.api_key_env: {url} does not accept the key in {key} ({words})",
    402: "llm.api_key_env: {url} wants to be paid first ({words})",
    403: "llm.api_key_env: {url} does not allow this with the key in {key} ({words})",
    404: "llm.model: {url} does not have {model!r}{known}, or the address lacks its /v1 ({words})",
}


class RequestFailure(Exception):
    """A request without an answer.

    status: the HTTP status or the nearest equivalent; 0 where the server sent nothing. unreachable:
    nothing listens at the address. gateway: a proxy said that the server behind it is gone.
    complaint: everything that the server said, in lower case. parameter: the parameter that it
    rejects. retry_after: seconds for which it asks for a pause.
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
    """The operating system's error beneath httpx's, such as connection refused; None if none."""
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.errno is not None:
            return beneath
        beneath = beneath.__cause__ or beneath.__context__
    return None
