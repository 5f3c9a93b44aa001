"""Resume, replay, branch: a run that goes on as if nothing had happened, and other futures from one
state.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import jaxecon as je
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.simulation.ports import SilentListener
from jaxecon.storage import checkpoint_files as storage_checkpoint_files
from jaxecon.storage import run as records
from jaxecon.storage.checkpoint_files import Position, positions
from jaxecon.storage.digest import digest
from jaxecon.storage.recorder import Recorder

MECHANICAL = {
    "years": 3,
    "year": {"days": 6},
    "population": {"mechanical": 30, "llm": 0},
    "planner": {"compared_with": ["us_federal"]},
    "checkpoint": {"every_days": 4, "every_minutes": None, "keep_last": 100},
}
HYBRID = {
    **MECHANICAL,
    "population": {"mechanical": 20, "llm": 3},
    "llm": {"engine": "simulated"},
    "satisfaction": {"judged": True, "every_days": 3},
}


class At(SilentListener):
    """Calls something after a day or a year."""

    def __init__(self, what, *, year, day=None):
        self.what, self.year, self.day = what, year, day

    def on_days(self, year, days_done, day, usage):
        if (year, days_done) == (self.year, self.day):
            self.what()

    def on_year(self, row, usage):
        if self.day is None and row["year"] == self.year:
            self.what()


def interrupt():
    raise Interrupted(15)


def run_killed(config, out, *, year, day=None):
    """What a run that is killed at that moment leaves behind: its folder is copied while it lives."""
    copy = out.with_name(out.name + "-killed")
    je.run(config, out=out, listener=At(lambda: copied(out, copy), year=year, day=day))
    return copy


def copied(folder, copy):
    """While a thread still writes a checkpoint, whose files get other names: what is missed was not
    finished.
    """
    with contextlib.suppress(shutil.Error):
        shutil.copytree(folder, copy)


@pytest.fixture(scope="module", params=["mechanical", "hybrid"])
def config(request):
    return {"mechanical": MECHANICAL, "hybrid": HYBRID}[request.param]


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """A run that nothing interrupted."""
    return je.run(config, out=tmp_path_factory.mktemp("whole") / "run")


def decisions(path):
    if not (path / "transcript.sqlite").exists():
        return []
    from llm.transcript.store import Transcript

    transcript = Transcript(path / "transcript.sqlite", read_only=True)
    found = list(transcript.decisions())
    transcript.close()
    return found


def assert_same_run(one, other):
    assert digest(Path(one)) == digest(Path(other))
    assert decisions(Path(one)) == decisions(Path(other))
    tables = [je.load(path).years.drop_columns(["seconds"]) for path in (one, other)]
    assert tables[0].equals(tables[1])
    assert je.load(one).agents.equals(je.load(other).agents)


# --- resume ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("year", "day"), [(0, 4), (0, 6), (0, None), (1, 2), (2, 6), (2, None)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(config, whole, tmp_path, year, day):
    killed = run_killed(config, tmp_path / "run", year=year, day=day)
    assert je.load(killed).manifest["status"] == "running"
    resumed = je.resume(killed)
    assert resumed.manifest["status"] == "complete"
    assert_same_run(killed, whole.path)
    (entry,) = resumed.manifest["resumed"]
    assert (entry["changed"], entry["inexact"], entry["damaged"]) == ([], [], [])
    assert resumed.summary["policies"] == whole.summary["policies"]
    if whole.manifest["identities"]:
        for name in ("calls", "prompt_tokens", "statuses", "by_kind"):
            assert resumed.summary["llm"][name] == whole.summary["llm"][name], name


@pytest.mark.parametrize(("year", "day"), [(0, 4), (1, 6), (1, None)])
def test_an_interrupted_run_loses_nothing(config, whole, tmp_path, year, day):
    with pytest.raises(Interrupted):
        je.run(config, out=tmp_path / "run", listener=At(interrupt, year=year, day=day))
    run = je.load(tmp_path / "run")
    assert run.manifest["status"] == "interrupted"
    found, damaged = storage_checkpoint_files.newest(run.path / "checkpoints")
    assert not damaged
    assert (found.position.year, found.position.day) == ((year, day) if day else (year + 1, 0))
    je.resume(run.path)
    assert_same_run(run.path, whole.path)


def test_a_run_without_a_checkpoint_begins_again(config, whole, tmp_path):
    killed = run_killed(config, tmp_path / "run", year=1, day=2)
    shutil.rmtree(killed / "checkpoints")
    told = []
    je.resume(killed, tell=told.append)
    assert told[0].position == Position(0, 0)
    assert_same_run(killed, whole.path)


def test_the_interrupted_day_asks_only_for_what_is_missing(tmp_path):
    from llm.engines.simulated import SimulatedEngine

    class Counting(SimulatedEngine):
        asked = 0

        def complete(self, requests, *, on_completion):
            Counting.asked += len(requests)
            super().complete(requests, on_completion=on_completion)

    class Dies(Counting):
        """Stops after one answer of its third labour batch."""

        batches = 0

        def complete(self, requests, *, on_completion):
            if requests[0].draw.kind == "labor":
                Dies.batches += 1
            if Dies.batches == 3:
                super().complete(requests[:1], on_completion=on_completion)
                raise Interrupted(2)
            super().complete(requests, on_completion=on_completion)

    je.run(HYBRID, out=tmp_path / "whole", engine=Counting())
    total, Counting.asked = Counting.asked, 0
    with pytest.raises(Interrupted):
        je.run(HYBRID, out=tmp_path / "run", engine=Dies())
    before, Counting.asked = Counting.asked, 0
    je.resume(tmp_path / "run", engine=Counting())
    assert before + Counting.asked == total
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def flighty():
    """Answers at random, now and then uselessly: what is asked twice is answered otherwise."""
    from llm.engines.scripted import ScriptedEngine
    from llm.messages import Completion, Usage

    rng = random.Random()

    def reply(request):
        answers = {
            "labor": {"hours": rng.randrange(0, 101, 10)},
            "satisfaction": {"satisfied": rng.random() < 0.5},
            "plan": {"changes": [rng.choice([-10, 0, 10]) for _ in range(7)]},
        }
        useless = request.draw.attempt == 0 and request.draw.agent == 0
        return Completion(
            "nothing" if useless else json.dumps(answers[request.draw.kind]), usage=Usage(100, 0, 5)
        )

    return ScriptedEngine(reply)


@pytest.mark.parametrize(
    ("batch", "stop"),
    [(2, "engine"), (3, "interrupted"), (6, "interrupted"), (11, "engine"), (14, "interrupted")],
    ids=[
        "a retry",
        "a judgement",
        "a retry after a judgement",
        "a judgement after the last day",
        "a retry of the planner",
    ],
)
def test_what_was_paid_for_is_counted_once(tmp_path, batch, stop):
    """A run that stops after the first answer of a batch."""
    from jaxecon.core.errors import EngineError
    from llm.transcript.store import Transcript

    config = {
        **HYBRID,
        "years": 2,
        "year": {"days": 3},
        "satisfaction": {"judged": True, "every_days": 1},
        "planner": {"kind": "llm", "compared_with": ["us_federal"]},
        "checkpoint": {"every_minutes": None},
    }

    def counted(path):
        with contextlib.closing(
            Transcript(path / "transcript.sqlite", read_only=True)
        ) as transcript:
            return transcript.counts().requests

    engine, batches = flighty(), []
    answer = engine.complete

    def complete(requests, *, on_completion):
        batches.append(len(requests))
        if len(batches) == batch:
            answer(requests[:1], on_completion=on_completion)
            raise EngineError("gone") if stop == "engine" else Interrupted(15)
        answer(requests, on_completion=on_completion)

    engine.complete = complete
    with pytest.raises(EngineError if stop == "engine" else Interrupted):
        je.run(config, out=tmp_path / "run", engine=engine)
    stopped = je.load(tmp_path / "run")
    assert stopped.manifest["llm"]["calls"] == len(engine.asked) == counted(stopped.path)
    assert je.replay(stopped.path).differences == ()
    resumed = je.resume(stopped.path, engine=engine)
    assert (
        resumed.manifest["llm"]["calls"]
        == sum(resumed.years["llm_calls"].to_pylist())
        == len(engine.asked)
    )
    assert counted(resumed.path) == len(engine.asked)
    assert je.replay(resumed.path).equal


@settings(
    max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(kind="hybrid", moment=0.5, every_days=None, judged=7, floats="float64")
@given(
    kind=st.sampled_from(["mechanical", "hybrid"]),
    moment=st.floats(0, 1, exclude_max=True),
    every_days=st.none() | st.integers(1, 9),
    judged=st.integers(0, 7),
    floats=st.sampled_from(["float32", "float64"]),
)
def test_resumed_is_uninterrupted(tmp_path_factory, kind, moment, every_days, judged, floats):
    """For any configuration and day."""
    folder = tmp_path_factory.mktemp("property")
    config = {
        **(HYBRID if kind == "hybrid" else MECHANICAL),
        "precision": floats,
        "years": 2,
        "year": {"days": 7},
        "satisfaction": {"judged": judged > 0, "every_days": max(judged - 1, 0)},
        "checkpoint": {"every_days": every_days, "every_minutes": None},
    }
    lived = int(moment * 14)
    killed = run_killed(
        config, folder / "run", year=lived // 7, day=lived % 7 + 1 if kind == "hybrid" else None
    )
    je.resume(killed)
    assert_same_run(killed, folder / "run")


def test_a_complete_run_is_left_alone(whole):
    before = {p: p.read_bytes() for p in whole.path.rglob("*") if p.is_file()}
    assert je.resume(whole.path).manifest["status"] == "complete"
    assert {p: p.read_bytes() for p in whole.path.rglob("*") if p.is_file()} == before


def test_a_damaged_newest_checkpoint(config, whole, tmp_path):
    killed = run_killed(config, tmp_path / "run", year=2, day=6)
    newest = killed / "checkpoints" / [p.name for p in positions(killed / "checkpoints")][-1]
    path = next(p for p in newest.rglob("*") if p.is_file() and p.stat().st_size > 100)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = []
    run = je.resume(killed, tell=told.append)
    assert len(told[0].damaged) == 1
    assert str(path.relative_to(newest)) in told[0].damaged[0]
    assert run.manifest["resumed"][0]["damaged"] == list(told[0].damaged)
    assert_same_run(killed, whole.path)


# --- what is refused ------------------------------------------------------------------------------


def edited(path, **changes):
    given = yaml.safe_load((path / "config.yaml").read_text())
    (path / "config.yaml").write_text(yaml.safe_dump({**given, **changes}))


def snapshot(path):
    return {
        p: p.read_bytes()
        for p in path.rglob("*")
        if p.is_file() and p.name != ".lock" and ".unfinished" not in str(p)
    }


def test_another_configuration_is_refused_or_recorded(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    edited(killed, years=5)
    before = snapshot(killed)
    with pytest.raises(
        UserError,
        match=r"not what the run began with: years: 3 -> 5; --force goes on and records it",
    ):
        je.resume(killed)
    assert snapshot(killed) == before
    run = je.resume(killed, force=True)
    assert run.years.num_rows == 5
    assert run.manifest["resumed"][0]["changed"] == ["years: 3 -> 5"]
    assert run.manifest["configuration"]["years"] == 5
    # the years before are the ones that were
    assert (
        run.years.slice(0, 2)
        .drop_columns(["seconds"])
        .equals(je.load(tmp_path / "run").years.slice(0, 2).drop_columns(["seconds"]))
    )


def test_settings_that_change_nothing_are_free(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    run = je.resume(
        killed, overrides=["checkpoint.keep_last=1", "llm.budget_tokens=5", "llm.kv_cache_gib=1"]
    )
    assert_same_run(run.path, tmp_path / "run")
    # and kept: the next resume goes on under them
    assert (run.config.checkpoint.keep_last, run.config.llm.budget_tokens) == (1, 5)
    assert run.manifest["configuration"] == run.config.model_dump(mode="json")
    (entry,) = run.manifest["resumed"]
    assert entry["changed"] == []
    assert entry["given"] == [
        "llm.kv_cache_gib: 2.0 -> 1.0",
        "llm.budget_tokens: None -> 5",
        "checkpoint.keep_last: 100 -> 1",
    ]
    assert je.replay(run.path).equal  # nothing of what it computes was changed


def test_other_code_is_refused_or_recorded(tmp_path, monkeypatch):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    monkeypatch.setattr(records, "_code_hash", lambda: "f" * 64)
    with pytest.raises(UserError, match=r"jaxecon's code: [0-9a-f]{12} -> ffffffffffff"):
        je.resume(killed)
    run = je.resume(killed, force=True)
    assert "-> ffffffffffff" in run.manifest["resumed"][0]["changed"][0]
    assert_same_run(run.path, tmp_path / "run")


def test_another_model_is_refused_or_recorded(tmp_path):
    from llm.engines.simulated import SimulatedEngine

    class Other(SimulatedEngine):
        @property
        def identity(self):
            return {"engine": "simulated", "model": "another"}

    killed = run_killed(HYBRID, tmp_path / "run", year=1)
    with pytest.raises(
        UserError, match=r"llm's model: none \(boundedly rational rules, version 1\) -> another"
    ):
        je.resume(killed, engine=Other())
    run = je.resume(killed, engine=Other(), force=True)
    assert run.manifest["status"] == "complete"
    assert any("another" in change for change in run.manifest["resumed"][0]["changed"])
    assert run.manifest["identities"]["llm"]["model"] == "another"
    with pytest.raises(UserError, match=r"was changed on its way .* which a replay cannot repeat"):
        je.replay(run.path)


def test_a_transcript_that_lost_answers_is_refused(tmp_path):
    import sqlite3

    killed = run_killed(HYBRID, tmp_path / "run", year=2, day=6)
    with sqlite3.connect(killed / "transcript.sqlite") as db:
        (before,) = db.execute("SELECT sum(requests) FROM sums").fetchone()
        db.execute("UPDATE sums SET requests = requests - 20")
    with pytest.raises(UserError, match=r"requests in transcript.sqlite: \d+ -> \d+; --force"):
        je.resume(killed)
    with sqlite3.connect(killed / "transcript.sqlite") as db:
        assert db.execute("SELECT sum(requests) FROM sums").fetchone()[0] < before


def test_a_run_of_an_older_jaxecon(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    manifest = {k: v for k, v in run.manifest.items() if k != "configuration"}
    (run.path / "manifest.json").write_text(json.dumps(manifest))
    for go_on in (je.resume, je.replay, lambda path: je.branch(path, year=1, out=tmp_path / "b")):
        with pytest.raises(UserError, match="without checkpoints; it cannot be gone on with"):
            go_on(run.path)


def test_other_people_cannot_be_forced(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    edited(killed, population={"mechanical": 40, "llm": 0})
    before = snapshot(killed)
    with pytest.raises(UserError, match="this configuration needs"):
        je.resume(killed, force=True)
    assert snapshot(killed) == before


def test_another_machine_is_told_of(tmp_path, monkeypatch):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    manifest = json.loads((killed / "manifest.json").read_text())
    manifest["hardware"]["visible_cores"] = 64
    manifest["hardware"]["devices"] = ["gpu: NVIDIA H100"]
    (killed / "manifest.json").write_text(json.dumps(manifest))
    told = []
    je.resume(killed, tell=told.append)
    assert [line.split(":")[0] for line in told[0].inexact] == ["visible_cores", "devices"]


def test_two_processes_on_one_run(tmp_path):
    """Neither written twice, nor read while its checkpoints come and go."""
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    recorder = Recorder.open(killed)
    for read in (
        je.digest,
        je.replay,
        lambda path: je.branch(path, year=0, out=tmp_path / "branch"),
    ):
        with pytest.raises(
            UserError, match="is being written by another process, which must end first"
        ):
            read(killed)
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "resume", str(killed)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"{killed}: is being written by another process, which must end first" in done.stderr
    recorder.close()
    je.resume(killed)
    assert_same_run(killed, tmp_path / "run")


# --- signals --------------------------------------------------------------------------------------

LONG = [
    *(
        "--set",
        "population.mechanical=50",
        "--set",
        "population.llm=0",
        "--set",
        "years=3000",
        "--set",
        "year.days=8",
    ),
    *("--set", "planner.compared_with=[us_federal]", "--set", "record.agents=none"),
]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals(tmp_path, number, status):
    path = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "jaxecon", "run", *LONG, "--out", str(path)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (path / "years.parquet" / "part-00000003.parquet").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == status
    assert stderr.endswith(f"jaxecon: interrupted; continue with: jaxecon resume {path}\n")
    assert "Traceback" not in stderr
    run = je.load(path)
    assert run.manifest["status"] == "interrupted"
    found, _ = storage_checkpoint_files.newest(path / "checkpoints")
    assert found.position == Position(run.last_year + 1, 0)  # nothing is lost
    assert not (path / ".lock").exists()


# --- replay ---------------------------------------------------------------------------------------


def test_a_run_is_what_it_says(whole):
    replayed = je.replay(whole.path)
    assert replayed.equal
    assert replayed.differences == ()
    assert replayed.recorded.combined == digest(whole.path).combined


def test_an_interrupted_run_is_replayed_as_far_as_it_got(config, tmp_path):
    with pytest.raises(Interrupted):
        je.run(config, out=tmp_path / "run", listener=At(interrupt, year=1, day=6))
    assert je.replay(tmp_path / "run", out=tmp_path / "again").equal
    assert je.load(tmp_path / "again").manifest["replay_of"] == str(tmp_path / "run")


def test_a_doctored_run_is_found_out(whole, tmp_path):
    path = shutil.copytree(whole.path, tmp_path / "run")
    part = sorted((path / "years.parquet").iterdir())[-1]
    table = pq.read_table(part)
    at = table.column_names.index("swf")
    better = table.set_column(at, "swf", [[table["swf"][0].as_py() * 1.01]])
    pq.write_table(better, part)
    replayed = je.replay(path)
    assert not replayed.equal
    (difference,) = replayed.differences
    assert (difference.where, difference.column, difference.decided) == (
        "years.parquet",
        "swf",
        False,
    )
    assert difference.relative == pytest.approx(0.0099, abs=1e-4)


def test_an_answer_that_was_changed_is_found_out(tmp_path):
    import sqlite3

    je.run(HYBRID, out=tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "transcript.sqlite") as db:
        db.execute(
            """UPDATE requests SET response = '{"hours": 0}' WHERE kind = 'labor' AND year = 1 AND day = 2 AND agent = 1"""
        )
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "replay", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3  # other hours lead to prompts that nobody ever asked
    assert "jaxecon: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_replay_of_a_run_that_was_killed_after_its_first_election(tmp_path):
    """Its newest checkpoint is from before any."""
    config = {
        **MECHANICAL,
        "planner": {"kind": "elected", "compared_with": []},
        "checkpoint": {"every_years": 1},
    }
    killed = run_killed(config, tmp_path / "run", year=1)
    assert storage_checkpoint_files.newest(killed / "checkpoints")[0].position == Position(1, 0)
    assert je.load(killed).elections.num_rows
    replayed = je.replay(killed)
    assert (replayed.equal, replayed.differences) == (True, ())
    assert digest(killed).elections is None
    assert digest(tmp_path / "run").elections is not None


def test_a_replay_says_that_the_run_had_changed_machines(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    manifest = json.loads((killed / "manifest.json").read_text())
    hardware = manifest["hardware"] | {"cpu": "another"}
    (killed / "manifest.json").write_text(json.dumps(manifest | {"hardware": hardware}))
    je.resume(killed)
    assert any(note.startswith("cpu: another -> ") for note in je.replay(killed).notes)


def test_differences_leave_out_what_neither_has():
    from jaxecon.storage.differences import _difference

    nan = float("nan")
    assert list(_difference("years", "x", False, np.array([nan, 1.0]), np.array([nan, 1.0]))) == []
    (found,) = _difference(
        "years", "x", False, np.array([nan, 1.0, 2.0]), np.array([nan, 1.0, 2.5])
    )
    assert (found.absolute, found.relative) == (0.5, 0.25)


def test_free_settings_of_a_complete_run_are_kept(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    je.resume(run.path, overrides=["llm.budget_tokens=5"])
    assert je.load(run.path).config.llm.budget_tokens == 5


# --- branch ---------------------------------------------------------------------------------------


def test_a_branch_without_changes_is_the_run_itself(config, whole, tmp_path):
    (branch,) = je.branch(whole.path, year=1, out=tmp_path / "branch")
    ours, theirs = (
        branch.years.drop_columns(["seconds"]),
        whole.years.slice(1).drop_columns(["seconds"]),
    )
    assert ours.equals(theirs)
    assert digest(branch.path).state == digest(whole.path).state
    assert branch.manifest["branched_from"]["run"] == str(whole.path)
    assert (
        branch.manifest["branched_from"]["year"],
        branch.manifest["branched_from"]["changed"],
    ) == (1, [])


def test_a_branch_from_a_year_without_a_checkpoint(config, whole, tmp_path):
    """It is lived again from an earlier one."""
    path = shutil.copytree(whole.path, tmp_path / "run")
    for position in positions(path / "checkpoints"):
        if position != Position(0, 4):
            shutil.rmtree(path / "checkpoints" / position.name)
    (branch,) = je.branch(path, year=2, out=tmp_path / "branch")
    assert branch.years.drop_columns(["seconds"]).equals(
        whole.years.slice(2).drop_columns(["seconds"])
    )


def test_a_branch_under_another_policy(config, whole, tmp_path):
    overrides = ["planner.kind=fixed", "schedule.rates=0.7", "years=4"]
    (branch,) = je.branch(whole.path, year=1, out=tmp_path / "branch", overrides=overrides)
    rows = branch.years.to_pylist()
    assert [row["year"] for row in rows] == [1, 2, 3]
    assert {row["rate_3"] for row in rows} == {0.7}
    assert branch.manifest["branched_from"]["changed"] == [
        "years: 3 -> 4",
        *[c for c in branch.manifest["branched_from"]["changed"] if c.startswith("planner.kind")],
        "schedule.rates: None -> 0.7",
    ]
    assert whole.years["rate_3"][1].as_py() != 0.7
    # it can be resumed and replayed like any run
    assert je.replay(branch.path).equal


def test_another_planner_takes_over(whole, tmp_path):
    (branch,) = je.branch(
        whole.path, year=1, out=tmp_path / "branch", overrides=["planner.kind=uniform_50"]
    )
    assert {row[f"rate_{k}"] for row in branch.years.to_pylist() for k in range(7)} == {0.5}
    assert branch.years["leader"].to_pylist() == ["uniform_50", "uniform_50"]


def test_common_random_numbers(tmp_path):
    """Two branches under one policy that differ in the planner's name alone draw the same; with
    another seed, others.
    """
    run = je.run(MECHANICAL, out=tmp_path / "run")
    same = [
        je.branch(
            run.path,
            year=1,
            out=tmp_path / name,
            overrides=["planner.kind=fixed", "schedule.rates=0.4", *more],
        )[0]
        for name, more in (("a", []), ("b", ["planner.max_change=50"]), ("c", ["draw_seed=9"]))
    ]
    hours = [np.asarray(branch.agents["hours"]) for branch in same]
    np.testing.assert_array_equal(hours[0], hours[1])
    assert not np.array_equal(hours[0], hours[2])
    skills = [np.asarray(branch.agents["skill"]) for branch in same]
    np.testing.assert_array_equal(skills[0], skills[2])  # the people are the same


def test_many_futures(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "jaxecon",
                "branch",
                str(run.path),
                "--year",
                "2",
                "--out",
                str(tmp_path / "b"),
            ),
            *("--seeds", "3", "--set", "years=4"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "standard error" in done.stdout
    futures = [je.load(tmp_path / "b" / f"future-{i}") for i in range(3)]
    assert [f.config.seed_of_draws for f in futures] == [0, 1, 2]
    first = [f.years["swf"][0].as_py() for f in futures]
    assert len(set(first)) == 3
    assert first[0] == run.years["swf"][2].as_py()


def test_a_branch_is_nothing_before_it_began(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    (branch,) = je.branch(
        run.path, year=2, out=tmp_path / "branch", overrides=["planner.kind=fixed"]
    )
    with pytest.raises(UserError, match=r"--year: 1; .* has lived up to year 3: 2 to 3"):
        je.branch(branch.path, year=1, out=tmp_path / "more")
    manifest = json.loads((branch.path / "manifest.json").read_text())
    (branch.path / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    first = branch.path / "checkpoints" / "00000002-000000" / "SHA256SUMS"
    first.write_text(first.read_text() + "x")
    with pytest.raises(UserError, match=r"SHA256SUMS|cannot be lived again"):
        je.replay(branch.path)
    shutil.rmtree(branch.path / "checkpoints")
    with pytest.raises(UserError, match="a branch whose first checkpoint is lost"):
        je.resume(branch.path)


def test_a_branch_that_is_resumed_has_its_runs_answers(tmp_path):
    """Of an engine that answers otherwise when it is asked again."""
    engine = flighty()
    run = je.run(HYBRID, out=tmp_path / "run", engine=engine)
    asked = len(engine.asked)
    with pytest.raises(Interrupted):
        je.branch(
            run.path,
            year=1,
            out=tmp_path / "branch",
            engine=engine,
            listener=At(interrupt, year=1, day=2),
        )
    assert je.resume(tmp_path / "branch", engine=engine).manifest["resumed"][0]["inexact"] == []
    assert len(engine.asked) == asked
    ours, theirs = (
        je.load(tmp_path / "branch").years.drop_columns(["seconds"]),
        run.years.slice(1).drop_columns(["seconds"]),
    )
    assert ours.equals(theirs)
    with pytest.raises(Interrupted):
        je.branch(
            run.path,
            year=1,
            out=tmp_path / "orphan",
            engine=engine,
            listener=At(interrupt, year=1, day=2),
        )
    shutil.move(run.path, tmp_path / "moved")
    (gone,) = je.resume(tmp_path / "orphan", engine=engine).manifest["resumed"][0]["inexact"]
    assert "run/transcript.sqlite: gone" in gone
    assert len(engine.asked) > asked


def test_futures_of_another_seed_are_all_others(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    futures = je.branch(
        run.path, year=2, out=tmp_path / "futures", overrides=["draw_seed=7"], seeds=3
    )
    assert [future.config.seed_of_draws for future in futures] == [7, 8, 9]


def test_a_branch_that_cannot_be_what_was_recorded_is_refused(tmp_path):
    """A run that was forced to be longer: its first years came about under another horizon."""
    config = {**MECHANICAL, "years": 11, "checkpoint": {"every_minutes": None, "keep_last": 1}}
    run = je.run(config, out=tmp_path / "run")
    je.resume(run.path, force=True, overrides=["years=60"])
    with pytest.raises(UserError, match="lived again, is not what was recorded"):
        je.branch(run.path, year=11, out=tmp_path / "branch")


def test_judgements_of_a_years_last_day_are_in_its_checkpoint(tmp_path):
    """Found by a review: a worker falls back on what it said last, which a resumed run must know."""
    from dataclasses import replace

    from llm.engines.simulated import SimulatedEngine

    class Moody(SimulatedEngine):
        """Nobody is satisfied in year 0; afterwards nobody can be understood."""

        def complete(self, requests, *, on_completion):
            def keep(i, completion):
                if requests[i].draw.kind == "satisfaction":
                    text = '{"satisfied": false}' if requests[i].draw.year == 0 else "nonsense"
                    completion = replace(completion, text=text)
                on_completion(i, completion)

            super().complete(requests, on_completion=keep)

    config = {
        **HYBRID,
        "satisfaction": {"judged": True, "every_days": 6},
        "checkpoint": {"every_years": 1, "every_minutes": None},
    }
    copy = tmp_path / "killed"
    whole = je.run(
        config,
        out=tmp_path / "run",
        engine=Moody(),
        listener=At(lambda: copied(tmp_path / "run", copy), year=1, day=3),
    )
    assert whole.years["satisfied_share"].to_pylist()[-1] < 0.9
    je.resume(copy, engine=Moody())
    assert_same_run(copy, whole.path)


@pytest.mark.parametrize("year", [2])
def test_years_that_were_lived_cannot_be_taken_back(tmp_path, year):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    before = snapshot(run.path)
    with pytest.raises(UserError, match=r"years: 2; .* has lived 3"):
        je.resume(run.path, force=True, overrides=[f"years={year}"])
    with pytest.raises(UserError, match="this configuration needs"):
        je.resume(run.path, force=True, overrides=["population.mechanical=40"])
    assert snapshot(run.path) == before


def test_microdata_that_changed_is_refused(tmp_path):
    people = tmp_path / "people.csv"
    people.write_text("skill\n500\n1000\n")
    population = {"skills": "file", "file": str(people), "mechanical": 8, "llm": 0}
    killed = run_killed({**MECHANICAL, "population": population}, tmp_path / "run", year=1)
    people.write_text("skill\n500\n2000\n")
    with pytest.raises(UserError, match=r"the content of population.file"):
        je.resume(killed)


def test_another_rule_of_the_same_name_is_refused_or_recorded(tmp_path, monkeypatch):
    """A user's own rule is code that the run depends on."""
    source = "from jaxecon.workers import Rational\nclass Mine(Rational):\n    pass\n"
    (tmp_path / "resumed_rule.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    cohorts = [
        {"name": "q", "rule": "quantal", "size": 4},
        {"name": "m", "rule": "resumed_rule:Mine", "size": 4},
    ]
    killed = run_killed(
        {**MECHANICAL, "population": {"cohorts": cohorts}}, tmp_path / "run", year=1
    )
    expected = hashlib.sha256(source.encode()).hexdigest()
    assert je.load(killed).manifest["files"] == {"population.cohorts.1.rule": expected}
    (tmp_path / "resumed_rule.py").write_text(source + "# and more\n")
    with pytest.raises(
        UserError,
        match=r"not what the run began with: the content of population.cohorts.1.rule; --force",
    ):
        je.resume(killed)
    resumed = je.resume(killed, force=True)
    assert resumed.manifest["resumed"][0]["changed"] == ["the content of population.cohorts.1.rule"]
    assert resumed.manifest["files"]["population.cohorts.1.rule"] != expected


@pytest.mark.parametrize(
    ("year", "overrides", "message"),
    [
        (9, [], r"--year: 9; .* has lived up to year 3: 0 to 3"),
        (
            1,
            ["preferences.consumption_curvature=0.5"],
            r"precision: float32 -> float64; a branch keeps",
        ),
        (-1, [], r"--year: -1"),
        (
            1,
            ["population.mechanical=99"],
            r"population.mechanical: 30 -> 99; a branch keeps its run's people",
        ),
        (1, ["seed=5"], r"seed: 0 -> 5; a branch keeps"),
        (3, [], r"years: 3; a branch from year 3 needs more, such as --set years=7"),
        (1, ["planner.kind=nobody"], r"planner.kind"),
    ],
)
def test_branches_that_make_no_sense(tmp_path, year, overrides, message):
    path = tmp_path / "run"
    je.run(MECHANICAL, out=path)
    with pytest.raises(UserError, match=message):
        je.branch(path, year=year, out=tmp_path / "branch", overrides=overrides)
    assert not (tmp_path / "branch").exists()


# --- tables over many years -----------------------------------------------------------------------


def test_parts_become_one_and_are_taken_back(tmp_path, monkeypatch):
    """Many years' files are joined; a resume takes years back out of a joined one."""
    monkeypatch.setattr(records, "_MANY_PARTS", 4)
    config = {
        **MECHANICAL,
        "years": 10,
        "checkpoint": {"every_years": 3, "every_minutes": None, "keep_last": 9},
    }
    whole = je.run(config, out=tmp_path / "whole")
    names = sorted(p.name for p in (whole.path / "years.parquet").iterdir())
    assert names == [
        *(
            "part-00000000-00000003.parquet",
            "part-00000004-00000007.parquet",
            "part-00000008.parquet",
            "part-00000009.parquet",
        )
    ]
    assert whole.years["year"].to_pylist() == list(range(10))
    killed = run_killed(config, tmp_path / "run", year=8)
    for position in (Position(9, 0), Position(6, 0)):
        shutil.rmtree(killed / "checkpoints" / position.name, ignore_errors=True)
    je.resume(killed)  # from year 3, in the middle of the first joined file
    assert_same_run(killed, whole.path)


def test_a_crash_while_parts_are_joined(tmp_path):
    """The larger file and the ones it covers are there: every year counts once."""
    run = je.run(MECHANICAL, out=tmp_path / "run")
    before = digest(run.path)
    folder = run.path / "years.parquet"
    pq.write_table(run.years.slice(0, 2), folder / "part-00000000-00000001.parquet")
    assert je.load(run.path).years["year"].to_pylist() == [0, 1, 2]
    assert digest(run.path) == before


def test_kills(tmp_path):
    """Real processes, killed at random moments (more on demand: experiments.benchmarks.crash_test)."""
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "experiments.benchmarks.crash_test",
                "--kinds",
                "mechanical,simulated",
            ),
            *("--kills", os.environ.get("JAXECON_KILLS", "5")),
        ],
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mechanical" in done.stdout
    assert "simulated" in done.stdout
