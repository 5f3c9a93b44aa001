"""What a server's errors mean."""

_PASSING = frozenset({408, 409, 429})  # and all 5xx

DOWN = frozenset({502, 503, 504})  # what a proxy says of a server that is gone

HOPELESS = {
    401: "llm.api_key_env: {url} does not accept the key in {key} ({words})",
    402: "llm.api_key_env: {url} wants to be paid first ({words})",
    403: "llm.api_key_env: {url} does not allow this with the key in {key} ({words})",
    404: "llm.model: {url} does not have {model!r}{known}, or the address lacks its /v1 ({words})",
}


class Trouble(Exception):
    """No answer.

    status: HTTP's, or what comes closest; 0 where the server said nothing. down: whether it is what
    a proxy says of a server that is gone.
    """

    def __init__(
        self,
        words: str,
        *,
        status: int = 0,
        unreachable: bool = False,
        down: bool = False,
        complaint: str = "",
        about: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(words)
        self.status, self.unreachable, self.down = status, unreachable, down
        self.complaint, self.about, self.retry_after = complaint, about, retry_after

    @property
    def passing(self) -> bool:
        return self.status in _PASSING or self.status >= 500 or self.status == 0


def system_error(error: BaseException) -> OSError | None:
    """What the operating system said beneath httpx's words, such as: connection refused."""
    beneath: BaseException | None = error
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.errno is not None:
            return beneath
        beneath = beneath.__cause__ or beneath.__context__
    return None
