"""What a server's errors mean."""

_TRANSIENT = frozenset({408, 409, 429})  # and all 5xx

# What a proxy answers for a server that is gone or overloaded; from 520: Cloudflare's, and 529
# Anthropic's.
GATEWAY_STATUSES = frozenset({502, 503, 504, *range(520, 531)})


class RequestFailure(Exception):
    """A request without an answer.

    status: the HTTP status or the nearest equivalent; 0 where the server sent nothing. unreachable:
    nothing listens at the address. gateway: a proxy said that the server behind it is gone.
    complaint: everything that the server said of its own, in lower case. parameter: the one that it
    rejects. retry_after: seconds for which it asks for a pause. generated: what a model wrote that
    the server found unusable.
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
        generated: str = "",
    ) -> None:
        super().__init__(words)
        self.status, self.unreachable, self.gateway = status, unreachable, gateway
        self.complaint, self.parameter, self.retry_after = complaint, parameter, retry_after
        self.generated = generated

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in _TRANSIENT or self.status >= 500 or self.status == 0

    @property
    def refused(self) -> bool:
        """Whether the server has read the request and does not take it."""
        return bool(self.complaint) and (400 <= self.status <= 501) and self.status != 429

    @property
    def silent(self) -> bool:
        """Whether the server took the request and said nothing, or broke off."""
        return self.status == 0 and not self.unreachable


def system_error(error: BaseException) -> OSError | None:
    """The operating system's error beneath httpx's, such as connection refused; None if none."""
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.errno is not None:
            return beneath
        beneath = beneath.__cause__ or beneath.__context__
    return None
