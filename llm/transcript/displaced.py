"""A transcript whose file is removed or replaced while it is being written, and what then is saved.

SQLite goes on with the open file, which no longer has a name, and would lose it without a word.
"""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from jaxecon.core.errors import DiskError


class _Identity(NamedTuple):
    """A file, and its content as far as the file system tells it."""

    device: int
    inode: int
    size: int
    changed: int  # nanoseconds


class OpenFile:
    """The file of an open transcript: whether its path still leads to it.

    Call `note` before each change of ours, and `accept` and `check` after it: a change that was
    lost with the file is in what is saved of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _identity(path)
        self._log: _Identity | None = None  # the write-ahead log beside it
        self._found: str | None = None  # what happened to the file, once that was seen

    def note(self) -> None:
        """Look whether the path still leads to the file; `check` says so if not."""
        now = _identity(self._path)
        if self._found is None and now != self._known:
            self._found = "removed" if now is None else "replaced"

    def accept(self) -> None:
        """Take the file as it is now for ours: we have just written it, after `note`."""
        if self._found is None:
            self._known, self._log = _identity(self._path), _identity(self._beside("-wal"))

    def check(self) -> None:
        """Raise DiskError where `note` has seen another file, or none."""
        if self._found is not None:
            place = "put back" if self._found == "removed" else f"kept in {self.spare.name}"
            saved = "" if self._is_same_file() else f"; what it held is {place} as the run ends"
            raise DiskError(
                f"transcript: {self._path} was {self._found} while it was being written{saved}"
            )

    def _is_same_file(self) -> bool:
        """Whether the path leads to the open file, though its content may be another's."""
        now = _identity(self._path)
        if now is None or self._known is None:
            return False
        return now[:2] == self._known[:2]

    @property
    def spare(self) -> Path:
        """Where the content is kept if another file has taken the transcript's place."""
        return self._path.with_name(f"{self._path.name}.kept")

    def save(self, db: sqlite3.Connection) -> Callable[[], None]:
        """Copy what an open transcript holds, if its path leads elsewhere.

        Returns what to call once the transcript is closed: it gives the copy its name.

        Raises sqlite3.Error where the file cannot be read.
        """
        if self._is_same_file():
            return lambda: None
        copy = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with closing(sqlite3.connect(copy)) as saved:
            db.backup(saved)

        def name_it() -> None:
            # its log, which SQLite would take for that of the file with the path now
            log = _identity(self._beside("-wal"))
            if log is not None and self._log is not None and log[:2] == self._log[:2]:
                for ending in ("-wal", "-shm"):
                    self._beside(ending).unlink(missing_ok=True)
            os.replace(copy, self.spare if self._path.exists() else self._path)

        return name_it

    def _beside(self, ending: str) -> Path:
        return self._path.with_name(self._path.name + ending)


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return _Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
