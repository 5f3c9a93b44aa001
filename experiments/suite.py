"""The suite behind `jaxecon experiment NAME`: what an experiment is, how it is run, what it leaves.

An experiment is a module with `QUESTION` and `run(study) -> list[Table | Picture]`, and a YAML of
the same name beside it. The module may name `LEAST_YEARS` that its mechanical designs need, and the
settings that it fixes itself, `RESERVED`. The file's `base` has `mechanical` and `llm`, mappings of
names to designs of sweeps (docs/scaling.md); `quick` and `full` go on top of it. Mechanical designs
are compiled programs over many populations, and only they are tested; points of `llm` designs are
whole runs with a language model, few and small, and only described.

FOLDER/
  experiment.yaml              the designs
  manifest.json                versions, hardware, populations, failures, fallbacks
  mechanical/NAME/, llm/NAME/  sweeps, which go on where they were interrupted
  computed/NAME-CODE.parquet   what else the experiment worked out, by this code
  tables/NAME.json, .parquet   every number of a table, and the table as it is shown
  figures/NAME.png
  report.md                    all tables and figures
"""

import copy
import hashlib
import importlib
import importlib.util
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from experiments.tables import Table, markdown
from jaxecon.config import read as config_read
from jaxecon.config.read import apply, read_yaml
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically
from jaxecon.report.schedules import check_matplotlib
from jaxecon.simulation.language import check_engines
from jaxecon.simulation.optimum import plain
from jaxecon.storage.paths import MANIFEST, refuse_existing
from jaxecon.storage.provenance import environment
from jaxecon.sweeps.design import Design, read
from jaxecon.sweeps.executor import Executor
from jaxecon.sweeps.listener import Listener, Silent
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.sweep import sweep

NAMES = (
    "tax_year",
    "planner_prompt",
    "voting",
    "baselines",
    "scale",
    "population_mix",
    "satisfaction",
    "empirical_saez",
    "units",
)
SIZES = ("quick", "full")
LEAST_POPULATIONS = 30  # of a mechanical arm
EXPERIMENT, REPORT = "experiment.yaml", "report.md"
FORMAT = 1
_KINDS = ("mechanical", "llm")

Designs = dict[str, dict[str, Any]]  # mechanical and llm, each by name
Watch = Callable[[str], AbstractContextManager[Listener]]


@dataclass(frozen=True)
class Picture:
    """A figure: draw(matplotlib.figure.Figure) fills one of `size` inches.

    caption: what is to be seen.
    """

    name: str
    caption: str
    draw: Callable[[Any], None]
    size: tuple[float, float] = (9.0, 4.0)


@dataclass(frozen=True)
class Report:
    """What an experiment came to.

    figures: paths of the pictures. notes: what is to be known of all tables.
    """

    name: str
    question: str
    folder: Path
    tables: list[Table]
    figures: list[Path]
    notes: list[str]
    failed: int


def load(name: str, size: str) -> Designs:
    """The designs of an experiment. Raises UserError: no such experiment, a file that is none."""
    if name not in NAMES:
        raise UserError(f"experiment: {name!r}; one of {', '.join(NAMES)}")
    tree = read_yaml(Path(__file__).with_name(f"{name}.yaml"))
    merged = _merged(tree.get("base") or {}, tree.get(size) or {})
    return {kind: merged.get(kind) or {} for kind in _KINDS}


def _merged(base: Any, more: Any) -> Any:
    """Mappings joined, all the way down; anything else replaced."""
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    return base | {
        key: _merged(base[key], value) if key in base else value for key, value in more.items()
    }


def conduct(
    name: str,
    size: str = "quick",
    *,
    out: str | Path,
    llm: bool = True,
    overrides: Sequence[str] = (),
    executor: Executor | None = None,
    force: bool = False,
    watch: Watch | None = None,
    given: Designs | None = None,
) -> Report:
    """Run an experiment, or what an interrupted one in `out` has left to do.

    llm: whether arms with language models are lived. overrides: `key=value` for all runs. given: in
    the place of the experiment's own designs. watch: who is told how each sweep goes.

    Raises UserError, before anything is computed: a name, a folder, matplotlib or a language model
    that is not there, an override that its arms would take no notice of, too few years.
    """
    out, begun = Path(out), time.monotonic()
    tree = copy.deepcopy(given) if given is not None else load(name, size)
    module = importlib.import_module(f"experiments.{name}")
    for kind in _KINDS:
        for design in tree[kind].values():
            for override in overrides:
                _refuse_taken(override, design, getattr(module, "RESERVED", ()))
                apply(design.setdefault("run", {}), override)
    left_out = bool(tree["llm"]) and not llm
    if left_out:
        tree["llm"] = {}
    check_matplotlib()
    least = getattr(module, "LEAST_YEARS", 1)
    for where, design in tree["mechanical"].items():
        years = config_read.load_config(design["run"]).years
        if years < least:
            raise UserError(f"years: {years}; at least {least} in {name}.mechanical.{where}")
    for where, design in tree["llm"].items():
        _check_engines(f"{name}.llm.{where}", design)
    text = str(
        yaml.safe_dump(
            {"experiment": name, "size": size, "mechanical": tree["mechanical"]}, sort_keys=False
        )
    )
    _open_folder(out, text)
    study = Study(name, size, out, tree, executor, force, watch or _silently)
    manifest = {
        "format": FORMAT,
        "kind": "experiment",
        "name": name,
        "size": size,
        "status": "running",
        **environment(),
    }
    _write_json(out / MANIFEST, manifest)
    results = module.run(study)
    tables = [result for result in results if isinstance(result, Table)]
    figures = [_drawn(out, result) for result in results if isinstance(result, Picture)]
    for table in tables:
        _write_table(out, table)
    manifest |= {
        "status": "complete",
        "llm": "left out (--no-llm)" if left_out else "yes" if tree["llm"] else "none",
        "designs": study.accounts,
        "tables": [table.name for table in tables],
        "figures": [path.name for path in figures],
        "seconds": time.monotonic() - begun,
    }
    _write_json(out / MANIFEST, manifest)
    notes = _notes(manifest, study.accounts)
    report = Report(
        name,
        module.QUESTION,
        out,
        tables,
        figures,
        notes,
        sum(a["failed"] for a in study.accounts.values()),
    )
    captions = [result.caption for result in results if isinstance(result, Picture)]
    write_atomically(out / REPORT, _report(report, size, captions).encode())
    return report


def _refuse_taken(override: str, design: Mapping[str, Any], reserved: Iterable[str]) -> None:
    """Raise UserError for a setting that an experiment varies or fixes: its arms would take no
    notice, or not be what they are called.
    """
    name = override.partition("=")[0].strip()
    varied = {
        key for point in [design.get("grid") or {}, *(design.get("list") or [])] for key in point
    }
    for keys, does in ((varied, "varies"), (reserved, "fixes")):
        if any(
            name == key or key.startswith(f"{name}.") or name.startswith(f"{key}.") for key in keys
        ):
            raise UserError(
                f"--set {override}: the experiment {does} it; jaxecon sweep takes a design of "
                "your own"
            )


def _silently(_: str) -> AbstractContextManager[Listener]:
    return nullcontext(Silent())


def _check_engines(where: str, design: Mapping[str, Any]) -> None:
    """Raise UserError where a model or its engine is missing."""
    points = Points(read(design))
    for i in range(len(points)):
        config = points.config(points[i])
        try:
            check_engines(config)
        except UserError as error:
            raise UserError(f"{error} (or --no-llm)") from error
        local = any(serving.engine == "vllm" for serving in config.servings.values())
        if local and importlib.util.find_spec("vllm") is None:
            raise UserError(
                f"{where}: needs vLLM: pip install 'jaxecon[vllm]', on a CPU see docs/install.md; "
                "or --no-llm"
            )


def _open_folder(out: Path, text: str) -> None:
    """A new folder, or that of the same experiment. Raises UserError."""
    known = out / EXPERIMENT
    try:
        if known.is_file():
            if known.read_text() != text:
                raise UserError(
                    f"--out: {out}: holds another experiment, or another size of it; give a new "
                    "folder"
                )
            return
        refuse_existing(out)
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(known, text.encode())
    except OSError as error:
        raise UserError(f"--out: {out}: cannot be written ({error.strerror})") from error


@dataclass
class Study:
    """An experiment while it is run.

    accounts: of each sweep so far, what the manifest says of it.
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
        """A mechanical design, lived or read.

        points: its `list`, where that had to be worked out.
        """
        return self._lived("mechanical", name, self._design(name, points), self.executor)

    def described(self, name: str) -> Sweep | None:
        """A design with language models, lived or read; None where they are left out."""
        design = self.designs["llm"].get(name)
        return None if design is None else self._lived("llm", name, design, None)

    def _lived(
        self, kind: str, name: str, design: Mapping[str, Any], executor: Executor | None
    ) -> Sweep:
        folder = self.folder / kind / name
        with self.watch(f"{self.name}: {kind} {name}") as listener:
            found = sweep(
                read(design), out=folder, executor=executor, force=self.force, listener=listener
            )
        points, years = found.points, found.years
        seeds = (
            points["seed"].to_pylist()
            if "seed" in points.column_names
            else [int(design.get("run", {}).get("seed", 0))]
        )
        self.accounts[f"{kind}.{name}"] = {
            "points": points.num_rows,
            "failed": found.manifest["failed"],
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
        return found

    def _design(self, name: str, points: Sequence[Mapping[str, Any]] | None) -> dict[str, Any]:
        """A mechanical one. points: its `list`, where that had to be worked out, with its seeds."""
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
        """The populations of a mechanical design that gives their number."""
        design = self.designs["mechanical"][name]
        first = int(design.get("run", {}).get("seed", 0))
        return range(first, first + int(design["seeds"]))

    def computed(
        self, name: str, work: Callable[[], Iterable[Mapping[str, Any]]]
    ) -> list[dict[str, Any]]:
        """Rows that an experiment works out by itself, once: read again where they are there."""
        path = (
            self.folder / "computed" / f"{name}-{_code()}.parquet"
        )  # other code works out something else
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            _write_parquet(path, [dict(row) for row in work()])
        return list(pq.read_table(path).to_pylist())


@cache
def _code() -> str:
    """Which code this is, in a word."""
    own = hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")))
    ).hexdigest()
    return hashlib.sha256(f"{environment()['code']} {own}".encode()).hexdigest()[:12]


def _sizes(design: Design) -> dict[str, list[int]]:
    """The fewest and the most agents, years and days of a year of any arm."""
    points = Points(design)
    arms = [points.config(points[i]) for i in range(0, len(points), design.seeds or 1)]
    found = {
        "agents": [sum(cohort.size for cohort in arm.cohorts) for arm in arms],
        "years": [arm.years for arm in arms],
        "days": [arm.year.days for arm in arms],
    }
    return {name: [min(values), max(values)] for name, values in found.items()}


def _models(folder: Path) -> list[str]:
    """What answered the runs of a sweep."""
    found = set()
    for path in sorted(folder.glob(f"runs/*/{MANIFEST}")):
        for model in (json.loads(path.read_text()).get("models") or {}).values():
            found.add(f"{model.get('model')} ({model.get('engine')})")
    return sorted(found)


# --- what a sweep's rows say ----------------------------------------------------------------------


def rows_of(found: Sweep) -> list[dict[str, Any]]:
    """A row for each point: its settings, its last year, and of its whole path `settling` (days,
    mean over the years after the first), `reversals` (share) and `yearly_change` (percentage
    points), as the functions of these names define them, `answers` of a language model and
    `fallbacks`.
    """
    years = found.years
    rates = [name for name in years.column_names if name.startswith("rate_")]
    by_point: dict[int, list[dict[str, Any]]] = {}
    for year in years.select(
        ["point", "settling_days", "llm_calls", "llm_fallbacks", *rates]
    ).to_pylist():
        by_point.setdefault(year["point"], []).append(year)
    rows = []
    for row in found.points.to_pylist():
        path = by_point.get(row["point"], [])
        row |= {
            kind: sum(year[name] for year in path)
            for kind, name in (("answers", "llm_calls"), ("fallbacks", "llm_fallbacks"))
        }
        if row["status"] == "ok":
            moved = np.array(
                [[year[name] for name in rates if year[name] is not None] for year in path]
            )
            later = [year["settling_days"] for year in path[1:]]
            row |= {
                "settling": float(np.mean(later)) if later else None,
                "reversals": reversals(moved),
                "yearly_change": yearly_change(moved),
            }
        rows.append(row)
    return rows


def reversals(rates: np.ndarray) -> float:
    """Of the changes of a bracket's rate that follow an earlier one of that bracket, the share in
    the other direction.

    rates: (years, k). Years without a change lie between as if they were not there. 0 where there
    are no such changes.
    """
    turned, followed = 0, 0
    for column in np.diff(rates, axis=0).T:
        signs = np.sign(column[np.abs(column) > 1e-6])
        turned += int(np.sum(signs[1:] != signs[:-1]))
        followed += max(len(signs) - 1, 0)
    return turned / followed if followed else 0.0


def yearly_change(rates: np.ndarray) -> float:
    """Mean absolute change of a bracket's rate from year to year, percentage points.

    rates: (years, k).
    """
    return float(100 * np.mean(np.abs(np.diff(rates, axis=0)))) if len(rates) > 1 else 0.0


@dataclass(frozen=True)
class Arms:
    """Figures of arms over the populations that all of them have.

    labels: of the arms, in the order of the design. seeds: of the populations. figures: by name,
    (arms, populations). dropped: populations without one of the arms, whose points failed. lacking:
    those in which a figure has no value.
    """

    labels: list[Any]
    seeds: list[int]
    figures: dict[str, np.ndarray]
    dropped: int
    lacking: int

    def of(self, figure: str, label: Any) -> np.ndarray:
        """(populations,)"""
        return np.asarray(self.figures[figure][self.labels.index(label)])


def arms_of(
    rows: Iterable[Mapping[str, Any]],
    label: Callable[[Mapping[str, Any]], Any],
    figures: Sequence[str],
) -> Arms:
    """label: of a row's arm; None leaves the row out.

    Several draws of one population in an arm are averaged.

    Raises UserError where no population has all arms, or all figures in them.
    """
    values: dict[Any, dict[int, list[list[float]]]] = {}
    populations: dict[int, None] = {}
    failed: set[int] = set()
    without: dict[str, None] = {}
    for row in rows:
        arm = label(row)
        if arm is None:
            continue
        populations[row["seed"]] = None
        cells = values.setdefault(arm, {})
        if row["status"] != "ok":
            failed.add(row["seed"])
        elif all(row[name] is not None for name in figures):
            cells.setdefault(row["seed"], []).append([row[name] for name in figures])
        else:
            without |= dict.fromkeys(name for name in figures if row[name] is None)
    shared = [seed for seed in populations if all(seed in cells for cells in values.values())]
    if not shared and without and populations.keys() - failed:
        raise UserError(f"{', '.join(without)}: no population has a value in all arms")
    if not shared:
        raise UserError(
            "no population has lived all arms; the points' errors are in the sweeps' points.parquet"
        )
    array = np.array(
        [[np.mean(cells[seed], axis=0) for seed in shared] for cells in values.values()]
    )
    dropped = len(failed.difference(shared))
    lacking = len(populations) - len(shared) - dropped
    return Arms(
        list(values),
        shared,
        {name: array[..., i] for i, name in enumerate(figures)},
        dropped,
        lacking,
    )


# --- what is left on disk -------------------------------------------------------------------------


def _drawn(out: Path, picture: Picture) -> Path:
    from io import BytesIO

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=picture.size, layout="constrained")
    FigureCanvasAgg(figure)
    picture.draw(figure)
    content, path = BytesIO(), out / "figures" / f"{picture.name}.png"
    figure.savefig(content, format="png", dpi=120)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, content.getvalue())
    return path


def _write_table(out: Path, table: Table) -> None:
    folder = out / "tables"
    folder.mkdir(exist_ok=True)
    _write_parquet(folder / f"{table.name}.parquet", table.rows)
    _write_json(folder / f"{table.name}.json", vars(table))


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table({name: [row.get(name) for row in rows] for name in names}),
        sink,
        compression="zstd",
    )
    write_atomically(path, sink.getvalue().to_pybytes())


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(
        path, json.dumps(plain(content), indent=1, default=str, allow_nan=False).encode() + b"\n"
    )


def _notes(manifest: Mapping[str, Any], accounts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    notes = [
        "Intervals: 95 %, bootstrap (BCa) over populations, which all arms share. p: sign-flip "
        "permutation test of the paired "
        "differences, corrected by Holm's method for all comparisons of its table. d: mean "
        "difference in standard deviations "
        "of the differences."
    ]
    for name, account in accounts.items():
        if account["failed"]:
            notes.append(
                f"FAILED: {account['failed']} of {account['points']} points of {name}: "
                f"{'; '.join(account['errors'])}"
            )
        if name.startswith("mechanical.") and account["populations"] < LEAST_POPULATIONS:
            notes.append(
                f"{name}: {account['populations']} populations; fewer than {LEAST_POPULATIONS} "
                "tell little."
            )
        if account["answers"]:
            models = ", ".join(account["models"])
            notes.append(
                f"{name}: {account['answers']:,} answers by {models}, {account['fallbacks']:,} "
                "fallbacks. Described, not tested."
            )
        if any("(simulated)" in model for model in account["models"]):
            notes.append(f"{name}: the simulated engine is rules, no language model.")
    if manifest["llm"].startswith("left out"):
        notes.append("Arms with language models are left out (--no-llm).")
    return notes


def _report(report: Report, size: str, captions: Sequence[str]) -> str:
    hardware = environment()["hardware"]
    parts = [f"# {report.name} ({size})", report.question]
    for table in report.tables:
        parts.append(markdown(table))
    for path, caption in zip(report.figures, captions, strict=True):
        parts.append(f"![{caption}](figures/{path.name})\n\n{caption}")
    parts.append("\n".join(f"- {note}" for note in report.notes))
    parts.append(
        f"{hardware['cpu']}, {hardware['visible_cores']} cores; {', '.join(hardware['devices'])}."
    )
    return "\n\n".join(parts) + "\n"
