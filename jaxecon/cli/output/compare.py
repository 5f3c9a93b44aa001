"""What `jaxecon compare` prints."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon.cli.output.policies import gain_text, print_missing, print_not_converged
from jaxecon.cli.output.tables import new_table, percent_error
from jaxecon.cli.output.terminal import Console
from jaxecon.config.names import policy_name
from jaxecon.core.text import plural

if TYPE_CHECKING:
    from jaxecon.simulation.compare import Comparison

Rows = Sequence[Mapping[str, Any]]


def print_comparison(comparison: "Comparison", folder: Path) -> None:
    """Print gains with their errors, who gains, and rates and welfare weights."""
    console, summary = Console(), comparison.summary
    _print_gains(console, summary, comparison.yardstick)
    print_missing(console, comparison.missing)
    print_not_converged(console, comparison.rows)
    _print_who_gains(console, summary)
    _print_rates(console, summary)
    _print_weights(console, summary)
    console.print_line(f"Written to {folder}")


def _print_gains(console: Console, summary: Rows, yardstick: str) -> None:
    count = summary[0]["populations"]
    console.print(
        f"{plural(count, 'population')}, everybody responding exactly; gain over "
        "US federal in percent:"
    )
    less = f"less {policy_name(yardstick).words}"
    table = new_table("", "gain", "s.e.", "95 %", less, "s.e.", "h/week", "lost, $")
    for row in summary:
        table.add_row(policy_name(row["policy"]).words, *_gain_cells(row, yardstick))
    console.print(table)
    console.print("(lost: deadweight loss, $/year per person)")


def _gain_cells(row: Mapping[str, Any], yardstick: str) -> Iterator[str]:
    """One policy's gain, its difference to the yardstick's, hours and deadweight loss."""
    gain, difference = row["gain"], row["difference"]
    yield _mean_cell(gain)
    yield percent_error(gain["standard_error"])
    has_error = gain["standard_error"] > 1e-6
    yield f"{100 * gain['low']:.2f}..{100 * gain['high']:.2f}" if has_error else ""
    differs = row["policy"] != yardstick
    yield _mean_cell(difference) if differs else ""
    yield percent_error(difference["standard_error"]) if differs else ""
    yield f"{row['hours']:.1f}"
    yield f"{row['deadweight_loss']:,.0f}"


def _mean_cell(mean: Mapping[str, float]) -> str:
    """A mean gain; there is none where it is not finite in some populations: they are counted."""
    if mean["not_finite"]:
        return f"not finite in {mean['not_finite']}"
    return gain_text(mean["mean"])


def _print_who_gains(console: Console, summary: Rows) -> None:
    """Print who gains by decile of skill, where US federal is one of several policies."""
    federal = next((row for row in summary if row["policy"] == "us_federal"), None)
    if federal is None or len(summary) == 1:
        return
    console.print(
        "\nWho gains over US federal, by decile of skill: $/year (share of people better off, %)"
    )
    others = [row for row in summary if row["policy"] != "us_federal"]
    table = new_table("decile", *_names(others))
    for d, before in enumerate(federal["decile_worth"]):
        cells = (
            f"{row['decile_worth'][d] - before:+,.0f} ({100 * row['decile_gain_share'][d]:.0f})"
            for row in others
        )
        table.add_row(str(d + 1), *cells)
    console.print(table)


def _print_rates(console: Console, summary: Rows) -> None:
    console.print("\nAverage / marginal rate by decile, %")
    table = new_table("decile", *_names(summary))
    for d in range(len(summary[0]["decile_income"])):
        cells = (
            f"{100 * row['decile_average_rate'][d]:.0f} / "
            f"{100 * row['decile_marginal_rate'][d]:.0f}"
            for row in summary
        )
        table.add_row(str(d + 1), *cells)
    console.print(table)


def _print_weights(console: Console, summary: Rows) -> None:
    console.print(
        "\nMarginal welfare weight (share of people, %) by bracket of income under each schedule"
    )
    table = new_table("from, $", *_names(summary))
    longest = max(summary, key=lambda row: len(row["thresholds"]))
    for k, threshold in enumerate(longest["thresholds"]):
        table.add_row(f"{threshold:,.0f}", *(_bracket_cell(row, threshold, k) for row in summary))
    console.print(table)


def _names(rows: Rows) -> list[str]:
    return [policy_name(row["policy"]).words for row in rows]


def _bracket_cell(row: Mapping[str, Any], threshold: float, k: int) -> str:
    if k >= len(row["thresholds"]) or row["thresholds"][k] != threshold:
        return ""
    return f"{row['bracket_weight'][k]:.2f} ({100 * row['bracket_people'][k]:.1f})"
