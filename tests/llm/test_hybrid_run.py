"""A whole hybrid run on the real engine and the real model."""

import json

import numpy as np
import pytest

import jaxecon as je
from llm.transcript.store import Transcript

CONFIG = {
    "years": 3,
    "year": {"days": 2},
    "population": {"mechanical": 40, "llm": 4, "shares": {"llm": 0.25}},
    "llm": {"memory": {"window": 2}},
    "satisfaction": {"judged": True},
}


@pytest.fixture(scope="module")
def run(engine, tmp_path_factory):
    return je.run(CONFIG, out=tmp_path_factory.mktemp("hybrid") / "run", engine=engine)


@pytest.fixture(scope="module")
def conversations(run):
    transcript = Transcript(run.path / "transcript.sqlite", read_only=True)
    yield list(transcript.conversations())
    transcript.close()


@pytest.mark.engine
def test_everything_is_on_disk(run):
    assert {p.name for p in run.path.iterdir() if not p.name.startswith("transcript.sqlite-")} == {
        *(
            "agents.parquet",
            "checkpoints",
            "config.yaml",
            "manifest.json",
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


@pytest.mark.engine
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


@pytest.mark.engine
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


@pytest.mark.engine
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


@pytest.mark.engine
def test_survey_weights_of_a_hybrid_population(run):
    first = [row for row in run.agents.to_pylist() if row["year"] == 0]
    weights = np.array([row["weight"] for row in first])
    voices = np.array([row["cohort"] == "llm" for row in first])
    assert weights.mean() == pytest.approx(1)
    assert weights[voices].sum() / weights.sum() == pytest.approx(0.25)


@pytest.mark.engine
def test_a_reply_cut_short_falls_back_and_is_counted(engine, tmp_path):
    """The real engine with too few tokens for any answer: every decision falls back."""
    from llm.bridge import Bridge, ServedModel
    from llm.decisions.labor import Labor, LaborObservation
    from llm.decisions.wording import Bracket
    from llm.messages import Sampling

    class Terse(Labor):
        def tokens(self, observation):
            return 1

    observations = [
        LaborObservation(
            0,
            0,
            "llm",
            i,
            (Bracket(0, 0.3),),
            100.0 * i + 1,
            0.0,
            (),
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


@pytest.mark.engine
def test_histories_are_cut_by_the_models_own_tokenizer(engine, tmp_path):
    """What is asked fits, with room for the answer and a retry, and not a window less was kept than
    would have fitted.
    """
    from llm.bridge import Bridge, ServedModel
    from llm.decisions.labor import Labor, LaborObservation, WorkerDay
    from llm.decisions.wording import Bracket
    from llm.messages import Sampling

    days = tuple(WorkerDay(0, d, 40, 40_000, 4_000, 9_000, 30_000 + d) for d in range(64))
    observation = LaborObservation(
        1, 0, "llm", 0, (Bracket(0, 0.3),), 1000.0, 0.0, days, last_hours=30, choices=(0, 10, 40)
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
    kept = asked["messages"][1]["content"].count(" hours, income")
    assert kept in (32, 16, 8)
    assert Labor().messages(observation)[1].content.endswith(asked["messages"][1]["content"][-200:])
    assert asked["usage"]["prompt_tokens"] * 2 > room  # halving once more would have been too much
