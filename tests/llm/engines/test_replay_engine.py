"""The engine that answers from a transcript."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.transcripts import ANSWER, IDENTITY, ask, put

from jaxecon.core.errors import EngineError, UserError
from llm.bridge import Bridge
from llm.decisions.labor import Labor, LaborObservation
from llm.decisions.shared import Bracket, EconomyFacts
from llm.engines.base import Engine
from llm.engines.replayed import ReplayEngine
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Draw, Request, Sampling
from llm.served import ServedModel
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript


class Answers(list[tuple[int, Completion]]):
    def __call__(self, index: int, completion: Completion) -> None:
        self.append((index, completion))


def test_replay_answers_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    requests = [ask(agent) for agent in range(4)]
    for agent, asked in enumerate(requests):
        put(
            transcript,
            asked,
            replace(ANSWER, text=str(agent), error="too long" if agent == 3 else None),
        )
    transcript.close()
    before = path.read_bytes()
    engine = ReplayEngine(path)
    assert engine.identity == IDENTITY
    assert engine.description == {"replay_of": f"{path.parent.name}/{path.name}"}
    got = Answers()
    engine.complete(requests[::-1], on_completion=got)
    assert [(i, c.text, c.error) for i, c in got] == [
        (0, "3", "too long"),
        (1, "2", None),
        (2, "1", None),
        (3, "0", None),
    ]
    unknown = Request(requests[0].messages, None, Sampling(), Draw(3, "labor", 2, 5, "llm", 3))
    nothing = Answers()
    with pytest.raises(EngineError) as missing:
        engine.complete([requests[0], unknown], on_completion=nothing)
    assert str(missing.value) == (
        f"replay: {path} has no answer for labor of llm agent 3, year 2, day 5, attempt 0 "
        "(the configuration, code or model differs from the recorded run)"
    )
    assert nothing == []
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.complete(requests, on_completion=got)
    assert path.read_bytes() == before


def test_a_replayed_cohort_decides_as_it_did(tmp_path: Path) -> None:
    """The bridge on a replay: the same decisions, retries and fallbacks included, and a transcript
    with the same contents.
    """
    replies = iter(['{"hours":10}', "no", '{"hours":30}', "{'hours': 40}", "no", "no"])
    observations = [
        LaborObservation(
            year=0,
            day=0,
            cohort="llm",
            agent=agent,
            economy=EconomyFacts(years=1, days=1),
            brackets=(Bracket(0, 0.3),),
            skill=100.0,
            rebate=0.0,
            history=(),
            last_hours=50,
            choices=(10, 30, 40, 50),
        )
        for agent in range(4)
    ]

    def live(engine: Engine, name: str) -> tuple[list[Any], list[Any]]:
        transcript = Transcript(tmp_path / name)
        bridge = Bridge(
            {"llm": ServedModel(engine)}, transcript, seed=0, sampling=Sampling(), retries=1
        )
        decisions = bridge.decide(Labor(), observations)
        listed = list(transcript.conversations())
        transcript.close()
        return decisions, listed

    first = live(ScriptedEngine(lambda request: Completion(next(replies))), "first")
    assert len({d.status for d in first[0]}) > 1
    engine = ReplayEngine(tmp_path / "first", ["llm"])
    assert isinstance(engine, Engine)
    assert live(engine, "second") == first
    engine.close()


def test_replay_wants_one_model(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    other = {**IDENTITY, "model": "larger"}
    put(transcript, ask(0), ANSWER)
    put(transcript, ask(1), ANSWER)  # another schema, the same model
    planned = replace(ask(), draw=replace(ask().draw, cohort="planner", kind="plan"))
    transcript.put(request_key(other, planned), other, planned, ANSWER)
    transcript.close()
    with pytest.raises(UserError) as several:
        ReplayEngine(path)
    assert str(several.value) == (
        f"replay: {path} holds answers of 2 models: engine vllm model smollm2 template t weights "
        "w; "
        "engine vllm model larger template t weights w"
    )
    for cohort, identity in (("w", IDENTITY), ("planner", other)):
        engine = ReplayEngine(path, [cohort])
        assert engine.identity == identity
        engine.close()
    with pytest.raises(UserError, match="holds no answers for absent, neither"):
        ReplayEngine(path, ["absent", "neither"])
    with pytest.raises(UserError, match=r"holds no answers for $"):
        ReplayEngine(path, [])
    with pytest.raises(UserError, match="there is no file"):
        ReplayEngine(tmp_path / "absent")
