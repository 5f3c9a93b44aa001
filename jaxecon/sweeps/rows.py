"""The rows that come of a chunk."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from jaxecon.economy.summary import YearStatistics

OF_WEALTH = tuple(
    field.name for field in fields(YearStatistics) if field.default is None
)  # where people save

STATISTICS = tuple(field.name for field in fields(YearStatistics) if field.name not in OF_WEALTH)

CALLS = ("llm_calls", "llm_fallbacks")


@dataclass(frozen=True)
class ChunkRows:
    """What came of a chunk: rows of the two tables."""

    points: pa.Table
    years: pa.Table


def column_type(values: Sequence[Any]) -> pa.DataType:
    """Of a setting's column; what is neither number nor truth value is text, lists as JSON, and so
    are whole numbers that are too large for a column of numbers (their points fail, and have rows).
    """
    if isinstance(values, range):
        return pa.int64()
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    whole = kinds == {int}
    most = 2**63 - 1 if whole else 2**53  # beyond which Arrow takes no integer for a float
    if (
        not kinds
        or not kinds <= {int, float}
        or any(type(value) is int and abs(value) > most for value in values)
    ):
        return pa.string()
    return pa.int64() if whole else pa.float64()
