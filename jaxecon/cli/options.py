"""Options that several commands share."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer


def keep_programs() -> None:
    """For commands that compile."""
    from jaxecon.core.compilation import keep_compiled

    keep_compiled()


def join_processes(hosts: bool, seconds: int) -> bool:
    """Meet the other processes, if asked to. Whether this one prints."""
    if not hosts:
        return True
    from jaxecon.core.processes import is_main_process, join_run

    # Gloo tells standard output, by its number, of every connection; what we print goes there under
    # another number
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w", closefd=False)
    join_run(seconds)
    return is_main_process()


JoinHosts = Annotated[
    bool,
    typer.Option(
        "--join-hosts",
        help="This is one of several processes of one run: JAX_COORDINATOR_ADDRESS, "
        "JAX_NUM_PROCESSES and JAX_PROCESS_ID, or "
        "Slurm, say which.",
    ),
]

JoinSeconds = Annotated[
    int, typer.Option(min=1, max=86_400, help="To wait for the others, with --join-hosts.")
]


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


ConfigArgument = Annotated[
    Path | None,
    typer.Argument(help="YAML configuration; without one, --agents people.", show_default=False),
]

SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]

AgentsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="People who respond exactly, without a CONFIG; 1000 unless given.",
        show_default=False,
    ),
]

OutOption = Annotated[
    Path | None, typer.Option(help="A new folder; runs/TIME without one.", show_default=False)
]
