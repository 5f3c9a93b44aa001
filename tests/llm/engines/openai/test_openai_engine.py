"""The engine for servers with OpenAI's interface: what works, and how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.completions import collect
from support.openai_server import (
    CHOICES,
    KEY,
    SCHEMA,
    Call,
    Reply,
    Server,
    ask,
    asks,
    assert_echoed,
    echo,
    refused,
    said,
)

from jaxecon.core.errors import EngineError
from llm.bridge import Bridge
from llm.decisions.labor import Labor, LaborObservation
from llm.decisions.shared import Bracket, EconomyFacts
from llm.engines.base import Engine, estimated_prompt_tokens
from llm.engines.openai.address import engine_identity
from llm.engines.openai.engine import OpenAIEngine
from llm.messages import Completion, Sampling, Usage
from llm.served import ServedModel
from llm.transcript.store import Transcript

pytest.importorskip("openai")


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
        "text": said("c", usage={"prompt_tokens": "many", "completion_tokens": None}),
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
        # so that budgets are not blind
        assert completion.usage == Usage(estimated_prompt_tokens(ask(text).messages), 0, 1), text
    assert negative.usage == Usage(90, 0, 1)
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
from llm.messages import Draw, Message, Request, Sampling
from llm.engines.openai.engine import OpenAIEngine

engine = OpenAIEngine("m", base_url=sys.argv[1])
request = Request((Message("user", "Hours?"),), None, Sampling(), Draw(0, "labor", 0, 0, "w", 0))
said = lambda index, completion: print(completion.text, completion.error)
engine.complete([request], on_completion=said)
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


def observation(agent: int) -> LaborObservation:
    return LaborObservation(
        year=0,
        day=0,
        cohort="llm",
        agent=agent,
        economy=EconomyFacts(years=1, days=1),
        brackets=(Bracket(0, 0.3),),
        skill=float(100 + agent),
        rebate=0.0,
        history=(),
        last_hours=40,
        choices=CHOICES,
    )


def _answer_by_number(call: Call) -> Reply:
    """The prompt says who asks, in the pay, and the hours of the reply repeat it.

    Agents by number modulo 10: 0 gives nonsense always, 1 at first; 2 is refused; 3 to 5 meet an
    HTTP 500 first; 6 says it in words.
    """
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


def test_decisions_behind_the_bridge(
    server: Server, connect: Callable[..., OpenAIEngine], tmp_path: Path
) -> None:
    server.answer = _answer_by_number
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
        assert bridge.accounts.of("llm", "labor").statuses == {
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
            dict(bridge.accounts.of("llm", "labor").statuses),
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
