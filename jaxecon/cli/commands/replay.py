"""`jaxecon replay`. Imports what takes long (JAX, Arrow) when it is called."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from jaxecon.cli.errors import DIFFERENT
from jaxecon.cli.options import RunArgument
from jaxecon.cli.preparation import keep_compiled_programs
from jaxecon.core.json_text import json_text


def replay(
    run: RunArgument,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep the repetition in a new folder.", show_default=False),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print both digests and the differences as JSON.")
    ] = False,
) -> None:
    """Compute a run again, with its transcript in place of a model, and compare.

    Exit status 1 where the results differ.
    """
    keep_compiled_programs()
    from jaxecon.cli.output.progress import RunProgress
    from jaxecon.cli.output.replay import print_replay, replay_record
    from jaxecon.simulation import replay as simulation_replay
    from jaxecon.storage.run import Run

    with RunProgress(Run(run).config, run, checked=False) as progress:
        replayed = simulation_replay.replay(run, out=out, listener=progress, tell=progress.announce)
    if as_json:
        print(json_text(replay_record(replayed)))
    else:
        print_replay(replayed)
    if not replayed.equal:
        sys.exit(DIFFERENT)
