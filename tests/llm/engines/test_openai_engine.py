"""The engine for OpenAI-compatible servers before a real HTTP server on this machine that fails as
it is told to.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from jaxecon.core.errors import EngineError, UserError
from llm.bridge import Bridge, ServedModel
from llm.decisions.labor import Labor, LaborObservation, labor_schema
from llm.decisions.wording import Bracket
from llm.engines.base import Engine, estimated_tokens
from llm.engines.openai import engine as openai_engine
from llm.engines.openai.engine import OpenAIEngine, check_openai, engine_identity
from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.transcript.store import Transcript

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

    def start(self) -> None:
        outer = self
        self._stopping = threading.Event()

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
                call = outer._note(
                    body, {name.lower(): value for name, value in self.headers.items()}
                )
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

        class Http(ThreadingHTTPServer):
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                if not isinstance(sys.exception(), OSError):  # a client that has gone
                    super().handle_error(request, client_address)

        self._http = Http(("127.0.0.1", self.port), Handler)
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

    def _note(self, body: dict[str, Any], headers: dict[str, str]) -> Call:
        with self._lock:
            content = body["messages"][-1]["content"]
            call = Call(body, headers, len(self.calls), self._tries[content])
            self._tries[content] += 1
            self.calls.append(call)
            self.times.append(time.monotonic())
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        return call


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Reading the machine's certificates is most of what a new client takes; nothing here is
    # encrypted.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setattr(openai_engine, "_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(openai_engine, "_LONGEST_BACKOFF_SECONDS", 0.1)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server(echo)
    yield started
    started.stop()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., OpenAIEngine]]:
    """Engines before the server, closed at the end."""
    opened: list[OpenAIEngine] = []

    def open_(**options: Any) -> OpenAIEngine:
        opened.append(OpenAIEngine("m", **{"base_url": server.url, **options}))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()


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


def collect(engine: OpenAIEngine, requests: list[Request]) -> list[Completion]:
    """The completions by index; each index must be reported once, in the thread that asked."""
    got: dict[int, Completion] = {}
    thread = threading.get_ident()

    def keep(index: int, completion: Completion) -> None:
        assert threading.get_ident() == thread
        assert index not in got
        got[index] = completion

    engine.complete(requests, on_completion=keep)
    assert sorted(got) == list(range(len(requests)))
    return [got[index] for index in range(len(requests))]


def assert_echoed(completions: list[Completion]) -> None:
    assert [c.error for c in completions] == [None] * len(completions)
    assert [c.text for c in completions] == [f"worker {i}" for i in range(len(completions))]


# What works


def test_each_reply_reaches_the_request_that_asked(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    server.answer = lambda call: Reply(
        said(call.said), delay=0.001 * (37 * int(call.said.split()[-1]) % 50)
    )
    engine = connect()
    order: list[int] = []
    got: dict[int, str] = {}

    def keep(index: int, completion: Completion) -> None:
        order.append(index)
        got[index] = completion.text

    engine.complete(asks(200), on_completion=keep)
    assert got == {i: f"worker {i}" for i in range(200)}
    assert order != sorted(order), "completions waited for each other"
    assert len(order) == len(server.calls) == 200


def test_identity_and_description(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    engine = connect(base_url=server.url + "/", requests_per_minute=1e6)
    assert isinstance(engine, Engine)
    assert (
        engine.identity
        == {"engine": "openai", "model": "m", "base_url": server.url}
        == engine_identity("m", server.url)
    )
    assert engine_identity("m", "HTTP://Host:80/v1/")["base_url"] == "http://host:80/v1"
    described = json.loads(json.dumps(engine.description))
    assert described["structured_output"] == "json_schema"
    assert described["requests_per_minute"] == 1e6
    assert described["tokens_per_minute"] == 0.0


def test_what_is_sent(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    engine = connect()
    collect(engine, [ask("one", agent=1, schema=SCHEMA, sampling=Sampling(0.3, 0.9, 21))])
    collect(engine, [ask("two", agent=2), ask("three", agent=1)])
    first, second, third = (server.calls[i].body for i in range(3))
    assert first["model"] == "m"
    assert first["messages"] == [
        {"role": "system", "content": "You work."},
        {"role": "user", "content": "one"},
    ]
    assert (first["temperature"], first["top_p"], first["max_tokens"]) == (0.3, 0.9, 21)
    json_schema = {"name": "decision", "strict": True, "schema": SCHEMA}
    assert first["response_format"] == {"type": "json_schema", "json_schema": json_schema}
    assert not {"response_format", "top_p"} & set(second)
    by_text = {body["messages"][-1]["content"]: body["seed"] for body in (first, second, third)}
    assert by_text["one"] == by_text["three"] == 735223917
    assert by_text["two"] != by_text["one"]
    assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_vllm_is_sent_no_seed(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    """It would kill vLLM's CPU engine."""
    server.models = Reply(
        {"object": "list", "data": [{"id": "m", "owned_by": "vllm", "created": 1}]}
    )
    engine = connect()
    assert_echoed(collect(engine, asks(2)))
    assert not any("seed" in call.body for call in server.calls)
    assert engine.description["seed"] == "not sent"
    assert engine.identity == engine_identity("m", server.url)


def test_usage_and_finish_reasons(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    usage = {
        "prompt_tokens": 90,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 64},
    }
    replies = {
        "cached": said("a", usage=usage),
        "plain": said(
            "b", usage={"prompt_tokens": 90, "completion_tokens": 7, "prompt_tokens_details": None}
        ),
        "none": said("c"),
        "nothing": said("c", usage={}),
        "nulls": said("c", usage={"prompt_tokens": None, "completion_tokens": None}),
        "zero": said("c", usage={"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}),
        "text": said("c", usage={"prompt_tokens": "90", "completion_tokens": 7}),
        "negative": said("c", usage={"prompt_tokens": 90, "completion_tokens": -7}),
        "long": said("d", "length"),
        "filtered": said("", "content_filter"),
        "empty": {"choices": [{"message": {"content": None}}]},
    }
    server.answer = lambda call: Reply(replies[call.said], delay=0.01)
    cached, plain, *uncounted, negative, long, filtered, empty = collect(
        connect(), [ask(text) for text in replies]
    )
    assert cached.usage == Usage(90, 64, 7)
    assert plain.usage == Usage(90, 0, 7)
    for text, completion in zip(
        ("none", "nothing", "nulls", "zero", "text"), uncounted, strict=True
    ):
        assert completion.usage == Usage(estimated_tokens(ask(text).messages), 0, 1), (
            text
        )  # so that budgets are not blind
    assert negative.usage == Usage(90, 0, 0)
    assert (long.text, long.finish_reason, long.error) == ("d", "length", None)
    assert filtered.error == "the server ended the request with 'content_filter'"
    assert (empty.text, empty.finish_reason, empty.error) == ("", "stop", None)
    assert 0.01 <= cached.seconds < 5


def test_unicode_a_megabyte_and_half_a_surrogate_pair(
    server: Server, connect: Callable[..., OpenAIEngine], tmp_path: Path
) -> None:
    texts = ["ça va 你好 🙂 \u2028 \x00", "x" * 2**20]
    server.answer = lambda call: (
        Reply(said(call.said)) if call.said != "half" else Reply(json.dumps(said("a\ud83db")))
    )
    *echoed, half = collect(connect(), [ask(texts[0]), ask(texts[1]), ask("half")])
    assert [c.text for c in echoed] == texts
    assert half.text == "a?b"
    (broken,) = collect(connect(), [ask("\ud83d")])
    assert "cannot be sent" in (broken.error or "")


def test_an_empty_batch(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    assert collect(connect(), []) == []
    assert server.calls == []


def test_close_twice(connect: Callable[..., OpenAIEngine]) -> None:
    engine = connect()
    assert_echoed(collect(engine, asks(3)))
    engine.close()
    engine.close()
    assert not engine._thread.is_alive()
    with pytest.raises(EngineError, match="closed"):
        collect(engine, asks(1))


def test_closed_during_a_batch(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    server.answer = lambda call: Reply(said(""), delay=30)
    engine = connect()
    timer = threading.Timer(0.2, engine.close)
    timer.start()
    with pytest.raises(EngineError, match="closed during a batch"):
        collect(engine, asks(3))
    timer.join()


# Failures that pass


def every_third(call: Call) -> bool:
    """Whether this chat's first tries fail: one in three, and of those one in three again."""
    return int(call.said.split()[-1]) % 3 ** (call.tries + 1) == 0 and call.tries < 3


def test_a_third_of_the_requests_fail_with_500(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    server.answer = lambda call: refused(500, "overloaded") if every_third(call) else echo(call)
    assert_echoed(collect(connect(), asks(100)))
    assert len(server.calls) == 100 + 34 + 12 + 4


BROKEN = {
    "408": refused(408, "slow"),
    "409": refused(409, "conflict"),
    "429": refused(429, "too many"),
    "503": Reply("<html>busy</html>", 503),
    "cut": Reply(said("worker"), cut=20),
    "cut at once": Reply(said("worker"), cut=0),
    "not JSON": Reply("<html>hello</html>", headers={"Content-Type": "text/html"}),
    "half JSON": Reply('{"choices": ['),
    "deep JSON": Reply("[" * 100_000),
    "a list": Reply("[]"),
    "no choices": Reply({"id": "1"}),
    "empty choices": Reply({"choices": []}),
    "no message": Reply({"choices": [{"text": "worker"}]}),
    "no text": Reply({"choices": [{"message": {"content": [1]}}]}),
    "an error": Reply({"error": {"message": "upstream"}}),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_broken_answer_is_asked_for_again(
    server: Server, connect: Callable[..., OpenAIEngine], broken: Reply
) -> None:
    server.answer = lambda call: broken if call.tries == 0 else echo(call)
    assert_echoed(collect(connect(), asks(3)))
    assert len(server.calls) == 6


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("503", "HTTP 503: <html>busy</html>"),
        ("cut", "peer closed connection"),
        ("not JSON", "the server's reply is not JSON"),
        ("no choices", "the server's reply has no message"),
        ("an error", "an error in place of an answer: {'message': 'upstream'}"),
    ],
)
def test_used_up_retries_end_one_request(
    server: Server, connect: Callable[..., OpenAIEngine], broken: str, words: str
) -> None:
    server.answer = lambda call: BROKEN[broken] if call.said == "worker 1" else echo(call)
    completions = collect(connect(transport_retries=2), asks(3))
    assert words in (completions[1].error or "")
    assert "\n" not in (completions[1].error or "")
    assert (completions[1].text, completions[1].finish_reason) == ("", "error")
    assert [completions[i].text for i in (0, 2)] == ["worker 0", "worker 2"]
    assert len(server.calls) == 5


def test_a_hanging_answer_times_out(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    server.answer = lambda call: Reply(
        said(call.said), delay=30 if call.tries == 0 and call.said == "worker 1" else 0
    )
    started = time.monotonic()
    assert_echoed(collect(connect(timeout_seconds=0.5), asks(3)))
    assert 0.5 <= time.monotonic() - started < 5
    server.answer = lambda call: Reply(said(call.said), delay=30)
    (hanging,) = collect(connect(timeout_seconds=0.2, transport_retries=1), asks(1))
    assert hanging.error == "no answer within 0.2 s"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(
    server: Server, connect: Callable[..., OpenAIEngine], status: int, form: str
) -> None:
    """By all requests: those that were not told wait too."""
    at_least = 1.0

    def answer(call: Call) -> Reply:
        if call.number == 0:
            # A date has whole seconds, so this one is 1 to 2 seconds away.
            when = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
            return Reply("{}", status, {"Retry-After": "1" if form == "seconds" else when})
        return echo(call)

    server.answer = answer
    assert_echoed(collect(connect(max_connections=1), asks(3)))
    assert len(server.calls) == 4
    assert at_least <= server.times[1] - server.times[0] < 4
    assert server.times[3] - server.times[1] < 0.5


@pytest.mark.parametrize("header", ["soon", "nan", "-5", "", "inf"])
def test_a_retry_after_that_says_nothing(
    server: Server, connect: Callable[..., OpenAIEngine], header: str
) -> None:
    server.answer = lambda call: (
        Reply("{}", 429, {"Retry-After": header}) if call.tries == 0 else echo(call)
    )
    assert_echoed(collect(connect(), asks(1)))


def test_the_server_goes_and_comes_back(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    """Within patience the batch is completed, with many more failures in between than there are
    retries.
    """
    server.answer = lambda call: Reply(said(call.said), delay=0.05)
    engine = connect(max_connections=4, transport_retries=2, patience_seconds=20)

    def interrupt() -> None:
        server.stop()
        time.sleep(1.0)
        server.start()

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    started = time.monotonic()
    assert_echoed(collect(engine, asks(60)))
    timer.join()
    assert time.monotonic() - started > 1.3


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_before_a_server_that_comes_back(
    server: Server, connect: Callable[..., OpenAIEngine], status: int
) -> None:
    """Within patience nobody falls back, with many more failures than there are retries."""
    server.answer = lambda call: (
        refused(status, "no upstream") if 0.2 < time.monotonic() - started < 1.2 else slow(call)
    )

    def slow(call: Call) -> Reply:
        return Reply(said(call.said), delay=0.05)

    engine = connect(max_connections=4, transport_retries=2, patience_seconds=20)
    started = time.monotonic()
    assert_echoed(collect(engine, asks(60)))
    assert time.monotonic() - started > 1.2
    assert len(server.calls) > 60 + 4 * 3


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_before_a_server_that_stays_away(
    server: Server, connect: Callable[..., OpenAIEngine], status: int, connections: int
) -> None:
    server.answer = lambda call: echo(call) if call.number < 8 else refused(status, "no upstream")
    engine = connect(max_connections=connections, transport_retries=2, patience_seconds=0.6)
    got: dict[int, Completion] = {}
    words = re.escape(
        f"llm.base_url: {server.url} cannot be reached for 0.6 s (HTTP {status}: no upstream)"
    )
    with pytest.raises(EngineError, match=words):
        engine.complete(asks(40), on_completion=got.__setitem__)
    assert [c.error for c in got.values()] == [None] * 8
    with pytest.raises(EngineError, match=words):
        collect(engine, asks(1))
    server.answer = echo
    assert_echoed(collect(engine, asks(5)))


def test_a_request_that_alone_meets_503_while_others_get_through(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    """It falls back after its retries, and no patience is lost."""
    server.answer = lambda call: (
        BROKEN["503"] if call.said == "worker 1" else Reply(said(call.said), delay=0.05)
    )
    completions = collect(
        connect(max_connections=4, transport_retries=3, patience_seconds=0.5), asks(80)
    )
    assert [i for i, c in enumerate(completions) if c.error] == [1]
    assert Counter(call.said for call in server.calls)["worker 1"] <= 3 + 4


# Failures that stay with one request


def test_a_prompt_too_long_concerns_itself_alone(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    too_long = "'max_tokens' or 'max_completion_tokens' is too large: 16. This model's maximum\n context length is 8 tokens"
    server.answer = lambda call: refused(400, too_long) if call.said == "worker 2" else echo(call)
    completions = collect(connect(), asks(5, SCHEMA))
    assert completions[2] == Completion(
        "", "error", error=f"HTTP 400: {' '.join(too_long.split())}"
    )
    assert [c.text for i, c in enumerate(completions) if i != 2] == [
        f"worker {i}" for i in (0, 1, 3, 4)
    ]
    assert len(server.calls) == 5


@pytest.mark.parametrize("status", [400, 413, 418, 422])
def test_other_refusals_are_final(
    server: Server, connect: Callable[..., OpenAIEngine], status: int
) -> None:
    server.answer = lambda call: (
        Reply("no, thank you", status) if call.said == "worker 0" else echo(call)
    )
    completions = collect(connect(), asks(2))
    assert completions[0].error == f"HTTP {status}: no, thank you"
    assert completions[1].error is None
    assert len(server.calls) == 2


# Failures that end the engine


def test_nothing_answers_at_the_start(server: Server) -> None:
    server.stop()
    started = time.monotonic()
    with pytest.raises(
        EngineError, match=f"^llm.base_url: nothing answers at {server.url} .*Errno"
    ) as refused_:
        OpenAIEngine("m", base_url=server.url)
    assert time.monotonic() - started < 4
    assert "\n" not in str(refused_.value)
    server.start()


def test_a_silent_server_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai_engine, "_CHECK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(EngineError, match=r"nothing answers at .* \(no answer within 0.2 s\)"):
            OpenAIEngine("m", base_url=url)


@pytest.mark.parametrize(
    "models", [Reply("", 404), Reply("{}", 405), Reply("x", 500), Reply("<html>"), Reply("[1]")]
)
def test_a_server_that_does_not_list_its_models(
    server: Server, connect: Callable[..., OpenAIEngine], models: Reply
) -> None:
    server.models = models
    assert_echoed(collect(connect(), asks(2)))


def test_a_server_that_stays_away(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    """What was answered before has been reported; the engine works again when the server is back."""
    server.answer = lambda call: Reply(said(call.said), delay=0.05)
    engine = connect(max_connections=4, patience_seconds=0.5)
    got: dict[int, str] = {}

    def keep(index: int, completion: Completion) -> None:
        got[index] = completion.text
        if len(got) == 8:
            server.stop()

    with pytest.raises(
        EngineError, match=f"^llm.base_url: {server.url} cannot be reached for 0.5 s"
    ) as gone:
        engine.complete(asks(40), on_completion=keep)
    assert "\n" not in str(gone.value)
    assert 8 <= len(got) < 40
    assert got == {i: f"worker {i}" for i in got}
    server.start()
    server.answer = echo
    assert_echoed(collect(engine, asks(5)))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            refused(401, "Incorrect API key"),
            "llm.api_key_env: URL does not accept the key in OPENAI_API_KEY (HTTP 401: Incorrect",
        ),
        (
            refused(403, "country"),
            "llm.api_key_env: URL does not allow this with the key in OPENAI_API_KEY",
        ),
        (refused(402, "no credit"), "llm.api_key_env: URL wants to be paid first"),
        (
            refused(404, "no such model"),
            "llm.model: URL does not have 'm' (it has m, other), or the address lacks its /v1",
        ),
        (
            Reply("", 308, {"Location": "http://elsewhere.invalid/v1"}),
            "llm.base_url: URL sends its callers elsewhere",
        ),
        (
            refused(429, "pay", code="insufficient_quota"),
            "llm.api_key_env: the account at URL has used up its quota",
        ),
        (
            refused(400, "Only 1", param="temperature"),
            "llm.temperature: m at URL does not take it (HTTP 400: Only 1)",
        ),
        (
            Reply("{}", 429, {"Retry-After": "3600"}),
            "llm.base_url: URL is to be left alone for 3600 s",
        ),
    ],
)
def test_what_every_request_would_meet_ends_the_batch(
    server: Server, connect: Callable[..., OpenAIEngine], reply: Reply, words: str
) -> None:
    server.answer = lambda call: reply if call.said == "worker 3" else echo(call)
    got: dict[int, str] = {}
    engine = connect(max_connections=1)
    with pytest.raises(EngineError, match=re.escape(words.replace("URL", server.url))) as ended:
        engine.complete(
            asks(6), on_completion=lambda index, completion: got.__setitem__(index, completion.text)
        )
    assert got == {i: f"worker {i}" for i in range(3)}
    assert "\n" not in str(ended.value)
    assert len(server.calls) == 4


def test_a_bad_key_is_found_at_the_start(server: Server) -> None:
    server.models = refused(401, "bad key")
    with pytest.raises(EngineError, match="does not accept the key"):
        OpenAIEngine("m", base_url=server.url)


# What a server does not know


@pytest.mark.parametrize("status", [400, 422, 501])
@pytest.mark.parametrize("knows", ["json_object", "plain"])
def test_structured_output_falls_back(
    server: Server, connect: Callable[..., OpenAIEngine], status: int, knows: str
) -> None:
    def answer(call: Call) -> Reply:
        form = call.body.get("response_format", {"type": "plain"})["type"]
        if form not in (knows, "plain"):
            return refused(status, f"'response_format' of type '{form}' is not supported")
        return echo(call)

    server.answer = answer
    engine = connect()
    completions = collect(engine, asks(30, SCHEMA))
    line = f"\nAnswer with JSON alone, as this JSON schema describes it: {json.dumps(SCHEMA)}"
    assert [c.text for c in completions] == [f"worker {i}{line}" for i in range(30)]
    assert engine.description["structured_output"] == knows
    before = len(server.calls)
    collect(engine, asks(10, SCHEMA))
    assert len(server.calls) == before + 10, "the server was asked again for what it does not know"
    assert server.calls[-1].body["messages"][0] == {"role": "system", "content": "You work."}


def test_a_server_that_wants_max_completion_tokens_and_no_seed(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    def answer(call: Call) -> Reply:
        if "max_tokens" in call.body:
            words = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
            return refused(400, words, param="max_tokens", code="unsupported_parameter")
        if "seed" in call.body:
            return Reply(
                {
                    "detail": [
                        {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "not permitted"}
                    ]
                },
                422,
            )
        return echo(call)

    server.answer = answer
    engine = connect()
    assert_echoed(collect(engine, asks(20, SCHEMA)))
    assert server.calls[-1].body["max_completion_tokens"] == 16
    assert engine.description["seed"] == "not sent"
    assert engine.description["structured_output"] == "json_schema"
    before = len(server.calls)
    assert_echoed(collect(engine, asks(10, SCHEMA)))
    assert len(server.calls) == before + 10


# Limits


def test_the_connection_limit(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    server.answer = lambda call: Reply(said(call.said), delay=0.2)
    assert_echoed(collect(connect(max_connections=5), asks(20)))
    assert server.busiest == 5
    collect(connect(max_connections=40), asks(40))
    assert 5 < server.busiest <= 40


def test_two_batches_at_once_share_the_limit(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    """And waiting for a connection is no part of the time that an answer may take."""
    server.answer = lambda call: Reply(said(call.said), delay=0.6)
    engine = connect(max_connections=5, timeout_seconds=1.0, transport_retries=0)
    other = threading.Thread(target=collect, args=(engine, asks(5)))
    other.start()
    assert_echoed(collect(engine, asks(5)))
    other.join()
    assert server.busiest == 5
    assert len(server.calls) == 10


def test_requests_per_minute(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    assert_echoed(collect(connect(requests_per_minute=600), asks(21)))
    assert 1.95 <= server.times[-1] - server.times[0] < 3.5


def test_retries_count_as_requests(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    server.answer = lambda call: refused(500, "") if call.tries == 0 else echo(call)
    assert_echoed(collect(connect(requests_per_minute=600), asks(5)))
    assert 0.85 <= server.times[-1] - server.times[0] < 2.5


def test_tokens_per_minute(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    """Estimated before: (9 + 391) / 4 + 100 = 200 tokens each.

    Corrected after: the server counts 100.
    """
    requests = [ask(f"{i:<391}", sampling=Sampling(max_tokens=100)) for i in range(11)]
    engine = connect(tokens_per_minute=60 * 1000)
    collect(engine, requests)
    assert 1.95 <= server.times[-1] - server.times[0] < 3.5  # ten times 0.2 s
    server.times.clear()
    server.answer = lambda call: Reply(
        said("", usage={"prompt_tokens": 80, "completion_tokens": 20})
    )
    collect(engine, requests)
    assert 0.95 <= server.times[-1] - server.times[0] < 1.9


def test_a_request_above_a_minutes_tokens_is_sent(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 5}
    server.answer = lambda call: Reply(said(call.said, usage=usage))
    started = time.monotonic()
    collect(
        connect(tokens_per_minute=600), [ask("x" * 40_000), ask("y")]
    )  # the second waits for 10 tokens: a second
    assert time.monotonic() - started < 4


# The key


def test_the_key_stays_inside(
    server: Server, connect: Callable[..., OpenAIEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    def answer(call: Call) -> Reply:
        header = call.headers["authorization"]
        if call.said == "worker 1":
            return Reply(
                {
                    "error": {
                        "message": f"you sent {header}\n(sk-another12345)",
                        "headers": {"Authorization": header},
                    }
                },
                400,
            )
        if call.said == "worker 2":
            return Reply(f"x {header}", 500)
        if call.said == "worker 3":
            return Reply(said(f"your key is {KEY}", f"stop {KEY}"))
        return echo(call) if call.said == "worker 0" else refused(401, f"bad key {header}")

    server.answer = answer
    engine = connect(transport_retries=1)
    completions = collect(engine, asks(4))
    assert completions[1].error == "HTTP 400: you sent Bearer [key] ([key])"
    assert completions[2].error == "HTTP 500: x Bearer [key]"
    with pytest.raises(EngineError) as ended:
        collect(engine, [ask("worker 4")])
    shown = [
        repr(completions),
        str(ended.value),
        repr(ended.value),
        repr(engine),
        str(vars(ended.value)),
    ]
    shown += [
        repr(engine.identity),
        repr(engine.description),
        caplog.text,
        repr(ended.value.__cause__),
    ]
    assert KEY not in "".join(shown)
    assert "another12345" not in "".join(shown)
    assert KEY[3:] not in "".join(shown)


def test_a_key_is_needed_for_openai_alone(
    server: Server, connect: Callable[..., OpenAIEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OTHER_KEY", " other-key\n")
    with pytest.raises(
        UserError, match=r"^llm.api_key_env: set the environment variable OPENAI_API_KEY"
    ):
        OpenAIEngine("m")
    for url in (
        "https://api.openai.com/v1",
        server.url,
    ):  # a key by mistake is no variable, and not shown
        for build in (
            OpenAIEngine,
            lambda _, base_url, api_key_env: check_openai(base_url, api_key_env),
        ):
            with pytest.raises(
                UserError,
                match="^llm.api_key_env: no environment variable of that name; .* the NAME .* "
                f"for {url}$",
            ) as absent:
                build("m", base_url=url, api_key_env="AKIA0123456789")
            assert "AKIA" not in str(absent.value)
    collect(connect(), asks(1))
    collect(connect(api_key_env="OTHER_KEY"), asks(1))
    assert [call.headers["authorization"] for call in server.calls] == [
        "Bearer none",
        "Bearer other-key",
    ]
    monkeypatch.setenv("OTHER_KEY", "schlüssel")
    with pytest.raises(UserError, match="is no key") as no_key:
        connect(api_key_env="OTHER_KEY")
    assert "schl" not in str(no_key.value)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:8000", "http://", "ftp://host/v1", "http://ho st/v1", "http://[::1/v1"),
        *("http://host:99999/v1", "http://host:port/v1", "http://host:0/v1"),
        *(
            "http://user:secret@host/v1",
            "http://secret@host/v1",
            "http://host/v1?key=secret",
            "http://host/v1#secret",
        ),
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UserError, match=r"^llm.base_url: must be a plain address") as refused_:
        OpenAIEngine("m", base_url=address)
    assert "secret" not in str(refused_.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(
        UserError, match=re.escape("llm.messages: 'openai' needs: pip install 'jaxecon[openai]'")
    ):
        OpenAIEngine("m")


# Interrupts


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_batch_leaves_nothing_behind(
    server: Server, connect: Callable[..., OpenAIEngine], interruption: type[BaseException]
) -> None:
    server.answer = lambda call: Reply(said(call.said), delay=0 if call.said == "worker 0" else 0.3)
    engine = connect(max_connections=4)
    seen: list[int] = []

    def interrupt(index: int, completion: Completion) -> None:
        seen.append(index)
        raise interruption

    with pytest.raises(interruption):
        engine.complete(asks(50), on_completion=interrupt)
    assert seen == [0]
    time.sleep(0.5)
    assert len(server.calls) <= 6, "requests were sent after the interrupt"
    server.answer = echo
    assert_echoed(collect(engine, asks(20)))


def test_ctrl_c_while_the_server_thinks(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    server.answer = lambda call: Reply(said(call.said), delay=30)
    engine = connect()
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        engine.complete(asks(5), on_completion=lambda index, completion: None)
    assert time.monotonic() - started < 3
    server.answer = echo
    assert_echoed(collect(engine, asks(5)))


SCRIPT = """
import sys
from llm.messages import Draw; from llm.messages import Message; from llm.messages import Request; from llm.messages import Sampling
from llm.engines.openai.engine import OpenAIEngine

engine = OpenAIEngine("m", base_url=sys.argv[1])
request = Request((Message("user", "Hours?"),), None, Sampling(), Draw(0, "labor", 0, 0, "w", 0))
engine.complete([request], on_completion=lambda index, completion: print(completion.text, completion.error))
"""


def test_a_script_that_forgets_to_close_ends(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "Hours? None\n", "")


# Behind the bridge


def observation(agent: int) -> LaborObservation:
    return LaborObservation(
        year=0,
        day=0,
        cohort="llm",
        agent=agent,
        brackets=(Bracket(0, 0.3),),
        skill=float(100 + agent),
        rebate=0.0,
        history=(),
        last_hours=40,
        choices=CHOICES,
    )


def test_decisions_behind_the_bridge(
    server: Server, connect: Callable[..., OpenAIEngine], tmp_path: Path
) -> None:
    """The prompt says who asks, in the pay, and the hours of the reply repeat it.

    Agents by number modulo 10: 0 gives nonsense always, 1 at first; 2 is refused; 3 to 5 meet an
    HTTP 500 first; 6 says it in words.
    """

    def answer(call: Call) -> Reply:
        first = next(m["content"] for m in call.body["messages"] if m["role"] == "user")
        agent = int(re.search(r"Your pay: (\d+) dollars", first)[1]) - 100  # type: ignore[index]
        again = len(call.body["messages"]) > 2
        kind = agent % 10
        usage = {"prompt_tokens": 100, "completion_tokens": 7}
        if kind == 0 or (kind == 1 and not again):
            return Reply(said("I would rather not say", usage=usage))
        if kind == 2:
            return refused(400, "too long")
        if kind in (3, 4, 5) and call.tries == 0:
            return refused(500, "overloaded")
        hours = json.dumps({"hours": 10 * (agent // 10)})
        return Reply(
            said(f"Well: {hours}" if kind == 6 else hours, usage=usage), delay=0.001 * (agent % 7)
        )

    server.answer = answer
    observations = [observation(agent) for agent in range(110)]
    transcript = Transcript(tmp_path / "transcript.sqlite")
    try:
        bridge = Bridge(
            {"llm": ServedModel(connect())}, transcript, seed=0, sampling=Sampling(), retries=2
        )
        decisions = bridge.decide(Labor(), observations)
        expected = {0: "fallback", 1: "retried", 2: "fallback", 6: "repaired"}
        assert [d.status for d in decisions] == [
            expected.get(agent % 10, "ok") for agent in range(110)
        ]
        assert [d.value for d in decisions] == [
            40 if agent % 10 in (0, 2) else 10 * (agent // 10) for agent in range(110)
        ]
        assert bridge.accounts["llm", "labor"].statuses == {
            "fallback": 22,
            "retried": 11,
            "repaired": 11,
            "ok": 66,
        }
        assert bridge.usage.calls == 110 + 22 + 11
        assert bridge.usage.prompt_tokens == (143 - 11) * 100
        counts = transcript.counts()
        assert (counts.requests, counts.errors, counts.decisions) == (
            143,
            11,
            dict(bridge.accounts["llm", "labor"].statuses),
        )
        stored = transcript.get_decisions(seed=0, kind="labor", year=0, day=0, cohort="llm")
        assert [json.loads(stored[agent].decision) for agent in range(110)] == [
            d.value for d in decisions
        ]
        sent = len(server.calls)
        assert (
            Bridge(
                {"llm": ServedModel(connect())}, transcript, seed=0, sampling=Sampling(), retries=2
            ).decide(Labor(), observations)
            == decisions
        )
        assert len(server.calls) == sent
    finally:
        transcript.close()
