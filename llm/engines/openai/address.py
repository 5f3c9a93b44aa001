"""The address of a server, and the key for it."""

import importlib.util
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from jaxecon.config.request_extras import filled, names_secret, references
from jaxecon.core.errors import UserError
from llm.transcript.keys import compact_json

_OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"  # the environment variable that holds OpenAI's own key


@dataclass(frozen=True)
class Extras:
    """What is added to every request: `llm.extra_body`, `llm.headers` and `llm.query`.

    In headers and query, ${NAME} stands for the value of an environment variable.
    """

    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def authenticates(self) -> bool:
        """Whether a header or the query says who asks, in place of `api_key_env`."""
        return any(names_secret(name) for name in (*self.headers, *self.query))

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
        """The values of all variables that headers and query name."""
        texts = (*self.headers.values(), *self.query.values())
        return [os.environ[name].strip() for text in texts for name in references(text)]


def _filled(setting: str, text: str) -> str:
    missing = [name for name in references(text) if not os.environ.get(name, "").strip()]
    if missing:
        raise UserError(
            f"{setting}: the environment variable {missing[0]}, which it names, is not set"
        )
    value = filled(text, {name: os.environ[name].strip() for name in references(text)})
    if not (value.isascii() and value.isprintable()):
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
    url = _plain_address(base_url or _OPENAI)
    return {"engine": "openai", "model": model, "base_url": url, **added}


def check_openai(base_url: str | None, api_key_env: str, extras: Extras | None = None) -> None:
    """Raise UserError where `OpenAIEngine` would, without asking the server."""
    key_to_send(api_key_env, _plain_address(base_url or _OPENAI), extras or Extras())
    if importlib.util.find_spec("openai") is None:
        raise UserError("llm.engine: 'openai' needs: pip install 'jaxecon[openai]'")


def key_to_send(name: str, url: str, extras: Extras) -> str:
    """The key for a server; "" where it needs none, or where a header or the query has it.

    Raises:
        UserError: see `api_key` and `Extras.filled`.
    """
    extras.filled()
    if extras.authenticates and name == OPENAI_KEY:
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
    if not key and urlsplit(url).hostname == urlsplit(_OPENAI).hostname:
        raise UserError(
            f"llm.api_key_env: set the environment variable {name} to the key for {url}"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"llm.api_key_env: what the environment variable {name} holds is no key")
    return key


def _is_host(host: str) -> bool:
    """Whether a text can be the name or the number of a machine."""
    if ":" in host or re.fullmatch(r"[\d.]+", host):
        ipaddress.ip_address(host)  # raises ValueError
    return bool(host.rstrip(".").encode("idna"))


def _plain_address(base_url: str) -> str:
    try:
        parts = urlsplit(base_url.strip())
        plain = (
            parts.scheme in ("http", "https")
            and parts.port != 0
            and _is_host(parts.hostname or "")
            and parts.path.isprintable()
        )
    except ValueError:
        plain = False
    # No password or query, since a run's files hold its configuration.
    if (
        not plain
        or parts.query
        or parts.fragment
        or not re.fullmatch(r"[\w.:\[\]-]+", parts.netloc)
    ):
        raise UserError(
            "llm.base_url: must be a plain address such as http://127.0.0.1:8000/v1, without "
            "user, password or query; the key goes where llm.api_key_env says, a query into "
            "llm.query"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
