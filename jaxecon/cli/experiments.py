"""The command experiment."""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from jaxecon.cli.errors import DIFFERENT, fail
from jaxecon.cli.options import keep_programs
from jaxecon.cli.sweeping import ExecutorName, executor_named
from jaxecon.core.errors import Interrupted, UserError


def experiment(
    name: Annotated[str, typer.Argument(help="Which; docs/experiments.md lists them.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Minutes on two cores; the default.")
    ] = False,
    full: Annotated[bool, typer.Option("--full", help="For a GPU or a cluster.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new folder, or that of the same experiment, interrupted, which goes on.",
            show_default=False,
        ),
    ] = None,
    no_llm: Annotated[
        bool, typer.Option("--no-llm", help="Leave out what needs a language model.")
    ] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override a setting of all runs; may be repeated."
        ),
    ] = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="This process, or a Ray cluster.")
    ] = ExecutorName.local,
    force: Annotated[
        bool, typer.Option("--force", help="Go on with what another version of jaxecon began.")
    ] = False,
) -> None:
    """Run one of the suite's experiments: tables, figures, a report.

    Exit status 1 where points failed.
    """
    if quick and full:
        raise UserError("--quick and --full: give one of them")
    keep_programs()
    from jaxecon.cli.experiment_tables import print_experiment
    from jaxecon.cli.progress import StudyProgress
    from jaxecon.core.installation import check_suite
    from jaxecon.simulation.prepare import default_folder

    check_suite()
    from experiments.suite.conduct import conduct
    from experiments.suite.registry import load_designs

    begun, size = time.monotonic(), "full" if full else "quick"
    load_designs(name, size)  # a name that is none is heard of before a folder is
    folder = out or default_folder()
    try:
        report = conduct(
            name,
            size,
            out=folder,
            llm=not no_llm,
            overrides=set_ or [],
            executor=executor_named(executor),
            force=force,
            watch=StudyProgress,
        )
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, Interrupted) else 2
        again = shlex.join([*sys.argv[1:], *([] if out else ["--out", str(folder)])])
        fail(f"interrupted; continue with: jaxecon {again}", 128 + number)
    print_experiment(report, time.monotonic() - begun)
    if report.failed:
        sys.exit(DIFFERENT)
