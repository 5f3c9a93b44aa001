"""What an experiment's module works with: its sweeps, and other rows that it computes."""

import copy
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from experiments.suite.registry import Designs
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, first_line
from jaxecon.core.files import write_atomically
from jaxecon.storage.manifest import read_manifest
from jaxecon.storage.paths import MANIFEST
from jaxecon.storage.provenance import environment
from jaxecon.sweeps.design import Design, read
from jaxecon.sweeps.executor import Executor
from jaxecon.sweeps.listener import SweepListener
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.sweep import sweep

EXPERIMENT, REPORT = "experiment.yaml", "report.md"

Watch = Callable[[str], AbstractContextManager[SweepListener]]


@dataclass
class Study:
    """An experiment while it runs.

    accounts: the manifest's entries on the sweeps so far. watch: makes the listener that follows a
    sweep, from its name.
    """

    name: str
    size: str
    folder: Path
    designs: Designs
    executor: Executor | None
    force: bool
    watch: Watch
    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def sweep(self, name: str, points: Sequence[Mapping[str, Any]] | None = None) -> Sweep:
        """Simulate a mechanical design, or read it if that is done.

        points: its `list`, where that has to be computed.
        """
        return self._simulated("mechanical", name, self._design(name, points), self.executor)

    def described(self, name: str) -> Sweep | None:
        """Simulate or read a design with language models; None where they are left out."""
        design = self.designs["llm"].get(name)
        return None if design is None else self._simulated("llm", name, design, None)

    def _simulated(
        self, kind: str, name: str, design: Mapping[str, Any], executor: Executor | None
    ) -> Sweep:
        folder = self.folder / kind / name
        with self.watch(f"{self.name}: {kind} {name}") as listener:
            swept = sweep(
                read(design), out=folder, executor=executor, force=self.force, listener=listener
            )
        points, years = swept.points, swept.years
        seeds = (
            points["seed"].to_pylist()
            if "seed" in points.column_names
            else [int(design.get("run", {}).get("seed", 0))]
        )
        self.accounts[f"{kind}.{name}"] = {
            "points": points.num_rows,
            "failed": swept.manifest["failed"],
            "errors": sorted({error for error in points["error"].to_pylist() if error is not None})[
                :5
            ],
            "populations": len(set(seeds)),
            **_sizes(read(design)),
            "seeds": [min(seeds), max(seeds)],
            "answers": sum(years["llm_calls"].to_pylist()),
            "fallbacks": sum(years["llm_fallbacks"].to_pylist()),
            "models": _models(folder),
        }
        return swept

    def _design(self, name: str, points: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
        """A mechanical design.

        points: its `list`, where that has to be computed; seeds among them replace `seeds`.
        """
        design = copy.deepcopy(self.designs["mechanical"][name])
        if points is not None:
            design["list"] = [dict(point) for point in points]
            if any("seed" in point for point in points):
                design.pop("seeds", None)
        return design

    def configurations(
        self, name: str, points: Sequence[Mapping[str, Any]] | None = None
    ) -> list[tuple[dict[str, Any], Config]]:
        """Each point's settings with its configuration. points: as `sweep` takes them."""
        every = Points(read(self._design(name, points)))
        return [(every[i].settings, every.config(every[i])) for i in range(len(every))]

    def seeds(self, name: str) -> range:
        """The seeds of a mechanical design's populations, where it gives their number."""
        design = self.designs["mechanical"][name]
        first = int(design.get("run", {}).get("seed", 0))
        return range(first, first + int(design["seeds"]))

    def computed(
        self, name: str, work: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Rows that an experiment computes itself, or reads where this code has computed them."""
        # other code may compute other rows
        path = self.folder / "computed" / f"{name}-{_code()}.parquet"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_parquet(path, [dict(row) for row in work()])
        try:
            return list(pq.read_table(path.absolute(), page_checksum_verification=True).to_pylist())
        except (OSError, pa.ArrowException) as error:
            raise DiskError(
                f"{path}: damaged ({first_line(error)}); remove it to compute it again"
            ) from error


@cache
def _code() -> str:
    """A hash of the code of jaxecon and of the experiments."""
    own = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
    ).hexdigest()
    return hashlib.sha256(f"{environment()['code']} {own}".encode()).hexdigest()[:12]


def _sizes(design: Design) -> dict[str, list[int]]:
    """The smallest and the largest number of agents, years and days a year of any arm."""
    points = Points(design)
    arms = [points.config(points[i]) for i in range(0, len(points), design.seeds or 1)]
    sizes = {
        "agents": [sum(cohort.size for cohort in arm.cohorts) for arm in arms],
        "years": [arm.years for arm in arms],
        "days": [arm.year.days for arm in arms],
    }
    return {name: [min(values), max(values)] for name, values in sizes.items()}


def _models(folder: Path) -> list[str]:
    """The models that answered in the runs of a sweep, with their engines."""
    models = set()
    for path in sorted(folder.glob(f"runs/*/{MANIFEST}")):
        manifest, _ = read_manifest(path.parent)
        for one in (manifest.get("models") or {}).values():
            models.add(f"{one.get('model')} ({one.get('engine')})")
    return sorted(models)


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table({name: [row.get(name) for row in rows] for name in names}),
        sink,
        compression="zstd",
        write_page_checksum=True,
    )
    write_atomically(path, sink.getvalue().to_pybytes())
