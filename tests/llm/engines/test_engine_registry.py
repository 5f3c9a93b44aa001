"""What holds of every engine in the registry."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.completions import collect
from support.decisions import chat, observations
from support.openai_server import Call, Reply, Server, said

from jaxecon.config.language import Serving
from jaxecon.config.names import ENGINES as NAMES
from llm.decisions.labor import Labor
from llm.engines.base import Engine
from llm.engines.registry import ENGINES
from llm.engines.simulated import SimulatedEngine
from llm.messages import Draw, Message, Request, Sampling
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript

REQUESTS = [
    Request(chat(Labor(), o), Labor().schema(o), Sampling(), Draw(0, "labor", 0, 0, "llm", i), o)
    for i, o in enumerate(observations(3))
]


@pytest.fixture
def openai_settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serving]:
    pytest.importorskip("openai")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-0123456789abcdefghijklmnop")

    def answer(call: Call) -> Reply:
        return Reply(said('{"hours": 40}'))

    server = Server(answer)
    yield Serving(engine="openai", model="m", base_url=server.url)
    server.stop()


@pytest.fixture
def replay_settings(tmp_path: Path) -> Serving:
    """Settings that replay what the simulated engine answered."""
    simulated = SimulatedEngine()
    transcript = Transcript(tmp_path / "transcript.sqlite")
    for request, completion in zip(REQUESTS, collect(simulated, REQUESTS), strict=True):
        key = request_key(simulated.identity, request)
        transcript.put(key, simulated.identity, request, completion)
    transcript.close()
    return Serving(engine="replay", transcript=str(tmp_path))


@pytest.fixture(params=[name for name in ENGINES if name != "vllm"])  # vllm: test_real_model.py
def settings(request: pytest.FixtureRequest) -> Serving:
    if request.param == "simulated":
        return Serving(engine="simulated")
    found: Serving = request.getfixturevalue(f"{request.param}_settings")
    return found


@pytest.fixture
def start(settings: Serving) -> Iterator[Callable[[], Engine]]:
    started: list[Engine] = []

    def open_() -> Engine:
        started.append(ENGINES[settings.engine].start(settings, 0, ["llm"]))
        return started[-1]

    yield open_
    for engine in started:
        engine.close()


def test_the_registry_has_the_names_of_the_settings() -> None:
    assert ENGINES.keys() == NAMES.keys()


def test_every_engine_keeps_the_protocol(settings: Serving, start: Callable[[], Engine]) -> None:
    ENGINES[settings.engine].check(settings)
    engine = start()
    assert isinstance(engine, Engine)
    assert {"engine", "model"} <= engine.identity.keys()
    assert all(isinstance(value, str) for value in engine.identity.values())
    json.dumps(engine.description)
    replies = collect(engine, REQUESTS)
    assert [reply.error for reply in replies] == [None] * 3
    for reply, request in zip(replies, REQUESTS, strict=True):
        assert not Labor().parse(reply.text, request.observation).repaired
        assert reply.usage.prompt_tokens > 0
        assert engine.prompt_tokens(request) >= 0
    assert collect(engine, []) == []


def test_every_engine_is_the_same_when_it_is_started_again(start: Callable[[], Engine]) -> None:
    assert start().identity == start().identity


def test_every_engine_closes_twice(start: Callable[[], Engine]) -> None:
    engine = start()
    identity = engine.identity
    engine.close()
    engine.close()
    assert engine.identity == identity  # what a manifest is written from when a run has ended


def test_a_prompt_without_a_schema_has_a_length(start: Callable[[], Engine]) -> None:
    short, long = (
        Request((Message("user", text),), None, Sampling(), Draw(0, "labor", 0, 0, "llm", 0))
        for text in ("Hours?", "Hours? " * 1000)
    )
    engine = start()
    assert engine.prompt_tokens(short) <= engine.prompt_tokens(long)
