"""Writes a run's folder."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxecon.config.read import load_config, to_yaml
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError
from jaxecon.core.files import atomically, sha256_of, write_atomically
from jaxecon.core.json_text import json_text
from jaxecon.storage.part_list import PartList
from jaxecon.storage.parts import Part, PartRecord, named_parts, part_name, verify
from jaxecon.storage.paths import (
    AGENTS,
    CONFIG,
    FORMAT,
    MANIFEST,
    PARTS,
    PAST,
    PROMPTS,
    TABLES,
    UNBEGUN,
    YEARS,
    RunFolder,
    lock_run,
    refuse_existing,
)
from jaxecon.storage.portable import portable_configuration, portable_text
from jaxecon.storage.provenance import configuration_hash, outside_files
from jaxecon.storage.run import Run, configuration_file
from jaxecon.storage.run_id import new_run_id
from jaxecon.storage.tables import years_schema
from jaxecon.storage.templates import write_templates

_MANY_PARTS = 256  # parts of one year each that are then merged into one

# entries in words, which may name files
_SAID = ("error", "stopped", "diagnostics", "resumed", "branched_from")

_MAX_ROWS = 1_000_000  # at which a row group of merged parts is written


class Recorder:
    """The only writer of a run: `create` a new one, or `open` one to continue.

    Close it at the end.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        """Lock the run; called by `create` and `open`.

        Raises UserError where another process is writing the run.
        """
        self.path, self.manifest = path, manifest
        # The manifest is written in today's format; an older configuration is then converted too.
        self._config_of_earlier_format: Config | None = None
        self._unbegun = False
        self._release = lock_run(path)
        self._list = PartList(path)
        self._stored: bytes | None = None  # the manifest's bytes as last written or opened
        self._folder = RunFolder(path)

    @classmethod
    def create(
        cls,
        path: Path,
        config: Config,
        manifest: Mapping[str, Any],
        templates: Mapping[str, str] | None = None,
        *,
        unbegun: bool = False,
    ) -> "Recorder":
        """Make a new run's folder with its configuration and manifest.

        templates: the texts of a user's templates by name, which the run keeps. unbegun: write the
        manifest, with which the folder becomes a run, only when `begin` is called.

        Raises UserError where that is not possible; nothing is overwritten.
        """
        refuse_existing(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            if unbegun:
                (path / UNBEGUN).touch()
            for table in (YEARS, AGENTS):
                (path / table).mkdir()
            write_templates(path, templates or {})
            recorder = cls(
                path,
                {
                    "format": FORMAT,
                    "status": "running",
                    "run_id": new_run_id(),
                    **manifest,
                    "parts": PARTS,
                },
            )
            recorder._unbegun = unbegun
            with recorder._released_on_error():
                recorder._list.create()
                recorder.configure(config)
        except OSError as error:
            raise DiskError(f"--out: {path}: cannot be written ({error.strerror})") from error
        return recorder

    @classmethod
    def open(cls, path: Path) -> "Recorder":
        """Open an existing run.

        Raises UserError where there is none, another process is writing it, or it cannot be
        written.
        """
        recorder = cls(path, dict(Run(path).manifest))
        with recorder._released_on_error():
            run = Run(path)  # again, now that no other process can change it
            recorder.manifest, recorder._stored = dict(run.manifest), (path / MANIFEST).read_bytes()
        if run.stored_format < FORMAT:
            recorder._config_of_earlier_format = run.config
        return recorder

    @contextmanager
    def _released_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def begin(self) -> None:
        """Write the manifest of a run that was created `unbegun`."""
        self._unbegun = False
        self._write_manifest()
        (self.path / UNBEGUN).unlink(missing_ok=True)

    def close(self) -> None:
        """Release the run, so that other processes can write it."""
        self._release()

    @property
    def stopped(self) -> bool:
        """Whether the run stopped in good order before its last year, at a budget."""
        return "stopped" in self.manifest

    def keep_templates(self, templates: Mapping[str, str]) -> None:
        """Make the run's copy of a user's templates what is given: texts by name."""
        try:
            write_templates(self.path, templates)
        except OSError as error:
            raise DiskError(
                f"{self.path / PROMPTS}: cannot be written ({error.strerror})"
            ) from error

    def configure(self, config: Config, *, removed: Sequence[str] = (), **entries: Any) -> None:
        """Make this the run's configuration, and change further entries in the same step.

        removed: entries of the manifest that go. entries: those that come.
        """
        tree = portable_configuration(config.model_dump(mode="json"), self.path)
        portable = load_config(tree)
        write_atomically(self.path / CONFIG, to_yaml(portable).encode())
        self._config_of_earlier_format = None
        self.update(
            seed=config.seed,
            configuration_hash=configuration_hash(portable),
            configuration=tree,
            files=outside_files(config),
            paths="from this folder",
            removed=removed,
            **entries,
        )

    def update(self, *, removed: Sequence[str] = (), **entries: Any) -> None:
        """Put entries into the manifest, and take those out that are removed, in one step."""
        kept = {name: value for name, value in self.manifest.items() if name not in removed}
        self.manifest = {**kept, **entries}
        self._write_manifest()

    def year(self, row: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
        """Append a year. Its row is written last, so that a year with a row is complete.

        Raises DiskError where something that was written before was removed or replaced.
        """
        self._check_folder()
        self._check_parts(part for table in TABLES for part in self._list.parts_of(table)[-1:])
        if not (self.path / MANIFEST).exists():
            raise DiskError(_vanished(self.path / MANIFEST))
        number = int(row["year"])
        rows = {**tables, YEARS: pa.Table.from_pylist([dict(row)], schema=years_schema(row))}
        written = [self._write_part(name, number, number, [t]) for name, t in rows.items()]
        with self._explained(self.path / PARTS):
            self._list.append(written)
        for table in rows:
            self._merge(table)

    def inherit(self, past: pa.Table) -> None:
        """Store the rows of the years before a branch began."""
        if past.num_rows:
            record = self._write_table(self.path / PAST, [past], past.schema)
            with self._explained(self.path / PARTS):
                self._list.append([record])

    def rewind(self, year: int) -> None:
        """Drop what was recorded of this year and later ones: they will be simulated again.

        A file that begins before is cut; it must be whole. The list of files is changed before any
        is removed, so that after a crash at any moment it is still a list of whole files. A run of
        an earlier version gets its list here, after its last files have gone: they may be damaged.
        """
        earlier = self.manifest.get("parts") != PARTS
        if earlier:
            self._remove(lambda part: part.first >= year)
        listed, cut = self._list.all_parts(), []
        for part in listed:
            if part.first < year <= part.last:
                kept = pq.read_table(part.path.absolute(), filters=pc.field("year") < year)
                cut.append(self._write_part(part.path.parent.name, part.first, year - 1, [kept]))
        with self._explained(self.path / PARTS):
            self._list.replace([p for p in listed if p.last >= year], cut)
        self._remove(lambda part: part.last >= year)
        if earlier:
            self.update(parts=PARTS)

    def _remove(self, gone: Callable[[Part], bool]) -> None:
        """Remove files of all tables, the last first, in the list or not."""
        for table in TABLES:
            for part in reversed(named_parts(self.path / table)):
                if gone(part):
                    with self._explained(part.path):
                        part.path.unlink()

    def restore(
        self,
        whole: Iterable[PartRecord],
        missing: Iterable[tuple[str, int, int, pa.Table]],
    ) -> list[PartRecord]:
        """Write files of tables that were lost or damaged, and then the list of all files.

        Each file is replaced in one step. Until the list is written, readers take those files for
        as damaged as they were.

        whole: what stays in the list. missing: the table, the first and the last year of each file
        to be written, and its rows. Returns the records of those.
        """
        written = [
            self._write_part(table, first, last, [rows]) for table, first, last, rows in missing
        ]
        with self._explained(self.path / PARTS):
            self._list.write_anew([*whole, *written])
        if self.manifest.get("parts") != PARTS:  # a run of an earlier version has a list now
            self.update(parts=PARTS)
        return written

    def check_in_place(self) -> None:
        """Raise DiskError where the folder or a file of a table was removed or replaced.

        Or the configuration removed: it is written again, since the manifest has it too.
        """
        self._check_folder()
        config = self.path / CONFIG
        if not config.exists():
            with self._explained(config):
                write_atomically(config, configuration_file(self.manifest))
            raise DiskError(f"{_vanished(config)}; it is written again")
        self._check_parts(self._list.all_parts())

    def _check_folder(self) -> None:
        """Raise DiskError where another folder, or none, has the run's path."""
        if not self._folder.is_in_place():
            raise DiskError(_vanished(self.path))

    def _check_parts(self, parts: Iterable[Part]) -> None:
        displaced = self._list.displaced(part.path for part in parts)
        if displaced is not None:
            raise DiskError(_vanished(displaced))

    def _merge(self, table: str) -> None:
        """Merge the files of one year each into one, where there are many."""
        single = [part for part in self._list.parts_of(table) if part.first == part.last]
        if len(single) < _MANY_PARTS:
            return
        for part in single:
            verify(part)
        merged = self._write_part(
            table,
            single[0].first,
            single[-1].last,
            (pq.read_table(p.path.absolute()) for p in single),
            pa.unify_schemas(
                [pq.read_schema(part.path.absolute()) for part in single],
                promote_options="permissive",
            ),
        )
        with self._explained(self.path / PARTS):
            self._list.replace(single, [merged])
            # a crash before this leaves files that are not in the list; nobody reads them
            for part in single:
                part.path.unlink()

    def _write_part(
        self,
        table: str,
        first: int,
        last: int,
        tables: Iterable[pa.Table],
        columns: pa.Schema | None = None,
    ) -> PartRecord:
        """Write a file of a table. columns: as in `_write_table`; by default the first table's."""
        folder = self.path / table
        with self._explained(folder):
            folder.mkdir(exist_ok=True)
        if columns is None:
            (only,) = tables
            tables, columns = [only], only.schema
        return self._write_table(folder / part_name(first, last), tables, columns)

    def _write_table(
        self, path: Path, tables: Iterable[pa.Table], columns: pa.Schema
    ) -> PartRecord:
        """Write tables into one file as they come; each row group holds whole tables.

        columns: those of the file; a column that a table lacks is null there.
        """
        written = 0
        with self._explained(path), atomically(path) as file:
            with pq.ParquetWriter(file, columns, compression="zstd") as writer:
                waiting, rows = [], 0
                for table in tables:
                    waiting.append(_with_columns(table, columns))
                    rows += table.num_rows
                    written += table.num_rows
                    if rows >= _MAX_ROWS:
                        writer.write_table(pa.concat_tables(waiting))
                        waiting, rows = [], 0
                if waiting:
                    writer.write_table(pa.concat_tables(waiting))
            file.flush()
            sha256 = sha256_of(Path(file.name))
        return PartRecord(
            file=str(path.relative_to(self.path)),
            rows=written,
            sha256=sha256,
            run_id=self.manifest.get("run_id"),
        )

    def _write_manifest(self) -> None:
        if self._unbegun:
            return
        path = self.path / MANIFEST
        self._check_folder()
        with self._explained(path):
            if self._config_of_earlier_format is not None:
                config = to_yaml(self._config_of_earlier_format)
                write_atomically(self.path / CONFIG, config.encode())
                self._config_of_earlier_format = None
            found = path.read_bytes() if path.exists() else None
            text = json_text(_portable(self.manifest, self.path), indent=2)
            expected, written = self._stored, text.encode() + b"\n"
            write_atomically(path, written)
            self._stored = written
        if found != expected:
            raise DiskError(f"{_vanished(path)}; it is written again")

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(
                f"{path}: cannot be written ({error.strerror}); what was written before is kept"
            ) from error


def _portable(manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The manifest without places of this machine in what is said there.

    Settings and identities stay what they are: a run is resumed and answers are found by them.
    """
    said = {name: entry for name, entry in manifest.items() if name in _SAID}
    return {**manifest, **json.loads(portable_text(json_text(said), folder))}


def _vanished(path: Path) -> str:
    return f"{path}: removed or changed by something else while the run was being written"


def _with_columns(table: pa.Table, columns: pa.Schema) -> pa.Table:
    for column in columns:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table.select(columns.names).cast(columns)
