"""Writes parts.jsonl, the list of the files of a run's tables."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from jaxecon.core.errors import DiskError
from jaxecon.core.files import identity, write_atomically
from jaxecon.storage.parts import (
    Part,
    PartRecord,
    Records,
    check_sha256,
    listed,
    named_parts,
    read_records,
    record_lines,
    record_of,
    recorded_parts,
)
from jaxecon.storage.paths import PARTS, PAST, TABLES


class PartList:
    """The list of a run's files, for the process that writes the run.

    A run of an earlier version gets its list when it is first needed: of the files that are there.
    """

    def __init__(self, run: Path) -> None:
        self._run, self._path = run, run / PARTS
        self._records: Records | None = None
        self._parts: dict[str, list[Part]] = {}  # by table, in order
        self._ends_whole = False  # whether the file is there and its last line has its end
        # of the list, once written, and of the files in it: what has their paths is still theirs
        self._identities: dict[Path, tuple[int, int] | None] = {}

    def parts_of(self, table: str) -> Sequence[Part]:
        """The files of a table, in order."""
        self._read()
        return self._parts[table]

    def all_parts(self) -> list[Part]:
        """The files of all tables."""
        return [part for table in TABLES for part in self.parts_of(table)]

    def displaced(self, files: Iterable[Path]) -> Path | None:
        """The first of the list and of some of its files that was removed or replaced, if any.

        A file of the same content is the same: some file systems (sshfs, gcsfuse) give a file
        another inode now and then.
        """
        self._read()
        for path in (*([self._path] * self._ends_whole), *files):
            now = identity(path)
            if now is None:
                return path
            if now != self._identities.get(path, now):
                if not self._is_what_was_written(path):
                    return path
                self._identities[path] = now
        return None

    def _is_what_was_written(self, path: Path) -> bool:
        records = self._read()
        try:
            if path == self._path:
                return read_records(self._run) == records
            check_sha256(path, records[str(path.relative_to(self._run))])
        except DiskError:
            return False
        return True

    def create(self) -> None:
        """Begin the list of a new run, which has no files yet."""
        self.write_anew([])

    def append(self, written: Sequence[PartRecord]) -> None:
        """Add files of later years, which are on disk.

        After a crash each of them is in the list or is not.
        """
        records = self._read()
        for record in written:
            records[record.file] = record
            self._remember(self._files([record]))
            table, part = listed(self._run, record)
            if part is not None:
                self._parts[table].append(part)
        if not self._ends_whole:
            self._write()
            return
        # not made anew where it has been removed: it would lack all earlier years
        with open(os.open(self._path, os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(record_lines(written))
            file.flush()
            os.fsync(file.fileno())

    def replace(self, removed: Iterable[Part], written: Sequence[PartRecord]) -> None:
        """Take files out of the list and add others, in one step."""
        gone = {str(part.path.relative_to(self._run)) for part in removed}
        kept = {file: record for file, record in self._read().items() if file not in gone}
        self._take(kept | {record.file: record for record in written})
        self._remember(self._files(written))
        self._write()

    def write_anew(self, records: Iterable[PartRecord]) -> None:
        """Make the list one of these files, whatever it was."""
        self._take({record.file: record for record in records})
        self._remember(self._files(self._read().values()))
        self._write()

    def _read(self) -> Records:
        if self._records is None:
            records = read_records(self._run)
            self._take(self._of_files() if records is None else records)
            self._remember(self._files(self._read().values()))
        assert self._records is not None
        return self._records

    def _of_files(self) -> Records:
        files = [part.path for table in TABLES for part in named_parts(self._run / table)]
        past = self._run / PAST
        made = [record_of(self._run, path) for path in [*files, *([past] * past.exists())]]
        return {record.file: record for record in made}

    def _take(self, records: Records) -> None:
        self._records = records
        self._parts = {table: recorded_parts(self._run, table, records) for table in TABLES}

    def _write(self) -> None:
        write_atomically(self._path, record_lines(list(self._read().values())))
        self._ends_whole = True
        self._remember([self._path])

    def _files(self, records: Iterable[PartRecord]) -> list[Path]:
        return [self._run / record.file for record in records]

    def _remember(self, paths: Iterable[Path]) -> None:
        self._identities |= {path: identity(path) for path in paths}
