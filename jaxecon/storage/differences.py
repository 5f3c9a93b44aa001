"""Where two runs differ."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from jaxecon.storage.checkpoint_files import Checkpoint, read_leaves
from jaxecon.storage.digest import is_part_of_digest, tables_until
from jaxecon.storage.paths import AGENTS, BALLOTS, ELECTIONS, SURVEY, YEARS

# Columns that hold decisions; the columns rate_* do too.
DECIDED = ("leader", "llm_calls", "llm_fallbacks")


@dataclass(frozen=True)
class Difference:
    """One place in which two runs differ.

    where: the table, or "state". column: the table's column, or the leaf of the state. decided:
    whether it holds decisions. absolute, relative: the largest difference; NaN where it has no
    number.
    """

    where: str
    column: str
    decided: bool
    absolute: float
    relative: float


def differences(
    one: Path, other: Path, checkpoints: tuple[Checkpoint | None, Checkpoint | None]
) -> list[Difference]:
    """The differences between two runs of the same length.

    Lists every column that counts in the digest, and every leaf of the state, that is not exactly
    equal, with its largest difference.
    """
    result = []
    decisions = {
        YEARS: DECIDED,
        AGENTS: ("cohort", "agent", "satisfied"),
        ELECTIONS: ("cohort", "agent", "stood", "elected"),
        BALLOTS: ("cohort", "agent", "candidate", "rank"),
        SURVEY: ("cohort", "agent", "question", "choice", "number", "text", "status"),
    }
    for table, decided_columns in decisions.items():
        until = None if checkpoints[0] is None else checkpoints[0].position
        a, b = (
            pa.concat_tables(
                [*tables_until(run, table, until)] or [pa.table({})], promote_options="permissive"
            )
            for run in (one, other)
        )
        for name in dict.fromkeys([*a.column_names, *b.column_names]):
            decided = name in decided_columns or name.startswith("rate_")
            if not is_part_of_digest(name):
                continue
            if name not in a.column_names or name not in b.column_names or len(a) != len(b):
                result.append(Difference(table, name, decided, np.nan, np.nan))
            else:
                result += _difference(table, name, decided, *(_values(t[name]) for t in (a, b)))
    if checkpoints[0] is not None and checkpoints[1] is not None:
        states = [read_leaves(checkpoints[0]), read_leaves(checkpoints[1])]
        for name in sorted(states[0].keys() | states[1].keys()):
            if (
                name not in states[0]
                or name not in states[1]
                or states[0][name].shape != states[1][name].shape
            ):
                result.append(Difference("state", name, False, np.nan, np.nan))
            else:
                result += _difference("state", name, False, states[0][name], states[1][name])
    return result


def _values(column: pa.ChunkedArray) -> np.ndarray:
    numeric = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    return column.to_numpy() if numeric else np.asarray(column.to_pylist())


def _difference(
    where: str, name: str, decided: bool, a: np.ndarray, b: np.ndarray
) -> Iterator[Difference]:
    if np.array_equal(a, b, equal_nan=a.dtype.kind == "f" and b.dtype.kind == "f"):
        return
    if a.dtype.kind in "biuf" and b.dtype.kind in "biuf":
        old, new = a.astype(float), b.astype(float)
        unequal = (old != new) & ~(np.isnan(old) & np.isnan(new))
        old, new = old[unequal], new[unequal]
        apart = np.abs(old - new)
        with np.errstate(divide="ignore"):  # relative to zero every difference is infinite
            yield Difference(
                where, name, decided, float(np.max(apart)), float(np.max(apart / np.abs(old)))
            )
    else:
        yield Difference(where, name, decided, np.nan, np.nan)
