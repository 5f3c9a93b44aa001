"""Runs an economy to its end and leaves its summary."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon.config import read as config_read
from jaxecon.config.settings import Config
from jaxecon.core.errors import BudgetSpent, UserError, first_line
from jaxecon.simulation.language import (
    llm_summary,
    make_bridge,
    make_deciders,
    models,
    start_engines,
)
from jaxecon.simulation.listeners import DiagnosingListener
from jaxecon.simulation.prepare import create, default_folder, prepare
from jaxecon.simulation.signals import handling_signals
from jaxecon.simulation.state import Prepared
from jaxecon.storage.diagnostics import DiagnosticsMonitor
from jaxecon.storage.paths import CHECKPOINTS
from jaxecon.storage.provenance import configuration_hash, utc_now
from jaxecon.storage.recorder import Recorder
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.economy.state import Economy
    from jaxecon.kernels.taxation import TaxSchedule
    from jaxecon.simulation.loop import Simulation
    from jaxecon.simulation.ports import Listener
    from jaxecon.storage.checkpoint_files import Position
    from llm.engines.base import Engine


def run(
    config: "str | Path | dict[str, Any] | Config | None" = None,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> Run:
    """Run an economy and return what it left on disk.

    config: a YAML file's path, a dict, a Config, or None for the defaults. overrides: `key=value`
    on top of it. out: a new folder; by default runs/ and the time. engine: a running one to use,
    which stays open (starting one takes half a minute); by default the configuration's is started
    and closed.

    Raises UserError, one line, before anything is written, where the configuration, the folder or
    the model is not usable; EngineError when the language model's engine cannot start or dies.
    """
    resolved = config_read.load_config(config, overrides)
    folder = Path(out) if out else default_folder()
    return execute(prepare(resolved, folder), listener, engine)


def load(path: str | Path) -> Run:
    """A run on disk. Raises UserError where there is none."""
    return Run(path)


def execute(
    prepared: Prepared,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> Run:
    """`run` with everything resolved and checked."""
    with ExitStack() as stack:
        served = stack.enter_context(start_engines(prepared.config, engine))
        recorder = create(prepared, served)
        stack.callback(recorder.close)
        simulate(prepared, recorder, served, listener)
    return Run(prepared.folder)


def simulate(
    prepared: Prepared,
    recorder: Recorder,
    served: Mapping[str, Any],
    listener: "Listener | None" = None,
    *,
    begin: "Callable[[Simulation, Any], None] | None" = None,
    until: "Position | None" = None,
    inherited: Path | None = None,
) -> None:
    """Live a run whose folder is there, to its end or `until`, and leave its summary.

    begin: brings the simulation and the bridge (None without a model) to where they go on from;
    otherwise they begin. inherited: another run's transcript, whose answers count as this run's.
    """
    import jax.numpy as jnp

    from jaxecon.core.processes import is_main_process
    from jaxecon.economy.exact import effective_sample
    from jaxecon.economy.precision import compute_context
    from jaxecon.kernels.taxation import TaxSchedule
    from jaxecon.simulation.loop import Simulation
    from jaxecon.simulation.ports import SilentListener
    from jaxecon.storage.checkpoint import Checkpoints, remove_unfinished
    from jaxecon.storage.checkpoint_files import Position

    config, out, economy = prepared.config, prepared.folder, prepared.economy
    started, before = time.monotonic(), float(recorder.manifest.get("seconds", 0.0))
    with ExitStack() as stack:
        begun = begin is None  # until then a run that is there already stays as it is
        stack.enter_context(_status(recorder, lambda: begun))
        signals = stack.enter_context(handling_signals())

        def note(**entries: Any) -> None:
            if begun:
                recorder.update(**entries)

        watching = DiagnosingListener(
            listener or SilentListener(), DiagnosticsMonitor(config), note
        )
        stack.callback(
            lambda: note(seconds=before + time.monotonic() - started, signatures=watching.found())
        )
        bridge, durable = make_bridge(config, out, served, inherited, stack)
        if bridge is not None:  # however it ends, what was spent is on record
            stack.callback(lambda: note(llm=llm_summary(bridge, served), models=models(served)))
            # Each of a day's thousands of objects would make Python look through everything that
            # JAX and the engine keep.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
        origin = recorder.manifest.get("branched_from")
        checkpoints = Checkpoints(
            out / CHECKPOINTS,
            config.checkpoint,
            protected=Position(origin["year"], 0) if origin else None,
            durable=durable,
        )
        stack.callback(checkpoints.close)
        if is_main_process():
            remove_unfinished(out / CHECKPOINTS)

        hashed = configuration_hash(config)  # once: what follows is asked at every position

        def described() -> dict[str, Any]:
            return {
                "configuration_hash": hashed,
                **{name: recorder.manifest[name] for name in ("versions", "hardware", "code")},
                "accounts": [] if bridge is None else bridge.accounted(),
                "waited": {} if bridge is None else bridge.seconds,
            }

        simulation = None
        try:
            planner, workers = make_deciders(prepared, bridge)
            simulation = Simulation(
                config,
                economy,
                prepared.schedule,
                planner,
                workers=workers,
                meter=bridge,
                recorder=recorder,
                checkpoints=checkpoints,
                describe=described,
                listener=watching,
            )
            if begin is not None:
                begin(simulation, bridge)
                begun = True
                watching.watch = Run(out).watch()
            signals.stop = simulation.stop
            simulation.run(until)
            signals.stop = None
        except BudgetSpent as spent:
            recorder.update(stopped=str(spent))
        row = recorder.last_row()
        if row is None or simulation is None:
            return
        with compute_context(config):
            heard = effective_sample(economy)
            rates = [rate for name, rate in row.items() if name.startswith("rate_")]
            final = TaxSchedule(simulation.schedule.thresholds, jnp.array(rates))
        recorder.update(
            summary={
                **_policies(config, economy, final),
                "realised": row,
                "agents": {c.name: c.size for c in config.cohorts},
                "effective_sample_size": heard,
                "planner": planner.name,
                "llm": None if bridge is None else llm_summary(bridge, served),
                "seconds": before + time.monotonic() - started,
            }
        )


def _policies(config: Config, economy: "Economy", final: "TaxSchedule") -> dict[str, Any]:
    from jaxecon.economy.devices import gathered
    from jaxecon.economy.precision import compute_context
    from jaxecon.planners.announced import Knowledge
    from jaxecon.planners.appraisal import policy_rows

    with compute_context(config), gathered(economy) as everybody:
        policies, missing = policy_rows(
            everybody, config.planner.compared_with, Knowledge.from_config(config), {"final": final}
        )
    return {"policies": policies, "policies_without_schedule": missing}


@contextmanager
def _status(recorder: Recorder, begun: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """The manifest says how the run ended, whatever ended it once it had begun."""
    try:
        yield
    except BaseException as error:
        interrupted = isinstance(error, KeyboardInterrupt)
        why = {} if interrupted else {"error": first_line(error)}
        if begun():
            with suppress(UserError):  # on a full disk the first error is the one to hear
                recorder.update(
                    status="interrupted" if interrupted else "failed", finished=utc_now(), **why
                )
        raise
    recorder.update(status="stopped" if recorder.stopped else "complete", finished=utc_now())
