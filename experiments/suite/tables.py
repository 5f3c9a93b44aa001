"""Tables of experiments: every number, and cells as people read them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.suite.answers import answer_cells, answer_limits, statistic_limits
from experiments.suite.arms import Arms
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
from experiments.suite.wording import STATISTICS, interval_text, number_text, p_text
from jaxecon.core.text import plural

_SHORT = 15  # characters of a reference's name that fit into a column's head


@dataclass(frozen=True)
class Table:
    """A table of an experiment.

    rows: every number. heads, cells: what is shown. printed: whether it is shown on a terminal too,
    or only in the report.
    """

    name: str
    title: str
    rows: list[dict[str, Any]]
    heads: list[str]
    cells: list[list[str]]
    note: str = ""
    printed: bool = True


def _paired_difference(
    arms: Arms, statistic: str, label: Any, other: Any, resamples: int
) -> Difference:
    """The paired difference of one arm's values minus another's.

    Rounding is judged by the size of both; for gains by at least 1, since they are differences of
    numbers near 1.
    """
    values, others = arms.of(statistic, label), arms.of(statistic, other)
    smallest = 1.0 if "gain" in statistic else 0.0
    scale = max(smallest, float(np.max(np.abs([values, others]))))
    return difference(values - others, scale=scale, resamples=resamples)


def arms_table(
    name: str,
    title: str,
    arms: Arms,
    statistics: Sequence[str],
    reference: Any = None,
    *,
    arm: str = "arm",
    words: Mapping[Any, str] | None = None,
    printed: bool = True,
    resamples: int = RESAMPLES,
) -> Table:
    """Each arm's mean, and its paired difference to a reference arm's.

    If `reference` is a mapping, each arm has a reference of its own.

    words: the words shown for labels. arm: what an arm is called.
    """
    against = reference if isinstance(reference, Mapping) else dict.fromkeys(arms.labels, reference)
    shown = {label: (words or {}).get(label, _plain(label)) for label in arms.labels}
    rows: list[dict[str, Any]] = []
    for statistic in statistics:
        for label in arms.labels:
            values = arms.of(statistic, label)
            row: dict[str, Any] = {
                "statistic": statistic,
                arm: shown[label],
                **_named(estimate(values, resamples=resamples)),
            }
            other = against.get(label)
            if other is not None and label != other:
                paired = _paired_difference(arms, statistic, label, other, resamples)
                row |= {"reference": shown[other], **_compared(paired)}
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
        scale = STATISTICS[row["statistic"]].scale
        line = [row[arm], str(row["n"]), interval_text(row["mean"], row["low"], row["high"], scale)]
        if reference is not None:
            line += _difference_cells(row, scale) if "p" in row else ["", "", ""]
        cells.append(line)
    if arms.dropped:
        notes.append(f"{plural(arms.dropped, 'population')} left out: an arm failed there.")
    if arms.lacking:
        notes.append(
            f"{plural(arms.lacking, 'population')} left out: a statistic has no value in an arm "
            "there."
        )
    return Table(name, title, rows, heads, _sections(rows, cells), " ".join(notes), printed)


def spread_table(
    name: str,
    title: str,
    arms: Arms,
    statistics: Sequence[str],
    words: Mapping[Any, str] | None = None,
) -> Table:
    """Standard deviations over populations."""
    rows: list[dict[str, Any]] = [
        {
            "statistic": statistic,
            "arm": (words or {}).get(label, _plain(label)),
            **_named(deviation(arms.of(statistic, label))),
        }
        for statistic in statistics
        for label in arms.labels
    ]
    cells = []
    for row in rows:
        shown = interval_text(
            row["mean"], row["low"], row["high"], STATISTICS[row["statistic"]].scale
        )
        cells.append([row["arm"], str(row["n"]), shown])
    return Table(name, title, rows, ["arm", "n", "s.d. [95 %]"], _sections(rows, cells))


def effects_table(
    name: str,
    title: str,
    cells: Mapping[str, Mapping[tuple[bool, ...], np.ndarray]],
    factors: Sequence[str],
) -> Table:
    """Main effects and two-way interactions of a full factorial.

    cells: by statistic, as `factorial_effects` takes them.
    """
    rows: list[dict[str, Any]] = []
    for statistic, by_levels in cells.items():
        for members, values in factorial_effects(by_levels, factors).items():
            estimated = difference(values)
            row = {
                "statistic": statistic,
                "effect": " x ".join(members),
                "n": estimated.n,
                **_compared(estimated),
            }
            rows.append(row)
    _correct(rows)
    shown = [
        [row["effect"], str(row["n"]), *_difference_cells(row, STATISTICS[row["statistic"]].scale)]
        for row in rows
    ]
    return Table(name, title, rows, ["effect of", "n", "effect", "d", "p"], _sections(rows, shown))


def described_table(
    name: str,
    title: str,
    rows: list[dict[str, Any]],
    statistics: Sequence[str],
    *,
    kinds: Sequence[str],
    about: str,
) -> Table:
    """A table of single runs with a language model, without tests.

    Below it stands which arms say nothing, since their answers (`answer_limits`) or their
    statistics do not differ (`statistic_limits`).

    rows: `described_rows` of a sweep. kinds: of the decisions that the arms are about. about: what
    the table is to say something about, after "nothing about".
    """

    def cell(row: dict[str, Any], statistic: str) -> str:
        return (
            number_text(row[statistic], STATISTICS[statistic].scale)
            if row.get(statistic) is not None
            else ""
        )

    shown = [
        [STATISTICS[statistic].words, *(cell(row, statistic) for row in rows)]
        for statistic in statistics
    ]
    shown += [
        [words, *(str(row[counted]) for row in rows)]
        for words, counted in (("requests", "answers"), ("fallbacks", "fallbacks"))
    ]
    shown += answer_cells(rows, kinds)
    heads = ["", *(row["described"] for row in rows)]
    notes = ["One run each, described and not tested: one population, one draw."]
    for kind in kinds:
        notes += answer_limits(rows, kind, about)
    notes += statistic_limits(rows, statistics, about)
    return Table(name, title, rows, heads, shown, " ".join(notes))


def _named(estimated: Estimate) -> dict[str, float]:
    return {
        "n": estimated.n,
        "mean": estimated.mean,
        "low": estimated.low,
        "high": estimated.high,
    }


def _compared(estimated: Difference) -> dict[str, float]:
    return {
        "difference": estimated.mean,
        "difference_low": estimated.low,
        "difference_high": estimated.high,
        "effect_size": estimated.effect,
        "p_raw": estimated.p,
        "p": estimated.p,
    }


def _correct(rows: Sequence[dict[str, Any]]) -> None:
    """Correct the p values of all comparisons of a table by Holm's method, in place."""
    tested = [row for row in rows if "p" in row]
    for row, p in zip(tested, holm([row["p_raw"] for row in tested]), strict=True):
        row["p"] = p


def _sections(rows: Sequence[Mapping[str, Any]], cells: Sequence[list[str]]) -> list[list[str]]:
    """The rows' cells, with a line of the statistic's words wherever the statistic changes."""
    lines: list[list[str]] = []
    for i, (row, line) in enumerate(zip(rows, cells, strict=True)):
        if i == 0 or rows[i - 1]["statistic"] != row["statistic"]:
            lines.append([f"{STATISTICS[row['statistic']].words}:", *[""] * (len(line) - 1)])
        lines.append(line)
    return lines


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


def markdown(table: Table) -> str:
    """The table in Markdown as GitHub shows it."""
    lines = [
        f"### {table.title}",
        "",
        f"| {' | '.join(table.heads)} |",
        "|" + "---|" * len(table.heads),
    ]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.cells]
    return "\n".join([*lines, *(["", table.note] if table.note else [])])


# Words in stored tables that have changed since, with today's words.
_FORMER_WORDS = {
    "gain realised, %": "gain as simulated, %",
    "gain once learnt, %": "gain at equilibrium, %",
}
_FORMER_KEYS = {"figure": "statistic"}


def renamed_keys(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A table that was stored as JSON, with today's keys of its rows."""
    rows = [
        {_FORMER_KEYS.get(key, key): value for key, value in row.items()} for row in stored["rows"]
    ]
    return {**stored, "rows": rows}


def table_from(stored: Mapping[str, Any]) -> Table:
    """The table that was stored as JSON, in today's words."""
    cells = []
    for first, *others in stored["cells"]:
        words = first.removesuffix(":")
        cells.append([_FORMER_WORDS.get(words, words) + first[len(words) :], *others])
    return Table(**{**stored, "cells": cells})
