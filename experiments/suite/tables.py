"""Tables of experiments: every number, and cells as people read them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.suite.statistics import (
    RESAMPLES,
    Difference,
    Estimate,
    deviation,
    difference,
    estimate,
    factorial_effects,
    holm,
)

if TYPE_CHECKING:
    from experiments.suite.arms import Arms


class Figure(NamedTuple):
    """How a figure is shown. scale: what its numbers are multiplied by."""

    words: str
    scale: float = 1.0


FIGURES = {
    "gain_realised": Figure("gain realised, %", 100),
    "gain_equilibrium": Figure("gain once learnt, %", 100),
    "gain_once_learnt": Figure("gain once learnt, %", 100),
    "gain_best": Figure("gain of the best schedule, %", 100),
    "gain_elected": Figure("gain of elected leaders, %", 100),
    "gain_optimum": Figure("gain of the optimum, %", 100),
    "exploits": Figure("years in which a majority exploits the others, %", 100),
    "better_off": Figure("people better off than at the optimum, %", 100),
    "minority_loss": Figure("what the others lose, % of utility at the optimum", 100),
    "turnover": Figure("elections that bring another leader, %", 100),
    "turnover_raised": Figure("turnovers that raise welfare, %", 100),
    "gain_true": Figure("gain in the whole country, %", 100),
    "gain_bias": Figure("what the panel adds to it, points", 100),
    "gain_paper": Figure("gain in the paper's welfare, %", 100),
    "settling": Figure("settling time, days"),
    "settling_days": Figure("settling time, days"),
    "settled_share": Figure("settling time, % of the year", 100),
    "reversals": Figure("changes that reverse, %", 100),
    "yearly_change": Figure("change of a rate, points a year"),
    "mean_hours": Figure("h/week"),
    "hours_federal": Figure("h/week under US federal"),
    "mean_rate": Figure("mean marginal rate, %", 100),
    "rebate": Figure("rebate, $/year"),
    "satisfied_share": Figure("satisfied, %", 100),
    "gini_consumption": Figure("Gini of consumption"),
    "elasticity": Figure("elasticity"),
    **{f"rate_{k}": Figure(f"rate {k + 1}, %", 100) for k in range(7)},
}


_SHORT = 15  # characters of a reference's name that a column's head has room for


@dataclass(frozen=True)
class Table:
    """rows: every number.

    heads, cells: as it is shown. printed: whether on a terminal too, or in the report alone.
    """

    name: str
    title: str
    rows: list[dict[str, Any]]
    heads: list[str]
    cells: list[list[str]]
    note: str = ""
    printed: bool = True


def arms_table(
    name: str,
    title: str,
    arms: "Arms",
    figures: Sequence[str],
    reference: Any = None,
    *,
    arm: str = "arm",
    words: Mapping[Any, str] | None = None,
    printed: bool = True,
    resamples: int = RESAMPLES,
) -> Table:
    """Each arm's mean, and its paired difference to a reference arm's, or where `reference` is a
    mapping to that of its own.

    words: of labels. arm: what an arm is called.
    """
    against = reference if isinstance(reference, Mapping) else dict.fromkeys(arms.labels, reference)
    shown = {label: (words or {}).get(label, _plain(label)) for label in arms.labels}
    rows: list[dict[str, Any]] = []
    for figure in figures:
        for label in arms.labels:
            values = arms.of(figure, label)
            row: dict[str, Any] = {
                "figure": figure,
                arm: shown[label],
                **_named(estimate(values, resamples=resamples)),
            }
            other = against.get(label)
            if other is not None and label != other:
                others = arms.of(figure, other)
                scale = max(
                    1.0 if "gain" in figure else 0.0, float(np.max(np.abs([values, others])))
                )
                row |= {
                    "reference": shown[other],
                    **_compared(difference(values - others, scale=scale, resamples=resamples)),
                }
            rows.append(row)
    _correct(rows)
    heads, notes = [arm, "n", "mean [95 %]"], list[str]()
    if reference is not None:
        other = "its reference" if isinstance(reference, Mapping) else shown[reference]
        heads += [f"less {other}" if len(other) <= _SHORT else "difference", "d", "p"]
        if len(other) > _SHORT:
            notes.append(f"Differences are to {other}.")
    cells = []
    for row in rows:
        scale = FIGURES[row["figure"]].scale
        line = [row[arm], str(row["n"]), interval_text(row["mean"], row["low"], row["high"], scale)]
        if reference is not None:
            line += _difference_cells(row, scale) if "p" in row else ["", "", ""]
        cells.append(line)
    if arms.dropped:
        notes.append(f"{arms.dropped} populations left out: an arm failed there.")
    if arms.lacking:
        notes.append(f"{arms.lacking} populations left out: a figure has no value in an arm there.")
    return Table(name, title, rows, heads, _sections(rows, cells), " ".join(notes), printed)


def spread_table(
    name: str,
    title: str,
    arms: "Arms",
    figures: Sequence[str],
    words: Mapping[Any, str] | None = None,
) -> Table:
    """Standard deviations over populations."""
    rows: list[dict[str, Any]] = [
        {
            "figure": figure,
            "arm": (words or {}).get(label, _plain(label)),
            **_named(deviation(arms.of(figure, label))),
        }
        for figure in figures
        for label in arms.labels
    ]
    cells = []
    for row in rows:
        shown = interval_text(row["mean"], row["low"], row["high"], FIGURES[row["figure"]].scale)
        cells.append([row["arm"], str(row["n"]), shown])
    return Table(name, title, rows, ["arm", "n", "s.d. [95 %]"], _sections(rows, cells))


def effects_table(
    name: str,
    title: str,
    cells: Mapping[str, Mapping[tuple[bool, ...], np.ndarray]],
    factors: Sequence[str],
) -> Table:
    """Main effects and two-way interactions of a full factorial.

    cells: by figure, as `factorial_effects` takes them.
    """
    rows: list[dict[str, Any]] = []
    for figure, found in cells.items():
        for members, values in factorial_effects(found, factors).items():
            estimated = difference(values)
            row = {
                "figure": figure,
                "effect": " x ".join(members),
                "n": estimated.n,
                **_compared(estimated),
            }
            rows.append(row)
    _correct(rows)
    shown = [
        [row["effect"], str(row["n"]), *_difference_cells(row, FIGURES[row["figure"]].scale)]
        for row in rows
    ]
    return Table(name, title, rows, ["effect of", "n", "effect", "d", "p"], _sections(rows, shown))


def described_table(
    name: str, title: str, rows: list[dict[str, Any]], figures: Sequence[str]
) -> Table:
    """Runs with a language model, as they were.

    rows: `suite.rows_of` of a sweep, and `described` for each: who it was.
    """

    def cell(row: dict[str, Any], figure: str) -> str:
        return (
            number_text(row[figure], FIGURES[figure].scale) if row.get(figure) is not None else ""
        )

    shown = [[FIGURES[figure].words, *(cell(row, figure) for row in rows)] for figure in figures]
    shown += [
        [counted, *(str(row[counted]) for row in rows)] for counted in ("answers", "fallbacks")
    ]
    heads = ["", *(row["described"] for row in rows)]
    note = "One run each, described and not tested: one population, one draw."
    return Table(name, title, rows, heads, shown, note)


def _named(found: Estimate) -> dict[str, float]:
    return {"n": found.n, "mean": found.mean, "low": found.low, "high": found.high}


def _compared(found: Difference) -> dict[str, float]:
    return {
        "difference": found.mean,
        "difference_low": found.low,
        "difference_high": found.high,
        "effect_size": found.effect,
        "p_raw": found.p,
        "p": found.p,
    }


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    """p of all of a table's comparisons, by Holm."""
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, holm([row["p_raw"] for row in tested]), strict=True):
        row["p"] = p


def _sections(rows: Sequence[Mapping[str, Any]], cells: Sequence[list[str]]) -> list[list[str]]:
    """Each row's cells, under a line with the words of its figure where those change."""
    found: list[list[str]] = []
    for i, (row, line) in enumerate(zip(rows, cells, strict=True)):
        if i == 0 or rows[i - 1]["figure"] != row["figure"]:
            found.append([f"{FIGURES[row['figure']].words}:", *[""] * (len(line) - 1)])
        found.append(line)
    return found


def _difference_cells(row: Mapping[str, Any], scale: float) -> list[str]:
    text = interval_text(
        row["difference"], row["difference_low"], row["difference_high"], scale, sign=True
    )
    return [
        text,
        "" if math.isnan(row["effect_size"]) else f"{row['effect_size']:+.2f}",
        p_text(row["p"]),
    ]


def _plain(label: Any) -> str:
    return f"{label:,}" if isinstance(label, int) and not isinstance(label, bool) else str(label)


def p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def number_text(value: float, scale: float = 1.0) -> str:
    """With as many digits as a reader wants of one run's figure."""
    x = scale * value
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.3g}" if abs(x) < 1 else f"{x:.1f}"


def interval_text(
    mean: float, low: float, high: float, scale: float = 1.0, *, sign: bool = False
) -> str:
    """`mean [low, high]` with as many digits as the interval leaves certain."""
    mean, low, high = (scale * x for x in (mean, low, high))
    width = (high - low) / 2
    digits = min(3, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 2
    form = f"{'+' if sign else ''},.{digits}f"

    def text(x: float) -> str:
        return format(round(x, digits) + 0.0, form)

    if math.isnan(width):
        return text(mean)
    return f"{text(mean)} [{text(low)}, {text(high)}]"


def markdown(table: Table) -> str:
    """As GitHub shows it."""
    lines = [
        f"### {table.title}",
        "",
        f"| {' | '.join(table.heads)} |",
        "|" + "---|" * len(table.heads),
    ]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.cells]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


def table_from(kept: Mapping[str, Any]) -> Table:
    """From its JSON."""
    return Table(**kept)
