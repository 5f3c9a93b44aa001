"""Kill runs at random moments, resume them, and see whether they end as if nothing had happened.

    python -m experiments.benchmarks.crash_test [--kills 25] [--signal KILL] [--kinds
    mechanical,simulated,replay] [--seed 0] [--keep DIR]

Every kind of run is first run without interruption. Then it is started again as a process, killed
at a moment drawn uniformly from the time that took (from the time after its folder appears, in
seven of eight cases; a run that ends before its moment is started again), resumed, killed again
while it continues in every third case, and resumed to its end; digests and, with a model, stored
decisions must be the first run's. `real` uses the real model, whose sampling no seed fixes: there
the killed run must equal a `jaxecon replay` of its own transcript. Exit status 1 where anything
differs.
"""

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from jaxecon.storage.checkpoint_files import newest, positions
from jaxecon.storage.digest import digest
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT
from jaxecon.storage.run import Run
from llm.messages import Draw
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript

DAYS = 12
KINDS = {
    "mechanical": [
        "population.mechanical=3000",
        "population.llm=0",
        "years=40",
        "year.days=40",
        "checkpoint.every_years=3",
    ],
    "simulated": [
        *(
            "population.mechanical=200",
            "population.llm=6",
            "llm.engine=simulated",
            "years=8",
            f"year.days={DAYS}",
        ),
        *("checkpoint.every_days=5", "satisfaction.judged=true", "satisfaction.every_days=4"),
    ],
    "real": [
        "population.mechanical=200",
        "population.llm=4",
        "years=2",
        "year.days=4",
        "checkpoint.every_days=2",
    ],
}
KINDS["replay"] = [s for s in KINDS["simulated"] if not s.startswith("llm.engine")]
COMMON = ["planner.compared_with=[us_federal]", "checkpoint.every_minutes=null"]


@dataclass
class Trial:
    """One run that was killed.

    moments: seconds after its start; lost: days simulated again after each; damaged: checkpoints.
    """

    kind: str
    moments: list[float] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    damaged: int = 0
    equal: bool = False
    problem: str = ""


@dataclass
class Uninterrupted:
    """A run to compare with.

    before, after: seconds until its folder appeared, and from then to its end; the fewest seen,
    since the first run compiles for those after it.
    """

    path: Path
    before: float
    after: float


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--signal", choices=("KILL", "TERM"), default="KILL")
    parser.add_argument("--kinds", default="mechanical,simulated,replay")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--keep", type=Path, help="a new folder for the runs, which are otherwise removed"
    )
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="jaxecon-crash-"))
    try:
        trials = crash(
            folder, arguments.kills, arguments.signal, arguments.kinds.split(","), arguments.seed
        )
    finally:
        if arguments.keep is None:
            shutil.rmtree(folder)
    show(trials)
    sys.exit(0 if all(t.equal for t in trials) else 1)


def crash(folder: Path, kills: int, name: str, kinds: Sequence[str], seed: int) -> list[Trial]:
    """As many killed runs as there are kills, the kinds in turn."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    whole: dict[str, Uninterrupted] = {}
    trials = []
    for i in range(kills):
        kind = kinds[i % len(kinds)]
        trials.append(one_trial(folder, kind, i, name, rng, uninterrupted(folder, kind, whole)))
        print(
            f"{i + 1}/{kills} {kind}: {'equal' if trials[-1].equal else trials[-1].problem}",
            file=sys.stderr,
            flush=True,
        )
    return trials


def uninterrupted(folder: Path, kind: str, whole: dict[str, Uninterrupted]) -> Uninterrupted:
    """The run to compare with; made once."""
    if kind not in whole:
        if kind == "replay":
            recorded = uninterrupted(folder, "simulated", whole).path
            KINDS["replay"] += ["llm.engine=replay", f"llm.transcript={recorded / TRANSCRIPT}"]
        path = folder / f"whole-{kind}"
        begun = time.monotonic()
        process = subprocess.Popen(
            run_command(kind, path), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        while process.poll() is None and not started_again(path):
            time.sleep(0.01)
        before = time.monotonic() - begun
        _, stderr = process.communicate()
        if process.returncode:
            raise SystemExit(f"{kind}: the uninterrupted run failed: {stderr}")
        whole[kind] = Uninterrupted(path, before, time.monotonic() - begun - before)
    return whole[kind]


def run_command(kind: str, out: Path) -> list[str]:
    settings = [argument for setting in (*KINDS[kind], *COMMON) for argument in ("--set", setting)]
    return [sys.executable, "-m", "jaxecon", "run", *settings, "--out", str(out)]


def one_trial(
    folder: Path, kind: str, i: int, name: str, rng: random.Random, whole: Uninterrupted
) -> Trial:
    trial, path = Trial(kind), folder / f"killed-{i}"
    again = rng.random() < 1 / 3
    while not killed(trial, run_command(kind, path), whole, rng, name, path):
        shutil.rmtree(path)
    resume = [sys.executable, "-m", "jaxecon", "resume", str(path)]
    if again and (path / "manifest.json").exists():
        killed(trial, resume, whole, rng, name, path)
    if not (path / "manifest.json").exists():
        # killed before there was a run: it is started again
        shutil.rmtree(path, ignore_errors=True)
        resume = run_command(kind, path)
    done = subprocess.run(resume, capture_output=True, text=True)
    if done.returncode:
        trial.problem = f"exit status {done.returncode}: {done.stderr.strip().splitlines()[-1:]}"
        return trial
    if kind == "real":
        replayed = subprocess.run(
            [sys.executable, "-m", "jaxecon", "replay", str(path), "--json"],
            capture_output=True,
            text=True,
        )
        trial.equal = replayed.returncode == 0
        trial.problem = "" if trial.equal else replayed.stdout[-500:] + replayed.stderr[-500:]
        return trial
    ours, theirs = digest(path), digest(whole.path)
    trial.equal = ours == theirs and decisions(path) == decisions(whole.path)
    trial.problem = "" if trial.equal else f"{ours} is not {theirs}, or decisions differ"
    return trial


def killed(
    trial: Trial,
    command: list[str],
    whole: Uninterrupted,
    rng: random.Random,
    name: str,
    path: Path,
) -> bool:
    """Start, wait, kill; what was simulated beyond the last checkpoint is lost.

    False where it ended before.
    """
    begun = time.monotonic()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    early = rng.random() < 1 / 8
    if not early:
        started = started_again(path)
        while process.poll() is None and started_again(path) == started:
            time.sleep(0.01)
    waiting = time.monotonic()
    try:
        _, stderr = process.communicate(
            timeout=rng.uniform(0, whole.before if early else whole.after)
        )
    except subprocess.TimeoutExpired:
        process.send_signal(getattr(signal, f"SIG{name}"))
        process.communicate()
    else:
        if process.returncode:
            raise SystemExit(f"{trial.kind}: failed before it was killed: {stderr}")
        if not early:
            whole.after = min(whole.after, time.monotonic() - waiting)
        return False
    trial.moments.append(round(time.monotonic() - begun, 2))
    if not (path / "manifest.json").exists():
        return True
    checkpoint, damaged = newest(path / CHECKPOINTS)
    trial.damaged += len(damaged)
    days = json.loads((path / "manifest.json").read_text())["configuration"]["year"]["days"]
    reached = last_day(path, days)
    kept = 0 if checkpoint is None else checkpoint.position.year * days + checkpoint.position.day
    trial.lost.append(max(reached - kept, 0))
    return True


def started_again(path: Path) -> int:
    """How often a run has been started: 0 without a folder."""
    try:
        return 1 + len(json.loads((path / "manifest.json").read_text()).get("resumed", []))
    except FileNotFoundError:
        return 0


def last_day(path: Path, days: int) -> int:
    """How many days were simulated for sure: by the years on disk, the checkpoints and the
    decisions in the transcript.
    """
    simulated = [
        (Run(path).last_year + 1) * days,
        *(p.year * days + p.day for p in positions(path / CHECKPOINTS)),
    ]
    simulated += [
        draw.year * days + draw.day + 1 for draw, _ in decisions(path) if draw.kind == "labor"
    ]
    return max(simulated)


def decisions(path: Path) -> list[tuple[Draw, StoredDecision]]:
    """Everything that was decided through a language model, in order."""
    if not (path / TRANSCRIPT).exists():
        return []
    with closing(Transcript(path / TRANSCRIPT, read_only=True)) as transcript:
        return list(transcript.decisions())


def show(trials: Sequence[Trial]) -> None:
    """The table."""
    print(
        f"{'run':<12} {'kills':>6} {'equal':>6} {'damaged':>8} {'days lost, median':>18} "
        f"{'most':>5}"
    )
    for kind in dict.fromkeys(t.kind for t in trials):
        these = [t for t in trials if t.kind == kind]
        lost = sorted(day for t in these for day in t.lost)
        kills, equal = sum(len(t.moments) for t in these), sum(t.equal for t in these)
        damaged = sum(t.damaged for t in these)
        print(
            f"{kind:<12} {kills:>6} {f'{equal}/{len(these)}':>6} {damaged:>8} "
            f"{lost[len(lost) // 2] if lost else 0:>18} {max(lost, default=0):>5}"
        )
    for trial in trials:
        if not trial.equal:
            print(f"DIFFERENT: {trial.kind}, killed after {trial.moments}: {trial.problem}")


if __name__ == "__main__":
    main()
