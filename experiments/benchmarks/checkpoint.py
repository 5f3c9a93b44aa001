"""Saving and restoring a run's state, beside raw writes of the same bytes and beside the year that
is simulated meanwhile.

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
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.benchmarks.timing import describe_machine, report
from jaxecon.config.read import load_config
from jaxecon.config.recording import CheckpointPolicy
from jaxecon.economy.build import build_economy
from jaxecon.economy.days import initial_state, simulate_days, start_year
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import EconomyState
from jaxecon.storage import checkpoint_files as storage_checkpoint_files
from jaxecon.storage.checkpoint import Checkpoints
from jaxecon.storage.checkpoint_files import Position, named_leaves, newest

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
    given = parser.parse_args()
    describe_machine()
    for agents in given.agents:
        folder = Path(tempfile.mkdtemp(dir=given.folder, prefix="jaxecon-checkpoints-"))
        try:
            measure(folder, agents, given.days)
        finally:
            shutil.rmtree(folder)


def measure(folder: Path, agents: int, days: int) -> None:
    config = load_config({"population": {"mechanical": agents, "llm": 0}, "year": {"days": days}})
    with compute_context(config):
        economy, schedule = build_economy(config), first_schedule(config)
        state, plan, sums = jax.jit(start_year)(
            economy, jax.jit(initial_state)(economy, schedule), schedule, days
        )
        live = jax.jit(simulate_days, static_argnames="days")

        def year() -> None:
            jax.block_until_ready(live(economy, plan, state, sums, days))

        year()  # compiled
        leaves = named_leaves(state)
        size = sum(np.asarray(leaf).nbytes for leaf in leaves.values())
        checkpoints = Checkpoints(
            folder / "ours", CheckpointPolicy(every_minutes=None, keep_last=20)
        )
        checkpoints.save(Position(1, 0), state, {})  # orbax is imported
        checkpoints.wait()

        blocking, during, save = [], [], []
        for i in range(REPETITIONS):
            begun = time.perf_counter()
            checkpoints.save(Position(2, i), state, {})
            blocking.append(time.perf_counter() - begun)
            checkpoints.wait()
            save.append(time.perf_counter() - begun)
        alone = [timed(year) for _ in range(REPETITIONS)]
        for i in range(REPETITIONS):
            checkpoints.save(Position(3, i), state, {})
            during.append(timed(year))
            checkpoints.wait()
        checkpoints.close()
        found, _ = newest(folder / "ours")
        assert found is not None
        restore = [timed(lambda: restored(folder / "ours", state)) for _ in range(REPETITIONS)]
        raw, loading = zip(
            *(raw_write(folder / f"raw{i}", leaves) for i in range(REPETITIONS)), strict=True
        )
    best: dict[str, float] = {
        name: min(values)
        for name, values in {
            "blocking_s": blocking,
            "save_s": save,
            "restore_s": restore,
            "raw_save_s": raw,
            "raw_load_s": loading,
            "year_s": alone,
            "year_while_saving_s": during,
        }.items()
    }
    on_disk = sum(path.stat().st_size for path in found.path.rglob("*") if path.is_file())
    report(
        benchmark="checkpoint",
        agents=agents,
        days=days,
        bytes=size,
        bytes_on_disk=on_disk,
        **best,
        blocking_share_of_year=best["blocking_s"] / best["year_s"],
        slowdown_of_year=best["year_while_saving_s"] / best["year_s"] - 1,
        save_over_raw=best["save_s"] / best["raw_save_s"],
        restore_over_raw=best["restore_s"] / best["raw_load_s"],
    )


def restored(folder: Path, state: EconomyState) -> None:
    found, _ = newest(folder)
    assert found is not None
    jax.block_until_ready(storage_checkpoint_files.restore(found, state)[0])


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
