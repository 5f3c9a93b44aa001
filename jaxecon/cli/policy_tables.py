"""What is printed of an optimum and of a comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from jaxecon.cli.tables import new_table, percent_error, percent_text
from jaxecon.cli.words import POLICIES
from jaxecon.config.settings import Config
from jaxecon.core.text import amount_text

if TYPE_CHECKING:
    from jaxecon.simulation.compare import Comparison
    from jaxecon.simulation.optimum import OptimumStudy
_RATES_WIDTH = 22  # of a line of rates


def print_optimum(study: "OptimumStudy", config: Config, folder: Path) -> None:
    """What `jaxecon optimum` shows."""
    console, found = Console(), study.optimum
    console.print("Once everybody has learnt the schedule (gain over US federal):")
    table = new_table("", "rates, %", "welfare", "gain", "h/week", "Gini", "rebate")
    for row in study.rows:
        table.add_row(*policy_cells(row))
    console.print(table)
    print_missing(console, study.missing)
    print_not_converged(console, study.rows)
    _print_unpaid(console, study.rows, config.budget.public_spending)
    best = study.rows[-1]
    if found["free_thresholds"]:
        console.print(
            f"Thresholds of the optimum: {', '.join(f'{t:,.0f}' for t in best['thresholds'])} "
            "$/year."
        )
    if found["method"] == "grid":
        console.print(
            f"All {found['evaluations']:,} schedules of the grid, in {found['seconds']:.1f} s "
            "with compilation."
        )
    else:
        console.print(
            f"Found by the {found['found_by']} search among {found['evaluations']:,} schedules, "
            f"in {found['seconds']:.1f} s with compilation."
        )
    certificate = (
        "certified: none is better"
        if found["certified"]
        else "NOT certified: one of them is better"
    )
    console.print(
        f"{found['neighbours']} neighbours at a step of 0.01, {certificate} (the best by "
        f"{amount_text(found['best_neighbour'])})."
    )
    linear = config.preferences.consumption_curvature == 0
    residuals = "/".join(f"{100 * r:+.2f}" if linear else f"{r:+.3g}" for r in found["residuals"])
    unit = "percent of welfare" if linear else "utility"
    console.print(
        f"First-order residuals: {residuals} ({unit} per unit of each rate; 0 at an interior "
        "optimum)."
    )
    if found["multiplier"] > 0:
        console.print(
            f"The budget binds: a dollar of spending per person costs {found['multiplier']:.3f} "
            "of welfare on top."
        )
    if any(found["empty"]):
        brackets = ", ".join(str(k + 1) for k, empty in enumerate(found["empty"]) if empty)
        console.print(f"Nobody has income in bracket {brackets}: it takes its neighbour's rate.")
    if found["followers"] < study.agents:
        console.print(
            f"Searched on {found['followers']:,} quantiles of {study.agents:,} people; the table "
            "is of all."
        )
    if config.welfare.function not in ("rawlsian", "atkinson"):
        console.print(
            f"Welfare weights {config.welfare.function}: effective sample "
            f"{study.effective_sample_size:,.0f} agents."
        )
    console.print(f"Written to {folder}", soft_wrap=True)


def print_comparison(comparison: "Comparison", folder: Path) -> None:
    """What `jaxecon compare` shows."""
    console, summary = Console(), comparison.summary
    names = [POLICIES[row["policy"]] for row in summary]
    count = summary[0]["populations"]
    console.print(
        f"{count} population{'s' if count > 1 else ''}, everybody responding exactly; gain over "
        "US federal in percent:"
    )
    table = new_table(
        "",
        "gain",
        "s.e.",
        "95 %",
        f"less {POLICIES[comparison.yardstick]}",
        "s.e.",
        "h/week",
        "lost, $",
    )
    for row, name in zip(summary, names, strict=True):
        gain, difference = row["gain"], row["difference"]
        interval = (
            f"{100 * gain['low']:.2f}..{100 * gain['high']:.2f}"
            if gain["standard_error"] > 1e-6
            else ""
        )
        table.add_row(
            name,
            f"{round(100 * gain['mean'], 2) + 0.0:+.2f}",
            percent_error(gain["standard_error"]),
            interval,
            f"{round(100 * difference['mean'], 2) + 0.0:+.2f}"
            if row["policy"] != comparison.yardstick
            else "",
            percent_error(difference["standard_error"])
            if row["policy"] != comparison.yardstick
            else "",
            f"{row['hours']:.1f}",
            f"{row['deadweight_loss']:,.0f}",
        )
    console.print(table)
    console.print("(lost: deadweight loss, $/year per person)")
    print_missing(console, comparison.missing)
    print_not_converged(console, comparison.rows)

    federal = next((row for row in summary if row["policy"] == "us_federal"), None)
    if federal is not None and len(summary) > 1:
        console.print(
            "\nWho gains over US federal, by decile of skill: $/year (share of people better off, "
            "%)"
        )
        others = [row for row in summary if row["policy"] != "us_federal"]
        table = new_table("decile", *(POLICIES[row["policy"]] for row in others))
        for d, before in enumerate(federal["decile_worth"]):
            cells = (
                f"{row['decile_worth'][d] - before:+,.0f} ({100 * row['decile_gain_share'][d]:.0f})"
                for row in others
            )
            table.add_row(str(d + 1), *cells)
        console.print(table)

    console.print("\nAverage / marginal rate by decile, %")
    table = new_table("decile", *names)
    for d in range(len(summary[0]["decile_income"])):
        cells = (
            f"{100 * row['decile_average_rate'][d]:.0f} / "
            f"{100 * row['decile_marginal_rate'][d]:.0f}"
            for row in summary
        )
        table.add_row(str(d + 1), *cells)
    console.print(table)

    console.print(
        "\nMarginal welfare weight (share of people, %) by bracket of income under each schedule"
    )
    table = new_table("from, $", *names)
    longest = max(summary, key=lambda row: len(row["thresholds"]))
    for k, threshold in enumerate(longest["thresholds"]):
        table.add_row(f"{threshold:,.0f}", *(_bracket_cell(row, threshold, k) for row in summary))
    console.print(table)
    console.print(f"Written to {folder}", soft_wrap=True)


def _bracket_cell(row: Mapping[str, Any], threshold: float, k: int) -> str:
    if k >= len(row["thresholds"]) or row["thresholds"][k] != threshold:
        return ""
    return f"{row['bracket_weight'][k]:.2f} ({100 * row['bracket_people'][k]:.1f})"


def _print_unpaid(console: Console, rows: Sequence[Mapping[str, Any]], spending: float) -> None:
    """Policies whose taxes do not pay the rebate's floor: the pool made up for it, so their welfare
    does not compare.
    """
    for row in rows:
        short = row["rebate"] - (row["tax"] - spending)
        if short > 1:
            console.print(
                f"{POLICIES[row['policy']]}: taxes fall {short:,.0f} $/year per person short of "
                "the rebate's floor."
            )


def print_not_converged(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Policies whose iteration ended before it came to rest: their schedule is not what their name
    says.
    """
    for name in dict.fromkeys(row["policy"] for row in rows):
        ended = [row for row in rows if row["policy"] == name and row.get("converged") is not None]
        wrong = [row["last_change"] for row in ended if not row["converged"]]
        if wrong:
            console.print(
                f"{POLICIES[name]}: not a fixed point in {len(wrong)} of {len(ended)} "
                f"population{'s' if len(ended) > 1 else ''} "
                f"(the last iteration asked for changes of up to {max(wrong):.3g} in a rate).",
                soft_wrap=True,
            )


def print_missing(console: Console, missing: Mapping[str, str]) -> None:
    for kind, reason in missing.items():
        console.print(f"No schedule of {POLICIES[kind]} here: {reason}", soft_wrap=True)


def policy_cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        POLICIES[row["policy"]],
        rates_text(row["rates"]),
        amount_text(row["welfare"]),
        percent_text(row["gain"]),
        f"{row['hours']:.1f}",
        f"{row['gini_consumption']:.3f}",
        f"{row['rebate']:,.0f}",
    )


def rates_text(rates: Sequence[float]) -> str:
    """In percent; one figure where all are the same.

    In lines that a column of 80 takes whole: no figure is cut in two.
    """
    *all_but_last, last = (f"{100 * r:.3g}" for r in (rates if len(set(rates)) > 1 else rates[:1]))
    lines = [""]
    for figure in (*(f"{figure}/" for figure in all_but_last), last):
        if len(lines[-1]) + len(figure) > _RATES_WIDTH:
            lines.append("")
        lines[-1] += figure
    return "\n".join(lines)
