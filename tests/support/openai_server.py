"""A server with OpenAI's interface that answers as a test says."""

import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from llm.decisions.labor import labor_schema
from llm.messages import Completion, Draw, Message, Request, Sampling

KEY = "sk-test-0123456789abcdefghijklmnop"


CHOICES = tuple(range(0, 101, 10))


SCHEMA = labor_schema(CHOICES)


@dataclass
class Reply:
    """What the server sends.

    cut: it promises the whole body, sends so many bytes and drops the connection.
    """

    body: bytes | str | dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: int | None = None


@dataclass
class Call:
    """What the server was sent.

    number: how many chats came before; tries: how often this chat came before.
    """

    body: dict[str, Any]
    headers: dict[str, str]
    number: int
    tries: int
    path: str = ""

    @property
    def said(self) -> str:
        return str(self.body["messages"][-1]["content"])


def said(
    text: str, finish_reason: str = "stop", usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": finish_reason,
    }
    return {
        "id": "1",
        "object": "chat.completion",
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def refused(status: int, message: str, **fields: str) -> Reply:
    return Reply({"error": {"message": message, **fields}}, status)


def echo(call: Call) -> Reply:
    return Reply(said(call.said))


class _Http(ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a client that has gone
            super().handle_error(request, client_address)


class Server:
    """Chats are answered by `answer`; GET /v1/models by `models`.

    `calls` and `times` keep what came.
    """

    def __init__(self, answer: Callable[[Call], Reply]) -> None:
        self.answer = answer
        self.models = Reply({"object": "list", "data": [{"id": "m"}, {"id": "other"}]})
        self.calls: list[Call] = []
        self.times: list[float] = []
        self.busy = self.busiest = 0
        self._tries: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                outer._sockets.add(self.connection)

            def finish(self) -> None:
                outer._sockets.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                self._send(outer.models)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                headers = {name.lower(): value for name, value in self.headers.items()}
                call = outer._note(body, headers, self.path)
                try:
                    reply = outer.answer(call)
                    outer._stopping.wait(reply.delay)
                finally:
                    with outer._lock:
                        outer.busy -= 1
                self._send(reply)

            def _send(self, reply: Reply) -> None:
                body = json.dumps(reply.body) if isinstance(reply.body, dict) else reply.body
                data = body.encode() if isinstance(body, str) else body
                self.send_response(reply.status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Content-Length": str(len(data)),
                    **reply.headers,
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: reply.cut])
                self.close_connection = self.close_connection or reply.cut is not None

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler

    def start(self) -> None:
        self._stopping = threading.Event()
        self._http = _Http(("127.0.0.1", self.port), self._handler())
        self._http.daemon_threads = False
        self.port = self._http.server_address[1]
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}
        )
        self._thread.start()

    def stop(self) -> None:
        """As a killed server: nothing listens, and what was open is cut."""
        self._stopping.set()
        self._http.shutdown()
        self._thread.join()
        for connection in list(self._sockets):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()

    def _note(self, body: dict[str, Any], headers: dict[str, str], path: str) -> Call:
        with self._lock:
            content = body["messages"][-1]["content"]
            call = Call(body, headers, len(self.calls), self._tries[content], path)
            self._tries[content] += 1
            self.calls.append(call)
            self.times.append(time.monotonic())
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        return call


def ask(
    text: str,
    *,
    agent: int = 0,
    schema: dict[str, Any] | None = None,
    sampling: Sampling | None = None,
) -> Request:
    messages = (Message("system", "You work."), Message("user", text))
    return Request(
        messages,
        schema,
        sampling or Sampling(0.7, 1.0, 16),
        Draw(0, "labor", 0, 0, "workers", agent),
    )


def asks(count: int, schema: dict[str, Any] | None = None) -> list[Request]:
    return [ask(f"worker {i}", agent=i, schema=schema) for i in range(count)]


def assert_echoed(completions: list[Completion]) -> None:
    assert [c.error for c in completions] == [None] * len(completions)
    assert [c.text for c in completions] == [f"worker {i}" for i in range(len(completions))]
