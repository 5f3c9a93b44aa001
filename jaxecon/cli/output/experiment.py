"""What `jaxecon experiment` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from jaxecon.cli.output.tables import new_table
from jaxecon.cli.output.terminal import Console

if TYPE_CHECKING:
    from experiments.suite.report import Report

_MIN_LABEL = 10  # characters of a table's first column


def print_experiment(report: "Report", seconds: float) -> None:
    """Print the question, its tables, and where the figures are."""
    console = Console()
    console.print(report.question)
    for table in report.tables:
        if table.printed:
            console.print()
            console.print_line(table.title)
            _print_sections(console, table.heads, table.cells)
            if table.note:
                console.print(table.note)
    for note in report.notes:
        console.print(note)
    for path in report.figures:
        console.print_line(f"Figure: {path}")
    console.print_line(f"All tables: {report.folder / 'report.md'}  ({seconds:.0f} s)")


def _print_sections(console: Console, heads: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table. A row with only its first cell filled is the title of the rows below it."""
    sections: list[tuple[str, list[Sequence[str]]]] = [("", [])]
    for row in cells:
        if len(row) > 1 and not any(row[1:]):
            sections.append((row[0], []))
        else:
            sections[-1][1].append(row)
    widths = _widths(heads, cells)
    if sum(width + 1 for width in widths) + _MIN_LABEL + 3 > console.width:
        # heads take several lines, so that no column is cut off
        widths = _widths([max(head.split(), key=len, default="") for head in heads], cells)
    labels = max((len(row[0]) for _, rows in sections for row in rows), default=0)
    labels = max(
        _MIN_LABEL,
        min(max(labels, len(heads[0])), console.width - sum(width + 1 for width in widths) - 3),
    )
    headed = False
    for title, rows in sections:
        if title:
            console.print(title)
        if not rows:
            continue
        table = new_table(*heads)
        table.show_header, headed = not headed, True
        table.padding = 0  # the box already puts a space between columns
        table.columns[0].width = labels
        for column, width in zip(table.columns[1:], widths, strict=True):
            column.width, column.overflow = width, "fold"
        for row in rows:
            table.add_row(*row)
        console.print(table)


def _widths(heads: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """The characters that each column but the first needs."""
    return [max(map(len, column)) for column in list(zip(heads, *cells, strict=True))[1:]]
