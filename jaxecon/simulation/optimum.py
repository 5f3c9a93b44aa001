"""What `jaxecon optimum` does: the certified optimum beside other schedules."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxecon.config.read import load_config, to_yaml
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import write_atomically
from jaxecon.core.json_text import json_text
from jaxecon.economy.build import build_economy
from jaxecon.economy.equilibrium import effective_sample
from jaxecon.economy.precision import compute_context
from jaxecon.kernels.optimum.certified import Optimum, solve
from jaxecon.kernels.optimum.search_checks import check_search
from jaxecon.kernels.optimum.space import SEARCHES, Method
from jaxecon.planners.announced import Knowledge, followers
from jaxecon.planners.appraisal import policy_row, policy_rows
from jaxecon.simulation.invariants import check_baseline
from jaxecon.storage.paths import CONFIG, refuse_existing
from jaxecon.storage.provenance import environment

DEFAULT_AGENTS = 1000

FOLLOWERS_RULE = "rational"


def people(source: str | Path | None, overrides: Sequence[str], agents: int | None) -> Config:
    """The configuration of the people who are taxed: a file's, or `agents` who respond exactly.

    Raises UserError where `agents` is given, but a file (or head counts in the overrides) already
    says how many people there are.
    """
    counted = [
        o
        for o in overrides
        if o.split("=")[0].strip()
        in ("population.mechanical", "population.llm", "population.cohorts")
    ]
    if source is not None or counted:
        if agents is not None:
            raise UserError(
                f"--agents: {agents}; {source or counted[0]} says already how many people there are"
            )
        return load_config(source, overrides)
    cohort = {
        "name": "workers",
        "rule": FOLLOWERS_RULE,
        "size": DEFAULT_AGENTS if agents is None else agents,
    }
    return load_config({"population": {"cohorts": [cohort]}}, overrides)


@dataclass(frozen=True)
class OptimumStudy:
    """The results of `jaxecon optimum`.

    rows: as `appraisal.policy_row` returns, the optimum last. missing: planners without a schedule.
    """

    rows: list[dict[str, Any]]
    missing: dict[str, str]
    optimum: dict[str, Any]
    effective_sample_size: float
    agents: int


_COMPARED = ("us_federal", "saez")


def study_optimum(
    config: Config, method: Method, *, free_thresholds: bool = False, grid_step: float = 0.1
) -> OptimumStudy:
    """The leader's optimum in a configuration's economy, beside US federal and Saez's formula.

    The search always draws with `solve`'s seed 0, as the planner `optimum` does, so that both find
    the same schedule.

    Raises UserError where the options are not valid or the economy has no optimum.
    """
    with compute_context(config):
        known = Knowledge.from_config(config)
        try:
            check_search(known.thresholds, method, known.bounds, free_thresholds, grid_step)
        except ValueError as error:
            raise UserError(str(error)) from error
        economy = build_economy(config)
        problem = followers(economy)

        def compare() -> tuple[list[dict[str, Any]], dict[str, str]]:
            with compute_context(config):
                return policy_rows(economy, _COMPARED, known)

        with ThreadPoolExecutor(1) as beside:  # both sides mostly compile, each on one core
            comparison = beside.submit(compare)
            started = time.perf_counter()
            try:
                optimum = solve(
                    problem,
                    known.thresholds,
                    method,
                    bounds=known.bounds,
                    monotone=known.monotone,
                    free_thresholds=free_thresholds,
                    grid_step=grid_step,
                )
                jax.block_until_ready(optimum)
            except ValueError as error:
                raise UserError(_as_setting(error)) from error
            seconds = time.perf_counter() - started
            rows, missing = comparison.result()
        check_baseline(rows, economy)
        rows.append(policy_row(economy, "optimum", optimum.schedule))
        search = {
            "method": method,
            "free_thresholds": free_thresholds,
            "grid_step": grid_step if method == "grid" else None,
        }
        agents = sum(c.size for c in economy.cohorts.values())
        report = search | _report(optimum, seconds) | {"followers": problem.skill.shape[0]}
        return OptimumStudy(rows, missing, report, effective_sample(economy), agents)


def _report(optimum: Optimum, seconds: float) -> dict[str, Any]:
    """How an optimum was computed and what certifies it, as plain values.

    seconds: how long the search took.
    """
    return {
        "found_by": SEARCHES[int(optimum.found_by)],
        "reached": {
            name: float(value) for name, value in optimum.reached.items() if np.isfinite(value)
        },
        "evaluations": int(optimum.evaluations),
        "seconds": seconds,
        "certified": bool(optimum.certified),
        "neighbours": optimum.neighbours.shape[0],
        "best_neighbour": float(np.max(optimum.neighbours)),
        "noise": float(optimum.noise),
        "residuals": np.asarray(optimum.residuals, float).tolist(),
        "multiplier": float(optimum.multiplier),
        "empty": np.asarray(optimum.empty).tolist(),
        "welfare": float(optimum.welfare),
        "gain": float(optimum.gain),
    }


def _as_setting(error: ValueError) -> str:
    """The error's message, with an argument's name replaced by that of its setting."""
    text = str(error)
    return f"budget.{text}" if text.startswith("public_spending") else text


# --- files ----------------------------------------------------------------------------------------


def prepare_folder(out: Path, config: Config) -> None:
    """Make a new folder with the configuration. Raises UserError where it cannot be made."""
    refuse_existing(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / CONFIG, to_yaml(config).encode())
    except OSError as error:
        raise DiskError(f"--out: {out}: cannot be written ({error.strerror})") from error


def write_optimum(out: Path, study: OptimumStudy) -> None:
    """Write optimum.json: the policies, and how the optimum was computed."""
    write_json(out / "optimum.json", {**vars(study), **environment()})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_atomically(path, json_text(content, indent=2).encode() + b"\n")
