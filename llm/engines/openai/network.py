"""The way to a server: directly, or as the environment's proxies and certificates say."""

import ipaddress
import logging
import os
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from jaxecon.core.errors import UserError, first_line

_PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")
_CERTIFICATES = ("ssl_cert_file", "ssl_cert_dir")


def http_client(url: str, max_connections: int, timeout: float) -> Any:
    """The client for the requests to one server; it never follows a redirect.

    A connection carries one request. An answer too many, which a server or a proxy sends when it
    has lost count, is then nobody's; on a connection that is used again it would be taken for the
    next request's.

    A server on this machine is reached directly, whatever the environment says about proxies and
    certificates, which are about the way to other machines.

    Raises:
        UserError: a variable of the environment names a proxy or certificates that cannot be used.
    """
    import openai  # an extra, and slow to import

    client = openai.DefaultAsyncHttpxClient
    # it logs the address of every request, and llm.query may hold a secret
    for module in {kind.__module__.partition(".")[0] for kind in client.__mro__}:
        if module.startswith("httpx"):
            logging.getLogger(module).setLevel(logging.WARNING)
    limits = type(openai.DEFAULT_CONNECTION_LIMITS)
    try:
        return client(
            limits=limits(max_connections=max_connections, max_keepalive_connections=0),
            timeout=openai.Timeout(timeout, connect=min(timeout, 10.0)),
            follow_redirects=False,  # the key is for this address alone
            trust_env=not is_this_machine(url),
        )
    except Exception as error:  # of httpx and ssl; the environment alone differs between machines
        blamed = _CERTIFICATES if isinstance(error, OSError) else _PROXIES
        variables = [
            f"{name}={value!r}"
            for name, value in sorted(os.environ.items())
            if name.lower() in blamed and value
        ]
        if not variables:
            raise
        raise UserError(
            f"{', '.join(variables)}: cannot be used for {url} ({first_line(error)}); correct or "
            "unset it"
        ) from error


class Proxy(NamedTuple):
    """A proxy on the way to a server: the environment variable that names it, and its address."""

    variable: str
    address: str


def proxy_to(url: str) -> Proxy | None:
    """The proxy that the environment names for an address; None where there is none."""
    parts = urlsplit(url)
    if is_this_machine(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    proxies = getproxies_environment()
    for kind in (parts.scheme, "all"):
        named = proxies.get(kind)
        if named:
            variable = next(
                name
                for name, value in os.environ.items()
                if name.lower() == f"{kind}_proxy" and value == named
            )
            return Proxy(variable, named.rpartition("//")[2].rpartition("@")[2])  # no password
    return None


def is_this_machine(url: str) -> bool:
    """Whether an address leads to this machine."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
