"""What a user adds to the requests to a server: fields of the body, headers, the query."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jaxecon.config.secrets import looks_secret, names_secret

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a header's name, by RFC 9110

# A secret as it may be written: a variable alone, or after the name of a scheme such as Bearer.
_WITHOUT_SECRET = re.compile(rf"([A-Za-z]+ )?{_REFERENCE.pattern}")

_OWN_FIELDS = ("messages", "model", "stream", "n")  # of a request's body, which jaxecon writes
_OWN_HEADERS = ("host", "content-length", "content-type", "transfer-encoding", "connection")


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
    _check_json(where, body)
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
    if (names_secret(name) or looks_secret(value)) and not _WITHOUT_SECRET.fullmatch(value):
        raise ValueError(
            f"{setting}: may hold a secret; write ${{NAME}}, the environment variable that holds "
            "it, so that it reaches no file (Bearer ${NAME} where a scheme comes before it)"
        )
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{setting}: one line of plain ASCII text")


def _check_json(where: str, body: Mapping[str, Any]) -> None:
    try:
        same = json.loads(json.dumps(body, allow_nan=False)) == body
    except (TypeError, ValueError, RecursionError):
        same = False
    if not same:
        raise ValueError(
            f"{where}.extra_body: what JSON can hold: texts, numbers, true, false, null, and lists "
            "and mappings of them"
        )
    place = next(_secrets_in(body), None)
    if place is not None:
        raise ValueError(
            f"{where}.extra_body{place}: may hold a secret, which the run's files would then hold "
            f"too; secrets go into {where}.headers, as ${{NAME}}"
        )


def _secrets_in(value: object, place: str = "", *, secret: bool = False) -> Iterator[str]:
    """The places of what may be secret: texts that look so, texts and numbers under such names.

    Not under the names of a JSON schema's properties: the schema says what answers hold.
    """
    if isinstance(value, Mapping):
        is_schema = place.endswith(".properties")
        for name, part in value.items():
            if looks_secret(name):
                yield place
            named = secret or (names_secret(name) and not is_schema)
            yield from _secrets_in(part, f"{place}.{name}", secret=named)
    elif isinstance(value, list):
        for part in value:
            yield from _secrets_in(part, place, secret=secret)
    elif isinstance(value, str):
        if secret or looks_secret(value):
            yield place
    elif secret and isinstance(value, int | float) and not isinstance(value, bool):
        yield place


def references(text: str) -> list[str]:
    """The environment variables that a header or a part of the query names as ${NAME}."""
    return _REFERENCE.findall(text)


def filled(text: str, variables: Mapping[str, str]) -> str:
    """The text with the values of the variables that it names. Raises KeyError without one."""
    return _REFERENCE.sub(lambda found: variables[found[1]], text)
