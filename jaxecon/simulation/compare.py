"""What `jaxecon compare` does: planners side by side over populations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jaxecon.config.settings import Config
from jaxecon.core.confidence import mean_interval
from jaxecon.core.errors import UserError
from jaxecon.core.files import write_atomically
from jaxecon.core.text import plural
from jaxecon.economy.build import build_economy
from jaxecon.economy.precision import compute_context
from jaxecon.planners.announced import SCHEDULES, Knowledge
from jaxecon.planners.appraisal import DECILES, policy_rows
from jaxecon.simulation.optimum import write_json
from jaxecon.storage.provenance import environment


@dataclass(frozen=True)
class Comparison:
    """The results of `jaxecon compare`.

    rows: one per population and planner; summary: one per planner.
    """

    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    missing: dict[str, str]
    planners: list[str]
    populations: int  # random draws where more than one
    yardstick: str  # the planner whose gain is subtracted from the others', by population


def check_planners(names: Sequence[str]) -> None:
    """Raise UserError unless these are different names of planners that compute a schedule."""
    for name in names:
        if name not in SCHEDULES:
            raise UserError(f"--planners: {name!r}; any of {', '.join(SCHEDULES)}")
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"--planners: {','.join(names)!r}; one or more different names of "
            f"{', '.join(SCHEDULES)}"
        )


def compare(
    config: Config,
    planners: Sequence[str],
    populations: int,
    on_population: Callable[[int], None] = lambda done: None,
) -> Comparison:
    """Compare planners on the same populations, where everybody responds exactly to each schedule.

    Several populations are random draws with the seeds config.seed + 0, 1, ..; a single one is
    sampled as the configuration says. The population is the unit of all statistics. Raises
    UserError for other planners, or where none has a schedule.
    """
    check_planners(planners)
    rows: list[dict[str, Any]] = []
    failures: dict[str, list[str]] = {}
    for i in range(populations):
        population = (
            config.population.model_copy(update={"sampling": "random"})
            if populations > 1
            else config.population
        )
        drawn = config.model_copy(
            update={"seed": (config.seed + i) % 2**32, "population": population}
        )
        with compute_context(drawn):
            policies, without = policy_rows(
                build_economy(drawn), planners, Knowledge.from_config(drawn)
            )
        rows += [{"population": i, "seed": drawn.seed, **row} for row in policies]
        for kind, reason in without.items():
            failures.setdefault(kind, []).append(reason)
        on_population(i + 1)
    missing = {
        k: reasons[0] + f" (in {len(reasons)} of {plural(populations, 'population')})"
        for k, reasons in failures.items()
    }
    successful = [name for name in planners if any(row["policy"] == name for row in rows)]
    if not successful:
        raise UserError(
            f"--planners: {','.join(planners)!r}; none has a schedule here: "
            f"{next(iter(missing.values()))}"
        )
    yardstick = "optimum" if "optimum" in successful else successful[0]
    return Comparison(
        rows,
        summarise(rows, successful, yardstick),
        missing,
        list(planners),
        populations,
        yardstick,
    )


def summarise(
    rows: Sequence[Mapping[str, Any]], planners: Sequence[str], yardstick: str
) -> list[dict[str, Any]]:
    """Means over populations, with intervals of the gain and of its paired difference.

    Standard errors and 95 % intervals are Student's t; NaN with one population. The difference is
    the gain minus the yardstick's. A gain may be infinite: there is no mean then (NaN), and
    not_finite says in how many populations.

    Lists (deciles, brackets) are averaged entry by entry. not_converged: in how many populations
    the iteration did not converge; last_change: its mean over all populations.
    """
    by_planner = {
        name: {row["population"]: row for row in rows if row["policy"] == name} for name in planners
    }
    summary = []
    for name, mine in by_planner.items():
        if not mine:
            continue
        gains = np.array([row["gain"] for row in mine.values()])
        shared = [i for i in mine if i in by_planner[yardstick]]
        with np.errstate(invalid="ignore"):  # an infinite gain less an infinite one
            yardsticks = np.array([by_planner[yardstick][i]["gain"] for i in shared])
            differences = np.array([mine[i]["gain"] for i in shared]) - yardsticks
        means = {
            key: _mean_known(np.array([row[key] for row in mine.values()])).tolist()
            for key, value in next(iter(mine.values())).items()
            if isinstance(value, float | list) and key != "gain"
        }
        summary.append(
            {
                "policy": name,
                "populations": len(mine),
                "gain": _mean(gains),
                "difference": _mean(differences),
                "not_converged": sum(row.get("converged") is False for row in mine.values()),
                **means,
            }
        )
    return summary


def _mean_known(x: np.ndarray) -> np.ndarray:
    """Mean over the first axis of the values that are not NaN; NaN where there are none.

    A bracket may be empty in some populations.
    """
    known = ~np.isnan(x)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, x, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _mean(x: np.ndarray) -> dict[str, float]:
    not_finite = int(np.sum(~np.isfinite(x)))
    interval = mean_interval(np.full(1, np.nan) if not_finite else x)
    return {
        "not_finite": not_finite,
        "mean": interval.mean,
        "standard_error": interval.standard_error,
        "low": interval.mean - interval.half_width,
        "high": interval.mean + interval.half_width,
    }


# types of columns that are all null where no planner iterates
_OF_ITERATIONS = {"converged": pa.bool_(), "last_change": pa.float64()}


def write_comparison(out: Path, comparison: Comparison) -> None:
    """Write a comparison into a folder.

    compare.json: the summary. policies.parquet, deciles.parquet, brackets.parquet: a row per
    population, planner and, in the latter two, decile or bracket; columns as in
    `appraisal.Appraisal`.
    """
    keys = ("population", "seed", "policy")
    whole, deciles, brackets = [], [], []
    for row in comparison.rows:
        about = {k: row[k] for k in keys}
        whole.append({k: v for k, v in row.items() if not k.startswith(("decile_", "bracket_"))})
        for d in range(DECILES):
            parts = {
                k.removeprefix("decile_"): v[d] for k, v in row.items() if k.startswith("decile_")
            }
            deciles.append({**about, "decile": d + 1, **parts})
        for k, (threshold, rate) in enumerate(zip(row["thresholds"], row["rates"], strict=True)):
            parts = {
                name.removeprefix("bracket_"): v[k]
                for name, v in row.items()
                if name.startswith("bracket_")
            }
            brackets.append(
                {**about, "bracket": k + 1, "threshold": threshold, "rate": rate, **parts}
            )
    for name, lines in (("policies", whole), ("deciles", deciles), ("brackets", brackets)):
        table, sink = pa.Table.from_pylist(lines), pa.BufferOutputStream()
        table = table.cast(
            pa.schema([pa.field(f.name, _OF_ITERATIONS.get(f.name, f.type)) for f in table.schema])
        )
        pq.write_table(table, sink, compression="zstd")
        write_atomically(out / f"{name}.parquet", sink.getvalue().to_pybytes())
    write_json(
        out / "compare.json",
        {
            "yardstick": comparison.yardstick,
            "planners": comparison.planners,
            "populations": comparison.populations,
            "summary": comparison.summary,
            "planners_without_schedule": comparison.missing,
            **environment(),
        },
    )
