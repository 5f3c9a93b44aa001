"""Throughput of a sweep beside one economy of as many agents.

    python -m experiments.benchmarks.sweeps [--economies 10000] [--agents 1000] [--days 128]
    [--chunk N]

Half the agents are adaptive, half quantal; every economy has its own random people and draws, one
year, a fixed schedule. The one economy has the same year with all agents, through the same
functions (`ratio`), which flatters the sweep where arrays do not fit the cache; and through those
of a run, built before and without the year's end (`ratio_to_a_run`, from ten of its days; the
sweep's building and closing count against it). All are compiled before. `overhead` is the share of
the sweep's time that is not spent in the compiled program: configurations, arrays, tables, files.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.timing import describe_machine, report, year_seconds
from jaxecon.config.read import load_config
from jaxecon.core.errors import is_out_of_memory
from jaxecon.economy.build import build_economy, skill_nodes
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.year import initial_state
from jaxecon.simulation import batch
from jaxecon.sweeps.listener import SilentSweepListener
from jaxecon.sweeps.sweep import sweep

TIMED_DAYS = 10  # of the economy on a run's functions


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--economies", type=int, default=10_000)
    parser.add_argument("--agents", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=128)
    parser.add_argument("--chunk", type=int)
    arguments = parser.parse_args()
    describe_machine()
    measure(arguments.economies, arguments.agents, arguments.days, arguments.chunk)


def measure(economies: int, agents: int, days: int, chunk_size: int | None) -> None:
    """One line."""
    run = {
        "years": 1,
        "year": {"days": days},
        "planner": {"kind": "fixed"},
        "population": {"mechanical": agents, "llm": 0, "sampling": "random"},
    }
    folder = Path(tempfile.mkdtemp(prefix="jaxecon-sweeps-"))
    inside = _Timed()
    heard = _Chunks()
    with suppress(_Enough):
        sweep(
            {"run": run, "seeds": economies},
            out=folder / "first",
            chunk_size=chunk_size,
            listener=_Once(heard),
        )
    try:
        inside.program = program = batch.simulate_batch
        batch.simulate_batch = inside  # type: ignore[assignment]
        begun = time.perf_counter()
        swept = sweep(
            {"run": run, "seeds": economies},
            out=folder / "whole",
            chunk_size=chunk_size,
            listener=heard,
        )
        sweep_s = time.perf_counter() - begun
        batch.simulate_batch = program
        assert swept.manifest["failed"] == 0
        people = run["population"] | {"mechanical": economies * agents}  # type: ignore[operator]
        large = run | {"population": people}
        one, alone = fitting(whole, large), fitting(on_a_runs_functions, large)
    finally:
        shutil.rmtree(folder)
    agent_days = economies * agents * days
    report(
        benchmark="sweeps",
        economies=economies,
        agents=agents,
        days=days,
        chunk=heard.most,
        sweep_s=sweep_s,
        compiled_s=inside.seconds,
        overhead=1 - inside.seconds / sweep_s,
        one_economy_s=one,
        one_economy_of_a_run_s=alone,
        agent_days_per_s=agent_days / sweep_s,
        one_economy_agent_days_per_s=one and agent_days / one,
        one_economy_of_a_run_agent_days_per_s=alone and agent_days / alone,
        ratio=one and one / sweep_s,
        ratio_to_a_run=alone and alone / sweep_s,
    )


class _Enough(Exception):
    pass


class _Chunks(SilentSweepListener):
    """The largest chunk."""

    def __init__(self) -> None:
        self.most = 0

    def on_chunk(self, points: int, failed: int) -> None:
        self.most = max(self.most, points)


class _Once(SilentSweepListener):
    """Stops after a chunk: what is compiled by then."""

    def __init__(self, chunks: _Chunks) -> None:
        self._chunks = chunks

    def on_chunk(self, points: int, failed: int) -> None:
        self._chunks.on_chunk(points, failed)
        raise _Enough


class _Timed:
    """The compiled program, with the seconds spent in it."""

    program: Any = None

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, *arguments: Any) -> Any:
        begun = time.perf_counter()
        outcomes = jax.block_until_ready(self.program(*arguments))
        self.seconds += time.perf_counter() - begun
        return outcomes


def fitting(measured: Callable[[dict[str, Any]], float], run: dict[str, Any]) -> float | None:
    """Seconds, or None where the economy does not fit the memory (of a GPU, which the sweep before
    has kept some of).
    """
    try:
        return measured(run)
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def whole(run: dict[str, Any]) -> float:
    """Seconds of one economy, compiled."""
    config = load_config(run)
    with compute_context(config):
        case, nodes = (
            jax.tree.map(lambda x: np.asarray(x)[None], batch.case(config)),
            skill_nodes(config),
        )
        taken = []
        for _ in range(3):
            begun = time.perf_counter()
            jax.block_until_ready(batch.simulate_batch(case, nodes))
            taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def on_a_runs_functions(run: dict[str, Any]) -> float:
    """Seconds of a year's tables and days of one economy, built and compiled."""
    config = load_config(run)
    with compute_context(config):
        economy, schedule = build_economy(config), first_schedule(config)
        first = jax.jit(initial_state)(economy, schedule)
        year, days = config.year.days, min(config.year.days, TIMED_DAYS)
        taken = []
        for _ in range(3):
            start_s, days_s, _ = year_seconds(economy, first, schedule, year, days)
            taken.append(start_s + days_s / days * year)
    return min(taken[1:])


if __name__ == "__main__":
    main()
