"""Branches: new runs that start from the state of a run at the beginning of a year."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxecon.config.field_marks import Mark
from jaxecon.config.fields import decides_people, marked
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.core.arguments import ENGINE, LISTENER, PATH, WHOLE, checked_arguments
from jaxecon.core.errors import UserError
from jaxecon.core.processes import refuse_several
from jaxecon.core.text import shown
from jaxecon.economy.precision import dtype_of
from jaxecon.simulation.changes import (
    changed_prompts,
    changed_settings,
    continuable,
    first_position,
    refuse_edited,
    refuse_reworded,
)
from jaxecon.simulation.deciders import make_deciders
from jaxecon.simulation.language import (
    check_engines,
    make_bridge,
    prompts_of,
    start_engines,
)
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.ports import SilentListener
from jaxecon.simulation.prepare import assemble_run, new_recorder
from jaxecon.simulation.replay import replay_engines_of
from jaxecon.simulation.run import simulate
from jaxecon.simulation.state import RunState
from jaxecon.storage.checkpoint_files import Position, newest
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT, refuse_existing, refuse_while_written
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from jaxecon.storage.usage import LLMUsage
    from llm.engines.base import Engine


MAX_SEEDS = 100_000  # new runs of one branch


@dataclass(frozen=True)
class _Future:
    """A branch to be simulated.

    changed: settings that differ from the run's, one line each.
    """

    config: Config
    folder: Path
    changed: list[str]


@checked_arguments(path=PATH, year=WHOLE, out=PATH, seeds=WHOLE, listener=LISTENER, engine=ENGINE)
def branch(
    path: str | Path,
    *,
    year: int,
    out: str | Path,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> list[Run]:
    """Start new runs from the state of a run at the beginning of a year.

    They may have other policies, planners or models. Whatever does not depend on the changes draws
    the same random numbers as in the run, and gets the same answers from its transcript.

    Args:
        path: the run's folder.
        year: the first year of the new runs, counted from 0.
        out: a new folder.
        overrides: `key=value` settings on top of the run's configuration. The people stay the
            same. A changed `schedule` begins in `year`; another planner takes over then.
        seeds: how many new runs. Several differ in `draw_seed` and lie in out/future-0,
            out/future-1 and so on; the first has the run's own seed.
        listener: called with days, years and diagnostics during the runs.
        engine: a running engine to use, which stays open; by default the configuration's.

    Returns:
        The new runs, in the order of their seeds.

    Raises:
        UserError: the run is being written or has not reached the year, its people would change,
            or a new folder exists.
        EngineError: the language model's engine cannot start or dies.
    """
    refuse_several("branch")
    run, position = continuable(path), Position(year, 0)
    refuse_while_written(run.path)
    refuse_edited(run)
    first, last = first_position(run).year, run.last_year + 1
    if not 1 <= seeds <= MAX_SEEDS:
        raise UserError(f"--seeds: {shown(seeds, 40)}; 1 to {MAX_SEEDS:,}")
    if not first <= year <= last:
        raise UserError(
            f"--year: {shown(year, 40)}; {path} can be branched in years {first} to {last}"
        )
    futures = _futures(run, year, Path(out), overrides, seeds)
    if futures[0].config.needs_engine:
        check_engines(futures[0].config)
    state = _state_at(run, position)
    past = pa.concat_tables(
        [run.past, run.years.slice(0, year - first)], promote_options="permissive"
    )
    with start_engines(futures[0].config, engine) as served:
        for future in futures:
            _simulate_future(run, future, position, state, past, served, listener)
    return [Run(future.folder) for future in futures]


def _futures(run: Run, year: int, out: Path, overrides: Sequence[str], seeds: int) -> list[_Future]:
    """The branches to simulate, checked. Raises UserError as `branch` does."""
    draw_seed = load_config(run.config, overrides).seed_of_draws
    futures = []
    for number in range(seeds):
        drawn = [f"draw_seed={draw_seed + number}"] if number else []
        config = load_config(run.config, [*overrides, *drawn])
        changed = _changed_in_branch(run.config, config)
        changed += changed_prompts(run.manifest, prompts_of(config).digest)
        if config.years <= year:
            raise UserError(
                f"years: {config.years}; a branch from year {year} needs more, such as --set "
                f"years={year + 4}"
            )
        folder = out / f"future-{number}" if seeds > 1 else out
        refuse_existing(folder)
        futures.append(_Future(config, folder, changed))
    return futures


def _changed_in_branch(before: Config, config: Config) -> list[str]:
    """Settings that differ, one line each. Raises UserError where they would change the people."""
    changed, _ = changed_settings(before.model_dump(mode="json"), config)
    types = [np.dtype(dtype_of(c)) for c in (before, config)]
    if types[0] != types[1]:
        changed.insert(0, f"precision: {types[0]} -> {types[1]}")
    wrong = [change for change in changed if decides_people(change.partition(":")[0])]
    if config.dynamics.switches != before.dynamics.switches:
        wrong += [change for change in changed if change.startswith("dynamics.")]
    if wrong:
        raise UserError(
            f"{wrong[0]}; a branch keeps its run's people ({', '.join(marked(Mark.PEOPLE))}) and "
            "what changes of itself (dynamics)"
        )
    return changed


def _simulate_future(
    run: Run,
    future: _Future,
    position: Position,
    state: RunState,
    past: pa.Table,
    served: Mapping[str, Any],
    listener: "Listener | None",
) -> None:
    """Simulate one branch, from the run's state at a position to its end.

    past: rows of the years before the position.
    """
    transcript = run.path / TRANSCRIPT
    prepared = assemble_run(future.config, future.folder)
    origin = {
        "run": str(run.path.resolve()),
        "year": position.year,
        "changed": future.changed,
        "answers": transcript.exists(),
        "configuration_hash": run.manifest["configuration_hash"],
    }

    def begin(simulation: Simulation, bridge: Any) -> None:
        if position.year:
            adapted = _adapted(state, simulation, future.changed, run)
            simulation.begin_at(position, adapted)
        simulation.save()

    with new_recorder(prepared, served, past, branched_from=origin) as recorder:
        inherited = transcript if transcript.exists() else None
        simulate(prepared, recorder, served, listener, begin=begin, inherited=inherited)


def _state_at(run: Run, position: Position) -> RunState:
    """The run's state at a position, computed again from the last checkpoint up to it."""
    checkpoint, damaged = newest(run.path / CHECKPOINTS, until=position)
    if checkpoint is None and first_position(run).year:
        raise UserError(
            f"{run.path}: a branch whose first checkpoint is lost ({'; '.join(damaged)})"
        )
    if checkpoint is None or checkpoint.position != position:
        refuse_reworded(run)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-branch-")))
        prepared = assemble_run(run.config, folder)
        served = stack.enter_context(replay_engines_of(run))
        bridge, _ = make_bridge(run.config, folder, served, run.path / TRANSCRIPT, stack)
        planner, workers = make_deciders(prepared, bridge)
        again = _RecordedYearChecker(run)
        simulation = Simulation(
            run.config,
            prepared.economy,
            prepared.schedule,
            planner,
            workers=workers,
            meter=bridge,
            listener=again,
        )
        if checkpoint is not None:
            simulation.restore(checkpoint)
        simulation.run(position)
    return simulation.state


class _RecordedYearChecker(SilentListener):
    """Checks that years computed again agree with the recorded ones.

    Welfare may differ by rounding on another machine.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._recorded = {row["year"]: row for row in run.years.to_pylist()}

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        recorded = self._recorded[row["year"]]
        same = all(row[name] == recorded[name] for name in row if name.startswith("rate_"))
        if not same or abs(row["swf"] - recorded["swf"]) > 1e-3 * abs(recorded["swf"]):
            raise UserError(
                f"{self._run.path}: year {row['year']}, computed again, is not what was "
                "recorded (other code, or a run that was changed on its way); branch from a year "
                "that has a checkpoint"
            )


def _adapted(state: RunState, simulation: Simulation, changed: Sequence[str], run: Run) -> RunState:
    """The run's state, adapted to the configuration of a branch.

    Raises UserError where the run did not record what the branch's planner asks about.
    """
    if any(change.startswith("schedule.") for change in changed):
        state = replace(state, schedule=simulation.schedule, observation=None)
    if any(
        change.startswith(("planner.", "elections.", "schedule.brackets")) for change in changed
    ):
        state = replace(state, planner=simulation.planner_state(state.schedule))
    observation, asks = state.observation, simulation.planner.asks
    if observation is not None and set(observation.agent_means) != set(asks):
        sizes = {name: simulation.economy.cohorts[name].size for name in asks}
        years = {n: _recorded_year(run, n, observation.year, size) for n, size in sizes.items()}
        state = replace(state, observation=replace(observation, agent_means=years))
    return state


def _recorded_year(run: Run, cohort: str, year: int, size: int) -> dict[str, np.ndarray]:
    """A cohort's means of a year, (n,) by column, read from the run's tables.

    Raises UserError where they were not recorded for all its agents.
    """
    agents = run.agents
    if agents.num_rows:
        agents = agents.filter((pc.field("year") == year) & (pc.field("cohort") == cohort))
    if agents.num_rows != size:
        raise UserError(
            f"{run.path}: year {year} of {cohort} is not in its agents.parquet, and voters must "
            "see it (record.agents)"
        )
    rebate = run.years.filter(pc.field("year") == year)["rebate"][0].as_py()
    columns = {
        name: np.asarray(agents[name], float) for name in ("hours", "income", "tax", "utility")
    }
    return {**columns, "rebate": np.full(size, rebate)}
