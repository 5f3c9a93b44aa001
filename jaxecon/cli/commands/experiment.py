"""`jaxecon experiment`. Imports what takes long (JAX, the experiments) when it is called."""

import sys
import time
from typing import Annotated

import typer

from jaxecon.cli.errors import DIFFERENT, saying_how_to_continue
from jaxecon.cli.options import (
    ContinuedFolderOption,
    ExecutorOption,
    ForceVersionOption,
    SetOption,
)
from jaxecon.cli.preparation import executor_named, keep_compiled_programs
from jaxecon.core.errors import UserError


def experiment(
    name: Annotated[str, typer.Argument(help="Which one; docs/experiments.md lists them.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes on two cores; the default.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="For a GPU or a cluster.")] = False,
    out: ContinuedFolderOption = None,
    no_llm: Annotated[
        bool, typer.Option("--no-llm", help="Leave out what needs a language model.")
    ] = False,
    set_: SetOption = None,
    executor: ExecutorOption = "local",
    force: ForceVersionOption = False,
) -> None:
    """Run one of the suite's experiments: tables, figures, a report.

    Exit status 1 where points failed.
    """
    if quick and full:
        raise UserError("--quick and --full: give one of them")
    keep_compiled_programs()
    from jaxecon.cli.output.experiment import print_experiment
    from jaxecon.cli.output.progress import SweepProgress
    from jaxecon.core.installation import check_suite
    from jaxecon.simulation.prepare import default_folder

    check_suite()
    from experiments.suite.conduct import conduct
    from experiments.suite.registry import load_designs

    begun, size = time.monotonic(), "full" if full else "quick"
    load_designs(name, size)  # check the name before the folder is created
    folder = out or default_folder()
    with saying_how_to_continue(*sys.argv[1:], *([] if out else ["--out", str(folder)])):
        report = conduct(
            name,
            size,
            out=folder,
            llm=not no_llm,
            overrides=set_ or [],
            executor=executor_named(executor),
            force=force,
            watch=SweepProgress,
        )
    print_experiment(report, time.monotonic() - begun)
    if report.failed:
        sys.exit(DIFFERENT)
