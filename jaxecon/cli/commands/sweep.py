"""`jaxecon sweep`. Imports what takes long (JAX, Arrow) when it is called."""

import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxecon.cli.errors import DIFFERENT, saying_how_to_continue
from jaxecon.cli.options import (
    ContinuedFolderOption,
    ExecutorOption,
    ForceVersionOption,
    JsonOption,
    SetOption,
)
from jaxecon.cli.preparation import executor_named, keep_compiled_programs
from jaxecon.core.arguments import MAX_CHUNK, MAX_PLANNED
from jaxecon.core.errors import UserError
from jaxecon.core.json_text import json_text

if TYPE_CHECKING:
    from jaxecon.sweeps.results import Sweep


_StatisticsOption = Annotated[
    str | None,
    typer.Option(help="Statistics of the summary, separated by commas.", show_default=False),
]

_MaxPointsOption = Annotated[
    int, typer.Option(min=1, max=MAX_PLANNED, help="Refuse a design with more points.")
]

_ChunkOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_CHUNK,
        help="Runs in one compiled program; by default what memory takes.",
        show_default=False,
    ),
]

_LevelOption = Annotated[
    float, typer.Option(min=0.5, max=0.9999, help="Of the summary's confidence intervals.")
]


def sweep(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML: what varies, and what all points share; docs/scaling.md.",
            show_default=False,
        ),
    ] = None,
    set_: SetOption = None,
    out: ContinuedFolderOption = None,
    executor: ExecutorOption = "local",
    chunk: _ChunkOption = None,
    max_points: _MaxPointsOption = 1_000_000,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary", help="Print means over seeds; without CONFIG, of --out as it is."
        ),
    ] = False,
    statistics: _StatisticsOption = None,
    level: _LevelOption = 0.95,
    force: ForceVersionOption = False,
    as_json: JsonOption = False,
) -> None:
    """Simulate many configurations as a few compiled programs.

    Exit status 1 where points failed.
    """
    keep_compiled_programs()
    begun = time.monotonic()
    if math.isnan(level):  # which no bound of an option refuses
        raise UserError("--level: nan; a number in [0.5, 0.9999]")
    names = _statistics(statistics, summary)
    if config is not None:
        options = {"overrides": set_ or [], "chunk_size": chunk, "max_points": max_points}
        swept = _simulate(config, out, executor=executor_named(executor), force=force, **options)
    elif out is not None and summary and not set_:
        from jaxecon.sweeps.results import Sweep

        swept = Sweep(out)
    else:
        raise UserError(
            "CONFIG: a sweep's file; without one, --summary and --out print what a folder holds"
        )
    if as_json:
        _print_json(swept, swept.summary(names, level) if summary else None)
    else:
        from jaxecon.cli.output.sweep import print_sweep, print_sweep_summary

        if config is not None:
            print_sweep(swept, time.monotonic() - begun)
        if summary:
            print_sweep_summary(swept, names, level)
    if swept.manifest.get("failed"):
        sys.exit(DIFFERENT)


def _statistics(statistics: str | None, summary: bool) -> list[str]:
    """The statistics that the summary shows. Raises UserError for one that does not exist."""
    from jaxecon.sweeps.results import SUMMARISED, check_statistics

    if statistics is not None and not summary:
        raise UserError(f"--statistics: {statistics}; of the summary: give --summary as well")
    names = [name.strip() for name in statistics.split(",")] if statistics else list(SUMMARISED)
    check_statistics(names)
    return names


def _simulate(config: Path, out: Path | None, **options: Any) -> "Sweep":
    """Simulate a sweep, with its progress on standard error."""
    from jaxecon.cli.output.progress import SweepProgress
    from jaxecon.simulation.prepare import default_folder
    from jaxecon.sweeps.sweep import sweep as simulate_sweep

    folder = out or default_folder()
    again = [*sys.argv[1:], *([] if out else ["--out", str(folder)])]
    with saying_how_to_continue(*again), SweepProgress() as progress:
        return simulate_sweep(config, out=folder, listener=progress, **options)


def _print_json(swept: "Sweep", rows: list[dict[str, Any]] | None) -> None:
    ends = {key: swept.manifest.get(key) for key in ("status", "points", "failed")}
    print(json_text({"sweep": str(swept.path), **ends, "summary": rows}))
