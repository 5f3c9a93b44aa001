"""A sweep's folder, written chunk by chunk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxecon.core.errors import DiskError, UserError, first_line
from jaxecon.core.files import atomically, read_json_object, sha256_of, write_atomically
from jaxecon.core.json_text import json_text
from jaxecon.core.locks import lock_for_writing
from jaxecon.simulation.changes import changed_code, inexact
from jaxecon.simulation.language import check_prompts
from jaxecon.storage.paths import MANIFEST, TEMPLATE_ENDING, refuse_existing
from jaxecon.storage.portable import is_same_yaml, portable_text, portable_yaml
from jaxecon.storage.provenance import changed_files, environment, sources_of_rule
from jaxecon.storage.run_id import new_run_id
from jaxecon.sweeps.chunk import Chunk, SweepStopped
from jaxecon.sweeps.design import to_tree
from jaxecon.sweeps.listener import SweepListener
from jaxecon.sweeps.plan import Plan
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.stored import FORMAT, PLAN, ForeignPart, read_manifest, read_part, read_plan

SWEEP, POINTS, YEARS = "sweep.yaml", "points.parquet", "years.parquet"
RUNS = "runs"  # the folder of the runs with language models


def run_folder(out: Path, index: int) -> Path:
    """The folder of the run of a point with language models."""
    return out / RUNS / f"{index:08d}"


def has_begun(out: Path) -> bool:
    """Whether there is a sweep to continue.

    Raises UserError where the folder holds something else.
    """
    try:
        if (out / SWEEP).exists():
            return True
        left = (
            {path.name for path in out.iterdir() if not path.name.startswith(".")}
            if out.is_dir()
            else set()
        )
    except OSError as error:
        raise DiskError(f"--out: {out}: cannot be read ({error.strerror})") from error
    if left - {MANIFEST, PLAN, POINTS, YEARS} or (
        MANIFEST in left and read_json_object(out / MANIFEST).get("kind") != "sweep"
    ):
        refuse_existing(out)
    if left:
        read_manifest(out)  # raises where the folder is not a sweep's
        if part_files(out / POINTS):
            raise DiskError(f"{out / SWEEP}: missing; give a new folder")
    return False  # empty, or left by a sweep that was killed as it began


@contextmanager
def opened_folder(
    out: Path, points: Points, force: bool, listener: SweepListener
) -> Iterator[dict[str, Any]]:
    """Create or open the folder for this process alone; yields its manifest.

    Raises UserError: another sweep is there, other code began it (without `force`), templates do
    not work, or the folder cannot be written.
    """
    for folder in sorted(_values_of(points, "llm.prompts")):
        check_prompts(folder)
    text, now, files = stored_text(points, out), environment(), _outside_files(points)
    try:
        out.mkdir(parents=True, exist_ok=True)
        release = lock_for_writing(out / ".lock", f"{out}:")
    except OSError as error:
        raise DiskError(f"--out: {out}: cannot be written ({error.strerror})") from error
    try:
        if (out / SWEEP).exists():
            # earlier versions wrote paths as they were given, and letters as escapes
            there = (out / SWEEP).read_bytes().decode(errors="replace")
            if not is_same_yaml(there, text, out):
                raise UserError(f"--out: {out}: holds another sweep; give a new folder")
            manifest = read_manifest(out)
            changed = changed_code(manifest, now)
            changed += changed_files(
                *(_portable_names(known, out) for known in (manifest["files"], files))
            )
            if changed and not force:
                raise UserError(
                    f"{out}: not what the sweep began with: {'; '.join(changed)}; --force continues"
                )
            for line in (*changed, *inexact(manifest, now)):
                listener.on_note(f"continuing, so that chunks can differ: {line}")
        else:
            manifest = {
                "format": FORMAT,
                "kind": "sweep",
                "status": "running",
                "sweep_id": new_run_id(),
                **now,
                "files": _portable_names(files, out),
            }
            write_atomically(out / MANIFEST, json_text(manifest, indent=1).encode())
        for table in (POINTS, YEARS):
            (out / table).mkdir(exist_ok=True)
        yield manifest
    except SweepStopped as stop:
        if isinstance(stop.error, OSError):
            raise DiskError(
                f"{out}: {first_line(stop.error)}; finished chunks are kept"
            ) from stop.error
        raise stop.error from None
    except OSError as error:
        raise DiskError(
            f"--out: {out}: cannot be written ({error.strerror}); finished chunks are kept"
        ) from error
    finally:
        release()


def stored_text(points: Points, out: Path) -> str:
    """The design as sweep.yaml holds it: without places of this machine."""
    return portable_yaml(to_tree(points.design), out)


def _portable_names(files: Mapping[str, str], out: Path) -> dict[str, str]:
    return {portable_text(path, out): digest for path, digest in files.items()}


def _outside_files(points: Points) -> dict[str, str]:
    """SHA-256 of other files that are read.

    Microdata and templates by path, modules of users' rules by rule.
    """
    files = {
        path: Path(path) for path in _values_of(points, "population.file") if Path(path).is_file()
    }
    for folder in _values_of(points, "llm.prompts"):
        files |= {str(path): path for path in Path(folder).glob(f"*{TEMPLATE_ENDING}")}
    for rule in _values_of(points, "rule"):
        with suppress(ValueError):  # a point whose rule does not exist fails on its own
            files |= sources_of_rule(rule, rule) if ":" in rule else {}
    return {name: sha256_of(files[name]) for name in sorted(files)}


def _values_of(points: Points, setting: str) -> set[str]:
    """All values of settings whose name ends in `setting`, among shared and varied settings."""
    values: set[str] = set()

    def look(name: str, value: Any) -> None:
        if isinstance(value, str) and f".{name}".endswith(f".{setting}"):
            values.add(value)
        for inner, part in (
            value.items()
            if isinstance(value, dict)
            else enumerate(value)
            if isinstance(value, list)
            else ()
        ):
            look(f"{name}.{inner}", part)

    look("", points.design.run)
    for name in points.names:
        if name.startswith(("population.", "llm.")):
            for value in points.values(name):
                look(name, value)
    return values


def stored_plan(out: Path, total: int) -> Plan:
    """The plan stored in the folder of a sweep of so many points.

    A sweep that continues keeps its chunks. Raises DiskError where the plan is damaged.
    """
    return Plan(*read_plan(out, total))


def finished_chunks(
    out: Path, chunks: Sequence[Chunk], on_damage: Callable[[str], None]
) -> set[int]:
    """Numbers of the chunks that have both parts on disk, whole.

    Other parts, which an interruption left behind or which are damaged, are removed: their chunks
    are simulated again. on_damage: called with a line for each that is damaged or lost.

    Raises DiskError where one is another sweep's.
    """
    sweep_id = read_manifest(out).get("sweep_id")
    tables, finished = [part_files(out / table) for table in (YEARS, POINTS)], set()
    for chunk in chunks:
        years, points = (table.get(chunk.number) for table in tables)
        if points is None:  # not finished
            continue
        try:
            if years is None:
                raise DiskError(f"{part_path(out / YEARS, chunk.number)}: missing")
            read_part(years, sweep_id, chunk.points)
            if len(read_part(points, sweep_id, chunk.points)) != len(chunk.points):
                raise DiskError(f"{points}: damaged (lacks points of its chunk)")
        except ForeignPart:
            raise
        except DiskError as error:
            on_damage(f"{error}: its chunk is simulated again")
        else:
            finished.add(chunk.number)
    for table in tables:
        for number, path in table.items():
            if number not in finished:
                path.unlink()
    return finished


def part_path(folder: Path, number: int) -> Path:
    """The file of a chunk's rows of one table. folder: the table's."""
    return folder / f"part-{number:08d}.parquet"


def part_files(folder: Path) -> dict[int, Path]:
    """Part files by their chunk's number."""
    found = {}
    for path in folder.glob("part-*.parquet"):
        number = path.stem.removeprefix("part-")
        if number.isdecimal() and path == part_path(folder, int(number)):
            found[int(number)] = path
    return found


def write_plan(out: Path, plan: Plan) -> None:
    """Write plan.json."""
    chunks = [chunk.to_json() for chunk in plan.chunks]
    content = json_text({"brackets": plan.brackets, "chunks": chunks})
    write_atomically(out / PLAN, portable_text(content, out).encode())


def write_part(folder: Path, chunk: Chunk, table: pa.Table) -> None:
    """Write a chunk's rows of one table, without places of this machine. folder: the table's."""
    for place, column in enumerate(table.itercolumns()):
        if pa.types.is_string(column.type):  # settings, and errors of points that failed
            ways = {
                text: None if text is None else portable_text(text, folder.parent)
                for text in pc.unique(column).to_pylist()
            }
            texts = pa.array([ways[text] for text in column.to_pylist()], pa.string())
            table = table.set_column(place, table.field(place), texts)
    with atomically(part_path(folder, chunk.number)) as file:
        pq.write_table(table, file, write_page_checksum=True)


def finish_sweep(out: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a sweep that is complete."""
    ends = [
        status
        for path in part_files(out / POINTS).values()
        for status in read_part(path, manifest.get("sweep_id"))["status"].to_pylist()
    ]
    manifest |= {"status": "complete", "points": len(ends), "failed": ends.count("failed")}
    write_atomically(out / MANIFEST, json_text(manifest, indent=1).encode())
