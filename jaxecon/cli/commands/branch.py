"""`jaxecon branch`. Imports what takes long (JAX, Arrow) when it is called."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jaxecon.cli.commands.run import print_end
from jaxecon.cli.errors import BUDGET_SPENT, fail, saying_how_to_continue
from jaxecon.cli.options import RunArgument
from jaxecon.cli.preparation import keep_compiled_programs
from jaxecon.core.arguments import MAX_SEEDS
from jaxecon.core.json_text import json_text

if TYPE_CHECKING:
    from jaxecon.simulation.branch import Branching
    from jaxecon.storage.run import Run


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
        int, typer.Option(min=1, max=MAX_SEEDS, help="New runs, which differ in random draws.")
    ] = 1,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Branch even with other microdata or own rules than RUN began with; the manifest "
            "records it.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the results as JSON, one run a line.")
    ] = False,
) -> None:
    """Start new runs from the state in which RUN began a year: the same people, other futures.

    With several seeds, the same command continues after an interruption.
    """
    keep_compiled_programs()
    from jaxecon.cli.output.branch import print_branching
    from jaxecon.cli.output.progress import RunProgress
    from jaxecon.config.read import load_config
    from jaxecon.simulation import branch as simulation_branch
    from jaxecon.storage.paths import MANIFEST
    from jaxecon.storage.run import Run

    overrides = set_ or []
    again = ["resume", out] if seeds == 1 else sys.argv[1:]
    config = load_config(Run(run).config, overrides)
    with (
        saying_how_to_continue(*again, begun=out / MANIFEST if seeds == 1 else None),
        RunProgress(config, out, checked=False) as progress,
    ):

        def tell(branching: "Branching") -> None:
            progress.announce()
            print_branching(branching)

        futures = simulation_branch.branch(
            run,
            year=year,
            out=out,
            overrides=overrides,
            seeds=seeds,
            force=force,
            listener=progress,
            tell=tell,
        )
    _print_ends(futures, as_json)


def _print_ends(futures: "list[Run]", as_json: bool) -> None:
    """Print how new runs have ended; fail where a budget has stopped one."""
    from jaxecon.cli.output.branch import print_futures

    if len(futures) == 1:
        print_end(futures[0], as_json)
    elif as_json:
        for future in futures:
            print(json_text({"run": str(future.path), **(future.manifest.get("summary") or {})}))
    else:
        print_futures(futures)
    stopped = [future for future in futures if "stopped" in future.manifest]
    if stopped:
        fail(
            f"stopped: {stopped[0].manifest['stopped']}; {len(stopped)} of {len(futures)} futures",
            BUDGET_SPENT,
        )
