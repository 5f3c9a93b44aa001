"""What `jaxecon sweep` prints."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxecon.cli.output.tables import new_table
from jaxecon.cli.output.terminal import Console
from jaxecon.core.text import plural

if TYPE_CHECKING:
    from jaxecon.sweeps.results import Sweep

MAX_ROWS = 40  # rows of the summary
MAX_ERRORS = 5  # distinct errors that are listed


def print_sweep(swept: "Sweep", seconds: float) -> None:
    """Print how a sweep ended, and the errors of points that failed."""
    console = Console()
    manifest, table = swept.manifest, swept.points
    ok = manifest["points"] - manifest["failed"]
    console.print(
        f"{ok:,} of {plural(manifest['points'], 'point')} simulated, {manifest['failed']:,} failed "
        f"({seconds:.0f} s)"
    )
    errors: dict[str, list[int]] = {}
    for index, error in zip(table["point"].to_pylist(), table["error"].to_pylist(), strict=True):
        if error is not None:
            errors.setdefault(error, []).append(index)
    for error, indices in list(errors.items())[:MAX_ERRORS]:
        more = f" and {len(indices) - 1:,} more" if len(indices) > 1 else ""
        console.print_line(f"FAILED: point {indices[0]}{more}: {error}")
    console.print_line(f"Sweep directory: {swept.path}  (points.parquet, years.parquet)")


def print_sweep_summary(swept: "Sweep", statistics: Sequence[str], level: float) -> None:
    """Print means over seeds with confidence intervals, a row for each combination of settings."""
    console, rows = Console(), swept.summary(statistics, level)
    settings = list(rows[0])[: list(rows[0]).index("points")]
    last = [name.rsplit(".", 1)[-1] for name in settings]
    heads = [
        short if last.count(short) == 1 else name
        for short, name in zip(last, settings, strict=True)
    ]
    units = [f"{name}, %" if name.startswith("gain_") else name for name in statistics]
    table = new_table(*(head.replace("_", " ") for head in (*heads, "n", *units)))
    for row in rows[:MAX_ROWS]:
        counted = f"{row['n']} ({row['failed']} failed)" if row["failed"] else str(row["n"])
        cells = (_mean_cell(name, row) for name in statistics)
        table.add_row(*(_value_cell(row[name]) for name in settings), counted, *cells)
    console.print(table)
    if len(rows) > MAX_ROWS:
        console.print(f"{len(rows) - MAX_ROWS:,} more rows: --json prints them all")
    console.print(
        f"Means of the last year over seeds ± half of the {level:.0%} confidence interval."
    )
    if swept.manifest["status"] != "complete":
        so_far = plural(sum(row["points"] for row in rows), "point")
        console.print(f"The sweep is not finished: {so_far} so far.")


def _mean_cell(name: str, row: Mapping[str, Any]) -> str:
    """A mean with as many digits as its interval supports; gains in percent.

    With the number of seeds where some have no value; without a mean where one's is infinite.
    """
    mean, width, known = row[f"{name}_mean"], row[f"{name}_ci"], row[f"{name}_n"]
    if row[f"{name}_infinite"]:
        return f"infinite in {row[f'{name}_infinite']} of {row['n']}"
    if mean is None:
        return ""
    scale = 100 if name.startswith("gain_") else 1
    of = f" ({known} of {row['n']})" if known < row["n"] else ""
    if width is None or not width > 0:
        return f"{scale * mean:.4g}{of}"
    digits = max(0, 1 - math.floor(math.log10(scale * width)))
    return f"{scale * mean:,.{digits}f}±{scale * width:,.{digits}f}{of}"


def _value_cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
