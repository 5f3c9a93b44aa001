"""Errors, outages and repeated attempts."""

import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from support.completions import collect
from support.openai_server import (
    Call,
    Reply,
    Server,
    asks,
    assert_echoed,
    echo,
    refused,
    said,
)

from jaxecon.core.errors import EngineError
from llm.engines.openai.engine import OpenAIEngine
from llm.messages import Completion

pytest.importorskip("openai")


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
    "no message": Reply({"choices": [{"texts": "worker"}]}),
    "no text": Reply({"choices": [{"message": ["worker"]}]}),
    "null message": Reply({"choices": [{"message": None}]}),
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
        ("503", "HTTP 503: busy"),
        ("cut", "peer closed connection"),
        ("not JSON", "the server sent a web page, not an answer: 'hello'"),
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
    # more only while no other request had shown that the server is there
    assert 5 <= len(server.calls) <= 5 + 3


def test_a_hanging_answer_times_out(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    server.answer = lambda call: Reply(
        said(call.said), delay=30 if call.tries == 0 and call.said == "worker 1" else 0
    )
    started = time.monotonic()
    assert_echoed(collect(connect(timeout_seconds=0.5), asks(3)))
    assert 0.5 <= time.monotonic() - started < 5


def test_one_answer_among_others_that_hangs(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    server.answer = lambda call: Reply(said(call.said), delay=30 * (call.said == "worker 1"))
    completions = collect(connect(timeout_seconds=0.2, transport_retries=1), asks(4))
    assert [c.error for c in completions] == [None, "no answer within 0.2 s", None, None]


@pytest.mark.parametrize("connections", [1, 64])
def test_a_server_that_hangs(
    server: Server, connect: Callable[..., OpenAIEngine], connections: int
) -> None:
    """Nothing but time-outs for `patience_seconds` ends the batch."""
    engine = connect(
        timeout_seconds=0.3, transport_retries=1, patience_seconds=0.5, max_connections=connections
    )
    assert_echoed(collect(engine, asks(2)))
    server.answer = lambda call: Reply(said(call.said), delay=30)
    got: dict[int, Completion] = {}
    words = f"llm.base_url: {server.url} has answered nothing for 0.5 s (no answer within 0.3 s)"
    with pytest.raises(EngineError, match=re.escape(words)) as ended:
        engine.complete(asks(20), on_completion=got.__setitem__)
    assert "llm.timeout_seconds" in str(ended.value)
    assert not got


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
    """Within patience nobody falls back, without retries."""
    server.answer = lambda call: (
        refused(status, "no upstream") if 0.2 < time.monotonic() - started < 1.2 else slow(call)
    )

    def slow(call: Call) -> Reply:
        return Reply(said(call.said), delay=0.05)

    engine = connect(max_connections=4, transport_retries=0, patience_seconds=20)
    started = time.monotonic()
    assert_echoed(collect(engine, asks(60)))
    assert time.monotonic() - started > 1.2
    assert len(server.calls) > 60 + 4 * 4


def test_an_answer_to_what_was_sent_before_an_outage(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    """It does not show that others get through, however late it comes."""

    def answer(call: Call) -> Reply:
        if call.said == "worker 0":
            return Reply(said(call.said), delay=0.3)
        return refused(502, "no upstream") if time.monotonic() < started + 0.6 else echo(call)

    server.answer = answer
    engine = connect(max_connections=2, transport_retries=0, patience_seconds=20)
    started = time.monotonic()
    assert_echoed(collect(engine, asks(3)))
    assert time.monotonic() - started > 0.6


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
    last = max(call.number for call in server.calls if call.said == "worker 1")
    assert last < len(server.calls) - 20


def test_a_server_that_stays_away(server: Server, connect: Callable[..., OpenAIEngine]) -> None:
    """What was answered before is reported; the engine works again when the server is back."""
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
