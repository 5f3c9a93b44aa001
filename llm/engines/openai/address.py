"""The address of a server, and the key for it."""

import importlib.util
import os
import re
from urllib.parse import urlsplit

from jaxecon.core.errors import UserError

_OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"  # the environment variable that holds OpenAI's own key


def engine_identity(model: str, base_url: str | None = None) -> dict[str, str]:
    """The identity that an `OpenAIEngine` will have, found without its server.

    It is enough to look up answers in a transcript.

    Raises:
        UserError: base_url is not a plain http(s) address.
    """
    return {"engine": "openai", "model": model, "base_url": _plain_address(base_url or _OPENAI)}


def check_openai(base_url: str | None, api_key_env: str) -> None:
    """Raise UserError where `OpenAIEngine` would, without asking the server."""
    api_key(api_key_env, _plain_address(base_url or _OPENAI))
    if importlib.util.find_spec("openai") is None:
        raise UserError("llm.engine: 'openai' needs: pip install 'jaxecon[openai]'")


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


def _plain_address(base_url: str) -> str:
    try:
        parts = urlsplit(base_url.strip())
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
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
            "user, password or query; "
            "the key goes where llm.api_key_env says"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"
