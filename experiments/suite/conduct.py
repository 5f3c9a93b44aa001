"""The work of `jaxecon experiment NAME`: check, run, write tables, figures and a report.

An experiment is a module with `QUESTION` and `run(study) -> list[Table | Figure]`, and a YAML of
the same name beside it. The module may name `MIN_YEARS` that its mechanical designs need, and the
settings that it fixes itself, `RESERVED`. The file's `base` has `mechanical` and `llm`, mappings of
names to designs of sweeps (docs/scaling.md); `quick` and `full` are merged over it. Mechanical
designs are compiled programs over many populations, and only they are tested; points of `llm`
designs are whole runs with a language model, few and small, and only described.

FOLDER/
  experiment.yaml              the designs
  manifest.json                versions, hardware, populations, failures, fallbacks
  mechanical/NAME/, llm/NAME/  sweeps, which continue where they were interrupted
  computed/NAME-CODE.parquet   other rows that the experiment computed, by this code
  tables/NAME.json, .parquet   every number of a table, and the table as it is shown
  figures/NAME.png
  report.md                    all tables and figures
"""

import copy
import importlib
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from experiments.suite.checks import (
    check_engines_of,
    check_years,
    open_folder,
    refuse_varied_or_fixed,
)
from experiments.suite.figures import Figure, save_figure
from experiments.suite.registry import KINDS, Designs, load_designs
from experiments.suite.report import Report, notes_on, report_text, write_json, write_table
from experiments.suite.study import REPORT, Study, Watch
from experiments.suite.tables import Table
from jaxecon.config.read import apply
from jaxecon.core.files import write_atomically
from jaxecon.report.schedules import check_matplotlib
from jaxecon.storage.paths import MANIFEST
from jaxecon.storage.portable import portable_yaml
from jaxecon.storage.provenance import environment
from jaxecon.sweeps.executor import Executor
from jaxecon.sweeps.listener import SilentSweepListener, SweepListener

FORMAT = 1


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
    designs: Designs | None = None,
) -> Report:
    """Run an experiment, or finish an interrupted one in `out`.

    Args:
        name: one of registry.NAMES.
        size: `quick` or `full`.
        out: a new folder, or that of the same experiment.
        llm: whether arms with language models are run.
        overrides: `key=value` for all runs.
        executor: where the chunks of mechanical sweeps run; this process without one.
        force: whether to continue what another version of jaxecon began.
        watch: makes the listener that follows a sweep, from its name.
        designs: instead of the experiment's own.

    Raises:
        UserError: before anything is computed, for a name, a folder, matplotlib or a language model
            that is missing, an override that would not act on the arms, or too few years.
    """
    out, begun = Path(out), time.monotonic()
    tree = copy.deepcopy(designs) if designs is not None else load_designs(name, size)
    module = importlib.import_module(f"experiments.questions.{name}")
    _override(tree, overrides, getattr(module, "RESERVED", ()))
    left_out = bool(tree["llm"]) and not llm
    if left_out:
        tree["llm"] = {}
    check_matplotlib()
    check_years(name, tree, getattr(module, "MIN_YEARS", 1))
    check_engines_of(name, tree)
    open_folder(out, portable_yaml(_identity(name, size, tree), out))
    manifest = {
        "format": FORMAT,
        "kind": "experiment",
        "name": name,
        "size": size,
        "status": "running",
        **environment(),
    }
    write_json(out / MANIFEST, manifest)
    study = Study(name, size, out, tree, executor, force, watch or _silently)
    results: list[Table | Figure] = module.run(study)
    manifest |= {
        "llm": "left out (--no-llm)" if left_out else "yes" if tree["llm"] else "none",
        "designs": study.accounts,
    }
    return _write_results(out, module.QUESTION, results, manifest, begun)


def _override(tree: Designs, overrides: Iterable[str], reserved: Iterable[str]) -> None:
    """Apply overrides to all runs of all designs, in place. Raises UserError."""
    for kind in KINDS:
        for design in tree[kind].values():
            for override in overrides:
                refuse_varied_or_fixed(override, design, reserved)
                apply(design.setdefault("run", {}), override)


def _identity(name: str, size: str, tree: Designs) -> dict[str, Any]:
    """What identifies a folder's experiment: its name, size and mechanical designs."""
    return {"experiment": name, "size": size, "mechanical": tree["mechanical"]}


def _write_results(
    out: Path,
    question: str,
    results: Sequence[Table | Figure],
    manifest: dict[str, Any],
    begun: float,
) -> Report:
    """Write tables, figures, the finished manifest and the report.

    begun: time.monotonic() at the start.
    """
    tables = [result for result in results if isinstance(result, Table)]
    figures = [result for result in results if isinstance(result, Figure)]
    paths = [save_figure(out, figure) for figure in figures]
    for table in tables:
        write_table(out, table)
    manifest |= {
        "status": "complete",
        "tables": [table.name for table in tables],
        "figures": [path.name for path in paths],
        "seconds": time.monotonic() - begun,
    }
    write_json(out / MANIFEST, manifest)
    failed = sum(account["failed"] for account in manifest["designs"].values())
    report = Report(manifest["name"], question, out, tables, paths, notes_on(manifest), failed)
    captions = [figure.caption for figure in figures]
    write_atomically(out / REPORT, report_text(report, manifest["size"], captions).encode())
    return report


def _silently(_: str) -> AbstractContextManager[SweepListener]:
    return nullcontext(SilentSweepListener())
