"""The digest of a run: SHA-256 over its tables and its last state.

Two runs with the same digest are the same run.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxecon.core.arguments import PATH, checked_arguments
from jaxecon.storage.checkpoint_files import Checkpoint, Position, newest, state_digest
from jaxecon.storage.paths import (
    AGENTS,
    BALLOTS,
    CHECKPOINTS,
    ELECTIONS,
    SURVEY,
    YEARS,
    parts,
    refuse_while_written,
)
from jaxecon.storage.run import Run

TIMINGS = ("seconds",)  # columns that differ between equal runs

# names, or beginnings of names, of columns for diagnostics; they follow from decisions and hours
DIAGNOSTIC_COLUMNS = ("llm_decisions", "spread_", "exact_spread_")

# columns that earlier runs lack, whose digests stay what they were; they follow from the schedule
ADDED_COLUMNS = ("swf_choices", "gain_choices")


@dataclass(frozen=True)
class Digest:
    """SHA-256 of the parts of a run, up to a position.

    years, agents: of these tables. state: of the checkpoint at the position; None without one.
    elections: of the tables of elections and ballots together; None where there was no election.
    survey: of its table; None where nothing was asked.
    """

    position: Position | None
    years: str
    agents: str
    state: str | None
    elections: str | None = None
    survey: str | None = None

    @property
    def combined(self) -> str:
        further = "".join(f" {x}" for x in (self.elections, self.survey) if x is not None)
        return hashlib.sha256(
            f"{self.position} {self.years} {self.agents} {self.state}{further}".encode()
        ).hexdigest()


@checked_arguments(run=PATH)
def digest(run: Path | str) -> Digest:
    """Compute the digest of a run up to its newest sound checkpoint.

    Tables are read part by part.

    Args:
        run: the run's folder.

    Returns:
        SHA-256 of the tables and of the state; `combined` covers them all. Equal digests mean equal
        runs.

    Raises:
        UserError: there is no run, or it is still being written.
    """
    path = Run(run).path
    refuse_while_written(path)
    checkpoint, _ = newest(path / CHECKPOINTS)
    return digest_at(path, checkpoint)


def digest_at(run: Path, checkpoint: Checkpoint | None) -> Digest:
    """The digest of a run up to one of its checkpoints."""
    position = None if checkpoint is None else checkpoint.position
    years, agents = (_table_digest(run / table, position) for table in (YEARS, AGENTS))
    state = None if checkpoint is None else state_digest(checkpoint)
    elections = survey = None
    if _has_rows(run / ELECTIONS, position):
        elections = " ".join(_table_digest(run / table, position) for table in (ELECTIONS, BALLOTS))
    if _has_rows(run / SURVEY, position):
        survey = _table_digest(run / SURVEY, position)
    return Digest(position, years, agents, state, elections, survey)


def _has_rows(folder: Path, until: Position | None) -> bool:
    return any(table.num_rows for table in tables_until(folder, until))


def _table_digest(folder: Path, until: Position | None) -> str:
    """SHA-256 over a table's column names, types and values, however its rows are split up."""
    columns: dict[str, Any] = {}
    for table in tables_until(folder, until):
        for name in table.column_names:
            if not is_part_of_digest(name):
                continue
            column = table[name]
            hasher = columns.setdefault(
                name, hashlib.sha256(f"{name} {_type_name(column.type)}\n".encode())
            )
            for chunk in column.chunks:
                hasher.update(_bytes(chunk))
    return hashlib.sha256(
        "".join(columns[name].hexdigest() for name in sorted(columns)).encode()
    ).hexdigest()


def is_part_of_digest(name: str) -> bool:
    """Whether a column counts in a run's digest."""
    return name not in (*TIMINGS, *ADDED_COLUMNS) and not name.startswith(DIAGNOSTIC_COLUMNS)


def tables_until(folder: Path, until: Position | None) -> Iterator[pa.Table]:
    for part in parts(folder):
        if until is not None and part.first >= until.year:
            return
        with pq.ParquetFile(part.path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group)
                if until is not None and part.last >= until.year:
                    table = table.filter(pc.field("year") < until.year)
                yield table


def _type_name(kind: pa.DataType) -> str:
    return "string" if pa.types.is_dictionary(kind) else str(kind)


def _bytes(chunk: pa.Array) -> bytes:
    if pa.types.is_string(chunk.type):
        chunk = chunk.dictionary_encode()
    if pa.types.is_dictionary(chunk.type):
        words = [
            hashlib.sha256(word.encode()).digest()[:8] for word in chunk.dictionary.to_pylist()
        ]
        indices = chunk.indices.fill_null(len(words))  # the place of what stands for no text
        return np.array([*words, b""], "S8")[indices.to_numpy(zero_copy_only=False)].tobytes()
    return np.ascontiguousarray(chunk.to_numpy(zero_copy_only=False)).tobytes()
