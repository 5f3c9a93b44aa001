"""Runs inputs that people have reported against the whole program, and shows what each does.

    make finds                                # those in ../shared/finds
    python -m robustness.finds FOLDER [NAME]  # others, or those whose name holds NAME

The folder has `llm`, with a server of many behaviours, and `break`, with shell scripts. Neither is
part of this repository. A table shows each input, its exit status and its last line; what must not
happen is in `reported.py`.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from robustness.reported import (
    ANSWERED,
    BEHAVIOURS,
    COMMANDS,
    NEVER,
    RAISED,
    RENAMED,
    SCRIPTS,
    SLOW_SERVERS,
)
from support.server_process import listening

_LIMIT_SECONDS = 400
_PORT = 18731  # that of llm/base.yaml


@dataclass(frozen=True)
class Outcome:
    """What an input did. wrong: why that must not be; empty where it may."""

    name: str
    status: int | None
    seconds: float
    lines: list[str]
    wrong: str = ""


def main(folder: Path, named: str = "") -> int:
    """Run all inputs whose name holds `named`. Returns how many did what must not be."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="jaxecon-finds-") as scratch:
        for outcome in _outcomes(folder.resolve(), Path(scratch), named):
            _show(outcome)
            wrong += bool(outcome.wrong)
    print(f"{wrong} inputs did what must not be" if wrong else "every input did as it should")
    return wrong


def _outcomes(folder: Path, scratch: Path, named: str) -> Iterator[Outcome]:
    llm = folder / "llm"
    for mode, expected in BEHAVIOURS.items():
        if named in f"llm {mode}":
            with _server(scratch, llm / "fake.py"):
                yield _answered(llm, scratch, mode, expected)
    for mode, expected in SLOW_SERVERS.items():
        if named in f"llm {mode}":
            with _server(scratch, llm / "fake2.py", mode):
                yield _answered(llm, scratch, mode, expected, SLOW_SERVER_SETTINGS)
    for name, (shell, statuses) in COMMANDS.items():
        if named in f"llm {name}":
            with _server(scratch, llm / "fake.py"):
                yield _command(llm, scratch, name, shell, statuses)
    yield from _scripts(folder / "break", scratch, named)


# A server that breaks off every other answer needs more than two retries.
SLOW_SERVER_SETTINGS = ["timeout_seconds=3", "transport_retries=8", "patience_seconds=6"]


def _answered(
    llm: Path, scratch: Path, mode: str, expected: str, settings: list[str] | None = None
) -> Outcome:
    """A run whose server behaves like that: answers for all, or one line and exit status 3."""
    out = scratch / f"llm-{mode}"
    url = f"http://127.0.0.1:{_PORT}/{mode}/v1"
    options = [f"base_url={url}", *(settings or [])]
    command = ["jaxecon", "run", str(llm / "base.yaml"), "--out", str(out)]
    outcome = _run(f"llm {mode}", [*command, *(f"--set=llm.{o}" for o in options)], scratch)
    fallbacks, decisions = _fallbacks(out)
    said = f"{fallbacks} of {decisions} decisions are fallbacks"
    if expected == ANSWERED and (outcome.status != 0 or fallbacks or not decisions):
        return _judged(outcome, f"answers for all were expected; {said}")
    if expected != ANSWERED and (
        outcome.status != 3 or not re.search(expected, outcome.lines[-1], re.IGNORECASE)
    ):
        return _judged(outcome, f"exit status 3 and a line with {expected!r} were expected; {said}")
    return outcome


def _fallbacks(out: Path) -> tuple[int, int]:
    """Fallbacks and decisions that a run's manifest counts."""
    manifest = out / "manifest.json"
    if not manifest.exists():
        return 0, 0
    llm = json.loads(manifest.read_text()).get("llm") or {}
    counts: dict[str, int] = {}
    for kind in llm.get("by_kind", {}).values():
        for status, count in kind.items():
            counts[status] = counts.get(status, 0) + count
    return counts.get("fallback", 0), sum(counts.values())


def _command(llm: Path, scratch: Path, name: str, shell: str, statuses: tuple[int, ...]) -> Outcome:
    """A command line in a copy of the folder."""
    folder = scratch / f"command-{name}"
    shutil.copytree(llm, folder)
    outcome = _run(f"llm {name}", ["bash", "-c", shell], folder)
    if outcome.status not in statuses:
        return _judged(outcome, f"exit status {' or '.join(map(str, statuses))} was expected")
    return outcome


def _scripts(source: Path, scratch: Path, named: str) -> Iterator[Outcome]:
    """The shell scripts, in a copy of their folder.

    Each makes a folder ./repro/tmp.XXXX, goes there, and expects the server and some runs in it.
    """
    folder = scratch / "break"
    shutil.copytree(source, folder)
    (folder / "repro").mkdir()
    scripts = [s for s in sorted(folder.glob("[0-9]*.sh")) if named in f"break {s.stem}"]
    if not scripts:
        return
    with (folder / "common.sh").open("a") as common:
        common.write(_COMMON)
    _base_runs(folder)
    for script in scripts:
        text = script.read_text()
        for before, now in RENAMED.items():
            text = text.replace(before, now)
        script.write_text(text)
        yield _judged_script(_run(f"break {script.stem}", ["bash", script.name], folder), script)


# What the scripts expect around them; the server's own errors are nobody's concern.
_COMMON = """
cp ../../*.py ../../*.yaml .
ln -s ../../base base
case $0 in *19_*) ln -s ../../o o;; esac
fake() { $PY ./fake.py $1 2>/dev/null & FP=$!; trap "kill $FP" EXIT; sleep 3; }
"""


def _base_runs(folder: Path) -> None:
    """The runs that the scripts look at: a small one and one with a large transcript."""
    settings = (
        "population.mechanical=100 population.llm={llm} llm.engine=simulated years={years} "
        "year.days=8 planner.compared_with=[us_federal]"
    )
    (folder / "o").mkdir()
    for out, llm, years in (("base", 2, 2), ("o/srv-big", 60, 20)):
        options = [f"--set={s}" for s in settings.format(llm=llm, years=years).split()]
        subprocess.run(
            ["jaxecon", "run", "--out", out, *options], cwd=folder, check=True, capture_output=True
        )


def _judged_script(outcome: Outcome, script: Path) -> Outcome:
    text = re.sub(RAISED, "", "\n".join(outcome.lines), flags=re.MULTILINE)
    outcome = replace(outcome, lines=text.splitlines())
    right, wrong = SCRIPTS[script.stem]
    for pattern in (*NEVER, *wrong):
        if found := re.search(pattern, text, re.MULTILINE):
            return _judged(outcome, f"{found[0]!r} must not be there")
    for pattern in right:
        if not re.search(pattern, text, re.MULTILINE):
            return _judged(outcome, f"{pattern!r} is not there")
    return outcome


def _judged(outcome: Outcome, wrong: str) -> Outcome:
    return replace(outcome, wrong=wrong)


def _run(name: str, command: list[str], cwd: Path) -> Outcome:
    """Run a command to its end, or to the limit. Its lines are those of both outputs."""
    started = time.monotonic()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.setdefault("OPENAI_API_KEY", "none")
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LIMIT_SECONDS,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as expired:
        status, output = None, expired.stdout or b""
    lines = output.decode(errors="replace").strip().splitlines() or [""]
    outcome = Outcome(name, status, time.monotonic() - started, lines)
    if status is None:
        return _judged(outcome, f"it did not end within {_LIMIT_SECONDS} s")
    return outcome


@contextmanager
def _server(scratch: Path, program: Path, *arguments: str) -> Iterator[None]:
    """A reported server, listening."""
    command = [sys.executable, str(program), str(_PORT), *arguments]
    with listening(command, f"http://127.0.0.1:{_PORT}/ok/v1/models", scratch / "server.log"):
        yield


def _show(outcome: Outcome) -> None:
    status = "-" if outcome.status is None else str(outcome.status)
    mark = "WRONG" if outcome.wrong else "as it should"
    print(f"{outcome.name:<40} exit {status:>3} {outcome.seconds:6.1f} s  {mark} {outcome.wrong}")
    lines = outcome.lines if outcome.name.startswith("break") else outcome.lines[-1:]
    for line in lines[-20:]:
        print(f"    {ascii(line)[1:-1][:200]}")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(bool(main(Path(sys.argv[1]), *sys.argv[2:3])))
