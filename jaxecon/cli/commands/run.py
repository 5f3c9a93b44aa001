"""`jaxecon run`.

Commands import what they need when they are called, since JAX and Arrow take long to load and
`jaxecon --help` must not.
"""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jaxecon.cli.errors import BUDGET_SPENT, fail, saying_how_to_continue
from jaxecon.cli.options import (
    BudgetTokensOption,
    BudgetUsdOption,
    JoinProcessesOption,
    JoinSecondsOption,
    JsonOption,
    SeedOption,
    SetOption,
    overrides_of,
)
from jaxecon.cli.preparation import join_other_processes, keep_compiled_programs
from jaxecon.core.json_text import json_text

if TYPE_CHECKING:
    from jaxecon.storage.run import Run


def run(
    config: Annotated[
        Path | None,
        typer.Argument(help="YAML configuration; by default all defaults.", show_default=False),
    ] = None,
    set_: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A new folder for the run; by default runs/TIME.", show_default=False),
    ] = None,
    seed: SeedOption = None,
    budget_tokens: BudgetTokensOption = None,
    budget_usd: BudgetUsdOption = None,
    as_json: JsonOption = False,
    join_processes: JoinProcessesOption = False,
    join_seconds: JoinSecondsOption = 300,
) -> None:
    """Simulate an economy and print how its planner did."""
    prints = join_other_processes(join_processes, join_seconds)
    keep_compiled_programs()
    from jaxecon.config.read import load_config
    from jaxecon.simulation.prepare import default_folder, prepare
    from jaxecon.simulation.run import execute
    from jaxecon.storage.paths import MANIFEST

    options = {"seed": seed, "llm.budget_tokens": budget_tokens, "llm.budget_usd": budget_usd}
    resolved = load_config(config, overrides_of(set_, options))
    folder = out or default_folder()
    prepared = prepare(resolved, folder)
    from jaxecon.cli.output.progress import RunProgress

    with (
        saying_how_to_continue("resume", folder, begun=folder / MANIFEST),
        RunProgress(resolved, folder) if prints else nullcontext() as progress,
    ):
        finished = execute(prepared, progress)
    if prints:
        print_end(finished, as_json)


def print_end(finished: "Run", as_json: bool) -> None:
    """Print the summary of a run that has ended; fail where a budget has stopped it."""
    from jaxecon.cli.output.run import print_summary

    stopped = finished.manifest.get("stopped")
    summary = finished.manifest.get("summary")
    if as_json:
        record = {
            "run": str(finished.path),
            "status": finished.manifest["status"],
            "stopped": stopped,
            "diagnostics": finished.manifest.get("diagnostics"),
            **(summary or {}),
        }
        print(json_text(record))
    elif summary is not None:
        print_summary(finished)
    if stopped is not None:
        fail(f"stopped: {stopped}; everything so far is in {finished.path}", BUDGET_SPENT)
