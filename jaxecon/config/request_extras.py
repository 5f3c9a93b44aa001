"""What a user adds to the requests to a server: fields of the body, headers, the query."""

import json
import re
from collections.abc import Mapping
from typing import Any

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's name, by RFC 9110

# Names under which servers take secrets.
_SECRET_NAME = re.compile(
    r"auth(?!or)|authori|key|token|secret|passw|cookie|credential|signature|^sig$|^code$",
    re.IGNORECASE,
)
# A secret as it may be written: a variable alone, or after the name of a scheme such as Bearer.
_WITHOUT_SECRET = re.compile(rf"([A-Za-z]+ )?{_REFERENCE.pattern}")
_SECRET_VALUE = re.compile(
    r"\b(sk|pk|gsk|hf|xai|ghp)[-_][\w-]{8}|\b(bearer|basic) [^$\s]", re.IGNORECASE
)

_SECRET_PLACES = re.compile(r"^[^/]*(?://)?[^/]*@|[?#]")  # of an address

_OWN_FIELDS = ("messages", "model", "stream", "n")  # of a request's body, which jaxecon writes
_OWN_HEADERS = ("host", "content-length", "content-type", "transfer-encoding", "connection")


def check_address(where: str, url: str | None) -> None:
    """Raise ValueError, one line without the address, where it may hold a secret.

    Whatever the engine is: a run's files hold its settings.

    Args:
        where: the settings' common part, such as llm.
        url: `base_url`.
    """
    if url is not None and _SECRET_PLACES.search(url):
        raise ValueError(
            f"{where}.base_url: must be a plain address such as http://127.0.0.1:8000/v1, without "
            f"user, password or query; the key goes where {where}.api_key_env says, a query into "
            f"{where}.query"
        )


def check_extras(
    where: str, body: Mapping[str, Any], headers: Mapping[str, str], query: Mapping[str, str]
) -> None:
    """Raise ValueError, one line without any value that may be secret, where an addition is wrong.

    Args:
        where: the settings' common part, such as llm.
        body: `extra_body`.
        headers: `headers`.
        query: `query`.
    """
    for name in body:
        if name in _OWN_FIELDS:
            raise ValueError(
                f"{where}.extra_body: {name}; any fields but {', '.join(_OWN_FIELDS)}, which "
                "jaxecon writes"
            )
    _check_json(f"{where}.extra_body", body)
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OWN_HEADERS:
            raise ValueError(
                f"{where}.headers: {name[:40]!r}; a header's name of letters, digits and -, and "
                f"none of {', '.join(_OWN_HEADERS)}"
            )
        _check_text(f"{where}.headers.{name}", name, value)
    for name, value in query.items():
        _check_text(f"{where}.query.{name}", name, value)


def _check_text(setting: str, name: str, value: str) -> None:
    secret = _SECRET_NAME.search(name) is not None or _SECRET_VALUE.search(value) is not None
    if secret and not _WITHOUT_SECRET.fullmatch(value):
        raise ValueError(
            f"{setting}: may hold a secret; write ${{NAME}}, the environment variable that holds "
            "it, so that it reaches no file (Bearer ${NAME} where a scheme comes before it)"
        )
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{setting}: one line of plain ASCII text")


def _check_json(setting: str, body: Mapping[str, Any]) -> None:
    try:
        same = json.loads(json.dumps(body, allow_nan=False)) == body
    except (TypeError, ValueError, RecursionError):
        same = False
    if same and _SECRET_VALUE.search(json.dumps(body)):
        raise ValueError(f"{setting}: holds what looks like a secret; secrets go into llm.headers")
    if not same:
        raise ValueError(
            f"{setting}: what JSON can hold: texts, numbers, true, false, null, and lists and "
            "mappings of them"
        )


def references(text: str) -> list[str]:
    """The environment variables that a header or a part of the query names as ${NAME}."""
    return _REFERENCE.findall(text)


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with the values of the variables that it names. Raises KeyError without one."""
    return _REFERENCE.sub(lambda found: variables[found[1]], text)


def names_secret(name: str) -> bool:
    """Whether a header or a part of the query has a name under which servers take secrets."""
    return _SECRET_NAME.search(name) is not None
