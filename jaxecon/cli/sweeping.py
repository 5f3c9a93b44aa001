"""The command sweep."""

import json
import shlex
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxecon.cli.errors import DIFFERENT, fail
from jaxecon.cli.options import keep_programs
from jaxecon.core.errors import Interrupted, UserError


class ExecutorName(StrEnum):
    local = "local"
    ray = "ray"


def sweep(
    config: Annotated[
        Path | None,
        typer.Argument(
            help="YAML: what varies, and what all points share; docs/scaling.md.",
            show_default=False,
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting of `run`; may be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new folder, or that of the same sweep, interrupted, which goes on.",
            show_default=False,
        ),
    ] = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="This process, or a Ray cluster.")
    ] = ExecutorName.local,
    chunk: Annotated[
        int | None,
        typer.Option(
            help="Runs in one compiled program; by default what memory takes.", show_default=False
        ),
    ] = None,
    max_points: Annotated[int, typer.Option(help="Refuse a design of more points.")] = 1_000_000,
    summary: Annotated[
        bool, typer.Option("--summary", help="Print means over seeds; of OUT alone without CONFIG.")
    ] = False,
    figures: Annotated[
        str | None,
        typer.Option(help="Figures of the summary, separated by commas.", show_default=False),
    ] = None,
    level: Annotated[
        float, typer.Option(min=0.5, max=0.9999, help="Of the summary's confidence intervals.")
    ] = 0.95,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on with a sweep that another version of jaxecon began."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run many configurations as a few compiled programs. Exit status 1 where points failed."""
    keep_programs()
    from jaxecon.cli.progress import SweepProgress
    from jaxecon.cli.sweep_tables import print_sweep, print_sweep_summary
    from jaxecon.simulation.prepare import default_folder
    from jaxecon.sweeps.results import SUMMARISED, Sweep, check_statistics
    from jaxecon.sweeps.sweep import sweep as live_all

    begun = time.monotonic()
    if figures is not None and not summary:
        raise UserError(f"--figures: {figures}; of the summary: give --summary as well")
    names = [name.strip() for name in figures.split(",")] if figures else list(SUMMARISED)
    check_statistics(names)
    if config is None:
        if out is None or not summary or set_:
            raise UserError(
                "CONFIG: a sweep's file; without one, --summary and --out print what a folder holds"
            )
        found = Sweep(out)
    else:
        where, folder = executor_named(executor), out or default_folder()
        try:
            with SweepProgress() as progress:
                found = live_all(
                    config,
                    overrides=set_ or [],
                    out=folder,
                    executor=where,
                    chunk_size=chunk,
                    max_points=max_points,
                    force=force,
                    listener=progress,
                )
        except KeyboardInterrupt as error:
            number = error.signal if isinstance(error, Interrupted) else 2
            again = shlex.join([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
            fail(f"interrupted; continue with: jaxecon {again}", 128 + number)
    if as_json:
        rows = found.summary(names, level) if summary else None
        print(
            json.dumps(
                {
                    "sweep": str(found.path),
                    **{k: found.manifest.get(k) for k in _ENDS},
                    "summary": rows,
                }
            )
        )
    else:
        if config is not None:
            print_sweep(found, time.monotonic() - begun)
        if summary:
            print_sweep_summary(found, names, level)
    if found.manifest.get("failed"):
        sys.exit(DIFFERENT)


_ENDS = ("status", "points", "failed")


def executor_named(name: ExecutorName) -> Any:
    if name is ExecutorName.local:
        return None
    from jaxecon.sweeps.ray_executor import RayExecutor

    return RayExecutor()
