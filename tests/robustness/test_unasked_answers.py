"""A server that sends an answer too many: no request gets another one's."""

import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from support.completions import collect
from support.openai_server import asks, assert_echoed, said

from llm.engines.openai import batch, transport
from llm.engines.openai.engine import OpenAIEngine

pytest.importorskip("openai")

EXTRA = "an answer that nobody asked for"


def http(text: str) -> bytes:
    body = json.dumps(said(text)).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class RawServer:
    """Repeats what it is asked, on connections that it keeps open.

    before: called when a connection is accepted; asked: when the first bytes of a request are
    there, unread; after: with the connection and the answer to be sent.
    """

    def __init__(self) -> None:
        self.before: Callable[[socket.socket], None] = lambda connection: None
        self.asked: Callable[[socket.socket], None] = lambda connection: None
        self.after: Callable[[socket.socket, bytes], None] = socket.socket.sendall
        self.served: list[int] = []  # requests by connection
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError), connection, connection.makefile("rb") as stream:
            number = len(self.served)
            self.served.append(0)
            self.before(connection)
            while connection.recv(1, socket.MSG_PEEK):
                self.asked(connection)
                length = 0
                while (line := stream.readline().strip()) != b"":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                self.served[number] += 1
                if not length:
                    connection.sendall(http("models"))
                    continue
                body = json.loads(stream.read(length))
                self.after(connection, http(body["messages"][-1]["content"]))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[RawServer]:
    monkeypatch.setattr(batch, "_BACKOFF_SECONDS", 0.01)
    started = RawServer()
    yield started
    started.close()


@pytest.fixture
def engine(server: RawServer) -> Iterator[OpenAIEngine]:
    opened = OpenAIEngine("m", base_url=server.url, max_connections=4, transport_retries=1)
    yield opened
    opened.close()


@pytest.mark.parametrize("milliseconds", [0, 1, 10, 100, 500])
def test_an_answer_too_many(server: RawServer, engine: OpenAIEngine, milliseconds: int) -> None:
    def twice(connection: socket.socket, answer: bytes) -> None:
        if not milliseconds:
            connection.sendall(answer + http(EXTRA))
            return
        connection.sendall(answer)
        time.sleep(milliseconds / 1000)
        connection.sendall(http(EXTRA))

    server.after = twice
    for _ in range(3):
        assert_echoed(collect(engine, asks(25)))
    assert max(server.served) == 1


def test_the_answer_to_the_request_before(server: RawServer, engine: OpenAIEngine) -> None:
    """A server that answers one late: on one connection all later answers would be shifted."""
    last = [http(EXTRA)]

    def shifted(connection: socket.socket, answer: bytes) -> None:
        connection.sendall(answer + last[0])
        last[0] = answer

    server.after = shifted
    assert_echoed(collect(engine, asks(60)))


@pytest.mark.parametrize("when", ["before", "asked"])
def test_an_answer_before_the_request_is_read(
    server: RawServer, engine: OpenAIEngine, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """It cannot be the request's, which is sent once more."""
    # the server's threads may be slow to speak on a busy machine
    monkeypatch.setattr(transport, "_EARLY_SECONDS", 0.4)
    count = itertools.count()

    def speak(connection: socket.socket) -> None:
        if next(count) < 4:
            connection.sendall(http(EXTRA))

    setattr(server, when, speak)
    assert_echoed(collect(engine, asks(4)))
    assert next(count) > 4
