"""Whole runs on the simulated engine: ingredients, mixtures of models, pauses, budgets, and the
engine's own rules.
"""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from support.decisions import chat, day_of_work, observations
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.cli.errors import BUDGET_SPENT, USER_ERROR
from jaxecon.config.memory import WorkerMemory as MemorySettings
from jaxecon.core.errors import EngineError
from llm.agents.memory import WorkerMemory
from llm.agents.recollection import remembered
from llm.agents.worth import OwnWorth
from llm.bridge import Bridge
from llm.decisions.labor import Labor
from llm.decisions.shared import Cues
from llm.engines.scripted import ScriptedEngine
from llm.engines.simulated import SimulatedEngine
from llm.messages import Completion, Draw, Request, Sampling
from llm.served import ServedModel
from llm.transcript.store import Transcript

CONFIG = {
    "years": 2,
    "year": {"days": 4},
    "population": {"mechanical": 20, "llm": 6},
    "planner": {"compared_with": []},
    "satisfaction": {"judged": True},
    "llm": {"engine": "simulated"},
}


def run(tmp_path, *overrides, name="run", **given):
    return je.run({**CONFIG, **given}, overrides=overrides, out=tmp_path / name)


def conversations(finished):
    return list(Transcript(finished.path / "transcript.sqlite", read_only=True).conversations())


def test_two_runs_are_the_same(tmp_path):
    first, second = run(tmp_path), run(tmp_path, name="again")
    timing = {"seconds"}
    for one, other in zip(first.years.to_pylist(), second.years.to_pylist(), strict=True):
        assert {k: v for k, v in one.items() if k not in timing} == {
            k: v for k, v in other.items() if k not in timing
        }
    assert first.agents.equals(second.agents)
    assert [c["key"] for c in conversations(first)] == [c["key"] for c in conversations(second)]
    assert first.manifest["models"]["llm"]["engine"] == "simulated"


def test_every_kind_is_asked_when_it_should_be(tmp_path):
    counts = Counter((c["kind"], c["year"], c["day"]) for c in conversations(run(tmp_path)))
    expected = {("labor", y, d): 6 for y in range(2) for d in range(4)}
    expected |= {("satisfaction", y, 2): 6 for y in range(2)} | {("plan", 1, 0): 1}
    assert counts == expected


def test_workers_may_decide_every_few_days_and_hold(tmp_path):
    finished = run(tmp_path, "llm.decide_every=3")
    days = {(c["year"], c["day"]) for c in conversations(finished) if c["kind"] == "labor"}
    assert days == {(0, 0), (0, 3), (1, 2)}  # every third day, whatever the year
    transcript = Transcript(finished.path / "transcript.sqlite", read_only=True)
    first = transcript.get_decisions(seed=0, kind="labor", year=0, day=0, cohort="llm")
    fourth = transcript.get_decisions(seed=0, kind="labor", year=0, day=3, cohort="llm")
    transcript.close()
    worked = [
        row["hours"]
        for row in finished.agents.to_pylist()
        if row["year"] == 0 and row["cohort"] == "llm"
    ]
    said = [
        (3 * json.loads(first[i].decision) + json.loads(fourth[i].decision)) / 4 for i in range(6)
    ]
    np.testing.assert_allclose(worked, said)


def test_cues_have_their_times(tmp_path):
    """Workers explore but on a year's last day and in the run's last tenth; the planner but in its
    last tenth. Then both are to take the best. On the first day there is nothing beside which
    anything could be tried.
    """
    told = conversations(run(tmp_path, "years=10", "year.days=2"))
    for c in told:
        text = c["messages"][1]["content"]
        explores = sum(cue in text for cue in ("Not tried yet, ", "you need not change "))
        takes_best = "\nNow take " in text
        if c["kind"] == "labor":
            final = c["day"] == 1 or c["year"] == 9
            assert explores == (not final and (c["year"], c["day"]) != (0, 0))
            assert takes_best == final
        if c["kind"] == "plan":
            assert explores == (c["year"] < 9)
            assert takes_best == (c["year"] == 9)
    assert {c["kind"] for c in told if "Not tried yet, " in c["messages"][1]["content"]} == {
        "labor",
        "plan",
    }


@pytest.mark.parametrize(
    ("setting", "kind", "gone"),
    [
        ("llm.memory.exploration=false", "labor", "Not tried yet"),
        ("llm.memory.exploitation=false", "labor", "Best so far"),
        ("llm.memory.exploitation=false", "labor", "Now take your best hours"),
        ("llm.memory.statistics=false", "labor", "(1 day)"),
        ("llm.memory.statistics=false", "labor", " days)"),
        ("llm.memory.direction_hint=false", "labor", "The last time you changed your hours"),
        ("llm.memory.best=0", "labor", "What hours bring you"),
        ("llm.memory.window=0", "labor", "Your days so far"),
        ("population.personas.source=none", "labor", "You are a"),
        ("planner.memory.exploration=false", "plan", "Not tried yet"),
        ("planner.memory.exploitation=false", "plan", "Best so far"),
        ("planner.memory.statistics=false", "plan", "How much welfare differs between"),
        ("planner.memory.statistics=false", "plan", "in its first year only"),
        ("planner.memory.direction_hint=false", "plan", "Last time the rates"),
        ("planner.memory.best=0", "plan", "What each schedule brought"),
        ("planner.memory.window=0", "plan", "Years so far"),
    ],
)
def test_each_ingredient_has_a_switch(tmp_path, setting, kind, gone):
    def said(name, *overrides):
        told = conversations(
            run(
                tmp_path, "years=4", "year.days=2", "population.mechanical=2", *overrides, name=name
            )
        )
        return [c["messages"][1]["content"] for c in told if c["kind"] == kind]

    assert any(gone in text for text in said("with"))
    assert not any(gone in text for text in said("without", setting))


def test_one_run_mixes_models(tmp_path):
    """Cohorts and the planner name what answers them; a cohort's objective is its own."""
    cohorts = [
        {"name": "plain", "rule": "llm", "size": 3},
        {"name": "kind", "rule": "llm", "size": 2, "llm": "other", "objective": "altruistic"},
        {"name": "all", "rule": "quantal", "size": 10},
    ]
    first = run(
        tmp_path,
        name="recorded",
        population={"cohorts": cohorts},
        llm={"engine": "simulated", "others": {"other": {"engine": "simulated"}}},
    )
    told = conversations(first)
    assert {
        c["cohort"] for c in told if "social welfare highest" in c["messages"][0]["content"]
    } == {"kind"}
    # one model replays what was recorded, the other is simulated anew: the same run
    second = run(
        tmp_path,
        name="replayed",
        population={"cohorts": cohorts},
        llm={
            "engine": "simulated",
            "others": {"other": {"engine": "replay", "transcript": str(first.path)}},
        },
    )
    assert first.agents.equals(second.agents)
    # the identity of who answered, then and now
    assert second.summary["llm"]["engines"] == ["simulated"]


def test_a_replayed_run_refuses_what_was_not_recorded(tmp_path):
    first = run(tmp_path, name="recorded")
    replay = {"engine": "replay", "transcript": str(first.path)}
    same = run(tmp_path, name="same", llm=replay)
    assert first.agents.equals(same.agents)
    with pytest.raises(EngineError, match="has no answer for labor of llm"):
        run(tmp_path, "welfare.penalty=0.4", "seed=1", name="other", llm=replay)


def test_personas_may_be_written_by_the_model(tmp_path):
    told = conversations(run(tmp_path, "population.personas.source=model"))
    asked = {
        c["agent"]: json.loads(c["response"])["persona"] for c in told if c["kind"] == "persona"
    }
    assert len(asked) == 6
    assert all(
        c["messages"][1]["content"].startswith(asked[c["agent"]])
        for c in told
        if c["kind"] == "labor"
    )


@pytest.mark.parametrize(
    "budget",
    [
        ["--budget-tokens", "9000"],
        ["--budget-usd", "0.009", "--set", "llm.price={prompt: 1, completion: 2}"],
    ],
)
def test_a_budget_stops_a_run_between_days(tmp_path, budget):
    out = tmp_path / "run"
    arguments = [
        "run",
        "--set",
        "llm.engine=simulated",
        "--set",
        "population.mechanical=10",
        "--set",
        "population.llm=3",
    ]
    arguments += [
        "--set",
        "planner.compared_with=[]",
        "--set",
        "year.days=3",
        *budget,
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == BUDGET_SPENT, result.output
    finished = je.load(out)
    assert finished.manifest["status"] == "stopped"
    assert "are spent" in finished.manifest["stopped"]
    told = conversations(finished)
    used = sum(c["usage"]["prompt_tokens"] + c["usage"]["completion_tokens"] for c in told)
    last = max((c["year"], c["day"]) for c in told)
    before = sum(
        c["usage"]["prompt_tokens"] + c["usage"]["completion_tokens"]
        for c in told
        if (c["year"], c["day"]) < last
    )
    if budget[0] == "--budget-tokens":
        assert before < 9000 <= used  # it stops after the day that used it up
    assert Counter(c["day"] for c in told if (c["year"], c["kind"]) == (0, "labor")).keys() >= {
        0,
        1,
        2,
    }
    # whole days
    assert all(
        n == 3
        for n in Counter((c["year"], c["day"]) for c in told if c["kind"] == "labor").values()
    )


def test_the_simulated_engine_never_passes_for_a_model(tmp_path):
    result = CliRunner().invoke(
        app,
        [
            "run",
            "--set",
            "llm.engine=simulated",
            "--set",
            "population.mechanical=4",
            "--set",
            "population.llm=2",
            "--set",
            "years=1",
            "--set",
            "year.days=1",
            "--set",
            "planner.compared_with=[]",
            "--out",
            str(tmp_path / "run"),
        ],
    )
    assert "Simulated engine (rules, no language model)" in result.output
    assert "Language model:" not in result.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["llm.engine=replay", "llm.transcript=/nowhere"], "/nowhere"),
        (["llm.engine=replay"], "llm.transcript"),
        (["planner.llm=big"], "planner.llm: 'big'"),
        (["population.cohorts=[{name: planner, rule: llm, size: 1}]"], "'planner'"),
        (
            ["population.cohorts=[{name: a, rule: quantal, size: 1, objective: altruistic}]"],
            "objective",
        ),
        (["llm.engine=simulated", "llm.budget_usd=1"], "llm.price"),
    ],
)
def test_mistakes_are_one_line(tmp_path, settings, words):
    given = [part for setting in settings for part in ("--set", setting)]
    result = CliRunner().invoke(app, ["run", *given, "--out", str(tmp_path / "run")])
    assert result.exit_code == USER_ERROR
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


# --- the bridge with engines that die, and prompts that are too long


def test_an_engine_that_dies_is_started_once_more(tmp_path):
    asked = []

    def dying(request):
        asked.append(request.draw.agent)
        if request.draw.agent == 3:
            raise EngineError("gone")
        return Completion(json.dumps({"hours": 10 * request.draw.agent}))

    served = ServedModel(ScriptedEngine(dying), restart=SimulatedTwin)
    transcript = Transcript(tmp_path / "transcript.sqlite")
    bridge = Bridge({"llm": served}, transcript, seed=0, sampling=Sampling(), retries=0)
    decisions = bridge.decide(Labor(), observations(6))
    assert [d.value for d in decisions] == [0, 10, 20, 30, 40, 50]
    assert asked == [0, 1, 2, 3]  # what was answered is not asked again
    assert served.engine.asked_agents == [3, 4, 5]
    assert served.restarts == 1
    served.engine.fail = True
    with pytest.raises(EngineError, match="gone for good"):
        bridge.decide(Labor(), observations(2, day=1))
    transcript.close()


class SimulatedTwin(ScriptedEngine):
    """The engine that takes a dead one's place."""

    def __init__(self):
        self.fail, self.asked_agents = False, []
        super().__init__(self.answer)

    def answer(self, request):
        if self.fail:
            raise EngineError("gone for good")
        self.asked_agents.append(request.draw.agent)
        return Completion(json.dumps({"hours": 10 * request.draw.agent}))


def test_histories_are_cut_to_what_fits(tmp_path):
    """Oldest first, and only as far as needed; an agent whose prompt fits keeps its own."""
    days = tuple(map(day_of_work, range(40)))
    long, short = (
        replace(o, history=h) for o, h in zip(observations(2), (days, days[:3]), strict=True)
    )
    engine = ScriptedEngine(lambda request: Completion('{"hours": 40}'))
    transcript = Transcript(tmp_path / "transcript.sqlite")
    served = ServedModel(engine, max_model_len=700)
    Bridge({"llm": served}, transcript, seed=0, sampling=Sampling(max_tokens=32), retries=0).decide(
        Labor(), [long, short]
    )
    transcript.close()
    cut, whole = (request.messages[1].content for request in engine.asked)
    assert engine.prompt_tokens(engine.asked[0]) <= 700 - 32
    assert "day 40: 40 hours" in cut
    assert "day 1: 40 hours" not in cut
    # of 40, from days 17, 25 and 33 on: prompts of later days can begin there too
    assert cut.count(" hours: income") == 8
    assert whole.count(" hours: income") == 3


def test_cohorts_on_two_engines_keep_their_own_answers(tmp_path):
    """Both engines work at once, each on its cohort; no answer reaches another's agent."""
    engines = {
        name: ScriptedEngine(
            lambda request, plus=plus: Completion(
                json.dumps({"hours": 10 * request.draw.agent + plus})
            )
        )
        for name, plus in (("a", 0), ("b", 50))
    }
    served = {name: ServedModel(engine) for name, engine in engines.items()}
    asked = [
        replace(o, cohort=name)
        for i in range(5)
        for name in "ab"
        for o in observations(5)[i : i + 1]
    ]
    transcript = Transcript(tmp_path / "transcript.sqlite")
    bridge = Bridge(served, transcript, seed=0, sampling=Sampling(), retries=0)
    decisions = bridge.decide(Labor(), asked)
    transcript.close()
    assert [d.value for d in decisions] == [
        10 * o.agent + (50 if o.cohort == "b" else 0) for o in asked
    ]
    assert bridge.accounts.of("a", "labor").calls == bridge.accounts.of("b", "labor").calls == 5


# --- the engine's own rules


def ask(observation, agent=0, day=0):
    got = {}
    request = Request(
        chat(Labor(), observation),
        Labor().schema(observation),
        Sampling(),
        Draw(0, "labor", 0, day, "llm", agent),
        observation,
    )
    SimulatedEngine().complete([request], on_completion=lambda i, c: got.update({i: c}))
    return json.loads(got[0].text)["hours"]


def remembering(days, objective):
    """An observation after days of some hours, each with what they bring in the worker's eyes; what
    it does not look at is best at 40 hours.
    """
    asked = observations(1)[0]
    memory = WorkerMemory(1, 4, asked.choices)
    other = [float(hours == 40) for hours in asked.choices]
    wanted = dict.fromkeys(asked.choices, 0.0) | dict(days)
    selfish = objective == "egotistical"
    for day, (hours, value) in enumerate(days):
        columns = dict.fromkeys(WorkerMemory.COLUMNS, 0.0)
        columns |= {"hours": float(hours), "welfare": float(hours == 40) if selfish else value}
        memory.append(0, day, **{name: np.array([value]) for name, value in columns.items()})
    tax = [0.0] * len(asked.choices)
    worth = OwnWorth(tax, list(wanted.values()) if selfish else other)
    known = remembered(
        memory.recall(0)[0],
        worth,
        asked.choices,
        asked.last_hours,
        objective,
        asked.cues,
        MemorySettings(),
    )
    return replace(asked, objective=objective, **known)


def test_simulated_workers_take_the_best_they_know():
    plain = remembering([(30, 5.0), (60, 9.0), (40, 7.0)], "egotistical")
    assert {ask(plain, agent) for agent in range(50)} == {60}
    for objective, best in (("altruistic", 60), ("adversarial", 30)):
        judging = remembering([(30, 5.0), (60, 9.0), (40, 7.0)], objective)
        assert {ask(judging, agent) for agent in range(50)} == {best}
    explored = Counter(ask(replace(plain, cues=Cues(explore=True)), agent) for agent in range(400))
    assert set(explored) == {50, 60, 70}
    # a quarter explore, a third of them stay
    assert 0.10 < (explored[50] + explored[70]) / 400 < 0.25
    assert ask(plain, 3) == ask(plain, 3)


def test_unknown_observations_are_refused():
    ask_nothing = Request((), None, Sampling(), Draw(0, "vote", 0, 0, "llm", 0), None)
    with pytest.raises(TypeError):
        SimulatedEngine().complete([ask_nothing], on_completion=lambda i, c: None)
