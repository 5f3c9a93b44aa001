"""Writes a run's folder."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxecon.config.read import to_yaml
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError
from jaxecon.core.files import atomically, write_atomically
from jaxecon.core.json_text import json_text
from jaxecon.core.locks import lock_for_writing
from jaxecon.storage.paths import (
    AGENTS,
    CONFIG,
    FORMAT,
    LOCK,
    MANIFEST,
    PAST,
    PROMPTS,
    TABLES,
    YEARS,
    Part,
    all_parts,
    part_name,
    parts,
    refuse_existing,
)
from jaxecon.storage.provenance import configuration_hash, outside_files
from jaxecon.storage.run import Run
from jaxecon.storage.tables import years_schema
from jaxecon.storage.templates import write_templates

_MANY_PARTS = 256  # parts of one year each that are then merged into one

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
        self._release = lock_for_writing(path / LOCK, f"{path}:")
        self._single = {
            table: [p for p in parts(path / table) if p.first == p.last] for table in TABLES
        }

    @classmethod
    def create(
        cls,
        path: Path,
        config: Config,
        manifest: Mapping[str, Any],
        templates: Mapping[str, str] | None = None,
    ) -> "Recorder":
        """Make a new run's folder with its configuration and manifest.

        templates: the texts of a user's templates by name, which the run keeps.

        Raises UserError where that is not possible; nothing is overwritten.
        """
        refuse_existing(path)
        try:
            for table in (YEARS, AGENTS):
                (path / table).mkdir(parents=True)
            write_templates(path, templates or {})
            recorder = cls(path, {"format": FORMAT, "status": "running", **manifest})
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
        try:
            recorder = cls(path, dict(Run(path).manifest))
        except OSError as error:
            raise DiskError(f"{path}: cannot be written ({error.strerror})") from error
        run = Run(path)  # again, now that no other process can change it
        recorder.manifest = dict(run.manifest)
        if run.stored_format < FORMAT:
            recorder._config_of_earlier_format = run.config
        return recorder

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

    def configure(self, config: Config) -> None:
        """Make this the run's configuration."""
        write_atomically(self.path / CONFIG, to_yaml(config).encode())
        self._config_of_earlier_format = None
        self.update(
            seed=config.seed,
            configuration_hash=configuration_hash(config),
            configuration=config.model_dump(mode="json"),
            files=outside_files(config),
        )

    def update(self, **entries: Any) -> None:
        """Put entries into the manifest."""
        self.manifest.update(entries)
        self._write_manifest()

    def remove(self, *entries: str) -> None:
        """Take entries out of the manifest."""
        self.manifest = {
            name: value for name, value in self.manifest.items() if name not in entries
        }
        self._write_manifest()

    def year(self, row: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
        """Append a year. Its row is written last, so that a year with a row is complete."""
        number = int(row["year"])
        for name, rows in tables.items():
            self._append(name, number, rows)
        self._append(YEARS, number, pa.Table.from_pylist([dict(row)], schema=years_schema(row)))

    def inherit(self, past: pa.Table) -> None:
        """Store the rows of the years before a branch began."""
        if past.num_rows:
            self._write_table(self.path / PAST, [past], past.schema)

    def rewind(self, year: int) -> None:
        """Drop what was recorded of this year and later ones: they will be simulated again."""
        for table, single in self._single.items():
            for part in reversed(all_parts(self.path / table)):
                if part.first < year <= part.last:
                    kept = pq.read_table(part.path, filters=pc.field("year") < year)
                    self._write_table(
                        part.path.with_name(part_name(part.first, year - 1)), [kept], kept.schema
                    )
                if year <= part.last:
                    part.path.unlink()
            single[:] = [p for p in single if p.last < year]

    def _append(self, table: str, number: int, rows: pa.Table) -> None:
        path = self.path / table / part_name(number, number)
        with self._explained(path):
            path.parent.mkdir(exist_ok=True)
        self._write_table(path, [rows], rows.schema)
        single = self._single[table]
        single.append(Part(number, number, path))
        if len(single) >= _MANY_PARTS:
            together = path.with_name(part_name(single[0].first, number))
            columns = pa.unify_schemas(
                [pq.read_schema(part.path) for part in single], promote_options="permissive"
            )
            self._write_table(together, (pq.read_table(part.path) for part in single), columns)
            # a crash before this leaves parts that the merged one covers; `parts` skips them
            for part in single:
                part.path.unlink()
            single.clear()

    def _write_table(self, path: Path, tables: Iterable[pa.Table], columns: pa.Schema) -> None:
        """Write tables into one file as they come; each row group holds whole tables.

        columns: those of the file; a column that a table lacks is null there.
        """
        with (
            self._explained(path),
            atomically(path) as file,
            pq.ParquetWriter(file, columns, compression="zstd") as writer,
        ):
            waiting, rows = [], 0
            for table in tables:
                waiting.append(_with_columns(table, columns))
                rows += table.num_rows
                if rows >= _MAX_ROWS:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting, rows = [], 0
            if waiting:
                writer.write_table(pa.concat_tables(waiting))

    def _write_manifest(self) -> None:
        path = self.path / MANIFEST
        with self._explained(path):
            if self._config_of_earlier_format is not None:
                config = to_yaml(self._config_of_earlier_format)
                write_atomically(self.path / CONFIG, config.encode())
                self._config_of_earlier_format = None
            write_atomically(path, json_text(self.manifest, indent=2).encode() + b"\n")

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DiskError(
                f"{path}: cannot be written ({error.strerror}); what was written before is kept"
            ) from error


def _with_columns(table: pa.Table, columns: pa.Schema) -> pa.Table:
    for column in columns:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table.select(columns.names).cast(columns)
