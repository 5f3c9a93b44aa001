"""Read a sweep from disk, and summarise it over seeds."""

import json
import re
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxecon.core.arguments import PATH, checked_arguments
from jaxecon.core.confidence import mean_interval
from jaxecon.core.errors import DiskError, UserError, first_line
from jaxecon.simulation.language import open_transcript
from jaxecon.storage.paths import TRANSCRIPT
from jaxecon.storage.run import Run
from jaxecon.sweeps.folder import POINTS, SWEEP, YEARS, part_files, part_path, run_folder
from jaxecon.sweeps.points import SEEDS
from jaxecon.sweeps.rows import OF_WEALTH, STATISTICS
from jaxecon.sweeps.stored import chunks_of_runs, read_manifest, read_part

_ANSWERS = pa.schema(
    {
        "point": pa.int64(),
        "kind": pa.string(),
        "decisions": pa.int64(),
        "usable": pa.int64(),
        "distinct": pa.int64(),
        "most_frequent": pa.string(),
        "most_frequent_count": pa.int64(),
        "sequence": pa.string(),
    }
)
SUMMARISED = ("gain_equilibrium", "gain_realised", "mean_hours")


class Sweep:
    """A sweep on disk, finished or not.

    Args:
        path: The sweep's folder.

    Raises:
        UserError: the folder holds no sweep.
    """

    @checked_arguments(path=PATH)
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / SWEEP).exists():
            raise UserError(f"{path}: holds no sweep")

    @property
    def manifest(self) -> dict[str, Any]:
        """Versions, hardware and status; once complete, how many points there are and failed."""
        return read_manifest(self.path)

    @property
    def points(self) -> pa.Table:
        """A row for each point of the finished chunks, in their order.

        Its columns: the settings that vary, `status`, `error`, and those of its last year.
        """
        return self._table(POINTS, [("point", "ascending")])

    @property
    def years(self) -> pa.Table:
        """A row for each point and year of the finished chunks, in their order."""
        return self._table(YEARS, [("point", "ascending"), ("year", "ascending")])

    @property
    def answers(self) -> pa.Table:
        """What language models decided: a row for each point that was simulated and each kind.

        Its columns: `point`, `kind`, and those of `llm.transcript.answers.Answers`: numbers of
        `decisions`, of `usable` and of `distinct` answers; `most_frequent` (JSON, null without any)
        and `most_frequent_count`; `sequence`, which is the same in points whose answers are
        identical one by one. The cohorts of a run are counted together.

        Raises DiskError where the run of a point is lost, or is another point's.
        """
        rows, years, of_runs = [], self.years, chunks_of_runs(self.path)
        for point in self.points.select(["point", "status"]).to_pylist():
            if point["status"] != "ok" or point["point"] not in of_runs:
                continue
            folder = run_folder(self.path, point["point"])
            self._check_run(folder, years.filter(pc.field("point") == point["point"]))
            transcript = folder / TRANSCRIPT
            with closing(open_transcript(transcript)) as opened:
                for (kind,), counted in opened.answers(by=("kind",)).items():
                    rows.append({"point": point["point"], "kind": kind, **vars(counted)})
        return pa.Table.from_pylist(rows, _ANSWERS)

    def _check_run(self, folder: Path, years: pa.Table) -> None:
        """Raise DiskError unless a folder holds the run of a point. years: the point's rows."""
        if not folder.is_dir():
            part = part_path(
                self.path / POINTS, chunks_of_runs(self.path)[years["point"][0].as_py()]
            )
            raise DiskError(
                f"{folder}: missing; remove {part}, and the command that began the sweep simulates "
                "this run again"
            )
        theirs = Run(folder).years["swf"][: len(years)]
        if not np.array_equal(theirs, years["swf"], equal_nan=True):
            raise DiskError(f"{folder}: not the run of its point: has another swf than {YEARS}")

    def _table(self, name: str, order: list[tuple[str, str]]) -> pa.Table:
        finished, manifest = sorted(part_files(self.path / POINTS)), self.manifest
        expected, sweep_id = manifest.get("points"), manifest.get("sweep_id")
        if not finished and expected is None:
            raise UserError(f"{self.path}: no chunk is finished yet")
        tables, seen = [], set[int]()
        for number in finished:
            points = read_part(part_path(self.path / POINTS, number), sweep_id)
            own = points["point"].to_pylist()
            if not seen.isdisjoint(own):
                raise DiskError(
                    f"{part_path(self.path / POINTS, number)}: damaged (points of another chunk)"
                )
            seen.update(own)
            path = part_path(self.path / name, number)
            tables.append(points if name == POINTS else read_part(path, sweep_id, own))
        if expected is not None and len(seen) != expected:
            raise DiskError(
                f"{self.path / POINTS}: files are lost: has {len(seen):,} of {expected:,} points; "
                "the command that began the sweep simulates the others again"
            )
        try:
            # chunks that an earlier jaxecon finished may lack columns
            return pa.concat_tables(tables, promote_options="default").sort_by(order)
        except pa.ArrowException as error:
            raise DiskError(f"{self.path / name}: damaged ({first_line(error)})") from error

    @property
    def settings(self) -> list[str]:
        """Names of the settings that vary."""
        return _settings(self.points)

    def summary(
        self, statistics: Sequence[str] = SUMMARISED, level: float = 0.95
    ) -> list[dict[str, Any]]:
        """Average the last years over seeds.

        Points with the same `seed` have the same people: they are averaged first and count once.
        Where `seed` does not vary, points with different `draw_seed` count one by one.

        Args:
            statistics: Names of statistics of a year, or rate_0, rate_1, ..
            level: Of the confidence intervals, in (0, 1).

        Returns:
            For each combination of the other settings its values, `points`, how many of these have
            `failed`, the number `n` of seeds, and for each statistic the number of seeds that have
            a finite value (`NAME_n`), in how many it is infinite (`NAME_infinite`), the mean of the
            finite values (`NAME_mean`) and the half-width of its confidence interval (`NAME_ci`,
            Student's t; None for one seed). Without a finite value, or with an infinite one, there
            is no mean: both are None.

        Raises:
            UserError: the points have no such statistic.
        """
        check_statistics(statistics)
        table = self.points
        settings = _settings(table)
        for name in statistics:
            if name not in table.column_names:
                raise UserError(f"--statistics: {name!r}; {_why_missing(name)}")
        others = [name for name in settings if name not in SEEDS]
        seed = next((name for name in SEEDS if name in settings), None)
        columns = [*([seed] if seed else []), *others, "status", *statistics]
        groups: dict[str, list[dict[str, Any]]] = {}
        for row in table.select(columns).to_pylist():
            groups.setdefault(json.dumps([row[name] for name in others]), []).append(row)
        return [_summary_row(rows, others, seed, statistics, level) for rows in groups.values()]


def _why_missing(name: str) -> str:
    """Why no point has a statistic of this name, although it is one."""
    if name in OF_WEALTH:
        return "no point has wealth"
    if name in STATISTICS:
        return "the jaxecon that simulated these points did not record it"
    return "no point has as many brackets"


def _summary_row(
    rows: Sequence[dict[str, Any]],
    settings: Sequence[str],
    seed: str | None,
    statistics: Sequence[str],
    level: float,
) -> dict[str, Any]:
    """The summary of points that differ only in seeds. seed: the name of the one that varies."""
    by_seed: dict[Any, list[dict[str, Any]]] = {}
    for row in rows:
        if row["status"] == "ok":
            by_seed.setdefault(row[seed] if seed else None, []).append(row)
    summary = {
        **{name: rows[0][name] for name in settings},
        "points": len(rows),
        "failed": len(rows) - sum(map(len, by_seed.values())),
        "n": len(by_seed),
    }
    for name in statistics:
        values = [[row[name] for row in points] for points in by_seed.values()]
        summary |= {f"{name}_{key}": value for key, value in _averaged(values, level).items()}
    return summary


def _averaged(by_seed: Sequence[Sequence[float | None]], level: float) -> dict[str, Any]:
    """What a summary says of a statistic. by_seed: its values in the points of each seed."""
    known = [[x for x in values if x is not None and not np.isnan(x)] for values in by_seed]
    finite = [np.mean(values) for values in known if values and np.all(np.isfinite(values))]
    infinite = sum(bool(np.any(np.isinf(values))) for values in known)
    interval = mean_interval(np.array(finite), level)
    return {
        "n": len(finite),
        "infinite": infinite,
        "mean": interval.mean if finite and not infinite else None,
        "ci": interval.half_width if len(finite) > 1 and not infinite else None,
    }


def _settings(points: pa.Table) -> list[str]:
    names = points.column_names
    return names[1 : names.index("status")]


def check_statistics(names: Sequence[str]) -> None:
    """Raise UserError for a name that is not a statistic of a year."""
    known = (*STATISTICS, *OF_WEALTH)
    for name in names:
        if name not in known and not re.fullmatch(r"rate_\d+", name):
            raise UserError(f"--statistics: {name!r}; any of {', '.join(known)}, rate_0, ..")
