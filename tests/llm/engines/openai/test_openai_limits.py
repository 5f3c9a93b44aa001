"""Connections, requests and tokens a minute."""

import threading
import time
from collections.abc import Callable

import pytest
from support.completions import collect
from support.openai_server import (
    Reply,
    Server,
    ask,
    asks,
    assert_echoed,
    echo,
    refused,
    said,
)

from llm.engines.openai.engine import OpenAIEngine
from llm.messages import Sampling

pytest.importorskip("openai")


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
    # the second waits for 10 tokens: a second
    collect(connect(tokens_per_minute=600), [ask("x" * 40_000), ask("y")])
    assert time.monotonic() - started < 4


def test_a_refused_prompt_uses_no_tokens(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    """It is asked again with less history, and others must not wait for what no model has read."""
    server.answer = lambda call: (
        refused(400, "prompt is too long") if call.said.startswith("x") else echo(call)
    )
    started = time.monotonic()
    completions = collect(connect(tokens_per_minute=600), [ask("x" * 40_000), ask("y")])
    assert [c.longest_taken for c in completions] == [0, None]
    assert time.monotonic() - started < 4
