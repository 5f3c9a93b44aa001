"""What `jaxecon replay` prints."""

from typing import TYPE_CHECKING, Any

from jaxecon.cli.output.tables import new_table
from jaxecon.cli.output.terminal import Console

if TYPE_CHECKING:
    from jaxecon.simulation.replay import Replay

MAX_DIFFERENCES = 20  # differences that the table lists


def replay_record(replay: "Replay") -> dict[str, Any]:
    """A replay as data for JSON."""
    return {
        "equal": replay.equal,
        "recorded": replay.recorded.combined,
        "replayed": replay.replayed.combined,
        "differences": [vars(difference) for difference in replay.differences],
        "notes": list(replay.notes),
    }


def print_replay(replay: "Replay") -> None:
    """Print whether the repetition is equal, and the largest differences."""
    console = Console()
    position = replay.recorded.position
    for note in replay.notes:
        console.print_line(f"note: {note}")
    if replay.equal:
        console.print_line(
            f"equal: computed again up to {position}, the digest is {replay.recorded.combined}"
        )
        return
    console.print(
        f"DIFFERENT up to {position}: {replay.recorded.combined} was recorded, "
        f"{replay.replayed.combined} is computed now"
    )
    decided = [d for d in replay.differences if d.decided]
    console.print_line(
        f"Decisions that differ: {', '.join(f'{d.where} {d.column}' for d in decided) or 'none'}."
    )
    table = new_table("", "", "largest difference", "relative")
    for d in sorted(replay.differences, key=lambda d: -d.relative)[:MAX_DIFFERENCES]:
        table.add_row(d.where, d.column, f"{d.absolute:.3g}", f"{d.relative:.3g}")
    console.print(table)
