"""The suite behind `jaxecon experiment NAME`: what an experiment is, how it is run, what it leaves.

An experiment is a module with `QUESTION` and `run(study) -> list[Table | Picture]`, and a YAML of
the same name beside it. The module may name `MIN_YEARS` that its mechanical designs need, and the
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
import importlib.util
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.suite.arms import drawn
from experiments.suite.pictures import Picture
from experiments.suite.registry import KINDS, Designs, load_designs
from experiments.suite.study import EXPERIMENT, REPORT, Study, Watch, write_parquet
from experiments.suite.tables import Table, markdown
from jaxecon.config import read as config_read
from jaxecon.config.read import apply
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically
from jaxecon.report.schedules import check_matplotlib
from jaxecon.simulation.language import check_engines
from jaxecon.simulation.optimum import plain
from jaxecon.storage.paths import MANIFEST, refuse_existing
from jaxecon.storage.provenance import environment
from jaxecon.sweeps.design import read
from jaxecon.sweeps.executor import Executor
from jaxecon.sweeps.listener import SilentSweepListener, SweepListener
from jaxecon.sweeps.points import Points

MIN_POPULATIONS = 30  # of a mechanical arm

FORMAT = 1


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
    tree = copy.deepcopy(given) if given is not None else load_designs(name, size)
    module = importlib.import_module(f"experiments.questions.{name}")
    for kind in KINDS:
        for design in tree[kind].values():
            for override in overrides:
                _refuse_taken(override, design, getattr(module, "RESERVED", ()))
                apply(design.setdefault("run", {}), override)
    left_out = bool(tree["llm"]) and not llm
    if left_out:
        tree["llm"] = {}
    check_matplotlib()
    least = getattr(module, "MIN_YEARS", 1)
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
    figures = [drawn(out, result) for result in results if isinstance(result, Picture)]
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


def _silently(_: str) -> AbstractContextManager[SweepListener]:
    return nullcontext(SilentSweepListener())


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


def _write_table(out: Path, table: Table) -> None:
    folder = out / "tables"
    folder.mkdir(exist_ok=True)
    write_parquet(folder / f"{table.name}.parquet", table.rows)
    _write_json(folder / f"{table.name}.json", vars(table))


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
        if name.startswith("mechanical.") and account["populations"] < MIN_POPULATIONS:
            notes.append(
                f"{name}: {account['populations']} populations; fewer than {MIN_POPULATIONS} "
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
