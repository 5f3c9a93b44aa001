"""What `jaxecon optimum` and `jaxecon compare` do: economies built, schedules worked out, tables written."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.special import stdtrit

from jaxecon import config as configuration
from jaxecon.build import build_economy, heard_sample, knowledge
from jaxecon.comparison import DECILES, policy_row, policy_rows
from jaxecon.config import Config
from jaxecon.errors import UserError
from jaxecon.planners.announced import SCHEDULES, followers
from jaxecon.records import CONFIG, environment, refuse_existing, write_atomically
from jaxecon.search import SEARCHES, Method
from jaxecon.simulation import computing
from jaxecon.stackelberg import Optimum, check_search, solve

DEFAULT_AGENTS = 1000
FOLLOWERS_RULE = "rational"


def people(source: str | Path | None, overrides: Sequence[str], agents: int | None) -> Config:
    """The configuration whose people schedules are judged by: a file's, or `agents` who respond exactly.

    Raises UserError where both a file (or its head counts in the overrides) and `agents` say how many there are.
    """
    counted = [
        o for o in overrides if o.split("=")[0].strip() in ("population.mechanical", "population.llm", "population.cohorts")
    ]
    if source is not None or counted:
        if agents is not None:
            raise UserError(f"--agents: {agents}; {source or counted[0]} says already who lives there")
        return configuration.load(source, overrides)
    cohort = {"name": "workers", "rule": FOLLOWERS_RULE, "size": DEFAULT_AGENTS if agents is None else agents}
    return configuration.load({"population": {"cohorts": [cohort]}}, overrides)


@dataclass(frozen=True)
class OptimumStudy:
    """What `jaxecon optimum` found. rows: as `comparison.policy_row`, the optimum last; missing: planners without a schedule."""

    rows: list[dict[str, Any]]
    missing: dict[str, str]
    optimum: dict[str, Any]
    effective_sample_size: float
    agents: int


_BESIDE_OPTIMUM = ("us_federal", "saez")


def study_optimum(config: Config, method: Method, *, free_thresholds: bool = False, grid_step: float = 0.1) -> OptimumStudy:
    """The leader's optimum in a configuration's economy, beside US federal and Saez' formula. Whatever the configuration's
    seed, the search draws as the planner `optimum` does (`solve`'s seed 0), so that both find the same schedule.

    Raises UserError where the options or the economy have no optimum.
    """
    with computing(config):
        told = knowledge(config)
        try:
            check_search(told.thresholds, method, told.bounds, free_thresholds, grid_step)
        except ValueError as error:
            raise UserError(str(error)) from error
        economy = build_economy(config)
        problem = followers(economy)

        def others() -> tuple[list[dict[str, Any]], dict[str, str]]:
            with computing(config):
                return policy_rows(economy, _BESIDE_OPTIMUM, told)

        def find() -> tuple[Optimum, float]:
            started = time.perf_counter()
            found = solve(
                problem,
                told.thresholds,
                method,
                bounds=told.bounds,
                monotone=told.monotone,
                free_thresholds=free_thresholds,
                grid_step=grid_step,
            )
            jax.block_until_ready(found)
            return found, time.perf_counter() - started

        with ThreadPoolExecutor(1) as beside:  # both sides mostly compile, each on one core
            waiting = beside.submit(others)
            try:
                optimum, seconds = find()
            except ValueError as error:
                raise UserError(_as_setting(error)) from error
            rows, missing = waiting.result()
        rows.append(policy_row(economy, "optimum", optimum.schedule))
        report = {
            "method": method,
            "free_thresholds": free_thresholds,
            "grid_step": grid_step if method == "grid" else None,
            "found_by": SEARCHES[int(optimum.found_by)],
            "reached": {name: float(value) for name, value in optimum.reached.items() if np.isfinite(value)},
            "evaluations": int(optimum.evaluations),
            "seconds": seconds,
            "certified": bool(optimum.certified),
            "neighbours": optimum.neighbours.shape[0],
            "best_neighbour": float(np.max(optimum.neighbours)),
            "residuals": np.asarray(optimum.residuals, float).tolist(),
            "multiplier": float(optimum.multiplier),
            "empty": np.asarray(optimum.empty).tolist(),
            "followers": problem.skill.shape[0],
            "welfare": float(optimum.welfare),
            "gain": float(optimum.gain),
        }
        return OptimumStudy(rows, missing, report, heard_sample(economy), sum(c.size for c in economy.cohorts.values()))


def _as_setting(error: ValueError) -> str:
    """The message with the argument's name as the setting's."""
    text = str(error)
    return f"budget.{text}" if text.startswith("public_spending") else text


@dataclass(frozen=True)
class Comparison:
    """What `jaxecon compare` found. rows: one per population and planner; summary: one per planner."""

    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    missing: dict[str, str]
    planners: list[str]
    populations: int  # random draws where more than one
    yardstick: str  # the planner whose gain the others' are subtracted from, population by population


def check_planners(names: Sequence[str]) -> None:
    """Raise UserError unless these are different names of planners that work out a schedule."""
    for name in names:
        if name not in SCHEDULES:
            raise UserError(f"--planners: {name!r}; any of {', '.join(SCHEDULES)}")
    if not names or len(set(names)) < len(names):
        raise UserError(f"--planners: {','.join(names)!r}; one or more different names of {', '.join(SCHEDULES)}")


def compare(
    config: Config, planners: Sequence[str], populations: int, on_population: Callable[[int], None] = lambda done: None
) -> Comparison:
    """Planners on the same populations, each schedule at everybody's exact response.

    With more than one population each is a random draw of its own seed, config.seed + 0, 1, ..; one alone is sampled as
    the configuration says. The population is the unit of all statistics. Raises UserError for other planners.
    """
    check_planners(planners)
    rows: list[dict[str, Any]] = []
    failures: dict[str, list[str]] = {}
    for i in range(populations):
        population = config.population.model_copy(update={"sampling": "random"}) if populations > 1 else config.population
        drawn = config.model_copy(update={"seed": (config.seed + i) % 2**32, "population": population})
        with computing(drawn):
            found, without = policy_rows(build_economy(drawn), planners, knowledge(drawn))
        rows += [{"population": i, "seed": drawn.seed, **row} for row in found]
        for kind, reason in without.items():
            failures.setdefault(kind, []).append(reason)
        on_population(i + 1)
    missing = {k: reasons[0] + f" (in {len(reasons)} of {populations} populations)" for k, reasons in failures.items()}
    served = [name for name in planners if any(row["policy"] == name for row in rows)]
    if not served:
        raise UserError(f"--planners: {','.join(planners)!r}; none has a schedule here: {next(iter(missing.values()))}")
    yardstick = "optimum" if "optimum" in served else served[0]
    return Comparison(rows, summarise(rows, served, yardstick), missing, list(planners), populations, yardstick)


def summarise(rows: Sequence[Mapping[str, Any]], planners: Sequence[str], yardstick: str) -> list[dict[str, Any]]:
    """Means over populations, with the standard error and 95 % interval (Student's t) of the gain, and of its paired
    difference to the yardstick's; NaN with one population. Lists (deciles, brackets) are averaged entry by entry.
    not_converged: in how many populations the iteration did not come to its schedule; last_change: their and the others' mean."""
    by_planner = {name: {row["population"]: row for row in rows if row["policy"] == name} for name in planners}
    summary = []
    for name, mine in by_planner.items():
        if not mine:
            continue
        gains = np.array([row["gain"] for row in mine.values()])
        shared = [i for i in mine if i in by_planner[yardstick]]
        differences = np.array([mine[i]["gain"] - by_planner[yardstick][i]["gain"] for i in shared])
        figures = {
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
                **figures,
            }
        )
    return summary


def _mean_known(x: np.ndarray) -> np.ndarray:
    """Mean over the first axis of what is not NaN (a bracket may be empty in some populations); NaN where nothing is known."""
    known = ~np.isnan(x)
    count = known.sum(axis=0)
    return np.where(count > 0, np.where(known, x, 0).sum(axis=0) / np.maximum(count, 1), np.nan)


def _mean(x: np.ndarray) -> dict[str, float]:
    if len(x) < 2:
        return {"mean": float(x.mean()) if len(x) else np.nan, "standard_error": np.nan, "low": np.nan, "high": np.nan}
    mean, error = float(x.mean()), float(x.std(ddof=1) / np.sqrt(len(x)))
    reach = float(stdtrit(len(x) - 1, 0.975)) * error
    return {"mean": mean, "standard_error": error, "low": mean - reach, "high": mean + reach}


# --- files -----------------------------------------------------------------------------------------------------------


def prepare_folder(out: Path, config: Config) -> None:
    """A new folder with the configuration. Raises UserError where that cannot be."""
    refuse_existing(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / CONFIG, configuration.to_yaml(config).encode())
    except OSError as error:
        raise UserError(f"--out: {out}: cannot be written ({error.strerror})") from error


def write_optimum(out: Path, study: OptimumStudy) -> None:
    """optimum.json: the policies and how the optimum was found."""
    _write_json(out / "optimum.json", {**vars(study), **environment()})


_OF_ITERATIONS = {"converged": pa.bool_(), "last_change": pa.float64()}  # also where no planner iterates and all is null


def write_comparison(out: Path, comparison: Comparison) -> None:
    """compare.json: the summary. policies.parquet, deciles.parquet, brackets.parquet: a row per population, planner and, in the
    latter two, decile or bracket; columns as in `comparison.Appraisal`."""
    keys = ("population", "seed", "policy")
    whole, deciles, brackets = [], [], []
    for row in comparison.rows:
        about = {k: row[k] for k in keys}
        whole.append({k: v for k, v in row.items() if not k.startswith(("decile_", "bracket_"))})
        for d in range(DECILES):
            parts = {k.removeprefix("decile_"): v[d] for k, v in row.items() if k.startswith("decile_")}
            deciles.append({**about, "decile": d + 1, **parts})
        for k, (threshold, rate) in enumerate(zip(row["thresholds"], row["rates"], strict=True)):
            parts = {name.removeprefix("bracket_"): v[k] for name, v in row.items() if name.startswith("bracket_")}
            brackets.append({**about, "bracket": k + 1, "threshold": threshold, "rate": rate, **parts})
    for name, lines in (("policies", whole), ("deciles", deciles), ("brackets", brackets)):
        table, sink = pa.Table.from_pylist(lines), pa.BufferOutputStream()
        table = table.cast(pa.schema([pa.field(f.name, _OF_ITERATIONS.get(f.name, f.type)) for f in table.schema]))
        pq.write_table(table, sink, compression="zstd")
        write_atomically(out / f"{name}.parquet", sink.getvalue().to_pybytes())
    _write_json(
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


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(plain(content), indent=2, default=str, allow_nan=False).encode() + b"\n")


def plain(content: Any) -> Any:
    """The tree with null for what is not a number: JSON has no NaN."""
    if isinstance(content, Mapping):
        return {key: plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not np.isfinite(content) else content
