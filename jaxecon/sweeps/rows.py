"""The rows of a sweep's two tables: one for each point, and one for each year of each point."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from jaxecon.economy.summary import YearStatistics
from jaxecon.planners.elections.electorate import worker_name
from jaxecon.simulation.batch import Case, Outcomes
from jaxecon.sweeps.points import Point, Points

# Statistics of a year that exist only where people save.
OF_WEALTH = tuple(field.name for field in fields(YearStatistics) if field.default is None)

STATISTICS = tuple(field.name for field in fields(YearStatistics) if field.name not in OF_WEALTH)

CALLS = ("llm_calls", "llm_fallbacks")


@dataclass(frozen=True)
class ChunkRows:
    """The rows of a chunk, for both tables."""

    points: pa.Table
    years: pa.Table


@dataclass(frozen=True)
class RowBuilder:
    """Makes the rows of a sweep's tables.

    Args:
        points: All points of the sweep.
        brackets: The largest number of tax brackets of any point: the number of columns of rates.
    """

    points: Points
    brackets: int

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """Names of a year's statistics."""
        return (*STATISTICS, *(OF_WEALTH if self.points.save else ()))

    @cached_property
    def year_schema(self) -> pa.Schema:
        """Columns of the table of years."""
        return pa.schema([pa.field("point", pa.int64()), *self._year_fields])

    @cached_property
    def point_schema(self) -> pa.Schema:
        """Columns of the table of points: settings, how the point ended, its last year."""
        settings = [
            pa.field(name, _column_type(self.points.values(name))) for name in self.points.names
        ]
        ends = [pa.field("status", pa.string()), pa.field("error", pa.string())]
        return pa.schema([pa.field("point", pa.int64()), *settings, *ends, *self._year_fields])

    @property
    def _year_fields(self) -> list[pa.Field]:
        rates = (f"rate_{k}" for k in range(self.brackets))
        return [
            pa.field("year", pa.int64()),
            *(pa.field(name, pa.float64()) for name in (*self.statistics, *rates)),
            pa.field("leader", pa.string()),
            *(pa.field(name, pa.int64()) for name in CALLS),
        ]

    def no_years(self) -> pa.Table:
        """The table of years without rows."""
        return self.year_schema.empty_table()

    def years_of_batch(
        self, case: Case, indices: np.ndarray, planners: np.ndarray, outcomes: Outcomes
    ) -> pa.Table:
        """Rows of the years of runs that were simulated together.

        Args:
            case: Any of the runs; all have the same form.
            indices: (runs,) indices of their points.
            planners: (runs,) names of their planners.
            outcomes: Their results, stacked along a first axis.
        """
        count = len(indices) * case.years
        columns: dict[str, Any] = {
            "point": np.repeat(indices, case.years),
            "year": np.tile(np.arange(case.years), len(indices)),
            **{name: _flat(getattr(outcomes.statistics, name), count) for name in self.statistics},
            "leader": _elected_leaders(case, outcomes) or np.repeat(planners, case.years),
            **{name: np.zeros(count, np.int64) for name in CALLS},
        }
        rates: np.ndarray = (
            np.asarray(outcomes.rates, np.float64).reshape(count, len(case.rates)).round(7)
        )
        for k in range(self.brackets):
            has_bracket = k < rates.shape[1]
            columns[f"rate_{k}"] = rates[:, k] if has_bracket else pa.nulls(count, pa.float64())
        return _table(columns, self.year_schema)

    def years_of_run(self, index: int, years: pa.Table) -> pa.Table:
        """Rows of the years of one run. index: that of its point. years: the run's own table."""
        return pa.Table.from_pylist(
            [row | {"point": index} for row in years.to_pylist()], self.year_schema
        )

    def of_points(
        self, points: Sequence[Point], years: pa.Table, errors: Mapping[int, str]
    ) -> pa.Table:
        """A row for each point: its settings, how it ended, its last year.

        Args:
            points: The points of a chunk.
            years: Rows of their years, in order for each point.
            errors: Why points failed, by index.
        """
        last = {index: row for row, index in enumerate(years["point"].to_pylist())}
        last_years = years.take(pa.array([last.get(point.index) for point in points], pa.int64()))
        schema = self.point_schema
        reasons = [errors.get(point.index) for point in points]
        columns: dict[str, Any] = {
            **{name: last_years[name] for name in last_years.column_names},
            "point": [point.index for point in points],
            "status": ["ok" if reason is None else "failed" for reason in reasons],
            "error": reasons,
        }
        for name in self.points.names:
            values = [point.settings[name] for point in points]
            text = schema.field(name).type == pa.string()
            columns[name] = [
                json.dumps(v) if text and not isinstance(v, str | None) else v for v in values
            ]
        return _table(columns, schema)


def _table(columns: Mapping[str, Any], schema: pa.Schema) -> pa.Table:
    """A table with the columns of a schema, in its order."""
    arrays = []
    for field in schema:
        column = columns[field.name]
        ready = isinstance(column, pa.ChunkedArray)
        arrays.append(column if ready else pa.array(column, field.type))
    return pa.table(arrays, schema=schema)


def _flat(values: Any, count: int) -> np.ndarray | pa.Array:
    """Values (runs, years) as one column of `count`; nulls where there are none."""
    if values is None:
        return pa.nulls(count, pa.float64())
    return np.asarray(values, np.float64).ravel()


def _elected_leaders(case: Case, outcomes: Outcomes) -> list[str]:
    """The elected leaders by run and year; empty where nobody is elected."""
    if outcomes.leaders is None:
        return []
    sizes = dict(case.economy.sizes)
    return [worker_name(worker, sizes) for worker in np.ravel(outcomes.leaders).tolist()]


def _column_type(values: Sequence[Any]) -> pa.DataType:
    """The type of a setting's column.

    Values that are neither numbers nor booleans are text, lists as JSON. Integers that are too
    large for a numeric column are text too: their points fail, but have rows.
    """
    if isinstance(values, range):
        return pa.int64()
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return pa.bool_()
    whole = kinds == {int}
    most = 2**63 - 1 if whole else 2**53  # Arrow converts no larger integer to a float
    if (
        not kinds
        or not kinds <= {int, float}
        or any(type(value) is int and abs(value) > most for value in values)
    ):
        return pa.string()
    return pa.int64() if whole else pa.float64()
