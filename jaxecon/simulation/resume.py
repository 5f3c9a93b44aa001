"""Continues a run from its newest sound checkpoint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.core.arguments import ENGINE, FLAG, FUNCTION, LISTENER, PATH, checked_arguments
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.processes import is_main_process, run_together
from jaxecon.simulation.changes import (
    changed_code,
    changed_inputs,
    changed_models,
    changed_prompts,
    continuable,
    first_position,
    inexact,
    inherited_transcript,
    lost_requests,
    refuse_changes,
    refuse_foreign_transcript,
)
from jaxecon.simulation.damage import check_tables, refuse_damaged_tables
from jaxecon.simulation.horizon import effects_of_horizon
from jaxecon.simulation.language import (
    KeptPrompts,
    identities,
    models,
    prompts_of,
    start_engines,
)
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.prepare import check_and_assemble
from jaxecon.simulation.run import simulate
from jaxecon.storage.checkpoint import remove_after
from jaxecon.storage.checkpoint_files import Checkpoint, Position, newest
from jaxecon.storage.parts import recorded_years
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT
from jaxecon.storage.provenance import environment, utc_now
from jaxecon.storage.recorder import Recorder
from jaxecon.storage.run import Run, recorded_config

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from llm.engines.base import Engine


@dataclass(frozen=True)
class Resumption:
    """How a run continues.

    position: where it continues. damaged: checkpoints that were skipped, and rows after this one
    that are computed again, one line each. changed: differences from the run's beginning that were
    forced. inexact: differences because of which the results may not be bit-identical. years: the
    number of years until now and from now on, where they differ. effects: what that changes, one
    line each.
    """

    position: Position
    damaged: tuple[str, ...]
    changed: tuple[str, ...]
    inexact: tuple[str, ...]
    years: tuple[int, int] | None = None
    effects: tuple[str, ...] = ()


@checked_arguments(path=PATH, force=FLAG, listener=LISTENER, engine=ENGINE, tell=FUNCTION)
def resume(
    path: str | Path,
    *,
    force: bool = False,
    overrides: Sequence[str] = (),
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
    tell: Callable[[Resumption], None] | None = None,
) -> Run:
    """Continue a run from its newest sound checkpoint, as if it had never stopped.

    Args:
        path: the run's folder.
        force: continue even where something differs from the run's beginning; it is recorded.
        overrides: `key=value` settings; what changes the results needs `force`, but for `years`: a
            run may become longer or shorter.
        listener: called with days, years and diagnostics during the run.
        engine: a running engine to use, which stays open; by default the configuration's.
        tell: called with the Resumption before the run continues.

    Returns:
        The run, complete or stopped by its budget. A complete and whole run is left as it is.

    Raises:
        UserError: another process writes the run, or something differs and `force` is not given;
            nothing has changed then.
        EngineError: the language model's engine cannot start or dies.
    """
    run, report = continuable(path), tell or (lambda resumption: None)
    with ExitStack() as stack:
        recorder, manifest = stack.enter_context(_opened_recorder(run))
        now = environment(config := load_config(run.config, overrides))
        checkpoint, damaged = _checkpoint_to_resume(run)
        changed, harmless = _changes(run, manifest, config, now, checkpoint)
        years = _changed_years(manifest, config)
        position = _position_to_resume(run, config, checkpoint)
        refuse_changes(run.path, changed, force)
        damaged += (lost_rows := _damaged_end(run, manifest))
        if manifest["status"] == "complete" and not (changed or years or lost_rows):
            _keep_settings(recorder, config, harmless)
            return Run(run.path)
        prepared = check_and_assemble(config, run.path)
        served = stack.enter_context(start_engines(config, engine, manifest["identities"]))
        prompts = prompts_of(config)
        changed += _changed_answers(manifest, served, prompts)
        refuse_changes(run.path, changed, force)
        inherited, lost = inherited_transcript(run)
        apart = inexact(manifest, now) + lost
        resumption = _resumption(config, position, damaged, changed, apart, years)

        def begin(simulation: Simulation, bridge: Any) -> None:
            if checkpoint is not None:
                restore_from(checkpoint, simulation, bridge)
            report(resumption)
            if recorder is not None:
                _record_resumption(recorder, config, served, resumption, harmless, now, prompts)
            run_together(lambda: _rewind(recorder, position))

        simulate(prepared, recorder, served, listener, begin=begin, inherited=inherited)
    return Run(run.path)


def _changed_answers(
    manifest: Mapping[str, Any], served: Mapping[str, Any], prompts: KeptPrompts
) -> list[str]:
    """Differences between who answered, and in what words they were asked, and today's."""
    return [
        *changed_models(manifest["identities"], identities(served)),
        *changed_prompts(manifest, prompts.digest),
    ]


def _resumption(
    config: Config,
    position: Position,
    damaged: Sequence[str],
    changed: Sequence[str],
    apart: Sequence[str],
    years: tuple[int, int] | None,
) -> Resumption:
    effects = () if years is None else effects_of_horizon(config, years[0], position)
    return Resumption(position, tuple(damaged), tuple(changed), tuple(apart), years, tuple(effects))


@contextmanager
def _opened_recorder(run: Run) -> Iterator[tuple[Recorder | None, dict[str, Any]]]:
    """Open the recorder of a run on disk; yield it and the run's manifest.

    The recorder is None in processes that do not write. The manifest is read again, since another
    process may have ended after the run was read.
    """
    recorder = run_together(lambda: Recorder.open(run.path) if is_main_process() else None)
    try:
        yield recorder, run.manifest if recorder is None else recorder.manifest
    finally:
        if recorder is not None:
            recorder.close()


def _checkpoint_to_resume(run: Run) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound checkpoint, or None to start anew; and what is wrong with later ones.

    Raises UserError for a branch without one, since its beginning was in its first checkpoint, and
    where the tables up to the checkpoint are damaged or the transcript is another run's.
    """
    refuse_foreign_transcript(run)
    checkpoint, damaged = newest(run.path / CHECKPOINTS)
    if checkpoint is None and first_position(run).year:
        raise UserError(
            f"{run.path}: a branch whose first checkpoint is lost; branch again "
            f"({'; '.join(damaged)})"
        )
    refuse_damaged_tables(run, checkpoint)
    return checkpoint, damaged


def _damaged_end(run: Run, manifest: Mapping[str, Any]) -> list[str]:
    """One line where a complete run's rows after the newest sound checkpoint are damaged."""
    if manifest["status"] == "complete":
        try:
            check_tables(run, None)
        except DiskError as error:
            return [str(error)]
    return []


def _position_to_resume(run: Run, config: Config, checkpoint: Checkpoint | None) -> Position:
    """Where the run continues. Raises UserError where it already has more years than asked for."""
    position = Position(0, 0) if checkpoint is None else checkpoint.position
    recorded = recorded_years(run.path)
    simulated = max(recorded, position.year + (position.day > 0))
    if config.years < simulated:
        begun = " or begun" if simulated > recorded else ""
        raise UserError(
            f"years: {config.years}; {run.path} has already simulated{begun} {simulated}"
        )
    return position


def _changed_years(manifest: Mapping[str, Any], config: Config) -> tuple[int, int] | None:
    """The number of years until now and from now on; None where it stays the same."""
    before = int(manifest["configuration"]["years"])
    return None if before == config.years else (before, config.years)


def _keep_settings(recorder: Recorder | None, config: Config, harmless: Sequence[str]) -> None:
    """Store changed settings of a run that is complete."""
    if harmless and recorder is not None:
        recorder.configure(config)


def restore_from(checkpoint: Checkpoint, simulation: Simulation, bridge: Any) -> None:
    """Restore the state at the checkpoint, and what language models had cost by then."""
    if bridge is not None:
        bridge.accounts.restore(checkpoint.meta["accounts"], checkpoint.meta["waited"])
    simulation.restore(checkpoint)


def _changes(
    run: Run,
    manifest: Mapping[str, Any],
    config: Config,
    now: Mapping[str, Any],
    checkpoint: Checkpoint | None,
) -> tuple[list[str], list[str]]:
    """Differences from the run's beginning that change its results; and settings that do not.

    The number of years is not among them: a run may become longer.

    now: the present environment.
    """
    # the templates are the run's own
    before = recorded_config(run.path, manifest).model_dump(mode="json")
    before["llm"]["prompts"] = run.config.llm.prompts
    changed, harmless, files = changed_inputs(manifest, before, config)
    changed = [line for line in changed if not line.startswith("years: ")]
    changed += [*changed_code(manifest, now), *files]
    if checkpoint is not None:
        changed += lost_requests(run.path / TRANSCRIPT, checkpoint)
    return changed, harmless


def _rewind(recorder: Recorder | None, position: Position) -> None:
    """Drop what was recorded after the position: it will be simulated again."""
    if recorder is not None:
        remove_after(recorder.path / CHECKPOINTS, position)  # first: they promise their years
        recorder.rewind(position.year)


def _record_resumption(
    recorder: Recorder,
    config: Config,
    served: Mapping[str, Any],
    resumption: Resumption,
    harmless: Sequence[str],
    now: Mapping[str, Any],
    prompts: KeptPrompts,
) -> None:
    """Record in the manifest that the run continues, from where and with which differences.

    now: the present environment.
    """
    recorder.keep_templates(prompts.own)  # first: the manifest has their hash
    answers = {
        "models": models(served, recorder.manifest.get("models")),
        "identities": identities(served),
        "prompts": prompts.digest,
    }
    entry = {
        "at": utc_now(),
        "from": [resumption.position.year, resumption.position.day],
        "damaged": list(resumption.damaged),
        "changed": list(resumption.changed),
        "harmless": list(harmless),
        "inexact": list(resumption.inexact),
        "years": resumption.years,
        "command": now["command"],
    }
    entries = {
        "status": "running",
        "resumed": [*recorder.manifest.get("resumed", []), entry],
        **now,
        **(answers if resumption.changed else {}),
    }
    # in one step: a crash leaves the run as it was, or as one that goes on
    removed = ("stopped", "error", "finished", "summary")
    if resumption.changed or harmless or resumption.years:
        recorder.configure(config, removed=removed, **entries)
    else:
        recorder.update(removed=removed, **entries)
