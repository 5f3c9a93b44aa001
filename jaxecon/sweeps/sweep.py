"""Simulate all points of a design, chunk by chunk, into a folder.

FOLDER/
  sweep.yaml        the design
  manifest.json     versions, hardware, status, and how many points failed
  plan.json         which points make which chunk
  points.parquet/   a row for each point: its settings, how it ended, its last year
  years.parquet/    a row for each point and year
  runs/00000012/    the whole run of a point with language models
"""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxecon.core.arguments import (
    FLAG,
    MAX_CHUNK,
    MAX_PLANNED,
    PATH,
    WHOLE,
    checked_arguments,
    having,
    unset_or,
)
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically
from jaxecon.core.text import plural, shown
from jaxecon.simulation.prepare import default_folder
from jaxecon.sweeps.chunk import Chunk, ChunkTooLarge
from jaxecon.sweeps.design import Design, read
from jaxecon.sweeps.executor import Executor, LocalExecutor, check_executor
from jaxecon.sweeps.folder import (
    POINTS,
    SWEEP,
    YEARS,
    finish_sweep,
    finished_chunks,
    has_begun,
    opened_folder,
    stored_plan,
    stored_text,
    write_part,
    write_plan,
)
from jaxecon.sweeps.listener import SilentSweepListener, SweepListener
from jaxecon.sweeps.plan import MANY_PROGRAMS, Plan, compiled_apart, cut_chunks, make_plan
from jaxecon.sweeps.points import Points, count
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.rows import ChunkRows
from jaxecon.sweeps.stored import with_sweep_id
from jaxecon.sweeps.task import Task

MAX_POINTS = 1_000_000  # unless the user asks for more

_KINDS = {  # of the arguments of `sweep`
    "out": unset_or(PATH),
    "executor": having("an executor", "run", "connect"),
    "chunk_size": unset_or(WHOLE),
    "max_points": WHOLE,
    "force": FLAG,
    "listener": having("a listener", "on_note", "on_chunk"),
}


@checked_arguments(**_KINDS)
def sweep(
    design: Design | str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    executor: Executor | None = None,
    chunk_size: int | None = None,
    max_points: int = MAX_POINTS,
    force: bool = False,
    listener: SweepListener | None = None,
) -> Sweep:
    """Simulate all points of a design, or those that an interrupted sweep in `out` has left.

    Points that fail do not end the sweep: their rows hold the error.

    Args:
        design: The path of a YAML file, a mapping like it, or a Design (docs/scaling.md).
        overrides: `key=value` settings on top of what all points share.
        out: A new folder, or that of the same sweep, which continues; by default runs/TIME.
        executor: Where chunks are simulated; by default this process.
        chunk_size: Runs in a compiled program; by default as many as suit memory and processor.
            A sweep that continues keeps its chunks.
        max_points: Refuse a design with more points.
        force: Continue a sweep that another version of jaxecon began.
        listener: Receives the progress.

    Returns:
        The sweep on disk.

    Raises:
        UserError: the design is not valid, has more than `max_points` points or none that can be
            simulated; `out` holds something else or cannot be written.
    """
    design = design if isinstance(design, Design) else read(design, overrides)
    out = Path(out) if out else default_folder()
    listener = listener or SilentSweepListener()
    total = count(design)
    _check_limits(total, max_points, chunk_size)
    points, executor = Points(design), executor or LocalExecutor()
    new_plan = None if has_begun(out) else _new_plan(points, chunk_size, listener)
    if new_plan is not None:
        check_executor(executor, new_plan.chunks)
    executor.connect()
    with opened_folder(out, points, force, listener) as manifest:
        if new_plan is not None:
            write_plan(out, new_plan)
            # Written last: its presence means that there is a sweep to continue.
            write_atomically(out / SWEEP, stored_text(points, out).encode())
        elif chunk_size is not None:
            listener.on_note("--chunk: the chunks are those of the sweep as it was begun")
        plan = stored_plan(out, total)
        check_executor(executor, plan.chunks)
        done = finished_chunks(out, plan.chunks, listener.on_note)
        waiting = deque(chunk for chunk in plan.chunks if chunk.number not in done)
        _announce(listener, total, plan, waiting, out)
        task = Task(points, out.resolve(), plan.brackets, force)
        _simulate_chunks(executor, task, plan, waiting, listener, manifest.get("sweep_id"))
        finish_sweep(out, manifest)
    return Sweep(out)


def _announce(
    listener: SweepListener, total: int, plan: Plan, waiting: Collection[Chunk], out: Path
) -> None:
    listener.on_note(f"{_size_text(total, plan)} -> {out}")
    listener.on_begin(total, total - sum(len(chunk.points) for chunk in waiting))


def _size_text(total: int, plan: Plan) -> str:
    return f"{plural(total, 'point')} in {plural(len(plan.chunks), 'chunk')}"


def _check_limits(total: int, max_points: int, chunk_size: int | None) -> None:
    """Raise UserError for too many points, or a chunk size below 1."""
    if total > min(max_points, MAX_PLANNED):
        more = (
            f"--max-points {total} if they are meant"
            if total <= MAX_PLANNED
            else "more than can be planned"
        )
        raise UserError(
            f"{plural(total, 'point')}; more than {min(max_points, MAX_PLANNED):,}: {more}"
        )
    if chunk_size is not None and not 1 <= chunk_size <= MAX_CHUNK:
        raise UserError(f"--chunk: {shown(chunk_size, 40)}; 1 to {MAX_CHUNK:,}")


def _new_plan(points: Points, chunk_size: int | None, listener: SweepListener) -> Plan:
    """The plan of a new sweep.

    Raises UserError where no point can be simulated, since then a shared setting is wrong.
    """
    total = len(points)
    plan = make_plan(points, chunk_size, lambda examined: listener.on_plan(examined, total))
    programs = {chunk.form: chunk.points[0] for chunk in plan.chunks if chunk.kind == "batch"}
    if len(programs) > MANY_PROGRAMS:
        apart = ", ".join(compiled_apart(points, next(iter(programs.values()))))
        listener.on_note(
            f"{len(programs):,} programs to compile, ten seconds and more each: each value of "
            f"{apart or 'what varies together'} makes another"
        )
    if all(chunk.kind == "refused" for chunk in plan.chunks):
        others = f" (and none of {total:,} points can be simulated)" if total > 1 else ""
        raise UserError(plan.chunks[0].errors[0] + others)
    return plan


def _simulate_chunks(
    executor: Executor,
    task: Task,
    plan: Plan,
    waiting: deque[Chunk],
    listener: SweepListener,
    sweep_id: str | None,
) -> None:
    """Simulate the waiting chunks, and write each as it is finished.

    A chunk that does not fit into memory is simulated again in smaller ones. sweep_id: the
    manifest's.
    """
    for chunk, result in executor.run(task, waiting):
        if isinstance(result, ChunkTooLarge):
            size = (chunk.size + 1) // 2
            plan = _split_chunk(plan, chunk, size, waiting)
            write_plan(task.folder, plan)
            listener.on_split(chunk, size)
        else:
            _write_chunk(task.folder, chunk, result, sweep_id)
            listener.on_chunk(
                len(chunk.points), result.points["status"].to_pylist().count("failed")
            )


def _split_chunk(plan: Plan, chunk: Chunk, size: int, waiting: deque[Chunk]) -> Plan:
    """Replace a chunk, and waiting chunks like it, by chunks of `size`; return the new plan.

    The new chunks become the first in `waiting`.
    """
    alike = [other for other in waiting if other.form == chunk.form and other.size > size]
    too_large = [chunk, *alike]
    parts = cut_chunks(too_large, size, max(other.number for other in plan.chunks) + 1)
    others = [other for other in waiting if other not in too_large]
    waiting.clear()
    waiting.extend(parts + others)
    return Plan([c for c in plan.chunks if c not in too_large] + parts, plan.brackets)


def _write_chunk(folder: Path, chunk: Chunk, rows: ChunkRows, sweep_id: str | None) -> None:
    """Write a chunk's part of both tables; that of the points, the last, marks it as finished."""
    write_part(folder / YEARS, chunk, with_sweep_id(rows.years, sweep_id))
    write_part(folder / POINTS, chunk, with_sweep_id(rows.points, sweep_id))
