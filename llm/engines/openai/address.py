"""The address of a server, and the key for it."""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from jaxecon.config.address import plain_address
from jaxecon.config.request_extras import filled, references
from jaxecon.config.secrets import looks_secret, names_secret, replaces_key
from jaxecon.core.errors import UserError
from llm.engines.openai.redaction import may_be_words
from llm.transcript.keys import compact_json

_OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"  # the environment variable that holds OpenAI's own key
_ACCOUNT = ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID")  # variables that the client sends as headers


@dataclass(frozen=True)
class Extras:
    """What is added to every request: `llm.extra_body`, `llm.headers` and `llm.query`.

    In headers and query, ${NAME} stands for the value of an environment variable.
    """

    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    def authenticates_at(self, url: str) -> bool:
        """Whether a header or the query tells a server who asks, in place of `api_key_env`.

        OpenAI's own server reads the header Authorization alone.
        """
        if _is_openai(url):
            return any(name.lower() == "authorization" for name in self.headers)
        return any(replaces_key(name) for name in (*self.headers, *self.query))

    def filled(self) -> "Extras":
        """The same with the values of the variables.

        Raises:
            UserError: a variable does not exist, or its value cannot be sent.
        """
        return Extras(
            self.body,
            {name: _filled(f"llm.headers.{name}", t) for name, t in self.headers.items()},
            {name: _filled(f"llm.query.{name}", t) for name, t in self.query.items()},
        )

    @property
    def secrets(self) -> list[str]:
        """The values of the variables that may hold secrets, of those that headers and query name.

        A value that may be a part of an answer, such as a region, is none unless the name of the
        header or of the variable, or the text itself, says so.
        """
        found = []
        for name, text in (*self.headers.items(), *self.query.items()):
            for variable in references(text):
                value = os.environ[variable].strip()
                sent = text.replace(f"${{{variable}}}", value)
                named = names_secret(name) or names_secret(variable) or looks_secret(sent)
                if named or not may_be_words(value):
                    found.append(value)
        return found


def _filled(setting: str, text: str) -> str:
    missing = [name for name in references(text) if not os.environ.get(name, "").strip()]
    if missing:
        raise UserError(
            f"{setting}: the environment variable {missing[0]}, which it names, is not set"
        )
    value = filled(text, {name: os.environ[name].strip() for name in references(text)})
    if not _is_plain(value):
        raise UserError(f"{setting}: what it stands for is not one line of plain ASCII text")
    return value


def engine_identity(
    model: str, base_url: str | None = None, extra_body: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """The identity that an `OpenAIEngine` will have, found without its server.

    It is enough to look up answers in a transcript.

    Raises:
        UserError: base_url is not a plain http(s) address.
    """
    added = {"extra_body": compact_json(extra_body)} if extra_body else {}
    return {"engine": "openai", "model": model, "base_url": _address(base_url), **added}


def check_openai(base_url: str | None, api_key_env: str, extras: Extras | None = None) -> None:
    """Raise UserError where `OpenAIEngine` would, without asking the server."""
    key_to_send(api_key_env, _address(base_url), extras or Extras())
    for name in _ACCOUNT:
        if not _is_plain(os.environ.get(name, "")):
            raise UserError(f"{name}: not one line of plain ASCII text; correct or unset it")
    if importlib.util.find_spec("openai") is None:
        raise UserError("llm.engine: 'openai' needs: pip install 'jaxecon[openai]'")


def key_to_send(name: str, url: str, extras: Extras) -> str:
    """The key for a server; "" where it needs none, or where a header or the query has it.

    Raises:
        UserError: see `api_key` and `Extras.filled`.
    """
    extras.filled()
    if name == OPENAI_KEY and extras.authenticates_at(url):
        return ""  # OpenAI's own key is not for a server that is given another one
    return api_key(name, url)


def api_key(name: str, url: str) -> str:
    """The key in the environment variable `name`; "" where a server may do without one.

    Raises:
        UserError: there is no such variable, OpenAI's own server lacks its key, or the value cannot
            be a key.
    """
    if name != OPENAI_KEY and name not in os.environ:  # do not show the name: it may be a key
        raise UserError(
            "llm.api_key_env: no environment variable of that name; give the NAME of the one "
            f"that holds the key for {url}"
        )
    key = os.environ.get(name, "").strip()
    if not key and _is_openai(url):
        raise UserError(
            f"llm.api_key_env: set the environment variable {name} to the key for {url}"
        )
    if not _is_plain(key):
        raise UserError(f"llm.api_key_env: what the environment variable {name} holds is no key")
    return key


def _is_plain(text: str) -> bool:
    """Whether a header can hold a text."""
    return text.isascii() and text.isprintable()


def _is_openai(url: str) -> bool:
    return urlsplit(url).hostname == urlsplit(_OPENAI).hostname


def _address(base_url: str | None) -> str:
    try:
        return _OPENAI if base_url is None else plain_address("llm", base_url)
    except ValueError as error:
        raise UserError(str(error)) from None
