"""A chunk of a sweep: runs that are lived together, and the rows that come of them."""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from jaxecon.config.language import Serving
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, EngineError, UserError, first_line, is_out_of_memory
from jaxecon.economy.blueprint import Blueprint
from jaxecon.economy.build import skill_nodes, too_poor
from jaxecon.economy.precision import computing
from jaxecon.planners.elections.electorate import worker_name
from jaxecon.simulation import batch
from jaxecon.simulation.language import check_engines, start_engines
from jaxecon.simulation.prepare import assemble_run, create
from jaxecon.simulation.resume import Resumption, resume
from jaxecon.simulation.run import simulate
from jaxecon.storage.paths import MANIFEST
from jaxecon.storage.run import Run
from jaxecon.sweeps.points import Point, Points
from jaxecon.sweeps.rows import CALLS, OF_WEALTH, STATISTICS, ChunkRows, column_type

RUNS = "runs"


@dataclass(frozen=True)
class Chunk:
    """Points that are lived together.

    kind: batch, one program of `lanes` runs; run, one with a language model; refused,
    configurations that are none, with their errors. form: chunks of the same are the same program.
    """

    number: int
    kind: str
    points: tuple[int, ...]
    lanes: int = 1
    form: int = 0
    errors: tuple[str, ...] = ()


class ChunkTooLarge(Exception):
    """A chunk for which memory is not enough."""


class Engines(ExitStack):
    """The language models that were started for a point, kept as long as the next ones ask the
    same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._key, self._served = "", dict[str, Any]()

    def for_run(self, config: Config) -> Mapping[str, Any]:
        """What answers a configuration's cohorts.

        Raises UserError and EngineError as starting them does.
        """
        asked = [(c.name, c.llm) for c in config.cohorts if c.rule == "llm"]
        models = {
            str(n): {name: getattr(s, name) for name in Serving.model_fields}
            for n, s in config.servings.items()
        }
        key = json.dumps(
            [models, asked, config.planner_kind, config.planner.llm, config.device], default=str
        )
        if key != self._key:
            self.close()
            self._key, self._served = key, self.enter_context(start_engines(config, None))
        return self._served


class SweepStopped(Exception):
    """What ends a sweep because it is no single point's: the disk, a model or a key that is
    missing.

    error: what was raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Task:
    """All that living a chunk takes; can be sent to other machines.

    folder: of the sweep, absolute. brackets: the most of any point. force: go on with runs of
    another jaxecon.
    """

    points: Points
    folder: Path
    brackets: int
    force: bool = False

    def live(self, chunk: Chunk, engines: Engines) -> ChunkRows | ChunkTooLarge:
        """What points are and do is in their rows. Raises Stop. engines: stay until it closes."""
        if chunk.kind == "refused":
            return self.failed(chunk, chunk.errors)
        points, failed = [self.points[i] for i in chunk.points], dict[int, str]()
        try:
            alone = chunk.kind == "run"
            years = (
                _run_alone(self, points[0], engines)
                if alone
                else _run_batch(self, points, chunk.lanes, failed)
            )
        except SweepStopped:
            raise
        except Exception as error:
            if is_out_of_memory(error):
                return (
                    ChunkTooLarge()
                    if chunk.lanes > 1
                    else self.failed(chunk, "out of memory: lower the cohorts' sizes")
                )
            return self.failed(chunk, reason(error))
        return ChunkRows(_point_rows(self, points, years, failed), years)

    def failed(self, chunk: Chunk, why: str | Sequence[str]) -> ChunkRows:
        """What is known of a chunk that could not be lived. why: of all its points, or of each."""
        points, years = [self.points[i] for i in chunk.points], self.schemas[1].empty_table()
        each = [why] * len(points) if isinstance(why, str) else why
        return ChunkRows(
            _point_rows(self, points, years, dict(zip(chunk.points, each, strict=True))), years
        )

    @cached_property
    def figures(self) -> tuple[str, ...]:
        """Of a year."""
        return (*STATISTICS, *(OF_WEALTH if self.points.save else ()))

    @cached_property
    def schemas(self) -> tuple[pa.Schema, pa.Schema]:
        """Of the two tables."""
        index = pa.field("point", pa.int64())
        settings = [
            pa.field(name, column_type(self.points.values(name))) for name in self.points.names
        ]
        ends = [pa.field("status", pa.string()), pa.field("error", pa.string())]
        figures = [
            pa.field(name, pa.float64())
            for name in (*self.figures, *(f"rate_{k}" for k in range(self.brackets)))
        ]
        figures = [pa.field("year", pa.int64()), *figures, pa.field("leader", pa.string())]
        figures += [pa.field(name, pa.int64()) for name in CALLS]
        return pa.schema([index, *settings, *ends, *figures]), pa.schema([index, *figures])


def reason(error: Exception) -> str:
    """One line for a row."""
    text, kind = first_line(error), type(error).__name__
    return text if isinstance(error, UserError) or text == kind else f"{kind}: {text}"


def _run_batch(task: Task, points: Sequence[Point], lanes: int, failed: dict[int, str]) -> pa.Table:
    """Rows of the points' years. failed: gets what is wrong with the others, by index."""
    groups = _alike(task, points, failed)
    if not groups:
        return task.schemas[1].empty_table()
    config = groups[-1].config
    indices = np.array([index for group in groups for index in group.indices])
    leaders = np.array([group.config.planner_kind for group in groups for _ in group.indices])
    with computing(config):
        devices = devices_here()
        width = -(-lanes // len(devices)) * len(devices)
        spare = width - len(indices)  # a last chunk is as wide as the others
        counts, seeds = (
            [len(group.indices) for group in groups],
            [pair for group in groups for pair in group.seeds],
        )
        counts[-1] += spare
        cases = batch.stacked([group.case for group in groups], counts, seeds + seeds[-1:] * spare)
        mesh = Mesh(np.array(devices), ("runs",)) if len(devices) > 1 else None
        # memory that is not enough is heard of here: looking at an array that could not be made can
        # wait for ever
        outcomes = jax.device_get(
            jax.block_until_ready(batch.simulate_batch(cases, skill_nodes(config), mesh))
        )
    outcomes = jax.tree.map(lambda x: x[: len(indices)], outcomes)
    problems = _problems(cases.economy, outcomes)
    failed |= {int(indices[lane]): problem for lane, problem in problems.items()}
    right = np.delete(np.arange(len(indices)), list(problems))
    return _year_rows(
        task,
        groups[0].case,
        indices[right],
        leaders[right],
        jax.tree.map(lambda x: x[right], outcomes),
    )


@dataclass(frozen=True)
class _PointGroup:
    """Points one after another that share a case but for their seeds.

    indices: of the points; seeds: of people and of draws.
    """

    config: Config
    case: batch.Case
    indices: list[int]
    seeds: list[tuple[int, int]]


def _alike(task: Task, points: Sequence[Point], failed: dict[int, str]) -> list[_PointGroup]:
    """All points that can be lived, in their order.

    failed: gets what is wrong with the others, by index.
    """
    groups: list[_PointGroup] = []
    last: Config | None = None
    for point in points:
        try:
            shared, seeds = task.points.shared(point)
            if shared is not last or not batch.only_drawn(shared):
                config = task.points.config(point)
                with computing(config):
                    groups.append(_PointGroup(config, batch.case(config), [], []))
        except Exception as error:  # a user's rule may do anything
            failed[point.index] = reason(error)
            continue
        last = shared
        people, draws = seeds.get("seed", shared.seed), seeds.get("draw_seed", shared.draw_seed)
        groups[-1].indices.append(point.index)
        groups[-1].seeds.append((people, people if draws is None else draws))
    return groups


def _problems(economies: Blueprint, outcomes: batch.Outcomes) -> dict[int, str]:
    """What is wrong with some of many runs, by their place among them.

    economies: theirs, stacked.
    """
    finite = np.isfinite(outcomes.figures.swf).all(axis=1)
    fed = (outcomes.poorest > 0) | (economies.curvature == 0)
    found = {}
    for lane in np.flatnonzero(~(finite & fed & outcomes.right_hours)).tolist():
        if not fed[lane]:
            found[lane] = too_poor(
                float(economies.public_spending[lane]), float(outcomes.poorest[lane])
            )
        elif not outcomes.right_hours[lane]:
            found[lane] = "a rule returned hours outside [0, max_hours]"
        else:
            found[lane] = "welfare is not finite"
    return found


def _year_rows(
    task: Task, case: batch.Case, indices: np.ndarray, leaders: np.ndarray, outcomes: batch.Outcomes
) -> pa.Table:
    """case: any one of them. indices, leaders: of the points, and the names of their planners."""
    count = len(indices) * case.years
    columns: dict[str, Any] = {
        "point": np.repeat(indices, case.years),
        "year": np.tile(np.arange(case.years), len(indices)),
        **{name: _flat(getattr(outcomes.figures, name), count) for name in task.figures},
        "leader": elected_leaders(case, outcomes) or np.repeat(leaders, case.years),
        **{name: np.zeros(count, np.int64) for name in CALLS},
    }
    rates: np.ndarray = (
        np.asarray(outcomes.rates, np.float64).reshape(count, len(case.rates)).round(7)
    )
    for k in range(task.brackets):
        columns[f"rate_{k}"] = rates[:, k] if k < rates.shape[1] else pa.nulls(count, pa.float64())
    schema = task.schemas[1]
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)


def _flat(values: Any, count: int) -> np.ndarray | pa.Array:
    """Of each run and year; nulls where the runs have none."""
    return (
        pa.nulls(count, pa.float64()) if values is None else np.asarray(values, np.float64).ravel()
    )


def elected_leaders(case: batch.Case, outcomes: batch.Outcomes) -> list[str]:
    """Whom the workers elected, by run and year; nothing where they elect nobody."""
    sizes = dict(case.economy.sizes)
    return (
        []
        if outcomes.leaders is None
        else [worker_name(worker, sizes) for worker in np.ravel(outcomes.leaders).tolist()]
    )


def _run_alone(task: Task, point: Point, engines: Engines) -> pa.Table:
    """Rows of the years of a run of its own.

    Raises Stop; what else it raises, a spent budget included, is this point's.
    """
    config, folder = task.points.config(point), task.folder / RUNS / f"{point.index:08d}"
    begun, living = (folder / MANIFEST).exists(), False

    def goes_on(resumption: Resumption) -> None:
        nonlocal living
        living = True

    if not begun:
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed while it made it
        prepared = assemble_run(config, folder)
    try:
        check_engines(config)
        if begun:
            resume(folder, force=task.force, tell=goes_on)
        else:
            served = engines.for_run(config)
            recorder = create(prepared, served)
            living = True
            try:
                simulate(prepared, recorder, served)
            finally:
                recorder.close()
    except Exception as error:
        if _is_no_points_fault(error, living):
            raise SweepStopped(error) from error
        raise
    run = Run(folder)
    if "stopped" in run.manifest:
        raise UserError(run.manifest["stopped"])
    return pa.Table.from_pylist(
        [row | {"point": point.index} for row in run.years.to_pylist()], task.schemas[1]
    )


def _is_no_points_fault(error: Exception, living: bool) -> bool:
    """Of what a run of its own raised.

    living: since it had its models and its folder. From then on a UserError is the run's own,
    except a DiskError; before, it is a missing model or key, another process, other code.
    """
    if isinstance(error, UserError):
        return not living or isinstance(error, DiskError)
    return isinstance(error, OSError | EngineError)


def _point_rows(
    task: Task, points: Sequence[Point], years: pa.Table, failed: Mapping[int, str]
) -> pa.Table:
    """A row for each point: settings, how it ended, its last year."""
    last = {index: row for row, index in enumerate(years["point"].to_pylist())}
    found = years.take(pa.array([last.get(point.index) for point in points], pa.int64()))
    schema = task.schemas[0]
    errors = [failed.get(point.index) for point in points]
    columns = {
        "point": [point.index for point in points],
        "status": ["ok" if error is None else "failed" for error in errors],
        "error": errors,
    }
    for name in task.points.names:
        values = [point.settings[name] for point in points]
        text = schema.field(name).type == pa.string()
        columns[name] = [
            json.dumps(v) if text and not isinstance(v, str | None) else v for v in values
        ]
    return pa.table(
        [pa.array(columns[f.name], f.type) if f.name in columns else found[f.name] for f in schema],
        schema=schema,
    )


def devices_here() -> list[Any]:
    """Those of this machine that runs are spread over: all of the default device's kind."""
    default = next(iter(jnp.zeros(()).devices()))
    return [
        device
        for device in jax.local_devices(backend=default.platform)
        if device.platform == default.platform
    ]
