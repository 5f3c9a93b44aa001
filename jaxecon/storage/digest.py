"""The digest of a run: SHA-256 over its tables and its last state.

Two runs with the same digest are the same run.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxecon.core.arguments import PATH, checked_arguments
from jaxecon.core.errors import DiskError
from jaxecon.storage.checkpoint_files import Checkpoint, Position, newest, state_digest
from jaxecon.storage.parts import parts, row_groups
from jaxecon.storage.paths import (
    AGENTS,
    BALLOTS,
    CHECKPOINTS,
    ELECTIONS,
    SURVEY,
    YEARS,
    refuse_while_written,
)
from jaxecon.storage.run import Run

TIMINGS = ("seconds",)  # columns that differ between equal runs

# names, or beginnings of names, of columns for diagnostics; they follow from decisions and hours
DIAGNOSTIC_COLUMNS = ("llm_decisions", "spread_", "exact_spread_")

# columns that earlier runs lack, whose digests stay what they were; they follow from others
ADDED_COLUMNS = ("swf_choices", "gain_choices", "unfunded")


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
    """Compute the digest of a run up to its newest checkpoint.

    Tables are read part by part.

    Args:
        run: the run's folder.

    Returns:
        SHA-256 of the tables and of the state; `combined` covers them all. Equal digests mean equal
        runs.

    Raises:
        UserError: there is no run, or it is still being written.
        DiskError: a file of its tables, or its newest checkpoint, is missing or damaged. The line
            then has the digest up to the newest checkpoint that is sound.
    """
    path = Run(run).path
    refuse_while_written(path)
    checkpoint, damaged = newest(path / CHECKPOINTS)
    computed = digest_at(path, checkpoint)
    if damaged:
        until = (
            "no checkpoint is sound"
            if checkpoint is None
            else f"up to {checkpoint.position} the digest is {computed.combined}"
        )
        raise DiskError(f"{'; '.join(damaged)}; {until}")
    return computed


def digest_at(run: Path, checkpoint: Checkpoint | None) -> Digest:
    """The digest of a run up to one of its checkpoints."""
    position = None if checkpoint is None else checkpoint.position
    years, agents = (_table_digest(run, table, position) for table in (YEARS, AGENTS))
    state = None if checkpoint is None else state_digest(checkpoint)
    elections = survey = None
    if _has_rows(run, ELECTIONS, position):
        elections = " ".join(_table_digest(run, table, position) for table in (ELECTIONS, BALLOTS))
    if _has_rows(run, SURVEY, position):
        survey = _table_digest(run, SURVEY, position)
    return Digest(position, years, agents, state, elections, survey)


def _has_rows(run: Path, table: str, until: Position | None) -> bool:
    return any(rows.num_rows for rows in tables_until(run, table, until))


def _table_digest(run: Path, table: str, until: Position | None) -> str:
    return rows_digest(tables_until(run, table, until))


def rows_digest(tables: Iterable[pa.Table]) -> str:
    """SHA-256 over rows' column names, types and values, however they are split up.

    Leaves out the columns that do not count in a run's digest.
    """
    columns: dict[str, Any] = {}
    for rows in tables:
        for name in rows.column_names:
            if not is_part_of_digest(name):
                continue
            column = rows[name]
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


def tables_until(run: Path, table: str, until: Position | None) -> Iterator[pa.Table]:
    for part in parts(run, table, before=None if until is None else until.year):
        for rows in row_groups(part):
            cut = until is not None and part.last >= until.year
            yield rows.filter(pc.field("year") < until.year) if cut and until else rows


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
