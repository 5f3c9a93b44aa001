"""The address of a server, as `base_url` gives it."""

import ipaddress
import re
from urllib.parse import urlsplit


def plain_address(where: str, url: str) -> str:
    """An http(s) address in one form, whatever capitals and slashes it was written with.

    Args:
        where: the settings' common part, such as llm.
        url: `base_url`.

    Raises:
        ValueError: it is none, or has a user, a password or a query, which a run's files would
            hold; one line without the address.
    """
    try:
        parts = urlsplit(url.strip())
        plain = (
            parts.scheme in ("http", "https")
            and parts.port != 0
            and _is_host(parts.hostname or "")
            and parts.path.isprintable()
        )
    except ValueError:
        plain = False
    if not plain or re.search("[?#]", url) or not re.fullmatch(r"[\w.:\[\]-]+", parts.netloc):
        raise ValueError(
            f"{where}.base_url: must be a plain address such as http://127.0.0.1:8000/v1, without "
            f"user, password or query; the key goes where {where}.api_key_env says, a query into "
            f"{where}.query"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _is_host(host: str) -> bool:
    """Whether a text can be the name or the number of a machine."""
    if ":" in host or re.fullmatch(r"[\d.]+", host):
        ipaddress.ip_address(host)  # raises ValueError
    return bool(host.rstrip(".").encode("idna"))
