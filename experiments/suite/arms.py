"""Arms of an experiment over the same populations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxecon.core.errors import UserError
from jaxecon.sweeps.results import Sweep


def rows_of(swept: Sweep) -> list[dict[str, Any]]:
    """A row for each point of a sweep: its settings, its last year, and statistics of all years.

    The latter are `settling` (days, mean over the years after the first), `reversals` (a share) and
    `yearly_change` (percentage points), as the functions of these names define them, and the
    numbers of `answers` and `fallbacks` of a language model.
    """
    years = swept.years
    rates = [name for name in years.column_names if name.startswith("rate_")]
    by_point: dict[int, list[dict[str, Any]]] = {}
    for year in years.select(
        ["point", "settling_days", "llm_calls", "llm_fallbacks", *rates]
    ).to_pylist():
        by_point.setdefault(year["point"], []).append(year)
    rows = []
    for row in swept.points.to_pylist():
        path = by_point.get(row["point"], [])
        row |= {
            kind: sum(year[name] for year in path)
            for kind, name in (("answers", "llm_calls"), ("fallbacks", "llm_fallbacks"))
        }
        if row["status"] == "ok":
            moved = np.array(
                [[year[name] for name in rates if year[name] is not None] for year in path]
            )
            later = [year["settling_days"] for year in path[1:]]
            row |= {
                "settling": float(np.mean(later)) if later else None,
                "reversals": reversals(moved),
                "yearly_change": yearly_change(moved),
            }
        rows.append(row)
    return rows


def reversals(rates: np.ndarray) -> float:
    """The share of changes of a bracket's rate that reverse the change before it.

    rates: (years, k). Years without a change are skipped. 0 where no change follows another.
    """
    turned, followed = 0, 0
    for column in np.diff(rates, axis=0).T:
        signs = np.sign(column[np.abs(column) > 1e-6])
        turned += int(np.sum(signs[1:] != signs[:-1]))
        followed += max(len(signs) - 1, 0)
    return turned / followed if followed else 0.0


def yearly_change(rates: np.ndarray) -> float:
    """Mean absolute change of a bracket's rate from year to year, percentage points.

    rates: (years, k).
    """
    return float(100 * np.mean(np.abs(np.diff(rates, axis=0)))) if len(rates) > 1 else 0.0


@dataclass(frozen=True)
class Arms:
    """Statistics of arms over the populations that they share.

    labels: of the arms, in the order of the design. seeds: of the populations. statistics: by name,
    (arms, populations). dropped: number of populations left out because a point failed. lacking:
    number left out because a statistic has no value.
    """

    labels: list[Any]
    seeds: list[int]
    statistics: dict[str, np.ndarray]
    dropped: int
    lacking: int

    def of(self, statistic: str, label: Any) -> np.ndarray:
        """A statistic of one arm, (populations,)."""
        return np.asarray(self.statistics[statistic][self.labels.index(label)])


def arms_of(
    rows: Iterable[Mapping[str, Any]],
    label: Callable[[Mapping[str, Any]], Any],
    statistics: Sequence[str],
) -> Arms:
    """Sort rows into arms, over the populations that all arms share.

    label: returns the arm of a row, or None to leave the row out. Several draws of one population
    in an arm are averaged.

    Raises UserError where no population has all arms, or all statistics in them.
    """
    values: dict[Any, dict[int, list[list[float]]]] = {}
    populations: dict[int, None] = {}
    failed: set[int] = set()
    without: dict[str, None] = {}
    for row in rows:
        arm = label(row)
        if arm is None:
            continue
        populations[row["seed"]] = None
        cells = values.setdefault(arm, {})
        if row["status"] != "ok":
            failed.add(row["seed"])
        elif all(row[name] is not None for name in statistics):
            cells.setdefault(row["seed"], []).append([row[name] for name in statistics])
        else:
            without |= dict.fromkeys(name for name in statistics if row[name] is None)
    shared = [seed for seed in populations if all(seed in cells for cells in values.values())]
    if not shared and without and populations.keys() - failed:
        raise UserError(f"{', '.join(without)}: no population has a value in all arms")
    if not shared:
        raise UserError(
            "no population was simulated in all arms; the points' errors are in the sweeps' "
            "points.parquet"
        )
    array = np.array(
        [[np.mean(cells[seed], axis=0) for seed in shared] for cells in values.values()]
    )
    dropped = len(failed.difference(shared))
    lacking = len(populations) - len(shared) - dropped
    return Arms(
        list(values),
        shared,
        {name: array[..., i] for i, name in enumerate(statistics)},
        dropped,
        lacking,
    )
