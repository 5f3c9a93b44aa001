"""What a reader who obeys every word of the prompts comes to.

    python -m experiments.benchmarks.prompts [--quick] [--before COMMIT]

1. Workers: 24 obedient workers (`llm.engines.obedient`) beside 200 adaptive ones, in every economy
   of a grid: the share whose last decision is the best of its choices, and the share that gives up
   at most 2 % of what its best choice brings (before the rebate at curvature 0; of the consumption
   that utility is worth at curvature > 0).
2. Planners: an obedient planner beside the mechanical in-context planner, on the same populations
   of 200 adaptive workers: the gain of the last schedule at equilibrium over US federal, and as a
   share of the gain of the exact optimum.
3. Prompts: tokens a request, and the share of them that the prefix cache can serve, by the
   tokenizer of the local model.

--before COMMIT runs the same in a worktree of an earlier commit of this repository, for comparison.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxecon as je
from experiments.benchmarks.timing import describe_machine, report
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.kernels.preferences import consumption_equivalent, isoelastic_utility
from jaxecon.kernels.taxation import TaxSchedule, tax_due
from jaxecon.simulation.language import open_transcript
from llm.engines.obedient import ObedientReader

BRACKETS = ("flat", "three", "us_federal")
PREFERENCES = ("calibrated", "annualised")
CURVATURES = (0.0, 1.0)
DAYS = (8, 16, 32)
GIVEN_UP = 0.02  # the share of what the best choice brings
OVERLAID = ("experiments/benchmarks/prompts.py", "llm/engines/obedient.py")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one economy of each kind")
    parser.add_argument("--before", metavar="COMMIT", help="an earlier commit to compare with")
    parser.add_argument("--label", default="these prompts", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.label == "these prompts":
        describe_machine()
    if arguments.before is not None:
        measure_commit(arguments.before, quick=arguments.quick)
    measure(arguments.label, quick=arguments.quick)


def measure(label: str, *, quick: bool) -> None:
    """Report both parts. label: whose prompts."""
    curvatures, days = (CURVATURES[:1], DAYS[:1]) if quick else (CURVATURES, DAYS)
    grid = list(product(BRACKETS, PREFERENCES, curvatures, days))
    found = [workers_end(economy(*cell[:3], cell[3])) for cell in grid]
    for cell, (best, close) in zip(grid, found, strict=True):
        report(
            benchmark="prompts",
            part="workers",
            prompts=label,
            economy=" ".join(map(str, cell)),
            at_best=float(np.mean(best)),
            close_to_best=float(np.mean(close)),
        )
    best, close = (np.concatenate([cell[i] for cell in found]) for i in (0, 1))
    report(
        benchmark="prompts",
        part="all workers",
        prompts=label,
        economies=len(grid),
        workers=len(best),
        at_best=float(np.mean(best)),
        close_to_best=float(np.mean(close)),
    )
    for brackets in BRACKETS:
        rows = [planners_end(brackets, seed) for seed in range(2 if quick else 6)]
        report(
            benchmark="prompts",
            part="planner",
            prompts=label,
            brackets=brackets,
            seeds=len(rows),
            **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
        )


def economy(brackets: str, preferences: str, curvature: float, days: int) -> dict[str, Any]:
    """Two years of an economy of the grid. The planner moves the rates after the first."""
    return {
        "years": 2,
        "year": {"days": days},
        "preferences": {"set": preferences, "consumption_curvature": curvature},
        "population": {
            "sampling": "random",
            "cohorts": [
                {"name": "others", "rule": "adaptive", "size": 200},
                {"name": "workers", "rule": "llm", "size": 24},
            ],
        },
        "schedule": {"brackets": brackets},
        "planner": {"kind": "in_context", "compared_with": []},
        "llm": {"engine": "simulated"},
    }


def workers_end(settings: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Whether each worker's last hours are its best, and nearly so, (n,) bool each."""
    config = load_config(settings)
    with tempfile.TemporaryDirectory() as folder:
        run = je.run(settings, out=Path(folder) / "run", engine=ObedientReader())
        with closing(open_transcript(run.path / "transcript.sqlite")) as transcript:
            last = (config.years - 1, config.year.days - 1, "labor")
            hours = [
                float(json.loads(stored.decision))
                for draw, stored in transcript.decisions()
                if (draw.year, draw.day, draw.kind) == last
            ]
        year = {name: column[-1] for name, column in run.years.to_pydict().items()}
    worker = build_economy(config).cohorts["workers"]
    with jax.enable_x64(True):
        thresholds = np.asarray(first_brackets(config)[0], float)
        rates = np.array([year[f"rate_{k}"] for k in range(len(thresholds))])
        schedule = TaxSchedule(thresholds, rates)
        choices = np.arange(0.0, 101.0, 10.0)
        eta = config.preferences.consumption_curvature
        skill = np.asarray(worker.skill, float)

        def worth_of(hours: jax.Array) -> jax.Array:
            income = skill * hours
            consumption = income - tax_due(schedule, income) + (eta > 0) * year["rebate"]
            utility = isoelastic_utility(worker.preferences, consumption, hours)
            return consumption_equivalent(utility, eta)

        worth = np.asarray(jax.vmap(worth_of, out_axes=1)(choices))
    most = worth.max(axis=1)
    own = worth[np.arange(len(hours)), np.asarray(hours, int) // 10]
    return own >= most, own >= most - GIVEN_UP * np.abs(most)


def planners_end(brackets: str, seed: int) -> dict[str, float]:
    """Gains over US federal at equilibrium: of each planner's last schedule, and of the optimum."""
    settings = {
        "seed": seed,
        "years": 40,
        "year": {"days": 32},
        "population": {
            "sampling": "random",
            "cohorts": [{"name": "workers", "rule": "adaptive", "size": 200}],
        },
        "schedule": {"brackets": brackets, "rates": 0.5},
        "llm": {"engine": "simulated"},
        "record": {"agents": "none"},
    }
    gains = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, reader in (("in_context", None), ("llm", ObedientReader())):
            planner = {"kind": kind, "compared_with": [] if reader else ["optimum"]}
            run = je.run(
                settings | {"planner": planner}, out=Path(folder) / kind, engine=reader
            )
            gains[kind] = run.years["gain_equilibrium"].to_pylist()[-1]
            for row in run.summary["policies"]:
                if row["policy"] == "optimum":
                    gains["optimum"] = row["gain"]
    return {
        "obedient": gains["llm"],
        "in_context": gains["in_context"],
        "optimum": gains["optimum"],
        "obedient_share": gains["llm"] / gains["optimum"],
        "in_context_share": gains["in_context"] / gains["optimum"],
    }


@contextmanager
def worktree(commit: str) -> Iterator[Path]:
    """Yield a checkout of a commit, with today's reader and benchmark in it."""
    root = Path(__file__).resolve().parents[2]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "before"
        git = ["git", "-C", str(root), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            for name in OVERLAID:
                shutil.copyfile(root / name, tree / name)
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def measure_commit(commit: str, *, quick: bool) -> None:
    """Report the same of an earlier commit's prompts."""
    with worktree(commit) as tree:
        command = [sys.executable, "-m", "experiments.benchmarks.prompts", "--label", commit]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        subprocess.run(
            [*command, *(["--quick"] if quick else [])], cwd=tree, env=environment, check=True
        )


if __name__ == "__main__":
    main()
