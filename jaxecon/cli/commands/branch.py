"""`jaxecon branch`. Imports what takes long (JAX, Arrow) when it is called."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from jaxecon.cli.commands.run import print_end
from jaxecon.cli.errors import BUDGET_SPENT, fail, saying_how_to_continue
from jaxecon.cli.options import RunArgument
from jaxecon.cli.preparation import keep_compiled_programs
from jaxecon.core.json_text import json_text


def branch(
    run: RunArgument,
    year: Annotated[int, typer.Option(help="The year that begins the new run; the first is 0.")],
    out: Annotated[Path, typer.Option(help="A new folder.")],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another policy, planner or model; may be repeated."
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100_000, help="New runs, which differ in their random draws.")
    ] = 1,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON, one run a line.")
    ] = False,
) -> None:
    """Start new runs from the state in which RUN began a year: the same people, other futures."""
    keep_compiled_programs()
    from jaxecon.cli.output.branch import print_futures
    from jaxecon.cli.output.progress import RunProgress
    from jaxecon.config.read import load_config
    from jaxecon.simulation import branch as simulation_branch
    from jaxecon.storage.paths import MANIFEST
    from jaxecon.storage.run import Run

    overrides = set_ or []
    resumable = (
        saying_how_to_continue("resume", out, begun=out / MANIFEST) if seeds == 1 else nullcontext()
    )
    with resumable, RunProgress(load_config(Run(run).config, overrides), out) as progress:
        futures = simulation_branch.branch(
            run, year=year, out=out, overrides=overrides, seeds=seeds, listener=progress
        )
    if seeds == 1:
        print_end(futures[0], as_json)
    elif as_json:
        for future in futures:
            print(json_text({"run": str(future.path), **(future.manifest.get("summary") or {})}))
    else:
        print_futures(futures)
    stopped = [future for future in futures if "stopped" in future.manifest]
    if stopped:
        fail(
            f"stopped: {stopped[0].manifest['stopped']}; {len(stopped)} of {seeds} futures",
            BUDGET_SPENT,
        )
