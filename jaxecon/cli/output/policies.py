"""The table of policies, which several commands print, and notes on its rows."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxecon.cli.output.tables import new_table
from jaxecon.cli.output.terminal import Console
from jaxecon.config.names import policy_name
from jaxecon.core.text import amount_text, plural

_RATES_WIDTH = 20  # characters in a line of rates

_SEEN = 5e-5  # the smallest difference between gains that shows in two digits of a percentage


def print_policies(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Print each policy at equilibrium: rates, welfare, gain, hours, inequality, rebate.

    Where it differs, also its gain if workers take the best of the hours that they choose among.
    """
    grid = any(_differs_among_choices(row) for row in rows)
    console.print("At equilibrium, everybody responding exactly (gain over US federal in %):\n")
    gains = {"gain": "gain"} | ({"gain_choices": "grid"} if grid else {})
    table = new_table("", "rates, %", "welfare", *gains.values(), "h/week", "Gini", "rebate")
    table.show_edge = False  # so that it fits 80 characters with the grid's column
    for row in rows:
        table.add_row(
            policy_name(row["policy"]).words,
            rates_text(row["rates"]),
            "-inf" if row["welfare"] is None else amount_text(row["welfare"]),
            *(gain_text(row[name]) for name in gains),
            f"{row['hours']:.1f}",
            f"{row['gini_consumption']:.3f}",
            f"{row['rebate']:,.0f}",
        )
    console.print(table)
    if any(gain_text(row[name]) == "none" for row in rows for name in gains):
        console.print(
            "(none: no change of everybody's consumption under US federal brings this welfare)"
        )
    if grid:
        console.print(
            "(grid: the gain, over US federal with any hours, where workers take the best of\n"
            "their choices of hours)"
        )
    console.print()


def gain_text(gain: float | None) -> str:
    """A gain in percent with sign and two digits, and without a negative zero.

    It is infinite, and null in a manifest, where no change of consumption brings as much.
    """
    if gain is None or not math.isfinite(gain):
        return "none"
    return f"{round(100 * gain, 2) + 0.0:+.2f}"


def _differs_among_choices(row: Mapping[str, Any]) -> bool:
    """Whether the gain among the workers' choices is another one, as far as two digits show it."""
    gain = row["gain"]
    among = row.get("gain_choices", gain)  # a run that an earlier jaxecon completed lacks it
    if gain_text(gain) == "none" or gain_text(among) == "none":
        return gain_text(gain) != gain_text(among)
    return bool(abs(among - gain) > _SEEN)


def rates_text(rates: Sequence[float]) -> str:
    """Rates (k,) in percent, or a single one where all are equal.

    They are broken into lines that fit into a table of 80 characters, so that no rate is cut in
    two.
    """
    *all_but_last, last = (f"{100 * r:.3g}" for r in (rates if len(set(rates)) > 1 else rates[:1]))
    lines = [""]
    for rate in (*(f"{rate}/" for rate in all_but_last), last):
        if len(lines[-1]) + len(rate) > _RATES_WIDTH:
            lines.append("")
        lines[-1] += rate
    return "\n".join(lines)


def print_not_converged(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Name policies whose iteration has not converged: their schedule is not a fixed point."""
    for name in dict.fromkeys(row["policy"] for row in rows):
        ended = [row for row in rows if row["policy"] == name and row.get("converged") is not None]
        wrong = [row["last_change"] for row in ended if not row["converged"]]
        if wrong:
            console.print_line(
                f"{policy_name(name).words}: not a fixed point in {len(wrong)} of "
                f"{plural(len(ended), 'population')} "
                f"(the last iteration asked for changes of up to {max(wrong):.3g} in a rate)."
            )


def print_unfunded(console: Console, rows: Sequence[Mapping[str, Any]]) -> None:
    """Name policies whose taxes do not pay for public spending and the floor of the rebate.

    The pool pays the rest all the same, so their welfare is not comparable.
    """
    for row in rows:
        short = row.get("unfunded", 0.0)  # a run that an earlier jaxecon completed lacks it
        if short:
            console.print(
                f"{policy_name(row['policy']).words}: taxes fall {short:,.0f} $/year per person "
                "short of public spending and the rebate's floor.",
                soft_wrap=True,
            )


def print_missing(console: Console, missing: Mapping[str, str]) -> None:
    """Name policies that have no schedule for this economy, and why."""
    for kind, reason in missing.items():
        console.print_line(f"No schedule of {policy_name(kind).words} here: {reason}")
