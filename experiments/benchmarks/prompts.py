"""What a reader who obeys every word of the prompts comes to.

    python -m experiments.benchmarks.prompts [--quick] [--model] [--before COMMIT]

1. Workers: 24 obedient workers (`llm.engines.obedient`) beside 200 adaptive ones, in every economy
   of a grid: the share whose last decision is the best of its choices, and the share that gives up
   at most 2 % of what its best choice brings (before the rebate at curvature 0; at curvature 1, of
   the consumption that utility is worth).
2. Planners: an obedient planner beside the mechanical in-context planner, on the same populations
   of 200 adaptive workers: the gain of the last schedule at equilibrium over US federal, and as a
   share of the gain of the exact optimum.
3. Prompts: tokens a request, and the share of them that the prefix cache can serve, by the
   tokenizer of the local model.

4. With --model: where the local model itself ends, in the economies of 8 days at curvature 0.

--before COMMIT runs the same in a worktree of an earlier commit of this repository, for comparison.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.timing import describe_machine, report
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.simulation.language import open_transcript
from jaxecon.simulation.run import run as simulate
from llm.engines.base import Engine
from llm.engines.models.tokenizer import chat_tokenizer
from llm.engines.obedient import ObedientReader
from llm.prefix_cache import CPU_BLOCK, cachable_share

BRACKETS = ("flat", "three", "us_federal")
GRID = tuple(
    (brackets, preferences, curvature, days)
    for brackets in BRACKETS
    for preferences in ("calibrated", "annualised")
    for curvature in (0.0, 1.0)
    for days in (8, 16, 32)
)
GIVEN_UP = 0.02  # the share of what the best choice brings
OVERLAID = (
    "experiments/benchmarks/prompts.py",
    "llm/engines/models/tokenizer.py",
    "llm/prefix_cache.py",
    "llm/engines/drawn.py",
    "llm/engines/obedient.py",
)
Cell = tuple[str, str, float, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a sixth of the grid, two seeds")
    parser.add_argument("--model", action="store_true", help="the local model, too")
    parser.add_argument("--before", metavar="COMMIT", help="an earlier commit to compare with")
    parser.add_argument("--label", default="now", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.label == "now":
        describe_machine()
    if arguments.before is not None:
        measure_commit(arguments.before, quick=arguments.quick, model=arguments.model)
    measure_workers(arguments.label, GRID[::6] if arguments.quick else GRID)
    if arguments.label == "now":  # earlier commits may know no hours but tens
        measure_workers("now, any whole hours", GRID[::6], step=1)
    measure_planners(arguments.label, range(2 if arguments.quick else 6))
    measure_prompts(arguments.label)
    if arguments.model:
        measure_model(arguments.label)


@dataclass(frozen=True)
class Ends:
    """How workers end, (n,) each.

    best, close: bool, whether the last hours are the best of the choices, and nearly so. lost: what
    they bring less than the best of all hours would, as a share of that.
    """

    best: np.ndarray
    close: np.ndarray
    lost: np.ndarray


def measure_workers(label: str, grid: Sequence[Cell], step: int = 10) -> None:
    """Report how obedient workers end, in each economy and in all.

    label: whose prompts. step: h/week between choices.
    """
    ends = []
    for cell in grid:
        ends.append(workers_end(economy(*cell, step=step), ObedientReader(), step))
        report_ends(label, "workers", ends[-1:], economy=" ".join(map(str, cell)))
    report_ends(label, "all workers", ends, economies=len(grid), workers=_number_of_workers(ends))


def report_ends(label: str, part: str, ends: Sequence[Ends], **more: Any) -> None:
    """Report the shares of the workers of some economies that end at their best hours, or nearly.

    more: further entries of the line.
    """
    report(
        benchmark="prompts",
        part=part,
        prompts=label,
        **more,
        at_best=float(np.mean(np.concatenate([end.best for end in ends]))),
        close_to_best=float(np.mean(np.concatenate([end.close for end in ends]))),
        lost_to_any_hours=float(np.mean(np.concatenate([end.lost for end in ends]))),
    )


def _number_of_workers(ends: Sequence[Ends]) -> int:
    return sum(len(end.best) for end in ends)


def measure_planners(label: str, seeds: Sequence[int]) -> None:
    """Report how obedient planners end beside in-context planners, by brackets."""
    for brackets in BRACKETS:
        rows = [planners_end(brackets, seed) for seed in seeds]
        report(
            benchmark="prompts",
            part="planners",
            prompts=label,
            brackets=brackets,
            seeds=len(rows),
            **{name: float(np.mean([row[name] for row in rows])) for name in rows[0]},
        )


def measure_prompts(label: str) -> None:
    """Report the length of prompts, and how much of them the cache can serve.

    By the tokenizer of the local model; skipped, with a line that says so, where there is none.
    """
    try:
        tokenizer = chat_tokenizer("smollm2")
    except UserError as error:
        report(benchmark="prompts", part="tokens", prompts=label, skipped=str(error))
        return
    settings = economy("us_federal", "calibrated", 0.0, 16)
    settings["population"]["cohorts"][1]["size"] = 100
    settings["planner"] = {"kind": "llm", "compared_with": []}
    for objective in ("egotistical", "altruistic"):
        reader = ObedientReader()
        settings["population"]["cohorts"][1]["objective"] = objective
        with tempfile.TemporaryDirectory() as folder:
            simulate(settings, out=Path(folder) / "run", engine=reader)
        prompts = [tokenizer(request.messages) for request in reader.asked]
        report(
            benchmark="prompts",
            part="tokens",
            prompts=label,
            objective=objective,
            requests=len(prompts),
            tokens_a_request=sum(map(len, prompts)) / len(prompts),
            longest=max(map(len, prompts)),
            cachable_share=cachable_share(prompts, CPU_BLOCK),
        )


def measure_model(label: str) -> None:
    """Report how workers end that the local model decides for."""
    ends = []
    for cell in GRID:
        if cell[2:] == (0.0, 8):
            settings = economy(*cell)
            settings["llm"]["engine"] = "vllm"
            ends.append(workers_end(settings, None))
    report_ends(
        label,
        "local model",
        ends,
        model="smollm2",
        economies=len(ends),
        workers=_number_of_workers(ends),
    )


def economy(
    brackets: str, preferences: str, curvature: float, days: int, *, step: int = 10
) -> dict[str, Any]:
    """Two years of an economy of the grid. The planner moves the rates after the first.

    step: h/week between choices.
    """
    return {
        **({} if step == 10 else {"labor": {"choices": step}}),
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


def workers_end(settings: dict[str, Any], engine: Engine | None, step: int = 10) -> Ends:
    """How the workers of an economy end.

    engine: what decides; None for the one that the settings name. step: h/week between choices.
    """
    config = load_config(settings)
    with tempfile.TemporaryDirectory() as folder:
        run = simulate(settings, out=Path(folder) / "run", engine=engine)
        with closing(open_transcript(run.path / "transcript.sqlite")) as transcript:
            last = (config.years - 1, config.year.days - 1, "labor")
            hours = [
                float(json.loads(stored.decision))
                for draw, stored in transcript.decisions()
                if (draw.year, draw.day, draw.kind) == last
            ]
        year = {name: column[-1] for name, column in run.years.to_pydict().items()}
    worth = worth_of_hours(config, year, np.arange(0.0, 101.0, step))
    most, any_hours = (
        w.max(axis=1) for w in (worth, worth_of_hours(config, year, np.arange(0.0, 100.01, 0.1)))
    )
    own = worth[np.arange(len(hours)), np.asarray(hours, int) // step]
    lost = (any_hours - own) / np.abs(any_hours)
    return Ends(own >= most, own >= most - GIVEN_UP * np.abs(most), lost)


def worth_of_hours(config: Config, year: Mapping[str, Any], choices: np.ndarray) -> np.ndarray:
    """What choices (c,) bring each worker, (n, c) $/year. year: the row of the last year.

    Written apart from the product's own function, which prompts are made from.
    """
    worker = build_economy(config).cohorts["workers"]
    thresholds = np.asarray(first_brackets(config)[0], float)
    rates = np.array([year[f"rate_{k}"] for k in range(len(thresholds))])
    curvature = config.preferences.consumption_curvature
    skill = np.asarray(worker.skill, float)[:, None]
    income = skill * choices
    width = np.append(np.diff(thresholds), np.inf)
    tax = (np.clip(income[..., None] - thresholds, 0, width) * rates).sum(axis=-1)
    weight = np.broadcast_to(np.asarray(worker.preferences.disutility_weight, float), len(skill))
    effort = weight[:, None] * choices ** float(np.mean(worker.preferences.disutility_exponent))
    if curvature == 0:
        return income - tax - effort
    if curvature != 1:
        raise ValueError(f"curvature: {curvature}; 0 or 1")
    consumption: np.ndarray = (income - tax + year["rebate"]) * np.exp(-effort)
    return consumption


def planners_end(brackets: str, seed: int) -> dict[str, float]:
    """Gains over US federal at equilibrium: of each planner's last schedule, and of the optimum."""
    settings: dict[str, Any] = {
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
            run = simulate(settings | {"planner": planner}, out=Path(folder) / kind, engine=reader)
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


def measure_commit(commit: str, *, quick: bool, model: bool) -> None:
    """Report the same of an earlier commit's prompts."""
    with worktree(commit) as tree:
        command = [sys.executable, "-m", "experiments.benchmarks.prompts", "--label", commit]
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        options = ["--quick"] * quick + ["--model"] * model
        subprocess.run([*command, *options], cwd=tree, env=environment, check=True)


if __name__ == "__main__":
    main()
