"""Runs whose models do not answer: they end as failures, and go on as if nothing had been."""

import json
import random
import re
import shutil
import threading
from collections import Counter
from contextlib import closing, suppress
from dataclasses import replace
from itertools import compress

import pyarrow.compute as pc
import pytest
from support.decisions import by_agent, observations
from support.failing import CUT, EMPTY, ERROR, NONSENSE, FailingEngine, dead, hours, sound
from support.openai_server import Reply, Server, said
from support.runs import At, assert_same_run, copied
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.config.read import load_config
from jaxecon.core.errors import EngineError, UserError
from llm.bridge import Bridge
from llm.decisions.labor import Labor
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Sampling, Usage
from llm.served import ServedModel
from llm.transcript.store import Transcript

ASKED = {
    "years": 2,
    "year": {"days": 3},
    "population": {"mechanical": 8, "llm": 3, "personas": {"source": "none"}},
    "llm": {"engine": "simulated", "retries": 1},
    "schedule": {"brackets": "three"},
    "planner": {"compared_with": []},
    "satisfaction": {"judged": True},
    "survey": {"questions": [{"name": "fair", "ask": "Is it fair?", "choices": ["yes", "no"]}]},
    "checkpoint": {"every_days": 1, "every_minutes": None, "keep_last": 100},
}


def of(*kinds):
    """Requests of these kinds fail."""
    return lambda request, before: request.draw.kind in kinds


def failed(config, out, engine, **options):
    """Run a configuration to its failure, and return the line that it ends with."""
    with pytest.raises(EngineError) as stopped:
        je.run(config, out=out, engine=engine, **options)
    line = str(stopped.value)
    assert len(line.splitlines()) == 1
    assert je.load(out).manifest["status"] == "failed"
    assert je.load(out).manifest["error"] == line
    return line


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return je.run(ASKED, out=tmp_path_factory.mktemp("whole") / "run", engine=sound())


NO_HOURS = "3 of 3 labor decisions of llm in year 0, day 0 got no usable answer: "


@pytest.mark.parametrize(
    ("how", "where", "words"),
    [
        (ERROR, of("labor"), f"llm.model: {NO_HOURS}HTTP 400: this is not for me; jaxecon resume"),
        (NONSENSE, of("plan"), "llm.model: 1 of 1 plan decisions of planner in year 1, day 0 got"),
        (CUT, of("satisfaction"), "llm.max_tokens: 3 of 3 satisfaction decisions of llm in year 0"),
        (EMPTY, of("survey:fair"), "llm.model: 3 of 3 survey:fair .*: an empty answer;"),
        (ERROR, lambda request, before: before >= 9, "3 of 3 "),
        (dead, lambda request, before: before >= 17, "the server is gone"),
    ],
    ids=["workers", "planner", "satisfaction", "survey", "later", "dead"],
)
def test_a_failed_run_resumes_as_if_nothing_had_been(how, where, words, whole, tmp_path):
    engine = FailingEngine(how, where)
    assert re.search(words, failed(ASKED, tmp_path / "run", engine))
    engine.healed, before = True, len(engine.asked)
    assert je.resume(tmp_path / "run", engine=engine).manifest["status"] == "complete"
    assert_same_run(tmp_path / "run", whole.path)
    # nothing that was answered is asked again
    assert len(engine.asked) - before <= whole.summary["llm"]["calls"] - (before - 2 * 3)


def test_it_fails_as_long_as_nothing_has_changed_and_is_repeated_as_it_was(whole, tmp_path):
    engine = FailingEngine(NONSENSE)
    line = failed(ASKED, tmp_path / "run", engine)
    assert line == (
        f"llm.model: {NO_HOURS}an unusable answer: 'I would rather not say.' (answer with a JSON "
        'object such as {"hours": ...}); jaxecon resume asks again, --set llm.fallback_limit=1 '
        "goes on with fallbacks"
    )
    with pytest.raises(EngineError) as again:
        je.resume(tmp_path / "run", engine=engine)
    assert str(again.value) == line
    assert len(engine.asked) == 2 * 3 * 2  # with one further attempt each
    engine.healed = True
    je.resume(tmp_path / "run", engine=engine)
    assert_same_run(tmp_path / "run", whole.path)
    assert je.replay(tmp_path / "run").equal
    shown = CliRunner().invoke(app, ["transcript", str(tmp_path / "run"), "--show", "--day", "0"])
    assert shown.output.count("--- set aside") == len(engine.asked[:12])


def test_without_the_limit_a_run_goes_on_and_says_why(tmp_path):
    """As before, and the diagnostic names the reason; each way in which a user sees it."""
    killed = tmp_path / "killed"
    run = je.run(
        ASKED,
        overrides=["llm.fallback_limit=1"],
        out=tmp_path / "run",
        engine=FailingEngine(ERROR),
        listener=At(lambda: copied(tmp_path / "run", killed), year=0, day=2),
    )
    assert run.summary["llm"]["statuses"].keys() == {"fallback"}
    (found,) = run.manifest["diagnostics"]
    assert re.fullmatch(
        r"\d+ of all (\d+) decisions were fallbacks \(100 %\): HTTP 400: this is not for me",
        found["seen"],
    )
    told = CliRunner().invoke(app, ["transcript", str(run.path)]).stdout
    assert "Fallbacks of llm, labor, most often: HTTP 400: this is not for me" in told
    told = CliRunner().invoke(app, ["transcript", str(run.path), "--json"]).stdout
    assert {(f["cohort"], f["kind"], f["commonest"]) for f in json.loads(told)["fallbacks"]} >= {
        ("planner", "plan", "HTTP 400: this is not for me")
    }
    # what was decided stays decided, even where the limit is lower later
    resumed = je.resume(killed, engine=sound(), overrides=["llm.fallback_limit=0"])
    first = resumed.years["llm_fallbacks"].to_pylist()[0]
    assert 0 < first < run.years["llm_fallbacks"].to_pylist()[0]
    assert je.replay(killed).equal


def test_an_election_without_answers(tmp_path):
    config = ASKED | {"planner": {"kind": "elected", "compared_with": []}, "survey": {}}
    engine = FailingEngine(NONSENSE, of("candidacy"))
    assert "llm.model: 2 of 2 candidacy decisions" in failed(config, tmp_path / "run", engine)
    engine.healed = True
    run = je.resume(tmp_path / "run", engine=engine)
    assert "fallback" not in run.summary["llm"]["statuses"]


# --- which batches end a run ----------------------------------------------------------------------


def decide(engines, path, batches, *, limit=0.5, retries=0, tell=None, inherited=None):
    """Decisions of batches, each a list of observations of a day, and what it cost."""
    transcript = Transcript(path)
    try:
        bridge = Bridge(
            {name: ServedModel(engine) for name, engine in engines.items()}
            if isinstance(engines, dict)
            else {"llm": ServedModel(engines)},
            transcript,
            seed=0,
            sampling=Sampling(),
            retries=retries,
            fallback_limit=limit,
            inherited=inherited,
        )
        return [d for batch in batches for d in bridge.decide(Labor(), batch)], bridge.usage
    finally:
        transcript.close()


def failing(*agents):
    """An engine that answers nothing usable on behalf of these agents."""
    return by_agent(lambda agent, attempt: "no" if agent in agents else hours(40))


@pytest.mark.parametrize(
    ("size", "bad", "limit", "ends"),
    [
        (1, 1, 0.5, True),  # the first that was ever asked
        (2, 2, 0.5, True),
        (2, 1, 0.0, False),
        (7, 6, 0.1, False),
        (8, 4, 0.5, False),
        (8, 5, 0.5, True),
        (8, 1, 0.0, True),
        (100, 100, 0.99, True),
        (100, 99, 0.99, False),
        (100, 100, 1.0, False),
        (1, 1, 1.0, False),
    ],
)
def test_which_batches_end_a_run(size, bad, limit, ends, tmp_path):
    def run():
        return decide(failing(*range(bad)), tmp_path / "t", [observations(size)], limit=limit)

    if not ends:
        assert [d.status for d in run()[0]].count("fallback") == bad
        return
    with pytest.raises(EngineError, match=f"llm.model: {bad} of {size} labor decisions of llm"):
        run()
    healed = failing()
    decisions, _ = decide(healed, tmp_path / "t", [observations(size)])
    assert {d.status for d in decisions} == {"ok"}
    assert [r.draw.agent for r in healed.asked] == list(range(bad))  # the others had answered


def test_single_decisions_end_a_run_when_three_in_a_row_fail(tmp_path):
    good = {0, 3}

    def reply(agent, attempt):
        return hours(40) if days.pop(0) in good else "no"

    days = list(range(9))
    batches = [observations(1, day=day) for day in range(9)]
    with pytest.raises(EngineError, match="1 of 1 labor decisions of llm in year 0, day 6"):
        decide(by_agent(reply), tmp_path / "t", batches)
    # in a run that is resumed somewhere before, it is the same decision that ends it
    days = [6]
    with pytest.raises(EngineError, match="day 6"):
        decide(by_agent(reply), tmp_path / "t", batches)
    decisions, _ = decide(failing(), tmp_path / "t", batches)
    assert [d.status == "fallback" for d in decisions] == [d in (1, 2, 4, 5) for d in range(9)]


def test_one_model_of_two_ends_the_run_with_its_own_setting(tmp_path):
    served = {
        "llm": ServedModel(failing()),
        "big": ServedModel(failing(*range(9)), setting="llm.others.big"),
    }
    transcript = Transcript(tmp_path / "t")
    bridge = Bridge(served, transcript, seed=0, sampling=Sampling(), retries=0, fallback_limit=0.5)
    asked = [*observations(9), *(replace(o, cohort="big") for o in observations(2))]
    with pytest.raises(EngineError, match=r"llm\.others\.big\.model: 2 of 2 .* of big in"):
        bridge.decide(Labor(), asked)
    transcript.close()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_and_is_killed_ends_as_what_never_failed(seed, tmp_path):
    """Agents whose server fails at random in every way, in a process that dies at random moments:
    once all is well, decisions are those of a run in which all was well, but for what was decided
    before by a fallback, and no usable answer was asked for twice.
    """
    rng = random.Random(seed)
    batches = [observations(rng.choice([1, 2, 5, 12]), day=day) for day in range(4)]

    def answer(agent, attempt):
        return hours(10 * ((agent + seed) % 11))

    expected, _ = decide(by_agent(answer), tmp_path / "whole", batches, retries=2)
    paid = Counter()

    def unsteady(request):
        chance = rng.random()
        if chance < 0.15:
            raise KeyboardInterrupt
        if chance < 0.25:
            raise EngineError("gone")
        if chance < 0.9:
            return rng.choice([ERROR, NONSENSE, CUT])
        paid[request.draw.day, request.draw.agent] += 1
        return Completion(answer(request.draw.agent, 0), usage=Usage(100, 40, 7))

    for _ in range(15):
        with suppress(EngineError, KeyboardInterrupt):
            decide(ScriptedEngine(unsteady), tmp_path / "t", batches, limit=0.0, retries=2)
    calm = ScriptedEngine(unsteady)
    calm._reply = lambda request: Completion(answer(request.draw.agent, 0), usage=Usage(100, 40, 7))
    decisions, _ = decide(calm, tmp_path / "t", batches, retries=2)
    assert max(paid.values()) == 1
    decided = [d.status != "fallback" for d in decisions]
    assert any(decided)
    assert [d.value for d in compress(decisions, decided)] == [
        e.value for e in compress(expected, decided)
    ]


# --- another model in a model's place -------------------------------------------------------------

WITH_FALLBACK = ASKED | {
    "llm": {
        **ASKED["llm"],
        "fallback": "backup",
        "others": {"backup": {"engine": "simulated", "max_model_len": 4096}},
    },
    "survey": {},
}


class Told(At):
    """Keeps the notes."""

    def __init__(self, what, *, year, day=None):
        super().__init__(what, year=year, day=day)
        self.notes = []

    def on_note(self, line):
        self.notes.append(line)


@pytest.mark.parametrize(
    ("how", "where", "note"),
    [
        (dead, lambda r, before: before >= 7, r"\(the server is gone\): .*backup answers from now"),
        (ERROR, lambda r, before: r.draw.agent == 1, r"\(HTTP 400.*backup answers where it has no"),
    ],
    ids=["gone", "some"],
)
def test_another_model_answers_in_its_place(how, where, note, tmp_path):
    """And a resumed run, a replay and a branch find its answers."""
    killed = tmp_path / "killed"
    told = Told(lambda: copied(tmp_path / "run", killed), year=0)
    run = je.run(
        WITH_FALLBACK, out=tmp_path / "run", engine=FailingEngine(how, where), listener=told
    )
    assert len(told.notes) == 1
    assert re.search(f"^llm has no answer {note}", told.notes[0])
    assert run.summary["llm"]["statuses"].get("fallback", 0) == 0
    substitutes = run.summary["llm"]["substitute_calls"]
    assert 0 < substitutes < run.summary["llm"]["calls"]
    assert run.manifest["models"]["llm.others.backup"]["engine"] == "simulated"
    assert run.summary["llm"]["engines"] == ["scripted", "simulated"]
    with closing(Transcript(run.path / "transcript.sqlite", read_only=True)) as transcript:
        models = Counter(c["identity"]["engine"] for c in transcript.conversations())
    assert models["simulated"] == substitutes
    if how is ERROR:
        (branch,) = je.branch(
            run.path, year=1, out=tmp_path / "branch", engine=FailingEngine(how, where)
        )
        assert branch.agents.equals(run.agents.filter(pc.field("year") >= 1))
        return
    assert je.replay(run.path).equal
    shutil.rmtree(killed / "checkpoints")  # it begins anew, with the answers that it has
    resumed = je.resume(killed, engine=sound())
    assert 0 < resumed.summary["llm"]["substitute_calls"] < substitutes
    assert resumed.years["llm_calls"].to_pylist() == run.years["llm_calls"].to_pylist()
    assert je.replay(killed).equal


def test_a_run_resumes_while_the_first_server_is_still_gone(tmp_path):
    """With real requests to a server that answers a few and then stops."""
    server = Server(lambda call: Reply(said(hours(40))))

    def answer(call):
        if call.number == 4:
            threading.Thread(target=server.stop).start()
        if call.number >= 4:
            return Reply("", cut=0)
        return Reply(said(hours(40)))

    server.answer = answer
    first = {"engine": "openai", "model": "m", "base_url": server.url, "patience_seconds": 0.1}
    config = WITH_FALLBACK | {"llm": {**WITH_FALLBACK["llm"], **first, "transport_retries": 0}}
    killed = tmp_path / "killed"
    told = Told(lambda: copied(tmp_path / "run", killed), year=0, day=3)
    run = je.run(config, out=tmp_path / "run", listener=told)
    server._thread.join()
    assert any(re.search(r"cannot be reached.*backup answers from now", n) for n in told.notes)
    je.resume(killed)
    assert_same_run(killed, run.path)
    assert je.replay(killed).equal


def test_where_the_other_model_fails_too_the_run_ends(tmp_path):
    transcript = Transcript(tmp_path / "t")
    backup = ServedModel(FailingEngine(ERROR, name="b"), setting="llm.others.b")
    first = ServedModel(FailingEngine(dead), substitute=backup)
    bridge = Bridge(
        {"llm": first}, transcript, seed=0, sampling=Sampling(), retries=2, fallback_limit=0.5
    )
    with pytest.raises(EngineError, match=r"llm\.others\.b\.model: 4 of 4 labor .*HTTP 400"):
        bridge.decide(Labor(), observations(4))
    assert len(first.engine.asked) == 1
    backup.engine.how = dead
    with pytest.raises(EngineError, match="the server is gone"):
        bridge.decide(Labor(), observations(4))
    assert len(first.engine.asked) == 1  # it is not asked again in this process
    backup.engine.healed, notes = True, []
    for _ in range(2):  # each run of a sweep says who answers, once
        bridge = Bridge(
            {"llm": first}, transcript, seed=0, sampling=Sampling(), retries=2, tell=notes.append
        )
        for day in range(2):
            bridge.decide(Labor(), observations(4, day=len(notes) * 2 + day))
    assert notes == ["llm has no answer (the server is gone): llm.others.b answers from now on"] * 2
    transcript.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"fallback": "b"}, r"llm.fallback: 'b'; a name in llm.others: \(which is empty\)"),
        (
            {"others": {"a": {"fallback": "b"}, "c": {}}},
            "llm.others.a.fallback: 'b'; a name in llm.others: a, c",
        ),
        (
            {"others": {"a": {"fallback": "a"}}},
            r"llm.others.a.fallback: 'a'; comes back to llm.others.a \(.*a -> llm.others.a\)",
        ),
        (
            {"fallback": "a", "others": {"a": {"fallback": "b"}, "b": {"fallback": "a"}}},
            "llm.fallback: 'a'; comes back to llm.others.a",
        ),
        ({"fallback_limit": 2}, r"llm.fallback_limit: 2; a number in \[0, 1\]"),
    ],
)
def test_mistakes_in_these_settings(settings, words):
    with pytest.raises(UserError, match=words):
        load_config({"llm": settings})


def test_a_model_cannot_stand_in_for_itself(tmp_path):
    with pytest.raises(UserError, match=r"llm\.fallback: 'backup'; another model or another"):
        je.run(WITH_FALLBACK, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# --- what is not there ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--year", "7"], "--year: 7; {run} holds 0 to 1"),
        (["--agent", "3"], "--agent: 3; {run} holds 0 to 2"),
        (["--day", "9", "--show"], "--day: 9; {run} holds 0 to 2"),
        (["--decision", "45", "--json"], "--decision: 45; {run} holds "),
        (["--kind", "plan", "--year", "0"], "--kind plan --year 0: {run} holds each of these, but"),
    ],
)
def test_asking_a_transcript_for_what_is_not_there(options, words, whole):
    done = CliRunner().invoke(app, ["transcript", str(whole.path), *options])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1
    assert words.format(run=whole.path) in done.output


def test_that_nothing_had_a_status_is_an_answer(whole):
    options = ["--status", "fallback", "--year", "0"]
    done = CliRunner().invoke(app, ["transcript", str(whole.path), *options])
    assert (done.exit_code, done.output) == (0, "No requests.\n")
