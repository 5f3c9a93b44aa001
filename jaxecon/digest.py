"""The digest of a run: SHA-256 over its tables and its last state. Two runs with the same digest are the same run."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxecon.checkpoint import Checkpoint, Position, newest, read_leaves, state_digest
from jaxecon.records import AGENTS, BALLOTS, CHECKPOINTS, ELECTIONS, YEARS, Run, parts, refuse_while_written

TIMINGS = ("seconds",)  # columns that no two runs share
WATCHED = ("llm_decisions", "spread_", "exact_spread_")  # for failure signatures; they follow from answers and hours
DECIDED = ("leader", "llm_calls", "llm_fallbacks")  # and rate_*: what was decided, which is compared exactly


@dataclass(frozen=True)
class Digest:
    """years, agents: of the tables, up to the position. state: of the checkpoint at the position; None where there is none.
    elections: of the tables of elections and ballots together; None where there was none by then."""

    position: Position | None
    years: str
    agents: str
    state: str | None
    elections: str | None = None

    @property
    def combined(self) -> str:
        voted = "" if self.elections is None else f" {self.elections}"
        return hashlib.sha256(f"{self.position} {self.years} {self.agents} {self.state}{voted}".encode()).hexdigest()


def digest(run: Path | str) -> Digest:
    """Of a run as far as its newest sound checkpoint has got. Reads a part of a table at a time.

    Raises UserError where there is no run, or where it is still being written.
    """
    path = Run(run).path
    refuse_while_written(path)
    checkpoint, _ = newest(path / CHECKPOINTS)
    return digest_at(path, checkpoint)


def digest_at(run: Path, checkpoint: Checkpoint | None) -> Digest:
    """Of a run as far as a checkpoint of it."""
    position = None if checkpoint is None else checkpoint.position
    years, agents = (_table_digest(run / table, position) for table in (YEARS, AGENTS))
    state = None if checkpoint is None else state_digest(checkpoint)
    elections = None
    if any(table.num_rows for table in _tables(run / ELECTIONS, position)):
        elections = " ".join(_table_digest(run / table, position) for table in (ELECTIONS, BALLOTS))
    return Digest(position, years, agents, state, elections)


def _table_digest(folder: Path, until: Position | None) -> str:
    """Over names, types and values of the columns, however the rows are spread over files."""
    columns: dict[str, Any] = {}
    for table in _tables(folder, until):
        for name in table.column_names:
            if not _counts(name):
                continue
            column = table[name]
            hasher = columns.setdefault(name, hashlib.sha256(f"{name} {_type_name(column.type)}\n".encode()))
            for chunk in column.chunks:
                hasher.update(_bytes(chunk))
    return hashlib.sha256("".join(columns[name].hexdigest() for name in sorted(columns)).encode()).hexdigest()


def _counts(name: str) -> bool:
    """Whether a column is part of what makes a run that run."""
    return name not in TIMINGS and not name.startswith(WATCHED)


def _tables(folder: Path, until: Position | None) -> Iterator[pa.Table]:
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
        words = [hashlib.sha256(word.encode()).digest()[:8] for word in chunk.dictionary.to_pylist()]
        return np.array(words, "S8")[chunk.indices.to_numpy(zero_copy_only=False)].tobytes()
    return np.ascontiguousarray(chunk.to_numpy(zero_copy_only=False)).tobytes()


@dataclass(frozen=True)
class Difference:
    """Where two runs part. column: of a table, or a leaf of the state. absolute, relative: the largest, nan where uncountable."""

    where: str
    column: str
    decided: bool
    absolute: float
    relative: float


def differences(one: Path, other: Path, checkpoints: tuple[Checkpoint | None, Checkpoint | None]) -> list[Difference]:
    """Of two runs of the same length: what was decided exactly, numbers by their largest difference."""
    found = []
    decisions = {
        YEARS: DECIDED,
        AGENTS: ("cohort", "agent", "satisfied"),
        ELECTIONS: ("cohort", "agent", "stood", "elected"),
        BALLOTS: ("cohort", "agent", "candidate", "rank"),
    }
    for table, decided_columns in decisions.items():
        until = None if checkpoints[0] is None else checkpoints[0].position
        a, b = (pa.concat_tables([*_tables(run / table, until)] or [pa.table({})]) for run in (one, other))
        for name in dict.fromkeys([*a.column_names, *b.column_names]):
            decided = name in decided_columns or name.startswith("rate_")
            if not _counts(name):
                continue
            if name not in a.column_names or name not in b.column_names or len(a) != len(b):
                found.append(Difference(table, name, decided, np.nan, np.nan))
            else:
                found += _difference(table, name, decided, *(_values(t[name]) for t in (a, b)))
    if checkpoints[0] is not None and checkpoints[1] is not None:
        states = [read_leaves(checkpoints[0]), read_leaves(checkpoints[1])]
        for name in sorted(states[0].keys() | states[1].keys()):
            if name not in states[0] or name not in states[1] or states[0][name].shape != states[1][name].shape:
                found.append(Difference("state", name, False, np.nan, np.nan))
            else:
                found += _difference("state", name, False, states[0][name], states[1][name])
    return found


def _values(column: pa.ChunkedArray) -> np.ndarray:
    numeric = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return column.to_numpy() if numeric else np.asarray(column.to_pylist())


def _difference(where: str, name: str, decided: bool, a: np.ndarray, b: np.ndarray) -> Iterator[Difference]:
    if np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"):
        return
    if a.dtype.kind in "biuf" and b.dtype.kind in "biuf":
        old, new = a.astype(float), b.astype(float)
        unequal = (old != new) & ~(np.isnan(old) & np.isnan(new))
        old, new = old[unequal], new[unequal]
        apart = np.abs(old - new)
        with np.errstate(divide="ignore"):  # of what was zero every difference is infinitely large
            yield Difference(where, name, decided, float(np.max(apart)), float(np.max(apart / np.abs(old))))
    else:
        yield Difference(where, name, decided, np.nan, np.nan)
