"""What all printed tables share: columns, percentages, and lines below them."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

from jaxecon.config.names import DIAGNOSTICS
from jaxecon.core.text import plural

if TYPE_CHECKING:
    from jaxecon.storage.failure_diagnostics import Diagnostic

SIMULATED = "simulated"  # the engine that follows rules, without a language model


def diagnostic_line(diagnostic: "Diagnostic") -> str:
    """One line on a sign of failure and its years, which are counted from 1 on a terminal."""
    spans = ", ".join(
        f"{first + 1}" if first == last else f"{first + 1} to {last + 1}"
        for first, last in diagnostic.years
    )
    years = "year" if diagnostic.years[0][0] == diagnostic.years[-1][1] else "years"
    words = DIAGNOSTICS[diagnostic.name].words
    return f"{words} in {years} {spans}: {diagnostic.seen}"


def percent_error(error: float) -> str:
    """A standard error of a share, in percent; empty where there is none."""
    return "" if math.isnan(error) or error < 1e-6 else f"{100 * error:.2f}"


def new_table(*columns: str) -> Table:
    """An empty table; the first column, rates and choices are aligned left, numbers right."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(columns):  # so that the table fits 80 characters
        table.add_column(
            name,
            justify="left" if i == 0 or name in ("rates, %", "choice") else "right",
            overflow="fold",
        )
    return table


def usage_line(usage: Mapping[str, Any]) -> str:
    """What language models did in a run: calls, fallbacks, tokens, speed, cost."""
    kinds = "; ".join(
        f"{kind}: " + ", ".join(f"{n} {status}" for status, n in counts.items())
        for kind, counts in usage["by_kind"].items()
    )
    who = (
        "Language model"
        if usage["engines"] != [SIMULATED]
        else "Simulated engine (rules, no language model)"
    )
    if len(usage["engines"]) > 1:
        who += f" (engines: {', '.join(usage['engines'])})"
    cost = f", ${usage['dollars']:.4f}" if usage["dollars"] else ""
    # manifests of earlier versions do not have it
    elsewhere = usage.get("substitute_calls", 0)
    substitute = f", {elsewhere:,} of them to the model of llm.fallback" if elsewhere else ""
    restarts = (
        f", {plural(usage['restarts'], 'restart')} of an engine that died"
        if usage["restarts"]
        else ""
    )
    return (
        f"{who}: {plural(usage['calls'], 'call')}{substitute}, "
        f"{plural(usage['statuses'].get('fallback', 0), 'fallback')} "
        f"({kinds}); "
        f"{plural(usage['prompt_tokens'], 'token')} in "
        f"({share_text(usage['cached_tokens'], usage['prompt_tokens'])} cached), "
        f"{usage['completion_tokens']:,} out, {usage['calls'] / max(usage['seconds'], 1e-9):.1f} "
        f"requests/s{cost}{restarts}."
    )


def percent_text(fraction: float) -> str:
    """A fraction in percent with sign and two digits, and without a negative zero."""
    return f"{round(100 * fraction, 2) + 0.0:+.2f} %"


def share_text(part: float, whole: float) -> str:
    """A part of a whole as a percentage without decimals."""
    return f"{100 * part / whole:.0f} %" if whole else "0 %"
