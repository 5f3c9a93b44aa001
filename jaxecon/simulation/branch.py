"""Branches: new runs that start from the state of a run at the beginning of a year."""

from collections.abc import Callable, Mapping, Sequence
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
from jaxecon.core.arguments import ENGINE, LISTENER, MAX_SEEDS, PATH, WHOLE, checked_arguments
from jaxecon.core.errors import UserError
from jaxecon.core.processes import refuse_several
from jaxecon.core.text import shown
from jaxecon.economy.precision import dtype_of
from jaxecon.simulation.changes import (
    changed_inputs,
    changed_prompts,
    continuable,
    differing_settings,
    first_position,
    refuse_changes,
    refuse_edited,
)
from jaxecon.simulation.earlier_state import state_of_run
from jaxecon.simulation.language import (
    check_engines,
    prompts_of,
    start_engines,
)
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.prepare import assemble_run, new_recorder
from jaxecon.simulation.resume import resume
from jaxecon.simulation.run import simulate
from jaxecon.simulation.state import RunState
from jaxecon.storage.checkpoint_files import Position
from jaxecon.storage.parts import parts, read_table, recorded_years
from jaxecon.storage.paths import (
    AGENTS,
    MANIFEST,
    TRANSCRIPT,
    YEARS,
    clear_unbegun,
    refuse_existing,
    refuse_while_written,
)
from jaxecon.storage.portable import path_from
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from llm.engines.base import Engine


_SAME_ORIGIN = ("run", "year", "configuration_hash")  # entries that say from where a branch began


@dataclass(frozen=True)
class Branching:
    """How new runs begin.

    forced: files of which the content is not what the run began with, one line each. notes: what
    the new runs will not do although they are set to. kept, continued: how many of them were there
    before, whole or in part.
    """

    forced: tuple[str, ...]
    notes: tuple[str, ...]
    kept: int
    continued: int


@dataclass(frozen=True)
class _Future:
    """A branch to be simulated.

    changed: what differs from the run, one line each. origin: the manifest's entry on the run.
    """

    config: Config
    folder: Path
    changed: list[str]
    origin: dict[str, Any]

    @property
    def begun(self) -> bool:
        return (self.folder / MANIFEST).exists()


@checked_arguments(path=PATH, year=WHOLE, out=PATH, seeds=WHOLE, listener=LISTENER, engine=ENGINE)
def branch(
    path: str | Path,
    *,
    year: int,
    out: str | Path,
    overrides: Sequence[str] = (),
    seeds: int = 1,
    force: bool = False,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
    tell: Callable[[Branching], None] | None = None,
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
            out/future-1 and so on; the first has the run's own seed. Those that are there
            already are kept or continued.
        force: branch even where microdata or own rules are not those that the run began with; the
            manifest records it.
        listener: called with days, years and diagnostics during the runs.
        engine: a running engine to use, which stays open; by default the configuration's.
        tell: called with the Branching before the runs begin.

    Returns:
        The new runs, in the order of their seeds.

    Raises:
        UserError: the run is being written or has not reached the year, its people would change,
            a new folder exists, or files differ and `force` is not given.
        EngineError: the language model's engine cannot start or dies.
    """
    refuse_several("branch")
    if not 1 <= seeds <= MAX_SEEDS:
        raise UserError(f"--seeds: {shown(seeds, 40)}; 1 to {MAX_SEEDS:,}")
    run, position = _branchable(path, year), Position(year, 0)
    futures, forced = _futures(run, year, Path(out), overrides, seeds, force)
    missing = [future for future in futures if not future.begun]
    if missing and futures[0].config.needs_engine:
        check_engines(futures[0].config)
    unfinished = [f for f in futures if f.begun and Run(f.folder).manifest["status"] != "complete"]
    if tell is not None:
        kept = len(futures) - len(missing) - len(unfinished)
        notes = _survey_before(futures[0].config, year)
        tell(Branching(tuple(forced), tuple(notes), kept, len(unfinished)))
    for future in unfinished:
        resume(future.folder, force=force, listener=listener, engine=engine)
    if missing:
        _begin(run, missing, position, listener, engine)
    return [Run(future.folder) for future in futures]


def _branchable(path: str | Path, year: int) -> Run:
    """The run, which can be branched in a year. Raises UserError where it cannot."""
    run = continuable(path)
    refuse_while_written(run.path)
    refuse_edited(run)
    first = first_position(run).year
    last = max(first, recorded_years(run.path))
    if not first <= year <= last:
        parts(run.path, YEARS)  # raises where later years are lost
        raise UserError(
            f"--year: {shown(year, 40)}; {path} can be branched in years {first} to {last}"
        )
    return run


def _futures(
    run: Run, year: int, out: Path, overrides: Sequence[str], seeds: int, force: bool
) -> tuple[list[_Future], list[str]]:
    """The branches, checked; and the files that are not what the run began with.

    Raises UserError as `branch` does.
    """
    first = load_config(run.config, overrides)
    shared, files = _changed_in_branch(run, first)
    refuse_changes(run.path, files, force)
    shared += [*changed_prompts(run.manifest, prompts_of(first).digest), *files]
    if first.years <= year:
        raise UserError(
            f"years: {first.years}; a branch from year {year} needs more, such as --set "
            f"years={year + 4}"
        )
    futures: list[_Future] = []
    for number in range(seeds):
        config, changed = first, list(shared)
        if number:
            seed = first.seed_of_draws + number
            config = load_config(first, [f"draw_seed={seed}"])
            changed = [line for line in shared if not line.startswith("draw_seed: ")]
            if seed != run.config.draw_seed:
                changed.append(f"draw_seed: {run.config.draw_seed} -> {seed}")
        folder = out / f"future-{number}" if seeds > 1 else out
        future = _Future(config, folder, changed, _origin_of(run, folder, year, changed))
        clear_unbegun(folder)
        if seeds == 1 or not future.begun:
            refuse_existing(folder)
        else:
            _refuse_another(future)
        futures.append(future)
    return futures, files


def _origin_of(run: Run, folder: Path, year: int, changed: Sequence[str]) -> dict[str, Any]:
    """The manifest's entry on the run from which a branch begins."""
    return {
        "run": path_from(folder, run.path),
        "year": year,
        "changed": list(changed),
        "answers": (run.path / TRANSCRIPT).exists(),
        "configuration_hash": run.manifest["configuration_hash"],
    }


def _refuse_another(future: _Future) -> None:
    """Raise UserError unless the folder holds the future that is to be simulated."""
    there = continuable(future.folder)
    changed = differing_settings(there, future.config)
    changed += changed_prompts(there.manifest, prompts_of(future.config).digest)
    origin = there.manifest.get("branched_from", {})
    if changed or any(origin.get(name) != future.origin[name] for name in _SAME_ORIGIN):
        raise UserError(
            f"--out: {future.folder}: already holds another run "
            f"({changed[0] if changed else 'its origin differs'}); give a new folder"
        )


def _survey_before(config: Config, year: int) -> list[str]:
    """A note where a branch asks no question, since all lie before its first year."""
    asked = [y for question in config.survey.questions for y in question.years or (year,)]
    if not asked or max(asked) >= year:
        return []
    return [f"survey: every question is of years before {year}, so that none is asked"]


def _changed_in_branch(run: Run, config: Config) -> tuple[list[str], list[str]]:
    """What differs, one line each: settings, and files of which the content is another.

    Raises UserError where settings would change the people.
    """
    before = run.config
    changed, _, files = changed_inputs(run.manifest, before.model_dump(mode="json"), config)
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
    return changed, files


def _begin(
    run: Run,
    futures: Sequence[_Future],
    position: Position,
    listener: "Listener | None",
    engine: "Engine | None",
) -> None:
    """Simulate branches from the run's state at a position to their end."""
    state = state_of_run(run, position)
    past = pa.concat_tables(
        [run.past, read_table(run.path, YEARS, before=position.year)],
        promote_options="permissive",
    )
    with start_engines(futures[0].config, engine) as served:
        for future in futures:
            try:
                _simulate_future(run, future, position, state, past, served, listener)
            finally:
                clear_unbegun(future.folder)


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
    origin = future.origin

    def begin(simulation: Simulation, bridge: Any) -> None:
        if position.year:
            adapted = _adapted(state, simulation, future.changed, run)
            simulation.begin_at(position, adapted)
        simulation.save()
        assert recorder is not None  # `branch` refuses several processes
        recorder.begin()  # from now on there is something to resume

    with new_recorder(prepared, served, past, unbegun=True, branched_from=origin) as recorder:
        inherited = transcript if transcript.exists() else None
        simulate(prepared, recorder, served, listener, begin=begin, inherited=inherited)


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
        means = _recorded_means(run, observation.year, sizes)
        state = replace(state, observation=replace(observation, agent_means=means))
    return state


def _recorded_means(
    run: Run, year: int, sizes: Mapping[str, int]
) -> dict[str, dict[str, np.ndarray]]:
    """Means of a year by cohort, (n,) by column, read from the run's tables.

    sizes: how many agents each cohort has. Raises UserError where the means were not recorded for
    all of them.
    """
    if not sizes:
        return {}
    agents, years = (
        read_table(run.path, table, since=year, before=year + 1) for table in (AGENTS, YEARS)
    )
    means = {}
    for cohort, size in sizes.items():
        rows = agents.filter(pc.field("cohort") == cohort) if agents.num_rows else agents
        if rows.num_rows != size:
            raise UserError(
                f"{run.path}: year {year} of {cohort} is not in its agents.parquet, and voters "
                "must see it (record.agents)"
            )
        columns = ("hours", "income", "tax", "utility")
        means[cohort] = {name: np.asarray(rows[name], float) for name in columns}
        means[cohort]["rebate"] = np.full(size, years["rebate"][0].as_py())
    return means
