"""A resumed run is as if nothing had stopped it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.runs import (
    HYBRID,
    MECHANICAL,
    At,
    assert_same_run,
    copied,
    flighty,
    interrupt,
    run_killed,
)

import jaxecon as je
from jaxecon.core.errors import Interrupted
from jaxecon.storage.checkpoint_files import Position, newest, positions


@pytest.mark.parametrize(("year", "day"), [(0, 4), (0, 6), (0, None), (1, 2), (2, 6), (2, None)])
def test_a_killed_run_resumes_as_if_nothing_had_happened(config, whole, tmp_path, year, day):
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
    found, damaged = newest(run.path / "checkpoints")
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
    days = int(moment * 14)
    killed = run_killed(
        config, folder / "run", year=days // 7, day=days % 7 + 1 if kind == "hybrid" else None
    )
    je.resume(killed)
    assert_same_run(killed, folder / "run")


def test_a_complete_run_is_left_alone(whole):
    before = {p: p.read_bytes() for p in whole.path.rglob("*") if p.is_file()}
    assert je.resume(whole.path).manifest["status"] == "complete"
    assert {p: p.read_bytes() for p in whole.path.rglob("*") if p.is_file()} == before


def test_a_damaged_newest_checkpoint(config, whole, tmp_path):
    killed = run_killed(config, tmp_path / "run", year=2, day=6)
    last = list(positions(killed / "checkpoints"))[-1]
    folder = killed / "checkpoints" / last.name
    path = next(p for p in folder.rglob("*") if p.is_file() and p.stat().st_size > 100)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    told = []
    run = je.resume(killed, tell=told.append)
    assert len(told[0].damaged) == 1
    assert str(path.relative_to(folder)) in told[0].damaged[0]
    (kept,) = run.manifest["resumed"][0]["damaged"]
    assert kept == told[0].damaged[0].replace(str(run.path), ".")
    assert_same_run(killed, whole.path)


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
    found, _ = newest(path / "checkpoints")
    assert found.position == Position(run.last_year + 1, 0)  # nothing is lost
    assert not (path / ".lock").exists()


def test_judgements_of_a_years_last_day_are_in_its_checkpoint(tmp_path):
    """A worker falls back on what it said last, which a resumed run must know."""
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
        "llm": {"engine": "simulated", "fallback_limit": 1},
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


def test_kills(tmp_path):
    """Real processes, killed at random moments (experiments.benchmarks.crash_test does more)."""
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
