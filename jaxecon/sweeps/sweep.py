"""Sweeps: many configurations, lived in chunks of compiled programs, on disk chunk by chunk.

FOLDER/
  sweep.yaml        the design
  manifest.json     versions, hardware, status, and how many points failed
  plan.json         which points make which chunk
  points.parquet/   a row for each point: its settings, how it ended, its last year
  years.parquet/    a row for each point and year
  runs/00000012/    the whole run of a point with language models
"""

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically
from jaxecon.simulation.prepare import default_folder
from jaxecon.sweeps.chunk import Chunk, ChunkTooLarge, Task
from jaxecon.sweeps.design import Design, read, to_yaml
from jaxecon.sweeps.executor import Executor, Local, check_executor
from jaxecon.sweeps.folder import (
    POINTS,
    SWEEP,
    YEARS,
    finish_sweep,
    finished_chunks,
    has_begun,
    opened_folder,
    stored_plan,
    write_part,
    write_plan,
)
from jaxecon.sweeps.listener import Listener, SilentSweepListener
from jaxecon.sweeps.plan import MANY_PROGRAMS, compiled_apart, cut_chunks, plan
from jaxecon.sweeps.points import Points, count
from jaxecon.sweeps.results import Sweep

MAX_POINTS = 1_000_000  # without being told that more are meant

_MAX_PLANNED = 10**15


# --- the folder -----------------------------------------------------------------------------------


def sweep(
    design: Design | str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    executor: Executor | None = None,
    lanes: int | None = None,
    most_points: int = MAX_POINTS,
    force: bool = False,
    listener: "Listener | None" = None,
) -> "Sweep":
    """Live all points, or those that an interrupted sweep in `out` has not.

    Points that fail are rows with their error.

    design: a YAML file's path, a mapping like it, or a Design. overrides: `key=value` on top of
    what all points share. lanes: runs in a compiled program; by default what memory and processor
    take. force: go on with another jaxecon's sweep.

    Raises UserError: a design that is none, more points than most_points, a folder of another
    sweep, a disk that cannot be written.
    """
    design = design if isinstance(design, Design) else read(design, overrides)
    out = Path(out) if out else default_folder()
    told: Listener = listener or SilentSweepListener()
    total = count(design)
    if total > min(most_points, _MAX_PLANNED):
        more = (
            f"--max-points {total} if they are meant"
            if total <= _MAX_PLANNED
            else "more than can be planned"
        )
        raise UserError(f"{total:,} points; more than {min(most_points, _MAX_PLANNED):,}: {more}")
    if lanes is not None and lanes < 1:
        raise UserError(f"--chunk: {lanes}; 1 or more")
    points, executor = Points(design), executor or Local()
    planned = None if has_begun(out) else _new_plan(points, lanes, told)
    if planned is not None:
        check_executor(executor, planned[0])
    executor.connect()
    with opened_folder(out, points, force, told) as manifest:
        if planned is not None:
            write_plan(out, *planned)
            write_atomically(
                out / SWEEP, to_yaml(design).encode()
            )  # last: from here on there is a sweep to go on with
        elif lanes is not None:
            told.note("--chunk: the chunks are those of the sweep as it was begun")
        chunks, brackets = stored_plan(out)
        check_executor(executor, chunks)
        task = Task(points, out.resolve(), brackets, force)
        done = finished_chunks(out, chunks)
        left = [chunk for chunk in chunks if chunk.number not in done]
        told.note(f"{total:,} points in {len(chunks):,} chunks -> {out}")
        told.begin(total, total - sum(len(chunk.points) for chunk in left))
        waiting = deque(left)
        for chunk, result in executor.run(task, waiting):
            if isinstance(result, ChunkTooLarge):
                width = (chunk.lanes + 1) // 2
                too_large = [
                    chunk,
                    *(c for c in waiting if c.form == chunk.form and c.lanes > width),
                ]
                parts = cut_chunks(too_large, width, max(c.number for c in chunks) + 1)
                chunks = [c for c in chunks if c not in too_large] + parts
                write_plan(out, chunks, brackets)
                rest = [c for c in waiting if c not in too_large]
                waiting.clear()
                waiting.extend(parts + rest)
                told.halved(chunk, width)
                continue
            write_part(out / YEARS, chunk, result.years)
            write_part(
                out / POINTS, chunk, result.points
            )  # last: the chunk is done when this is there
            told.lived(
                len(chunk.points),
                sum(status == "failed" for status in result.points["status"].to_pylist()),
            )
        finish_sweep(out, manifest)
    return Sweep(out)


def _new_plan(points: Points, lanes: int | None, told: "Listener") -> tuple[list[Chunk], int]:
    """Raises UserError where no point at all can be lived: then something is wrong with what they
    share.
    """
    total = len(points)
    chunks, brackets = plan(points, lanes, lambda done: told.planning(done, total))
    programs = {chunk.form: chunk.points[0] for chunk in chunks if chunk.kind == "batch"}
    if len(programs) > MANY_PROGRAMS:
        names = (
            ", ".join(compiled_apart(points, next(iter(programs.values()))))
            or "what varies together"
        )
        told.note(
            f"{len(programs):,} programs to compile, ten seconds and more each: each value of "
            f"{names} makes another"
        )
    if all(chunk.kind == "refused" for chunk in chunks):
        raise UserError(
            chunks[0].errors[0]
            + (f" (and none of {total:,} points can be lived)" if total > 1 else "")
        )
    return chunks, brackets
