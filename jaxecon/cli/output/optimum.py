"""What `jaxecon optimum` prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon.cli.output.policies import (
    print_missing,
    print_not_converged,
    print_policies,
    print_unfunded,
)
from jaxecon.cli.output.terminal import Console
from jaxecon.config.settings import Config
from jaxecon.core.text import amount_text

if TYPE_CHECKING:
    from jaxecon.simulation.optimum import OptimumStudy


def print_optimum(study: "OptimumStudy", config: Config, folder: Path) -> None:
    """Print the optimum beside other policies, and what certifies it."""
    console, optimum = Console(), study.optimum
    print_policies(console, study.rows)
    print_missing(console, study.missing)
    print_not_converged(console, study.rows)
    print_unfunded(console, study.rows)
    if optimum["free_thresholds"]:
        thresholds = ", ".join(f"{t:,.0f}" for t in study.rows[-1]["thresholds"])
        console.print(f"Thresholds of the optimum: {thresholds} $/year.")
    console.print(_search_line(optimum))
    _print_optimality(console, optimum, config)
    if optimum["followers"] < study.agents:
        console.print(
            f"Searched on {optimum['followers']:,} quantiles of {study.agents:,} people; the table "
            "is of all."
        )
    if config.welfare.function not in ("rawlsian", "atkinson"):
        console.print(
            f"Welfare weights {config.welfare.function}: effective sample "
            f"{study.effective_sample_size:,.0f} agents."
        )
    console.print_line(f"Written to {folder}")


def _search_line(optimum: Mapping[str, Any]) -> str:
    """How the schedule was found."""
    seconds = f"in {optimum['seconds']:.1f} s with compilation"
    if optimum["method"] == "grid":
        return f"All {optimum['evaluations']:,} schedules of the grid, {seconds}."
    return (
        f"Found by the {optimum['found_by']} search among {optimum['evaluations']:,} schedules, "
        f"{seconds}."
    )


def _print_optimality(console: Console, optimum: Mapping[str, Any], config: Config) -> None:
    """Print the certificate, the first-order residuals, and constraints that bind."""
    if optimum["certified"]:
        certificate = "certified: none is better"
    elif optimum["best_neighbour"] > optimum["noise"]:
        certificate = "NOT certified: one of them is better"
    else:
        certificate = (
            f"NOT certified: they differ by no more than rounding, {amount_text(optimum['noise'])}"
        )
    console.print(
        f"{optimum['neighbours']} neighbours at a step of 0.01, {certificate} (the best by "
        f"{amount_text(optimum['best_neighbour'])})."
    )
    linear = config.preferences.consumption_curvature == 0
    residuals = "/".join(f"{100 * r:+.2f}" if linear else f"{r:+.3g}" for r in optimum["residuals"])
    unit = "percent of welfare" if linear else "utility"
    console.print(
        f"First-order residuals: {residuals} ({unit} per unit of each rate; 0 at an interior "
        "optimum)."
    )
    if optimum["multiplier"] > 0:
        console.print(
            f"The budget binds: a dollar of spending per person costs {optimum['multiplier']:.3f} "
            "of welfare on top."
        )
    if any(optimum["empty"]):
        brackets = ", ".join(str(k + 1) for k, empty in enumerate(optimum["empty"]) if empty)
        console.print(f"Nobody has income in bracket {brackets}: it takes its neighbour's rate.")
