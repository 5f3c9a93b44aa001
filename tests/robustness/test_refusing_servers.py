"""Failures that every request would meet: one line each, with the setting to look at."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.completions import collect
from support.dialects import quickly, served
from support.openai_server import SCHEMA, Reply, Server, asks, echo, refused

from jaxecon.core.errors import EngineError
from llm.engines.openai import probing
from llm.engines.openai.engine import OpenAIEngine
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.fatal import fatal_line
from llm.engines.openai.rate_limit import retry_after_seconds

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quickly(monkeypatch, tmp_path)


BY_STATUS = {
    401: "llm.api_key_env: URL does not accept the key",
    402: "llm.api_key_env: URL wants to be paid",
    403: "llm.api_key_env: URL does not allow this",
    404: "llm.model: URL does not have 'm'",
    405: "llm.base_url: URL takes no chats at this address",
    406: "llm.base_url: URL does not answer in JSON",
    407: "llm.base_url: a proxy on the way to URL asks for a password",
    410: "llm.model: URL has 'm' no longer",
    411: "llm.base_url: URL, or a proxy on the way",
    414: "llm.query: URL finds the address too long",
    421: "llm.base_url: URL does not serve this address",
    426: "llm.base_url: URL asks for another protocol",
    431: "llm.headers: URL finds the headers too long",
    451: "llm.base_url: URL may not answer, for legal reasons",
    505: "llm.base_url: URL, or a proxy on the way, does not speak",
    511: "llm.base_url: the network asks for a login",
}


@pytest.mark.parametrize("status", BY_STATUS)
def test_a_status_that_every_request_would_meet(status: int) -> None:
    with served(echo, max_connections=1) as (server, engine):
        collect(engine, asks(2, SCHEMA))
        server.answer = lambda call: refused(status, "not found here")
        with pytest.raises(EngineError) as ended:
            collect(engine, asks(5, SCHEMA))
        assert str(ended.value).startswith(BY_STATUS[status].replace("URL", server.url))
        assert f"HTTP {status}: not found here" in str(ended.value)
        assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("status", "words", "line"),
    [
        (400, "API key not valid. Please pass a valid API key.", "llm.api_key_env: "),
        (400, "Client sent an HTTP request to an HTTPS server.", "llm.base_url: .* speaks https"),
        (400, "The plain HTTP request was sent to HTTPS port", "llm.base_url: .* speaks https"),
        (400, "temperature must be in the range 0 to 1", "llm.temperature: "),
        (422, "Unsupported value: 'top_p' is not supported", "llm.top_p: "),
        (0, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "llm.base_url: the certificate of"),
        (0, "[SSL: WRONG_VERSION_NUMBER] wrong version", "llm.base_url: .* does not speak https"),
        (0, "[SSL] record layer failure (_ssl.c:1006)", "llm.base_url: no encrypted connection"),
    ],
)
def test_words_that_every_request_would_meet(status: int, words: str, line: str) -> None:
    body = {"error": {"message": words, "type": "invalid_request_error"}}
    said = str(body).lower() if status else ""
    failure = RequestFailure(words, status=status, complaint=said)
    found = fatal_line(failure, url="http://u/v1", key="K", model="m", models=[])
    assert found is not None
    assert re.match(line, found)
    assert words in found


@contextmanager
def answering(data: bytes) -> Iterator[int]:
    """A server that says the same to every connection, whatever it is sent; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)
        ended = threading.Event()

        def serve() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        connection.settimeout(2)
                        connection.recv(65_536)
                        connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize(
    ("scheme", "data", "line"),
    [
        # a TLS alert, which is what a server sends that expects TLS
        ("http", b"\x15\x03\x01\x00\x02\x02\x46", "speaks https"),
        ("http", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", None),
        ("https", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "does not speak https"),
        ("http", b"SSH-2.0-OpenSSH_9.2\r\n", "nothing answers at"),
        ("http", b"", "nothing answers at"),
    ],
)
def test_what_listens_at_the_address_is_no_such_server(
    scheme: str, data: bytes, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_CHECK_SECONDS", 2.0)
    with answering(data) as port:
        url = f"{scheme}://127.0.0.1:{port}/v1"
        if line is None:
            OpenAIEngine("m", base_url=url).close()
            return
        with pytest.raises(EngineError) as ended:
            OpenAIEngine("m", base_url=url)
    assert str(ended.value).startswith("llm.base_url: ")
    assert line in str(ended.value)
    assert "\n" not in str(ended.value)


def test_a_name_that_no_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_CHECK_SECONDS", 20.0)
    with pytest.raises(
        EngineError, match=r"^llm\.base_url: nothing answers at http://no-such-host"
    ):
        OpenAIEngine("m", base_url="http://no-such-host.invalid/v1")


@pytest.mark.parametrize("status", [401, 403, 407, 421, 451, 511])
def test_what_the_first_contact_shows(status: int) -> None:
    server = Server(echo)
    server.models = refused(status, "no")
    try:
        with pytest.raises(EngineError, match=f"HTTP {status}: no"):
            OpenAIEngine("m", base_url=server.url)
    finally:
        server.stop()


@pytest.mark.parametrize("status", [520, 521, 522, 523, 524, 525, 526, 527, 529, 530])
def test_a_gateway_of_cloudflare_or_anthropic(status: int) -> None:
    """Like 502: retried while others get through, and the run's end after `patience_seconds`."""
    busy = refused(status, "overloaded")
    with served(lambda call: busy if call.tries < 2 else echo(call), patience_seconds=5) as (
        server,
        engine,
    ):
        assert [c.error for c in collect(engine, asks(3))] == [None] * 3
        server.answer = lambda call: busy
        engine._server.patience = 0.3
        with pytest.raises(EngineError, match=f"cannot be reached for 0.3 s .HTTP {status}"):
            collect(engine, asks(3))


def test_connections_that_are_cut_without_a_word() -> None:
    """As a container's port that nothing listens behind: an outage, not everybody's fallback."""
    with served(echo, patience_seconds=0.4, transport_retries=1) as (server, engine):
        collect(engine, asks(2))
        server.answer = lambda call: Reply("{}", cut=0)
        with pytest.raises(EngineError, match=r"has answered nothing for 0\.4 s"):
            collect(engine, asks(10))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1m30s"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
    ],
)
def test_the_pause_that_a_server_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers) == seconds
