"""The real vLLM engine on the real local model, and a whole hybrid run with it.

In one file, because a file's tests share a process: one engine serves all of them.
"""

import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from support.completions import collect
from support.decisions import chat, day_of_work
from support.real_model import HOURS, ask, workers

import jaxecon as je
from jaxecon.core.errors import EngineError
from llm.engines.base import Engine
from llm.messages import Completion, Draw, Message, Request, Sampling
from llm.transcript.store import Transcript

if TYPE_CHECKING:
    from llm.engines.vllm import VLLMEngine

pytestmark = pytest.mark.engine

CONFIG = {
    "years": 3,
    "year": {"days": 2},
    "population": {"mechanical": 40, "llm": 4, "shares": {"llm": 0.25}},
    "llm": {"memory": {"window": 2}},
    "satisfaction": {"judged": True},
}


def test_it_is_an_engine_and_says_what_answers(engine: "VLLMEngine") -> None:
    from llm.engines import models
    from llm.engines.vllm import engine_identity

    assert isinstance(engine, Engine)
    folder = models.resolve("smollm2")
    assert engine.identity == engine_identity("smollm2") == engine_identity(str(folder))
    assert engine.identity["weights"] == models.fingerprint(folder)
    assert set(engine.identity) == {"engine", "model", "weights", "template"}
    assert engine.description["max_model_len"] == 2048
    json.dumps(engine.description)


def test_the_schema_is_honoured_and_completions_come_as_they_finish(engine: "VLLMEngine") -> None:
    requests = [*workers(24), ask("Write a long story about taxes.", schema=None, max_tokens=64)]
    order: list[int] = []
    completions: dict[int, Completion] = {}

    def keep(index: int, completion: Completion) -> None:
        order.append(index)
        completions[index] = completion

    engine.complete(requests, on_completion=keep)
    assert sorted(order) == list(range(25))
    assert order[-1] == 24, (
        "the longest answer did not come last, so completions waited for each other"
    )
    for index in range(24):
        answer = json.loads(completions[index].text)
        assert set(answer) == {"hours"}
        assert answer["hours"] in range(0, 101, 10)
        assert completions[index].error is None
        assert completions[index].finish_reason == "stop"
        assert 0 < completions[index].usage.completion_tokens <= 16
        assert 0 < completions[index].seconds <= completions[24].seconds
    assert completions[24].finish_reason == "length"
    assert completions[24].usage.completion_tokens == 64


def test_answers_belong_to_their_requests(engine: "VLLMEngine") -> None:
    schemas = [
        {
            "type": "object",
            "properties": {"n": {"const": i}},
            "required": ["n"],
            "additionalProperties": False,
        }
        for i in range(30)
    ]
    completions = collect(
        engine, [ask(f"Question {i}.", agent=i, schema=schema) for i, schema in enumerate(schemas)]
    )
    assert [json.loads(c.text)["n"] for c in completions] == list(range(30))


def test_failures_stay_with_their_request(engine: "VLLMEngine") -> None:
    requests = workers(9)
    requests[4] = ask("word " * 2500)
    requests[6] = ask("Hours?", schema={"type": "no such type"})
    completions = collect(engine, requests)
    too_long, bad_schema = completions[4], completions[6]
    tokens = engine.prompt_tokens(requests[4])
    assert (
        too_long.error
        == f"the prompt has {tokens} tokens, more than llm.max_model_len - max_tokens = {2048 - 16}"
    )
    assert too_long.text == bad_schema.text == ""
    assert bad_schema.error
    assert "\n" not in bad_schema.error
    assert all(c.error is None for i, c in enumerate(completions) if i not in (4, 6))


def test_the_longest_prompt_that_fits_is_answered(engine: "VLLMEngine") -> None:
    words = next(
        n for n in range(2000, 0, -1) if engine.prompt_tokens(ask("word " * n)) <= 2048 - 16
    )
    (completion,) = collect(engine, [ask("word " * words)])
    assert completion.error is None
    assert completion.usage.prompt_tokens == engine.prompt_tokens(ask("word " * words))


def test_the_second_batch_finds_the_rules_in_the_cache(engine: "VLLMEngine") -> None:
    collect(engine, workers(4, day=1))
    second = collect(engine, workers(4, day=2))
    assert all(128 <= c.usage.cached_tokens < c.usage.prompt_tokens for c in second)


def test_many_short_chats_at_once(engine: "VLLMEngine") -> None:
    """Chunked prefill, which a per-request seed would not survive on a CPU."""
    chats = [
        Request(
            (Message("user", f"Hours of worker {i}?"),),
            HOURS,
            Sampling(),
            Draw(1, "labor", 0, 0, "w", i),
        )
        for i in range(60)
    ]
    assert all(c.error is None for c in collect(engine, chats))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ZeroDivisionError])
def test_an_interrupted_batch_leaves_nothing_behind(
    engine: "VLLMEngine", interruption: type[BaseException]
) -> None:
    seen: list[int] = []

    def interrupt(index: int, completion: Completion) -> None:
        seen.append(index)
        raise interruption

    story = [ask("Write a long story.", agent=i, schema=None, max_tokens=200) for i in range(8)]
    with pytest.raises(interruption):
        engine.complete([*workers(2), *story], on_completion=interrupt)
    assert len(seen) == 1
    assert all(json.loads(c.text)["hours"] % 10 == 0 for c in collect(engine, workers(5)))


def test_ctrl_c_while_the_engine_works(engine: "VLLMEngine") -> None:
    """Interrupted at the first answer, when the long ones are under way whatever the machine's
    load.
    """
    story = [
        ask("Write a long story.", agent=i, schema=None, max_tokens=1 if i == 0 else 1000)
        for i in range(8)
    ]
    with pytest.raises(KeyboardInterrupt):
        engine.complete(
            story, on_completion=lambda index, completion: os.kill(os.getpid(), signal.SIGINT)
        )
    assert all(c.error is None for c in collect(engine, workers(5)))


def test_an_empty_batch(engine: "VLLMEngine") -> None:
    assert collect(engine, []) == []


# --- a hybrid run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(engine, tmp_path_factory):
    return je.run(CONFIG, out=tmp_path_factory.mktemp("hybrid") / "run", engine=engine)


@pytest.fixture(scope="module")
def conversations(run):
    transcript = Transcript(run.path / "transcript.sqlite", read_only=True)
    yield list(transcript.conversations())
    transcript.close()


def test_everything_is_on_disk(run):
    assert {p.name for p in run.path.iterdir() if not p.name.startswith("transcript.sqlite-")} == {
        *(
            "agents.parquet",
            "checkpoints",
            "config.yaml",
            "manifest.json",
            "parts.jsonl",
            "transcript.sqlite",
            "years.parquet",
        )
    }
    assert run.manifest["status"] == "complete"
    assert set(run.manifest["models"]) == {"llm", "planner"}
    assert run.manifest["models"]["llm"]["engine"] == "vllm"
    assert len(run.manifest["models"]["planner"]["weights"]) == 64
    assert run.years.num_rows == 3
    assert run.years["leader"].to_pylist() == ["llm"] * 3


def test_the_counts_add_up(run, conversations):
    """Every decision has a status; every call is in tables, summary and transcript."""
    usage = run.summary["llm"]
    assert sum(usage["by_kind"]["labor"].values()) == 4 * 2 * 3
    assert sum(usage["by_kind"]["plan"].values()) == 2
    assert sum(usage["by_kind"]["satisfaction"].values()) == 4 * 3
    assert sum(usage["statuses"].values()) == 38
    for account in usage["by_cohort"]:
        told = [
            c
            for c in conversations
            if (c["cohort"], c["kind"]) == (account["cohort"], account["kind"])
        ]
        assert account["calls"] == len(told)
        assert account["prompt_tokens"] == sum(c["usage"]["prompt_tokens"] for c in told)
    assert usage["calls"] == len(conversations) == sum(run.years["llm_calls"].to_pylist())
    for column in ("prompt_tokens", "completion_tokens"):
        assert (
            usage[column]
            == sum(c["usage"][column] for c in conversations)
            == sum(run.years[column].to_pylist())
        )
    assert sum(run.years["llm_fallbacks"].to_pylist()) == usage["statuses"].get("fallback", 0)
    assert usage["cached_tokens"] > 0


def test_what_the_model_said_is_what_was_done(run, conversations):
    """Hours in agents.parquet are the means of the hours in the transcript, agent by agent; each
    schedule follows its plan.
    """
    transcript = Transcript(run.path / "transcript.sqlite", read_only=True)
    agents = run.agents.to_pylist()
    for year in range(3):
        days = [
            transcript.get_decisions(seed=0, kind="labor", year=year, day=day, cohort="llm")
            for day in range(2)
        ]
        said = [np.mean([json.loads(day[agent].decision) for day in days]) for agent in range(4)]
        done = [row["hours"] for row in agents if row["year"] == year and row["cohort"] == "llm"]
        np.testing.assert_allclose(done, said)
        judged = transcript.get_decisions(
            seed=0, kind="satisfaction", year=year, day=0, cohort="llm"
        )
        flags = [
            row["satisfied"] for row in agents if row["year"] == year and row["cohort"] == "llm"
        ]
        assert flags == [json.loads(judged[agent].decision) for agent in range(4)]
    rates = np.array([[row[f"rate_{k}"] for k in range(7)] for row in run.years.to_pylist()])
    for year in (1, 2):
        plan = transcript.get_decisions(seed=0, kind="plan", year=year, day=0, cohort="planner")[0]
        np.testing.assert_allclose(
            rates[year],
            np.clip(rates[year - 1] + np.array(json.loads(plan.decision)) / 100, 0, 1),
            atol=1e-6,
        )
    transcript.close()


def test_every_prompt_of_an_agent_holds_its_persona(run, conversations):
    from llm.agents.personas import sample_personas

    skill = [
        row["skill"]
        for row in run.agents.to_pylist()
        if row["year"] == 0 and row["cohort"] == "llm"
    ]
    people = sample_personas(np.array(skill), seed=0, cohort="llm", correlation=0.5)
    for c in conversations:
        if c["cohort"] == "llm":
            assert c["messages"][1]["content"].startswith(people[c["agent"]].text)


def test_survey_weights_of_a_hybrid_population(run):
    first = [row for row in run.agents.to_pylist() if row["year"] == 0]
    weights = np.array([row["weight"] for row in first])
    voices = np.array([row["cohort"] == "llm" for row in first])
    assert weights.mean() == pytest.approx(1)
    assert weights[voices].sum() / weights.sum() == pytest.approx(0.25)


def test_a_reply_cut_short_falls_back_and_is_counted(engine, tmp_path):
    """The real engine with too few tokens for any answer: every decision falls back."""
    from llm.bridge import Bridge
    from llm.decisions.labor import Labor, LaborObservation
    from llm.decisions.shared import Bracket, EconomyFacts
    from llm.messages import Sampling
    from llm.served import ServedModel

    class Terse(Labor):
        def tokens(self, observation):
            return 1

    observations = [
        LaborObservation(
            year=0,
            day=0,
            cohort="llm",
            agent=i,
            economy=EconomyFacts(years=1, days=1),
            brackets=(Bracket(0, 0.3),),
            skill=100.0 * i + 1,
            rebate=0.0,
            history=(),
            last_hours=30,
            choices=(0, 10, 30),
        )
        for i in range(3)
    ]
    transcript = Transcript(tmp_path / "transcript.sqlite")
    bridge = Bridge(
        {"llm": ServedModel(engine)}, transcript, seed=0, sampling=Sampling(max_tokens=1), retries=1
    )
    decisions = bridge.decide(Terse(), observations)
    assert [(d.value, d.status, d.attempts) for d in decisions] == [(30, "fallback", 2)] * 3
    assert bridge.usage.calls == transcript.counts().requests == 6
    assert bridge.usage.fallbacks == 3
    transcript.close()


def test_histories_are_cut_by_the_models_own_tokenizer(engine, tmp_path):
    """What is asked fits, with room for the answer and a retry, and not a window less was kept than
    would have fitted.
    """
    from llm.bridge import Bridge
    from llm.decisions.labor import Labor, LaborObservation
    from llm.decisions.shared import Bracket, EconomyFacts
    from llm.messages import Sampling
    from llm.served import ServedModel

    days = tuple(day_of_work(d) for d in range(64))
    observation = LaborObservation(
        year=1,
        day=0,
        cohort="llm",
        agent=0,
        economy=EconomyFacts(years=2, days=64),
        brackets=(Bracket(0, 0.3),),
        skill=1000.0,
        rebate=0.0,
        history=days,
        last_hours=30,
        choices=(0, 10, 40),
    )
    transcript = Transcript(tmp_path / "transcript.sqlite")
    served = {"llm": ServedModel(engine, max_model_len=1024)}
    bridge = Bridge(served, transcript, seed=0, sampling=Sampling(max_tokens=32), retries=1)
    (decision,) = bridge.decide(Labor(), [observation])
    (asked, *_) = transcript.conversations()
    transcript.close()
    assert decision.value in (0, 10, 40)
    room = 1024 - 32 - 150
    assert asked["usage"]["prompt_tokens"] <= room
    kept = asked["messages"][1]["content"].count(" hours: income")
    assert kept in (32, 16, 8)
    assert chat(Labor(), observation)[1].content.endswith(asked["messages"][1]["content"][-200:])
    assert asked["usage"]["prompt_tokens"] * 2 > room  # halving once more would have been too much


# --- another engine beside it --------------------------------------------------------------------


@pytest.fixture
def second_engine() -> "VLLMEngine":
    from llm.engines.vllm import VLLMEngine

    return VLLMEngine(model="smollm2", kv_cache_gib=0.5)


def test_a_killed_engine_is_an_engine_error_and_harms_no_other(
    engine: "VLLMEngine", second_engine: "VLLMEngine"
) -> None:
    processes = second_engine._processes
    assert len(processes) >= 1
    timer = threading.Timer(1.0, processes[0].kill)
    story = [ask("Write a long story.", agent=i, schema=None, max_tokens=1000) for i in range(8)]
    timer.start()
    with pytest.raises(EngineError, match="the vLLM engine died") as died:
        second_engine.complete(story, on_completion=lambda index, completion: None)
    assert "\n" not in str(died.value)
    with pytest.raises(EngineError):
        second_engine.complete(workers(1), on_completion=lambda index, completion: None)
    second_engine.close()
    second_engine.close()
    assert not any(process.is_running() for process in processes)
    with pytest.raises(EngineError, match="closed"):
        second_engine.complete(workers(1), on_completion=lambda index, completion: None)
    assert collect(engine, workers(2))[1].error is None
