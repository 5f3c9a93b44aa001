"""A sweep on disk, to be read."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon.core.errors import DiskError, UserError, first_line
from jaxecon.storage.paths import MANIFEST
from jaxecon.sweeps.folder import POINTS, SWEEP, YEARS, part_files, read_json
from jaxecon.sweeps.points import SEEDS
from jaxecon.sweeps.rows import OF_WEALTH, STATISTICS

SUMMARISED = ("gain_equilibrium", "gain_realised", "mean_hours")


# --- reading --------------------------------------------------------------------------------------


class Sweep:
    """A sweep on disk, finished or not. Raises UserError where there is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / SWEEP).exists():
            raise UserError(f"{path}: holds no sweep")

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = read_json(self.path / MANIFEST)
        return manifest

    @property
    def points(self) -> pa.Table:
        """A row for each point that was lived, in their order."""
        return self._table(POINTS, [("point", "ascending")])

    @property
    def years(self) -> pa.Table:
        """A row for each point and year, in their order."""
        return self._table(YEARS, [("point", "ascending"), ("year", "ascending")])

    def _table(self, name: str, order: list[tuple[str, str]]) -> pa.Table:
        finished, parts = part_files(self.path / POINTS), part_files(self.path / name)
        if not finished:
            raise UserError(f"{self.path}: no chunk is finished yet")
        try:
            tables = [pq.read_table(parts[number]) for number in sorted(finished)]
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DiskError(f"{self.path / name}: cannot be read ({first_line(error)})") from error
        return pa.concat_tables(tables).sort_by(order)

    @property
    def settings(self) -> list[str]:
        """What varies, by name."""
        return _settings(self.points)

    def summary(
        self, figures: Sequence[str] = SUMMARISED, level: float = 0.95
    ) -> list[dict[str, Any]]:
        """Last years averaged over seeds: for each combination of the other settings its values,
        `points` and `failed`, `n` seeds, and for each figure its `mean` and the half-width `ci` of
        its confidence interval (Student's t; None for one).

        Points of one `seed` are the same people: they are averaged first. Without a varied `seed`
        the draws count. Raises UserError: a figure that there is not.
        """
        from scipy.stats import t

        check_statistics(figures)
        table = self.points
        settings = _settings(table)
        for name in figures:
            if name not in table.column_names:
                raise UserError(
                    f"--figures: {name!r}; no point has "
                    f"{'wealth' if name in OF_WEALTH else 'so many brackets'}"
                )
        kept = [name for name in settings if name not in SEEDS]
        unit = next((name for name in SEEDS if name in settings), None)
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in table.select([*([unit] if unit else []), *kept, "status", *figures]).to_pylist():
            groups.setdefault(json.dumps([row[name] for name in kept]), []).append(row)
        found = []
        for rows in groups.values():
            people: dict[Any, list[dict[str, Any]]] = {}
            for row in rows:
                if row["status"] == "ok":
                    people.setdefault(row[unit] if unit else None, []).append(row)
            failed = len(rows) - sum(map(len, people.values()))
            line = {
                **{name: rows[0][name] for name in kept},
                "points": len(rows),
                "failed": failed,
                "n": len(people),
            }
            for name in figures:
                means = (
                    np.mean([row[name] for row in alike if row[name] is not None] or [np.nan])
                    for alike in people.values()
                )
                x = np.array([mean for mean in means if not np.isnan(mean)])
                line[f"{name}_mean"] = float(x.mean()) if len(x) else None
                width = (
                    t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
                    if len(x) > 1
                    else None
                )
                line[f"{name}_ci"] = None if width is None else float(width)
            found.append(line)
        return found


def _settings(points: pa.Table) -> list[str]:
    names = points.column_names
    return names[1 : names.index("status")]


def check_statistics(names: Sequence[str]) -> None:
    """Raise UserError for a name that is no figure of a year."""
    for name in names:
        if name not in (*STATISTICS, *OF_WEALTH) and not re.fullmatch(r"rate_\d+", name):
            raise UserError(
                f"--figures: {name!r}; any of {', '.join((*STATISTICS, *OF_WEALTH))}, rate_0, .."
            )
