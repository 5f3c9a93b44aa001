"""Failures that every further request would meet too, and the line for each."""

import re
from collections.abc import Sequence

from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.refusals import is_filtered, refuses_answer_limit, sampling_setting

_BY_STATUS = {
    401: "llm.api_key_env: {url} does not accept the key in {key} ({words})",
    402: "llm.api_key_env: {url} wants to be paid first ({words})",
    403: "llm.api_key_env: {url} does not allow this with the key in {key} ({words})",
    404: "llm.model: {url} does not have {model!r}{known}, or the address lacks its /v1 ({words})",
    405: "llm.base_url: {url} takes no chats at this address; it may lack its /v1 ({words})",
    406: "llm.base_url: {url} does not answer in JSON ({words})",
    407: "llm.base_url: a proxy on the way to {url} asks for a password ({words}); see the "
    "environment variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
    410: "llm.model: {url} has {model!r} no longer ({words})",
    411: "llm.base_url: {url}, or a proxy on the way, does not take such requests ({words})",
    414: "llm.query: {url} finds the address too long ({words})",
    417: "llm.base_url: {url}, or a proxy on the way, does not take such requests ({words})",
    421: "llm.base_url: {url} does not serve this address ({words})",
    426: "llm.base_url: {url} asks for another protocol ({words})",
    431: "llm.headers: {url} finds the headers too long ({words})",
    451: "llm.base_url: {url} may not answer, for legal reasons ({words})",
    505: "llm.base_url: {url}, or a proxy on the way, does not speak HTTP/1.1 ({words})",
    511: "llm.base_url: the network asks for a login before {url} can be reached ({words})",
}

# What a server or the way to it says, whatever the status.
_BY_WORDS = (
    (
        "certificate_verify_failed|certificate verify failed|hostname mismatch",
        "llm.base_url: the certificate of {url} is not trusted ({words}); SSL_CERT_FILE names a "
        "file with the certificate that signed it",
    ),
    (
        r"wrong_version_number|wrong version number|\[ssl: (record_layer|http_request|packet)",
        "llm.base_url: {url} does not speak https ({words}); an address with http:// may be meant",
    ),
    (r"\[ssl|sslv3|tlsv1", "llm.base_url: no encrypted connection to {url} ({words})"),
    (
        r"http request to an https server|plain http request was sent to https"
        r"|illegal request line|requires? https",  # the HTTP client's words for an alert of TLS
        "llm.base_url: {url} speaks https ({words}); give the address with https://",
    ),
    (
        r"api.?key (is )?(not valid|invalid|expired)|invalid api.?key",
        "llm.api_key_env: {url} does not accept the key in {key} ({words})",
    ),
)


def fatal_line(
    failure: RequestFailure, *, url: str, key: str, model: str, models: Sequence[str]
) -> str | None:
    """The line for the user; None where another request may succeed.

    Args:
        failure: of one request.
        url: of the server.
        key: the name of the environment variable with the key.
        model: the name of the model that was asked for.
        models: those that the server lists.
    """
    if is_filtered(failure):
        return None
    known = f" (it has {', '.join(models[:5])})" if models else ""
    line = _BY_STATUS.get(failure.status) or _line_by_words(failure)
    if line is not None:
        return line.format(url=url, key=key, model=model, known=known, words=failure)
    if 300 <= failure.status < 400:
        return (
            f"llm.base_url: {url} sends its callers elsewhere ({failure}); give the address it "
            "means"
        )
    if failure.status == 429 and "insufficient_quota" in failure.complaint:
        return f"llm.api_key_env: the account at {url} has used up its quota ({failure})"
    setting = sampling_setting(failure)
    if setting is None and refuses_answer_limit(failure):
        setting = "max_tokens"
    return (
        None if setting is None else f"llm.{setting}: {model} at {url} does not take it ({failure})"
    )


def _line_by_words(failure: RequestFailure) -> str | None:
    if failure.status not in (0, 400):
        return None
    said = failure.complaint or str(failure).lower()
    return next((line for pattern, line in _BY_WORDS if re.search(pattern, said)), None)
