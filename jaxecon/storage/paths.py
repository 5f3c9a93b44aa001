"""The layout of a run's folder."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import identity
from jaxecon.core.locks import is_locked, lock_for_writing, refuse_locked
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

PARTS: Literal["parts.jsonl"] = (
    "parts.jsonl"  # which files make the tables, with their rows and SHA-256
)

CHECKPOINT_META = "checkpoint.json"  # of each checkpoint: position, versions, costs

YEARS, AGENTS, ELECTIONS, BALLOTS, SURVEY = TABLES = (
    "years.parquet",
    "agents.parquet",
    "elections.parquet",
    "ballots.parquet",
    "survey.parquet",
)

LOCK = ".lock"  # held by the process that writes the run
UNBEGUN = ".unbegun"  # until a branch has its first checkpoint and its manifest

FORMAT = 2  # of a run folder; earlier ones are read through storage/migrations.py


def lock_run(path: Path) -> Callable[[], None]:
    """Take the lock with which one process writes a run; returns what releases it.

    Raises UserError while another process is writing the run, DiskError where it cannot be written.
    """
    try:
        return lock_for_writing(path / LOCK, f"{path}:")
    except OSError as error:
        raise DiskError(f"{path}: cannot be written ({error.strerror})") from error


class RunFolder:
    """A run's folder while it is being written: whether its path still leads to it."""

    def __init__(self, path: Path) -> None:
        self.path, self._known = path, identity(path)

    def is_in_place(self) -> bool:
        """Whether the path leads to the folder that had it at first.

        Some file systems (sshfs, gcsfuse) give a folder another inode now and then. Then the lock
        tells: in another folder, even in a copy, nobody has it.
        """
        now = identity(self.path)
        if now != self._known and now is not None:
            with suppress(OSError):
                if is_locked(self.path / LOCK):
                    self._known = now
        return now is not None and now == self._known


def refuse_while_written(path: Path) -> None:
    """Raise UserError while a process is writing the run."""
    refuse_locked(path / LOCK, f"{path}:")


def clear_unbegun(path: Path) -> None:
    """Remove a branch that ended before its first checkpoint: it holds nothing to continue from.

    Raises UserError while another process is writing it.
    """
    if (path / UNBEGUN).exists() and not (path / MANIFEST).exists():
        refuse_while_written(path)
        shutil.rmtree(path, ignore_errors=True)


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
