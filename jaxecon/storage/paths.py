"""The layout of a run's folder."""

import tempfile
from pathlib import Path
from typing import NamedTuple

from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.locks import refuse_locked
from jaxecon.core.text import is_text

CONFIG, MANIFEST, TRANSCRIPT, CHECKPOINTS = (
    "config.yaml",
    "manifest.json",
    "transcript.sqlite",
    "checkpoints",
)

PROMPTS = "prompts"  # templates that take the place of the package's
TEMPLATE_ENDING = ".jinja"

PAST = "past.parquet"  # in a branch: the years before it began

YEARS, AGENTS, ELECTIONS, BALLOTS, SURVEY = TABLES = (
    "years.parquet",
    "agents.parquet",
    "elections.parquet",
    "ballots.parquet",
    "survey.parquet",
)

LOCK = ".lock"  # held by the process that writes the run

FORMAT = 2  # of a run folder; earlier ones are read through storage/migrations.py


class Part(NamedTuple):
    """A file of one table: the rows of the years from first to last."""

    first: int
    last: int
    path: Path


def part_name(first: int, last: int) -> str:
    return f"part-{first:08d}.parquet" if first == last else f"part-{first:08d}-{last:08d}.parquet"


def all_parts(folder: Path) -> list[Part]:
    files = []
    for path in folder.glob("part-*.parquet"):
        numbers = path.stem.split("-")[1:]
        files.append(Part(int(numbers[0]), int(numbers[-1]), path))
    return sorted(files, key=lambda part: (part.first, -part.last))


def parts(folder: Path) -> list[Part]:
    """A table's files in order, without those that a larger one covers."""
    covered = -1
    kept = []
    for part in all_parts(folder):
        if part.last > covered:
            kept.append(part)
            covered = part.last
    return kept


def refuse_while_written(path: Path) -> None:
    """Raise UserError while a process is writing the run."""
    refuse_locked(path / LOCK, f"{path}:")


def refuse_existing(path: Path) -> None:
    """Raise UserError unless a new run can be created at `path`. Leaves nothing behind."""
    if not is_text(str(path.absolute())):  # checkpoints could not be written there
        raise UserError(f"--out: {str(path.absolute())!r}: a path must be text in UTF-8")
    try:
        if path.is_dir() and any(path.iterdir()):
            what = "already holds a run" if (path / MANIFEST).exists() else "is not empty"
            raise UserError(f"--out: {path}: {what}; give a new folder")
        if path.exists() and not path.is_dir():
            raise UserError(f"--out: {path}: is a file; give a new folder")
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
        # Try to write: permission bits mislead for root and on network file systems.
        tempfile.TemporaryDirectory(dir=parent).cleanup()
    except OSError as error:
        raise DiskError(
            f"--out: {path}: is not a folder that can be written ({error.strerror})"
        ) from error
