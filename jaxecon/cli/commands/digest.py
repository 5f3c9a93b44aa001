"""`jaxecon digest`. Imports what takes long (Arrow) when it is called."""

from typing import Annotated

import typer

from jaxecon.cli.options import RunArgument
from jaxecon.cli.output.printable import say_line
from jaxecon.core.json_text import json_text


def digest(
    run: RunArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print the parts too, as JSON.")] = False,
) -> None:
    """Print a run's digest: two runs with the same digest have the same results.

    It is SHA-256 over the run's tables, without timings, and its last state. Of a run that is not
    complete, a note says how far it came.
    """
    from jaxecon.storage.digest import digest as digest_of
    from jaxecon.storage.run import Run

    opened = Run(run)
    computed, status = digest_of(run), opened.manifest["status"]
    if status != "complete":
        until = "no checkpoint" if computed.position is None else str(computed.position)
        say_line(
            f"note: {run}: {status}, not complete: the digest is of what came before {until}, of "
            f"{opened.config.years} years",
            stderr=True,
        )
    if not as_json:
        say_line(computed.combined)
        return
    position = (
        None if computed.position is None else [computed.position.year, computed.position.day]
    )
    parts = {
        "years": computed.years,
        "agents": computed.agents,
        "elections": computed.elections,
        "survey": computed.survey,
        "state": computed.state,
    }
    print(json_text({"digest": computed.combined, "status": status, "position": position, **parts}))
