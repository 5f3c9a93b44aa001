"""Saving and restoring a run's state, beside raw writes of the same bytes.

Also beside the year that is simulated meanwhile.

    python -m experiments.benchmarks.checkpoint [--agents 10000 100000 1000000 10000000] [--days
    128] [--folder DIR]

Half the agents are adaptive (eleven values each), half quantal. `blocking` is what the run waits
when a save begins, `slowdown` how much longer than otherwise the year takes during which it is
written; both against a simulated year, compiled. `save` is everything: copy, orbax, SHA-256, fsync;
`restore` the verification too. `raw` is NumPy's save of the same bytes with an fsync, and its load.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.timing import describe_machine, report
from jaxecon.config.read import load_config
from jaxecon.config.recording import CheckpointPolicy
from jaxecon.core.pytree import named_leaves
from jaxecon.economy.build import build_economy
from jaxecon.economy.days import simulate_days
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import EconomyState
from jaxecon.economy.year import initial_state, start_year
from jaxecon.storage import checkpoint_files as storage_checkpoint_files
from jaxecon.storage.checkpoint import Checkpoints
from jaxecon.storage.checkpoint_files import Position, newest

REPETITIONS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--agents", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000]
    )
    parser.add_argument("--days", type=int, default=128)
    parser.add_argument(
        "--folder", type=Path, help="where to write; a temporary folder without one"
    )
    arguments = parser.parse_args()
    describe_machine()
    for agents in arguments.agents:
        folder = Path(tempfile.mkdtemp(dir=arguments.folder, prefix="jaxecon-checkpoints-"))
        try:
            measure(folder, agents, arguments.days)
        finally:
            shutil.rmtree(folder)


def measure(folder: Path, agents: int, days: int) -> None:
    """One line for a number of agents."""
    config = load_config({"population": {"mechanical": agents, "llm": 0}, "year": {"days": days}})
    with compute_context(config):
        economy, schedule = build_economy(config), first_schedule(config)
        state, plan, sums = jax.jit(start_year)(
            economy, jax.jit(initial_state)(economy, schedule), schedule, days
        )
        simulate = jax.jit(simulate_days, static_argnames="days")

        def year() -> None:
            jax.block_until_ready(simulate(economy, plan, state, sums, days))

        year()  # compiled
        leaves = named_leaves(state)
        times = save_times(folder / "ours", state, year)
        written, _ = newest(folder / "ours")
        assert written is not None
        times["restore_s"] = [
            timed(lambda: restored(folder / "ours", state)) for _ in range(REPETITIONS)
        ]
        raw = [raw_write(folder / f"raw{i}", leaves) for i in range(REPETITIONS)]
        times["raw_save_s"], times["raw_load_s"] = map(list, zip(*raw, strict=True))
    best = {name: min(values) for name, values in times.items()}
    report(
        benchmark="checkpoint",
        agents=agents,
        days=days,
        bytes=sum(np.asarray(leaf).nbytes for leaf in leaves.values()),
        bytes_on_disk=sum(
            path.stat().st_size for path in written.path.rglob("*") if path.is_file()
        ),
        **best,
        blocking_share_of_year=best["blocking_s"] / best["year_s"],
        slowdown_of_year=best["year_while_saving_s"] / best["year_s"] - 1,
        save_over_raw=best["save_s"] / best["raw_save_s"],
        restore_over_raw=best["restore_s"] / best["raw_load_s"],
    )


def save_times(
    folder: Path, state: EconomyState, year: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds of saves, of the part that the run waits for, and of years alone and meanwhile."""
    times: dict[str, list[float]] = {
        "blocking_s": [],
        "save_s": [],
        "year_s": [],
        "year_while_saving_s": [],
    }
    with closing(
        Checkpoints(folder, CheckpointPolicy(every_minutes=None, keep_last=20))
    ) as checkpoints:
        checkpoints.save(Position(1, 0), state, {})  # orbax is imported
        checkpoints.wait()
        for i in range(REPETITIONS):
            begun = time.perf_counter()
            checkpoints.save(Position(2, i), state, {})
            times["blocking_s"].append(time.perf_counter() - begun)
            checkpoints.wait()
            times["save_s"].append(time.perf_counter() - begun)
        times["year_s"] = [timed(year) for _ in range(REPETITIONS)]
        for i in range(REPETITIONS):
            checkpoints.save(Position(3, i), state, {})
            times["year_while_saving_s"].append(timed(year))
            checkpoints.wait()
    return times


def restored(folder: Path, state: EconomyState) -> None:
    newest_checkpoint, _ = newest(folder)
    assert newest_checkpoint is not None
    jax.block_until_ready(storage_checkpoint_files.restore(newest_checkpoint, state)[0])


def raw_write(folder: Path, leaves: dict[str, Any]) -> tuple[float, float]:
    """Seconds to write and to read."""
    folder.mkdir()
    arrays = {name: np.asarray(leaf) for name, leaf in leaves.items()}

    def write() -> None:
        for name, array in arrays.items():
            with (folder / f"{name}.npy").open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())

    def read() -> None:
        for name in arrays:
            np.load(folder / f"{name}.npy")

    return timed(write), timed(read)


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
