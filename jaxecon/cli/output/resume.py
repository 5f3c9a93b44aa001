"""What `jaxecon resume` prints before it continues a run."""

from typing import TYPE_CHECKING

from jaxecon.cli.output.terminal import Console

if TYPE_CHECKING:
    from jaxecon.simulation.resume import Resumption


def print_resumption(resumption: "Resumption") -> None:
    """Say from where a run continues, and what may differ from a run without interruption."""
    console = Console(stderr=True)
    for line in resumption.damaged:
        console.print_line(f"damaged, so not used: {line}")
    start = (
        "the start: there is no checkpoint yet"
        if resumption.position.name == "00000000-000000"
        else str(resumption.position)
    )
    console.print_line(f"resuming from {start}")
    if resumption.years is not None:
        console.print_line("years: {} -> {}".format(*resumption.years))
    for line in resumption.effects:
        console.print_line(line)
    for line in resumption.changed:
        console.print_line(f"forced: {line}")
    if resumption.inexact:
        console.print_line(f"results can differ in the last bits: {'; '.join(resumption.inexact)}")
