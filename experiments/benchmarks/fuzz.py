"""Try made-up and damaged inputs on every reader, and print how many were tried and what broke.

    python -m experiments.fuzz [--minutes 10] [--readers settings,yaml] [--seed 0] [--out DIR]
    [--guided]

Hypothesis makes the inputs, from right ones too (`fuzz_readers`). The first input that breaks a
reader at a place in the code is kept in DIR. With --guided, the optional package atheris looks for
inputs that reach code which none before reached, and stops a reader at its first crash. Exit status
1 where anything broke.
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis

from experiments.benchmarks.fuzz_readers import NAMES, Broken, Reader, check, readers
from jaxecon.config.base import one_of
from jaxecon.core.errors import UserError
from jaxecon.core.text import plural

MAX_SECONDS = 20.0  # of processor time for one input
_BATCH = 200  # inputs between two looks at the clock


@dataclass
class Tried:
    """What came of the inputs to one reader.

    taken: inputs that were read; the others were refused in one line. None where that was not
    counted. crashes: what broke, by the place in the code, with the first input that broke it.
    """

    reader: str
    inputs: int = 0
    taken: int | None = 0
    seconds: float = 0.0
    crashes: dict[str, tuple[str, bytes]] = field(default_factory=dict)


def fuzz(
    folder: Path, names: Sequence[str], minutes: float, seed: int, guided: bool = False
) -> list[Tried]:
    """Try inputs on readers, each for the same share of the time.

    folder: an empty one for what the readers read.
    """
    chosen = readers(folder, names)
    share = 60 * minutes / len(chosen)
    tried = []
    for name, reader in chosen.items():
        result, begun, batch = Tried(name), time.monotonic(), 0
        if guided:
            _try_guided(result, folder, share)
        while not guided and (not batch or time.monotonic() - begun < share):
            try_batch(result, reader, seed + batch, _BATCH)
            batch += 1
        result.seconds = time.monotonic() - begun
        tried.append(result)
    return tried


def try_batch(result: Tried, reader: Reader, seed: int, inputs: int) -> None:
    """Try so many inputs on a reader, and count what came of them."""

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(reader.inputs())
    def batch(data: bytes) -> None:
        _try_input(result, reader, data)

    batch()


def _try_input(result: Tried, reader: Reader, data: bytes) -> None:
    result.inputs += 1
    begun = time.process_time()
    try:
        result.taken = (result.taken or 0) + check(reader, data)
    except Broken as broken:
        frames = traceback.extract_tb((broken.__cause__ or broken).__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}"
        result.crashes.setdefault(place, (f"{broken} ({place})", data))
    seconds = time.process_time() - begun
    if seconds > MAX_SECONDS:
        result.crashes.setdefault("slow", (f"took {seconds:.0f} s", data))


def _try_guided(result: Tried, folder: Path, seconds: float) -> None:
    """Let atheris make inputs in a process of its own, which ends at the first crash."""
    kept = folder / "guided" / result.reader
    kept.mkdir(parents=True)
    module = "experiments.benchmarks.fuzz_guided"
    process = subprocess.run(
        [sys.executable, "-m", module, result.reader, str(kept), f"{seconds:.0f}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    counted = re.search(r"number_of_executed_units: (\d+)", process.stderr)
    if counted is None:
        raise UserError(f"--guided: atheris did not run: {process.stderr.strip()[-300:]!r}")
    result.inputs, result.taken = int(counted[1]), None
    for found in sorted(path for path in kept.iterdir() if path.is_file()):
        words = re.search(r"Broken: .*", process.stdout + process.stderr)
        what = words[0] if words else f"exit status {process.returncode}"
        result.crashes.setdefault(found.name, (what, found.read_bytes()))


def table(tried: Sequence[Tried]) -> str:
    """What came of it, a line for each reader."""
    width = max(len(result.reader) for result in tried)
    lines = [f"{'reader':<{width}}  {'inputs':>9}  {'read':>9}  {'crashes':>7}  {'s':>5}"]
    for r in tried:
        taken = "-" if r.taken is None else f"{r.taken:,}"
        counts = f"{r.inputs:>9,}  {taken:>9}  {len(r.crashes):>7}  {r.seconds:>5.0f}"
        lines.append(f"{r.reader:<{width}}  {counts}")
    crashes = sum(len(result.crashes) for result in tried)
    inputs = plural(sum(result.inputs for result in tried), "input")
    return "\n".join([*lines, f"{inputs} tried, {plural(crashes, 'crash', 'crashes')}"])


def keep_crashes(tried: Sequence[Tried], out: Path) -> list[str]:
    """Write the inputs that broke something; return a line for each."""
    lines = []
    for result in tried:
        for number, (what, data) in enumerate(result.crashes.values()):
            out.mkdir(parents=True, exist_ok=True)
            path = out / f"{result.reader.replace(' ', '-')}-{number}"
            path.write_bytes(data)
            lines.append(f"{result.reader}: {what}; the input is in {path}")
    return lines


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m experiments.fuzz")
    parser.add_argument("--minutes", type=float, default=10.0, help="for all readers together")
    parser.add_argument("--readers", default="", help="names, separated by commas; default: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("fuzz-crashes"), help="for broken inputs")
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    return parser.parse_args()


def main() -> None:
    """Entry point of `python -m experiments.fuzz`."""
    arguments = _arguments()
    names = [name.strip() for name in arguments.readers.split(",") if name.strip()] or list(NAMES)
    try:
        for name in names:
            if name not in NAMES:
                raise UserError(f"--readers: {name!r}; {one_of(NAMES, name)}")
        if not 0 < arguments.minutes < 100_000:
            raise UserError(f"--minutes: {arguments.minutes}; above 0")
        if arguments.guided and importlib.util.find_spec("atheris") is None:
            raise UserError("--guided: needs the package atheris (pip install atheris)")
    except UserError as error:
        sys.exit(f"fuzz: {error}")
    with tempfile.TemporaryDirectory(prefix="jaxecon-fuzz-") as folder:
        tried = fuzz(Path(folder), names, arguments.minutes, arguments.seed, arguments.guided)
    print(table(tried))
    for line in keep_crashes(tried, arguments.out):
        print(line)
    sys.exit(any(result.crashes for result in tried))
