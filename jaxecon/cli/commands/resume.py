"""`jaxecon resume`. Imports what takes long (JAX, Arrow) when it is called."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from jaxecon.cli.commands.run import print_end
from jaxecon.cli.errors import saying_how_to_continue
from jaxecon.cli.options import (
    BudgetTokensOption,
    BudgetUsdOption,
    JoinProcessesOption,
    JoinSecondsOption,
    JsonOption,
    RunArgument,
    overrides_of,
)
from jaxecon.cli.output.printable import say_line
from jaxecon.cli.preparation import join_other_processes, keep_compiled_programs

if TYPE_CHECKING:
    from jaxecon.simulation.resume import Resumption


def resume(
    run: RunArgument,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Continue even with other settings, code or model; the manifest records it.",
        ),
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting; one that changes results needs --force.",
        ),
    ] = None,
    budget_tokens: BudgetTokensOption = None,
    budget_usd: BudgetUsdOption = None,
    as_json: JsonOption = False,
    join_processes: JoinProcessesOption = False,
    join_seconds: JoinSecondsOption = 300,
) -> None:
    """Continue a run from its last checkpoint, as if it had never stopped."""
    prints = join_other_processes(join_processes, join_seconds)
    keep_compiled_programs()
    from jaxecon.cli.output.progress import RunProgress
    from jaxecon.cli.output.resume import print_resumption
    from jaxecon.config.read import load_config
    from jaxecon.simulation import resume as simulation_resume
    from jaxecon.storage.run import Run

    options = {"llm.budget_tokens": budget_tokens, "llm.budget_usd": budget_usd}
    overrides = overrides_of(set_, options)
    before = Run(run)
    complete = before.manifest["status"] == "complete"
    resolved = load_config(before.config, overrides)
    with (
        saying_how_to_continue("resume", run),
        RunProgress(resolved, run, checked=False) if prints else nullcontext() as progress,
    ):

        def tell(resumption: "Resumption") -> None:
            if progress is not None:
                progress.announce()
                print_resumption(resumption)

        finished = simulation_resume.resume(
            run, force=force, overrides=overrides, listener=progress, tell=tell
        )
    if not prints:
        return
    if complete and "resumed" not in finished.manifest:
        say_line(f"{run}: is complete; nothing to resume", stderr=True)
    print_end(finished, as_json)
