"""Sweeps: many configurations, lived in chunks of compiled programs, on disk chunk by chunk.

FOLDER/
  sweep.yaml        the design
  manifest.json     versions, hardware, status, and how many points failed
  plan.json         which points make which chunk
  points.parquet/   a row for each point: its settings, how it ended, its last year
  years.parquet/    a row for each point and year
  runs/00000012/    the whole run of a point with language models
"""

import hashlib
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon import api, batch
from jaxecon.build import first_brackets, skill_nodes
from jaxecon.chunks import FIGURES, OF_WEALTH, Chunk, Engines, Lived, Stop, Task, TooLarge, devices_here, reason
from jaxecon.config import Config
from jaxecon.continuing import changed_code, inexact
from jaxecon.designs import SEEDS, Design, Point, Points, count, read, to_yaml
from jaxecon.errors import UserError, first_line
from jaxecon.locks import lock_for_writing
from jaxecon.records import (
    MANIFEST,
    atomically,
    changed_files,
    environment,
    refuse_existing,
    source_of_rule,
    write_atomically,
)
from jaxecon.simulation import computing

FORMAT = 1
SWEEP, PLAN, POINTS, YEARS = "sweep.yaml", "plan.json", "points.parquet", "years.parquet"
MOST_POINTS = 1_000_000  # without being told that more are meant
_MOST_PLANNED = 10**15
AGENTS_A_CHUNK = {"cpu": 1 << 20, "gpu": 1 << 27}  # more are not faster
AGENT_DAYS_A_CHUNK = {"cpu": 1 << 28, "gpu": 1 << 34}  # some seconds: progress is shown, and little lost, at a chunk's end
LEAST_AGENTS_A_CHUNK = 1 << 15  # fewer leave a processor idle, however long they live
_PEAK = 3  # times what a chunk holds
_SHARE = 0.5  # of the memory that is free
MANY_PROGRAMS = 16  # more are minutes of compilation, which a user should know of
_TRIED_VALUES = 16  # of a setting, to see whether others compile apart

SUMMARISED = ("gain_equilibrium", "gain_realised", "mean_hours")


class Executor(Protocol):
    """Where chunks are lived."""

    def connect(self) -> None:
        """Before anything is written. Raises UserError."""
        ...

    def run(self, task: "Task", waiting: deque[Chunk]) -> Iterator[tuple[Chunk, Lived | TooLarge]]:
        """Each of the chunks, in any order; more may be put into `waiting` between two."""
        ...


class Local:
    """One after another, in this process."""

    def connect(self) -> None:
        return

    def run(self, task: "Task", waiting: deque[Chunk]) -> Iterator[tuple[Chunk, Lived | TooLarge]]:
        with Engines() as engines:
            while waiting:
                chunk = waiting.popleft()
                yield chunk, task.live(chunk, engines)


# --- the plan ------------------------------------------------------------------------------------------------------


def plan(points: Points, lanes: int | None = None, tell: Callable[[int], None] | None = None) -> tuple[list[Chunk], int]:
    """Chunks of all points, each of one compiled program; and the most brackets of any. tell: how many are looked at.

    lanes: runs in a chunk; by default as memory and processor have it.
    """
    groups: dict[Any, list[int]] = {}
    drafts: dict[Any, tuple[batch.Case, Config]] = {}
    errors: dict[int, str] = {}
    brackets, known = 1, None
    for i in range(len(points)):
        point = points[i]
        try:
            shared, _ = points.shared(point)
            if known is not None and known[0] is shared:  # points that differ in their seeds alone have one form
                key: Any = known[1]
            elif shared.needs_engine:
                key = ("run", i)
                brackets = max(brackets, len(first_brackets(shared)[0]))
            else:
                config = points.config(point)
                with computing(config):
                    drawn = batch.draft(config)
                key = ("batch", batch.form(drawn), config.device)
                drafts.setdefault(key, (drawn, config))
                brackets, known = max(brackets, len(drawn.rates)), (shared, key)
        except Exception as error:  # a user's rule may do anything
            key, errors[i] = ("refused",), reason(error)
        groups.setdefault(key, []).append(i)
        if tell is not None:
            tell(i + 1)
    chunks: list[Chunk] = []
    for form, (key, members) in enumerate(groups.items()):
        kind = key[0]
        width = min(lanes or _lanes(*drafts[key]), len(members)) if kind == "batch" else len(members)
        for start in range(0, len(members), width):
            these = tuple(members[start : start + width])
            wrong = tuple(errors[i] for i in these) if kind == "refused" else ()
            chunks.append(Chunk(len(chunks), kind, these, width, form, wrong))
    return chunks, brackets


def compiled_apart(points: Points, base: int) -> list[str]:
    """Which of the settings that vary are part of the compiled program, so that other values compile anew. base: a point that
    can be lived."""

    def form_of(settings: Mapping[str, Any]) -> Any:
        try:
            config = points.config(Point(base, dict(settings)))
            with computing(config):
                return batch.form(batch.draft(config)), config.device
        except Exception:  # a value that is refused, or one of a language model's settings: no program
            return None

    given = points[base].settings
    known = form_of(given)
    found = []
    for name in given:
        others = (value for value in points.values(name) if value != given[name]) if name not in SEEDS else ()
        forms = (form_of({**given, name: value}) for value in islice(others, _TRIED_VALUES))
        if any(form is not None and form != known for form in forms):
            found.append(name)
    return found


def _lanes(drawn: batch.Case, config: Config) -> int:
    """How many runs of this form one program takes at a time, over all devices of this machine."""
    with computing(config):
        each, devices = batch.bytes_of(drawn, skill_nodes(config)), devices_here()
    agents = sum(size for _, size in drawn.economy.sizes)
    by_memory = int(_SHARE * _free_memory(devices) / (_PEAK * each))
    platform = devices[0].platform
    by_processor = AGENTS_A_CHUNK.get(platform, AGENTS_A_CHUNK["gpu"]) // agents
    days = AGENT_DAYS_A_CHUNK.get(platform, AGENT_DAYS_A_CHUNK["gpu"]) // (agents * drawn.years * drawn.days)
    by_time = max(days, LEAST_AGENTS_A_CHUNK // agents)
    return max(1, min(by_memory, by_processor, by_time))


def _free_memory(devices: Sequence[Any]) -> int:
    """Bytes, of all together."""
    stats = [device.memory_stats() or {} for device in devices]
    if all("bytes_limit" in held for held in stats):
        return sum(int(held["bytes_limit"] - held.get("bytes_in_use", 0)) for held in stats)
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


# --- the folder ----------------------------------------------------------------------------------------------------


def sweep(
    design: Design | str | Path | Mapping[str, Any],
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    executor: Executor | None = None,
    lanes: int | None = None,
    most_points: int = MOST_POINTS,
    force: bool = False,
    listener: "Listener | None" = None,
) -> "Sweep":
    """Live all points, or those that an interrupted sweep in `out` has not. Points that fail are rows with their error.

    design: a YAML file's path, a mapping like it, or a Design. overrides: `key=value` on top of what all points share.
    lanes: runs in a compiled program; by default what memory and processor take. force: go on with another jaxecon's sweep.

    Raises UserError: a design that is none, more points than most_points, a folder of another sweep, a disk that cannot be
    written.
    """
    design = design if isinstance(design, Design) else read(design, overrides)
    out = Path(out) if out else api.default_folder()
    told: Listener = listener or Silent()
    total = count(design)
    if total > min(most_points, _MOST_PLANNED):
        more = f"--max-points {total} if they are meant" if total <= _MOST_PLANNED else "more than can be planned"
        raise UserError(f"{total:,} points; more than {min(most_points, _MOST_PLANNED):,}: {more}")
    if lanes is not None and lanes < 1:
        raise UserError(f"--chunk: {lanes}; 1 or more")
    points, executor = Points(design), executor or Local()
    planned = None if _begun(out) else _new_plan(points, lanes, told)
    if planned is not None:
        _check_executor(executor, planned[0])
    executor.connect()
    with _folder(out, points, force, told) as manifest:
        if planned is not None:
            _write_plan(out, *planned)
            write_atomically(out / SWEEP, to_yaml(design).encode())  # last: from here on there is a sweep to go on with
        elif lanes is not None:
            told.note("--chunk: the chunks are those of the sweep as it was begun")
        chunks, brackets = _stored_plan(out)
        _check_executor(executor, chunks)
        task = Task(points, out.resolve(), brackets, force)
        done = _done(out, chunks)
        left = [chunk for chunk in chunks if chunk.number not in done]
        told.note(f"{total:,} points in {len(chunks):,} chunks -> {out}")
        told.begin(total, total - sum(len(chunk.points) for chunk in left))
        waiting = deque(left)
        for chunk, result in executor.run(task, waiting):
            if isinstance(result, TooLarge):
                width = (chunk.lanes + 1) // 2
                too_large = [chunk, *(c for c in waiting if c.form == chunk.form and c.lanes > width)]
                parts = _cut(too_large, width, max(c.number for c in chunks) + 1)
                chunks = [c for c in chunks if c not in too_large] + parts
                _write_plan(out, chunks, brackets)
                rest = [c for c in waiting if c not in too_large]
                waiting.clear()
                waiting.extend(parts + rest)
                told.halved(chunk, width)
                continue
            _write(out / YEARS, chunk, result.years)
            _write(out / POINTS, chunk, result.points)  # last: the chunk is done when this is there
            told.lived(len(chunk.points), sum(status == "failed" for status in result.points["status"].to_pylist()))
        _finish(out, manifest)
    return Sweep(out)


class Listener(Protocol):
    """Who is told how a sweep goes."""

    def note(self, line: str) -> None: ...

    def planning(self, looked_at: int, total: int) -> None: ...

    def begin(self, total: int, done: int) -> None: ...

    def lived(self, points: int, failed: int) -> None: ...

    def halved(self, chunk: Chunk, lanes: int) -> None: ...


class Silent:
    def note(self, line: str) -> None:
        return

    def planning(self, looked_at: int, total: int) -> None:
        return

    def begin(self, total: int, done: int) -> None:
        return

    def lived(self, points: int, failed: int) -> None:
        return

    def halved(self, chunk: Chunk, lanes: int) -> None:
        return


def _check_executor(executor: Executor, chunks: Sequence[Chunk]) -> None:
    if not isinstance(executor, Local) and any(chunk.kind == "run" for chunk in chunks):
        raise UserError("--executor: points with language models need local")


def _begun(out: Path) -> bool:
    """Whether there is a sweep to go on with. Raises UserError where something else is in the way."""
    try:
        if (out / SWEEP).exists():
            return True
        left = {path.name for path in out.iterdir() if not path.name.startswith(".")} if out.is_dir() else set()
    except OSError as error:
        raise UserError(f"--out: {out}: cannot be read ({error.strerror})") from error
    if left - {MANIFEST, PLAN, POINTS, YEARS} or (left and _read_json(out / MANIFEST).get("kind") != "sweep"):
        refuse_existing(out)
    return False  # nothing, or what was left where a sweep was killed while it began


def _new_plan(points: Points, lanes: int | None, told: "Listener") -> tuple[list[Chunk], int]:
    """Raises UserError where no point at all can be lived: then something is wrong with what they share."""
    total = len(points)
    chunks, brackets = plan(points, lanes, lambda done: told.planning(done, total))
    programs = {chunk.form: chunk.points[0] for chunk in chunks if chunk.kind == "batch"}
    if len(programs) > MANY_PROGRAMS:
        names = ", ".join(compiled_apart(points, next(iter(programs.values())))) or "what varies together"
        told.note(f"{len(programs):,} programs to compile, ten seconds and more each: each value of {names} makes another")
    if all(chunk.kind == "refused" for chunk in chunks):
        raise UserError(chunks[0].errors[0] + (f" (and none of {total:,} points can be lived)" if total > 1 else ""))
    return chunks, brackets


@contextmanager
def _folder(out: Path, points: Points, force: bool, told: "Listener") -> Iterator[dict[str, Any]]:
    """The folder, new or begun, for this process alone; yields its manifest."""
    text, now, files = to_yaml(points.design), environment(), _outside_files(points)
    try:
        out.mkdir(parents=True, exist_ok=True)
        release = lock_for_writing(out / ".lock", f"{out}:")
    except OSError as error:
        raise UserError(f"--out: {out}: cannot be written ({error.strerror})") from error
    try:
        if (out / SWEEP).exists():
            if (out / SWEEP).read_text() != text:
                raise UserError(f"--out: {out}: holds another sweep; give a new folder")
            manifest = _read_json(out / MANIFEST)
            changed = changed_code(manifest, now)
            changed += changed_files(manifest["files"], files)
            if changed and not force:
                raise UserError(f"{out}: not what the sweep began with: {'; '.join(changed)}; --force goes on")
            for line in (*changed, *inexact(manifest, now)):
                told.note(f"going on, so that chunks can differ: {line}")
        else:
            manifest = {"format": FORMAT, "kind": "sweep", "status": "running", **now, "files": files}
            write_atomically(out / MANIFEST, json.dumps(manifest, indent=1).encode())
        for table in (POINTS, YEARS):
            (out / table).mkdir(exist_ok=True)
        yield manifest
    except Stop as stop:
        if isinstance(stop.error, OSError):
            raise UserError(f"{out}: {first_line(stop.error)}; finished chunks are kept") from stop.error
        raise stop.error from None
    except OSError as error:
        raise UserError(f"--out: {out}: cannot be written ({error.strerror}); finished chunks are kept") from error
    finally:
        release()


def _outside_files(points: Points) -> dict[str, str]:
    """SHA-256 of the microdata that points read, by path, and of the modules of users' own rules, by rule."""
    files = {path: Path(path) for path in _given(points, "population.file") if Path(path).is_file()}
    for rule in _given(points, "rule"):
        with suppress(ValueError):  # points with a rule that there is not fail by themselves
            source = source_of_rule(rule) if ":" in rule else None
            files |= {} if source is None else {rule: source}
    return {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sorted(files)}


def _given(points: Points, setting: str) -> set[str]:
    """Values of a setting, by the end of its name, in what all points share and in what varies."""
    found: set[str] = set()

    def look(name: str, value: Any) -> None:
        if isinstance(value, str) and f".{name}".endswith(f".{setting}"):
            found.add(value)
        for inner, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
            look(f"{name}.{inner}", part)

    look("", points.design.run)
    for name in points.names:
        if name.startswith("population."):
            for value in points.values(name):
                look(name, value)
    return found


def _stored_plan(out: Path) -> tuple[list[Chunk], int]:
    """Chunks that are lived again must be the same ones."""
    stored = _read_json(out / PLAN)
    chunks = [Chunk(**{**c, "points": tuple(c["points"]), "errors": tuple(c["errors"])}) for c in stored["chunks"]]
    return chunks, stored["brackets"]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({first_line(error)}); give a new folder") from error


def _done(out: Path, chunks: Sequence[Chunk]) -> set[int]:
    """Chunks with both parts. Parts of none, which an interruption left behind, are removed."""
    planned, finished = {chunk.number for chunk in chunks}, _numbers(out / POINTS)
    for table in (YEARS, POINTS):
        for number, path in _numbers(out / table).items():
            if number not in planned or number not in finished:
                path.unlink()
    return planned & finished.keys()


def _numbers(folder: Path) -> dict[int, Path]:
    """Part files by their chunk's number."""
    found = ((path.stem.removeprefix("part-"), path) for path in folder.glob("part-*.parquet"))
    return {int(number): path for number, path in found if number.isdigit()}


def _write_plan(out: Path, chunks: Sequence[Chunk], brackets: int) -> None:
    write_atomically(out / PLAN, json.dumps({"brackets": brackets, "chunks": [asdict(chunk) for chunk in chunks]}).encode())


def _cut(chunks: Sequence[Chunk], width: int, number: int) -> list[Chunk]:
    """The points of chunks of one form in narrower ones."""
    parts = [chunk.points[i : i + width] for chunk in chunks for i in range(0, len(chunk.points), width)]
    return [Chunk(number + i, chunks[0].kind, part, width, chunks[0].form) for i, part in enumerate(parts)]


def _write(folder: Path, chunk: Chunk, table: pa.Table) -> None:
    with atomically(folder / f"part-{chunk.number:08d}.parquet") as file:
        pq.write_table(table, file)


def _finish(out: Path, manifest: dict[str, Any]) -> None:
    ends = pq.read_table(out / POINTS, columns=["status"])["status"].to_pylist()
    manifest |= {"status": "complete", "points": len(ends), "failed": ends.count("failed")}
    write_atomically(out / MANIFEST, json.dumps(manifest, indent=1).encode())


# --- reading -------------------------------------------------------------------------------------------------------


class Sweep:
    """A sweep on disk, finished or not. Raises UserError where there is none."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not (self.path / SWEEP).exists():
            raise UserError(f"{path}: holds no sweep")

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = _read_json(self.path / MANIFEST)
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
        finished, parts = _numbers(self.path / POINTS), _numbers(self.path / name)
        if not finished:
            raise UserError(f"{self.path}: no chunk is finished yet")
        try:
            tables = [pq.read_table(parts[number]) for number in sorted(finished)]
        except (OSError, KeyError, pa.ArrowException) as error:
            raise UserError(f"{self.path / name}: cannot be read ({first_line(error)})") from error
        return pa.concat_tables(tables).sort_by(order)

    @property
    def settings(self) -> list[str]:
        """What varies, by name."""
        return _settings(self.points)

    def summary(self, figures: Sequence[str] = SUMMARISED, level: float = 0.95) -> list[dict[str, Any]]:
        """Last years averaged over seeds: for each combination of the other settings its values, `points` and `failed`, `n`
        seeds, and for each figure its `mean` and the half-width `ci` of its confidence interval (Student's t; None for one).

        Points of one `seed` are the same people: they are averaged first. Without a varied `seed` the draws count.
        Raises UserError: a figure that there is not.
        """
        from scipy.stats import t

        check_figures(figures)
        table = self.points
        settings = _settings(table)
        for name in figures:
            if name not in table.column_names:
                raise UserError(f"--figures: {name!r}; no point has {'wealth' if name in OF_WEALTH else 'so many brackets'}")
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
            line = {**{name: rows[0][name] for name in kept}, "points": len(rows), "failed": failed, "n": len(people)}
            for name in figures:
                means = (np.mean([row[name] for row in alike if row[name] is not None] or [np.nan]) for alike in people.values())
                x = np.array([mean for mean in means if not np.isnan(mean)])
                line[f"{name}_mean"] = float(x.mean()) if len(x) else None
                width = t.ppf((1 + level) / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)) if len(x) > 1 else None
                line[f"{name}_ci"] = None if width is None else float(width)
            found.append(line)
        return found


def _settings(points: pa.Table) -> list[str]:
    names = points.column_names
    return names[1 : names.index("status")]


def check_figures(names: Sequence[str]) -> None:
    """Raise UserError for a name that is no figure of a year."""
    for name in names:
        if name not in (*FIGURES, *OF_WEALTH) and not re.fullmatch(r"rate_\d+", name):
            raise UserError(f"--figures: {name!r}; any of {', '.join((*FIGURES, *OF_WEALTH))}, rate_0, ..")
