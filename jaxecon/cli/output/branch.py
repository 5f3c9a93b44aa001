"""What `jaxecon branch` prints about several new runs."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

from jaxecon.cli.output.policies import gain_text
from jaxecon.cli.output.tables import diagnostic_line, new_table, percent_error, percent_text
from jaxecon.cli.output.terminal import Console
from jaxecon.core.text import plural
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.branch import Branching


def print_branching(branching: "Branching") -> None:
    """Say, before new runs begin, what was forced, what they leave out and what is there."""
    console = Console(stderr=True)
    for line in branching.forced:
        console.print_line(f"forced: {line} is not what the run began with")
    for line in branching.notes:
        console.print_line(f"note: {line}")
    if branching.kept or branching.continued:
        console.print_line(
            f"continuing: {plural(branching.kept, 'future')} finished, "
            f"{branching.continued} interrupted"
        )


def print_futures(futures: Sequence[Run]) -> None:
    """Print the gain of each future over US federal, and the mean with its standard error."""
    console = Console()
    table = new_table("future", "gain as simulated", "gain at equilibrium", "h/week", "run")
    gains = []
    for future in futures:
        if "summary" not in future.manifest:  # stopped before its first year was over
            continue
        row = future.summary["realised"]
        gains.append((row["gain_realised"], row["gain_equilibrium"]))
        hours = f"{row['mean_hours']:.1f}"
        table.add_row(
            str(future.config.seed_of_draws),
            *map(gain_text, gains[-1]),
            hours,
            str(future.path),
        )
    console.print(table)
    for future in futures:
        for diagnostic in future.diagnostics:
            where = f"SIGN OF FAILURE in future {future.config.seed_of_draws}"
            console.print_line(f"{where}: {diagnostic_line(diagnostic)}")
    for name, found in zip(
        ("as simulated", "at equilibrium"), zip(*gains, strict=True), strict=False
    ):
        values = [gain for gain in found if gain is not None]
        if len(values) < len(found):
            console.print(f"Gain over US federal, {name}: not all futures have one.")
            continue
        error = stdev(values) / len(values) ** 0.5 if len(values) > 1 else math.nan
        console.print(
            f"Gain over US federal, {name}: {percent_text(fmean(values))}, standard error "
            f"{percent_error(error)} points."
        )
