"""New runs from the state in which a run began a year."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jaxecon.config.fields import decides_people, marked
from jaxecon.config.marks import Mark
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.core.processes import refuse_several
from jaxecon.economy.precision import dtype_of
from jaxecon.simulation.changes import changed_settings, continuable, first_position
from jaxecon.simulation.language import check_engines, make_bridge, make_deciders, start_engines
from jaxecon.simulation.ports import SilentListener
from jaxecon.simulation.prepare import assemble_run, create
from jaxecon.simulation.replay import replay_engines_of
from jaxecon.simulation.run import simulate
from jaxecon.storage.checkpoint_files import Position, newest
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT, refuse_existing, refuse_while_written
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.loop import Simulation
    from jaxecon.simulation.ports import Listener
    from jaxecon.simulation.state import RunState
    from jaxecon.storage.usage import LLMUsage
    from llm.engines.base import Engine


# --- branch ---------------------------------------------------------------------------------------


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
    """New runs from the state in which a run began a year, under other policies, planners or
    models.

    overrides: `key=value` on top of the run's configuration; the people stay. A changed `schedule`
    begins that year; another planner takes over then. seeds: how many futures, which differ in
    `draw_seed` and lie in out/future-0..; the first has the run's own. What does not depend on what
    was changed draws the same random numbers, and gets the same answers from the run's transcript,
    as in the run.

    Raises UserError: a run that is being written, a year that it has not got to, other people,
    folders that exist.
    """
    refuse_several("branch")
    run, position = continuable(path), Position(year, 0)
    refuse_while_written(run.path)
    is_main_process, last = first_position(run).year, run.last_year + 1
    if seeds < 1:
        raise UserError(f"--seeds: {seeds}; 1 or more")
    if not is_main_process <= year <= last:
        raise UserError(
            f"--year: {year}; {path} has lived up to year {last}: {is_main_process} to {last}"
        )
    draw_seed = load_config(run.config, overrides).seed_of_draws
    configs, folders = [], []
    for future in range(seeds):
        drawn = [f"draw_seed={draw_seed + future}"] if future else []
        config = load_config(run.config, [*overrides, *drawn])
        changed, _ = changed_settings(run.config.model_dump(mode="json"), config)
        if dtype_of(config) is not dtype_of(run.config):
            changed.insert(
                0, f"precision: {np.dtype(dtype_of(run.config))} -> {np.dtype(dtype_of(config))}"
            )
        wrong = [change for change in changed if decides_people(change.partition(":")[0])]
        if config.dynamics.switches != run.config.dynamics.switches:
            wrong += [change for change in changed if change.startswith("dynamics.")]
        if wrong:
            raise UserError(
                f"{wrong[0]}; a branch keeps its run's people ({', '.join(marked(Mark.PEOPLE))}) and what "
                "changes of itself (dynamics)"
            )
        if config.years <= year:
            raise UserError(
                f"years: {config.years}; a branch from year {year} needs more, such as --set "
                f"years={year + 4}"
            )
        configs.append((config, changed))
        folders.append(Path(out) / f"future-{future}" if seeds > 1 else Path(out))
        refuse_existing(folders[-1])
    if configs[0][0].needs_engine:
        check_engines(configs[0][0])
    state = state_at(run, position)
    past = pa.concat_tables(
        [run.past, run.years.slice(0, year - is_main_process)], promote_options="permissive"
    )
    transcript = run.path / TRANSCRIPT
    with ExitStack() as stack:
        served = stack.enter_context(start_engines(configs[0][0], engine))
        for (config, changed), folder in zip(configs, folders, strict=True):
            prepared = assemble_run(config, folder)
            origin: dict[str, Any] = {
                "run": str(run.path.resolve()),
                "year": year,
                "changed": changed,
            }
            origin["answers"] = transcript.exists()
            origin["configuration_hash"] = run.manifest["configuration_hash"]
            with closing(create(prepared, served, branched_from=origin)) as recorder:
                recorder.inherit(past)

                def begin(
                    simulation: "Simulation", bridge: Any, changed: Sequence[str] = changed
                ) -> None:
                    if year:
                        simulation.begin_at(position, _adapted(state, simulation, changed, run))
                    simulation.save()

                inherited = transcript if transcript.exists() else None
                simulate(prepared, recorder, served, listener, begin=begin, inherited=inherited)
    return [Run(folder) for folder in folders]


def state_at(run: Run, position: Position) -> "RunState":
    """The state at a position: lived again from the last checkpoint before it."""
    from jaxecon.simulation.loop import Simulation

    checkpoint, damaged = newest(run.path / CHECKPOINTS, until=position)
    if checkpoint is None and first_position(run).year:
        raise UserError(
            f"{run.path}: a branch whose first checkpoint is lost ({'; '.join(damaged)})"
        )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-branch-")))
        prepared = assemble_run(run.config, folder)
        served = stack.enter_context(replay_engines_of(run))
        bridge, _ = make_bridge(run.config, folder, served, None, stack)
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
    """Checks that years that are lived again are the recorded ones, to rounding on another machine."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._recorded = {row["year"]: row for row in run.years.to_pylist()}

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        recorded = self._recorded[row["year"]]
        same = all(row[name] == recorded[name] for name in row if name.startswith("rate_"))
        if not same or abs(row["swf"] - recorded["swf"]) > 1e-3 * abs(recorded["swf"]):
            raise UserError(
                f"{self._run.path}: year {row['year']}, lived again, is not what was recorded "
                "(other code, or a run that was "
                "changed on its way); branch from a year that has a checkpoint"
            )


def _adapted(
    state: "RunState", simulation: "Simulation", changed: Sequence[str], run: Run
) -> "RunState":
    """The state of a run under a branch's configuration.

    Raises UserError: what its planner asks about was not recorded.
    """
    if any(change.startswith("schedule.") for change in changed):
        state = replace(state, schedule=simulation.schedule, observation=None)
    if any(
        change.startswith(("planner.", "elections.", "schedule.brackets")) for change in changed
    ):
        state = replace(state, planner=simulation.planner_state(state.schedule))
    seen, asks = state.observation, simulation.planner.asks
    if seen is not None and set(seen.lived) != set(asks):
        lived = {
            name: _lived(run, name, seen.year, simulation.economy.cohorts[name].size)
            for name in asks
        }
        state = replace(state, observation=replace(seen, lived=lived))
    return state


def _lived(run: Run, cohort: str, year: int, size: int) -> dict[str, np.ndarray]:
    """A cohort's year as a planner that asks about it sees it, from the run's tables."""
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
