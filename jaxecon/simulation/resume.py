"""Goes on with a run from its newest sound checkpoint."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.core.processes import is_main_process, together
from jaxecon.simulation.changes import (
    changed_code,
    changed_models,
    changed_settings,
    continuable,
    first_position,
    inexact,
    inherited_transcript,
    lost_requests,
    refuse_changes,
)
from jaxecon.simulation.language import check_engines, identities, models, start_engines
from jaxecon.simulation.prepare import assemble_run
from jaxecon.simulation.run import simulate
from jaxecon.storage.checkpoint import remove_after
from jaxecon.storage.checkpoint_files import Position, newest
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT
from jaxecon.storage.provenance import changed_files, environment, outside_files
from jaxecon.storage.recorder import Bystander, Recorder
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.loop import Simulation
    from jaxecon.simulation.ports import Listener
    from llm.engines.base import Engine


# --- resume ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Resumption:
    """How a run goes on.

    position: from where. damaged: checkpoints that were passed over, one line each. changed: what
    differs from what the run began with and was forced. inexact: what differs so that equal bits
    cannot be promised.
    """

    position: Position
    damaged: tuple[str, ...]
    changed: tuple[str, ...]
    inexact: tuple[str, ...]


def resume(
    path: str | Path,
    *,
    force: bool = False,
    overrides: Sequence[str] = (),
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
    tell: Callable[[Resumption], None] | None = None,
) -> Run:
    """Go on with a run from its newest sound checkpoint, as if it had never stopped.

    overrides: `key=value`; what changes the results needs force. tell: is called with the
    Resumption before the run goes on. Does nothing to a complete run.

    Raises UserError: another process writes the run, or configuration, code or model are others
    than at its beginning and `force` is not given; nothing has changed then.
    """
    run = continuable(path)
    with ExitStack() as stack:
        recorder = stack.enter_context(closing(together(lambda: _recorder(run))))
        config = load_config(run.config, overrides)
        changed, given = changed_settings(recorder.manifest["configuration"], config)
        now = environment(config)
        changed += changed_code(recorder.manifest, now)
        changed += changed_files(recorder.manifest["files"], outside_files(config))
        checkpoint, damaged = newest(run.path / CHECKPOINTS)
        if checkpoint is not None:
            changed += lost_requests(run.path / TRANSCRIPT, checkpoint)
        elif first_position(run).year:
            raise UserError(
                f"{run.path}: a branch whose first checkpoint is lost; branch again "
                f"({'; '.join(damaged)})"
            )
        refuse_changes(run.path, changed, force)
        if recorder.manifest["status"] == "complete" and not changed:
            if given:
                recorder.configure(config)
            return run
        if config.needs_engine:
            check_engines(config)
        prepared = assemble_run(config, run.path)
        served = stack.enter_context(start_engines(config, engine))
        changed += changed_models(recorder.manifest["identities"], identities(served))
        refuse_changes(run.path, changed, force)
        position = Position(0, 0) if checkpoint is None else checkpoint.position
        if config.years < position.year:
            raise UserError(f"years: {config.years}; {run.path} has lived {position.year}")
        inherited, lost = inherited_transcript(recorder.manifest)
        apart = (*inexact(recorder.manifest, now), *lost)
        resumption = Resumption(position, tuple(damaged), tuple(changed), apart)

        def begin(simulation: "Simulation", bridge: Any) -> None:
            if checkpoint is not None:
                if bridge is not None:
                    bridge.restore_accounts(checkpoint.meta["accounts"], checkpoint.meta["waited"])
                simulation.restore(checkpoint)
            if tell is not None:
                tell(resumption)
            together(lambda: recorder.rewind(position.year))
            if is_main_process():
                remove_after(run.path / CHECKPOINTS, position)
            recorder.remove("stopped", "error", "finished", "summary")
            if changed or given:
                recorder.configure(config)
            if changed:
                recorder.update(models=models(served), identities=identities(served))
            entry = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "from": [position.year, position.day],
            }
            entry |= {
                "damaged": damaged,
                "changed": changed,
                "given": given,
                "inexact": list(apart),
                "command": now["command"],
            }
            recorder.update(
                status="running", resumed=[*recorder.manifest.get("resumed", []), entry], **now
            )

        simulate(prepared, recorder, served, listener, begin=begin, inherited=inherited)
    return Run(run.path)


def _recorder(run: Run) -> Recorder:
    return Recorder.open(run.path) if is_main_process() else Bystander(run.path, run.manifest)
