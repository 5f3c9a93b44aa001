"""What is printed of a sweep."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from jaxecon.cli.experiment_tables import MAX_ROWS
from jaxecon.cli.tables import new_table

if TYPE_CHECKING:
    from jaxecon.sweeps.results import Sweep


def print_sweep(found: "Sweep", seconds: float) -> None:
    """How a sweep ended."""
    console = Console()
    manifest, table = found.manifest, found.points
    ok = manifest["points"] - manifest["failed"]
    console.print(
        f"{ok:,} of {manifest['points']:,} points simulated, {manifest['failed']:,} failed "
        f"({seconds:.0f} s)"
    )
    errors: dict[str, list[int]] = {}
    for index, error in zip(table["point"].to_pylist(), table["error"].to_pylist(), strict=True):
        if error is not None:
            errors.setdefault(error, []).append(index)
    for error, indices in list(errors.items())[:5]:
        more = f" and {len(indices) - 1:,} more" if len(indices) > 1 else ""
        console.print(f"FAILED: point {indices[0]}{more}: {escape(error)}", soft_wrap=True)
    console.print(
        f"Sweep directory: {escape(str(found.path))}  (points.parquet, years.parquet)",
        soft_wrap=True,
    )


def print_sweep_summary(found: "Sweep", figures: Sequence[str], level: float) -> None:
    """Means over seeds."""
    console, rows = Console(), found.summary(figures, level)
    kept = list(rows[0])[: list(rows[0]).index("points")]
    last = [name.rsplit(".", 1)[-1] for name in kept]
    heads = [
        short if last.count(short) == 1 else name for short, name in zip(last, kept, strict=True)
    ]
    units = [f"{name}, %" if name.startswith("gain_") else name for name in figures]
    table = new_table(*(head.replace("_", " ") for head in (*heads, "n", *units)))
    for row in rows[:MAX_ROWS]:
        counted = f"{row['n']} ({row['failed']} failed)" if row["failed"] else str(row["n"])
        cells = (_mean_cell(name, row[f"{name}_mean"], row[f"{name}_ci"]) for name in figures)
        table.add_row(*(value_cell(row[name]) for name in kept), counted, *cells)
    console.print(table)
    if len(rows) > MAX_ROWS:
        console.print(f"{len(rows) - MAX_ROWS:,} more rows: --json prints them all")
    console.print(f"Last years, mean over seeds ± half a {level:.0%} confidence interval.")
    if found.manifest["status"] != "complete":
        console.print(
            f"The sweep is not finished: {sum(row['points'] for row in rows):,} points so far."
        )


def _mean_cell(name: str, mean: float | None, width: float | None) -> str:
    """A mean with as many digits as its interval leaves certain; gains in percent."""
    if mean is None:
        return ""
    scale = 100 if name.startswith("gain_") else 1
    if width is None or not width > 0:
        return f"{scale * mean:.4g}"
    digits = max(0, 1 - math.floor(math.log10(scale * width)))
    return f"{scale * mean:,.{digits}f}±{scale * width:,.{digits}f}"


def value_cell(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else escape(str(value))
