"""Runs an economy to its end and writes its summary."""

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from jaxecon.config import read as config_read
from jaxecon.config.settings import Config
from jaxecon.core.arguments import ENGINE, LISTENER, PATH, checked_arguments, unset_or
from jaxecon.core.errors import BudgetSpent
from jaxecon.core.processes import is_main_process
from jaxecon.economy.devices import gathered
from jaxecon.economy.equilibrium import effective_sample
from jaxecon.economy.precision import compute_context
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.announced import Announced, Knowledge
from jaxecon.planners.appraisal import policy_rows
from jaxecon.planners.base import Planner
from jaxecon.simulation.deciders import make_deciders
from jaxecon.simulation.invariants import check_baseline, check_weights
from jaxecon.simulation.journal import Journal
from jaxecon.simulation.language import (
    llm_summary,
    make_bridge,
    models,
    start_engines,
    with_reason,
)
from jaxecon.simulation.listeners import DiagnosingListener
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.ports import SilentListener
from jaxecon.simulation.prepare import default_folder, new_recorder, prepare
from jaxecon.simulation.signals import handling_signals
from jaxecon.simulation.state import Prepared
from jaxecon.storage.checkpoint import Checkpoints, remove_unfinished
from jaxecon.storage.checkpoint_files import Position
from jaxecon.storage.failure_diagnostics import DiagnosticsMonitor
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT
from jaxecon.storage.recorder import Recorder
from jaxecon.storage.run import Run, last_row

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from llm.engines.base import Engine

# entries of the manifest that every checkpoint holds too
_DESCRIBED = ("run_id", "configuration_hash", "versions", "hardware", "code")


@checked_arguments(out=unset_or(PATH), listener=LISTENER, engine=ENGINE)
def run(
    config: "str | Path | dict[str, Any] | Config | None" = None,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> Run:
    """Run an economy and return what it left on disk.

    Args:
        config: a YAML file's path, a dict, a Config, or None for the defaults.
        overrides: `key=value` settings on top of it.
        out: a new folder; by default runs/ and the time.
        listener: called with days, years and diagnostics during the run.
        engine: a running engine to use, which stays open (starting one takes half a minute); by
            default the configuration's is started and closed.

    Returns:
        The run, complete or stopped by its budget.

    Raises:
        UserError: the configuration, the folder or the model is not usable; one line, before
            anything is written.
        EngineError: the language model's engine cannot start or dies.
    """
    resolved = config_read.load_config(config, overrides)
    folder = Path(out) if out else default_folder()
    return execute(prepare(resolved, folder), listener, engine)


@checked_arguments(path=PATH)
def load(path: str | Path) -> Run:
    """Open a run on disk.

    Args:
        path: its folder.

    Returns:
        The run, whose tables are read when asked for.

    Raises:
        UserError: there is no run, or it cannot be read.
    """
    return Run(path)


def execute(
    prepared: Prepared,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> Run:
    """Simulate a prepared run and return what it left on disk."""
    with (
        start_engines(prepared.config, engine) as served,
        # from here on, so that a signal during the start leaves no folder
        handling_signals(),
        new_recorder(prepared, served) as recorder,
    ):
        simulate(prepared, recorder, served, listener)
    return Run(prepared.folder)


def simulate(
    prepared: Prepared,
    recorder: Recorder | None,
    served: Mapping[str, Any],
    listener: "Listener | None" = None,
    *,
    begin: Callable[[Simulation, Any], None] | None = None,
    until: Position | None = None,
    inherited: Path | None = None,
) -> None:
    """Simulate a run whose folder exists, to its end or `until`, and write its summary.

    recorder: None in processes that do not write. served: engines by cohort. begin: brings the
    simulation and the bridge (None without a model) to where they continue; without it they start
    at the first day. inherited: another run's transcript, whose answers this run reuses.
    """
    journal = Journal(recorder, begun=begin is None)
    with ExitStack() as stack:
        stack.enter_context(journal.final_status())
        signals = stack.enter_context(handling_signals())
        diagnosing = _diagnosing(prepared, journal, listener)
        stack.callback(
            lambda: journal.note(seconds=journal.seconds, diagnostics=diagnosing.found())
        )
        bridge, durable = _open_bridge(prepared, served, inherited, journal, diagnosing, stack)
        checkpoints = _open_checkpoints(prepared, recorder, durable, stack)
        simulation = None
        try:
            planner, workers = make_deciders(prepared, bridge)
            simulation = Simulation(
                prepared.config,
                prepared.economy,
                prepared.schedule,
                planner,
                workers=workers,
                meter=bridge,
                recorder=recorder,
                checkpoints=checkpoints,
                describe=_description(recorder, bridge),
                listener=diagnosing,
            )
            if begin is not None:
                begin(simulation, bridge)
                journal.begun = True
                diagnosing.monitor = Run(prepared.folder).monitor()
            with compute_context(prepared.config):
                check_weights(prepared.economy)
            signals.stop = simulation.stop
            simulation.run(until)
            signals.stop = None
        except BudgetSpent as spent:
            if recorder is not None:
                recorder.update(stopped=str(spent))
        if simulation is not None:
            llm = None if bridge is None else llm_summary(bridge, served)
            _summarise(prepared, simulation, llm, journal)


def _convergence(planner: Planner, final: TaxSchedule) -> dict[str, Any]:
    """How the planner's own iteration towards the final schedule ended; {} without one."""
    if not isinstance(planner, Announced) or planner.convergence is None:
        return {}
    announced = jnp.allclose(planner.schedule.rates, final.rates, atol=1e-6)
    return planner.convergence._asdict() if announced else {}


def _diagnosing(
    prepared: Prepared, journal: Journal, listener: "Listener | None"
) -> DiagnosingListener:
    """The listener that looks for signs of failure and says why models did not answer."""
    return DiagnosingListener(
        listener or SilentListener(),
        DiagnosticsMonitor(prepared.config),
        journal.note,
        partial(with_reason, transcript=prepared.folder / TRANSCRIPT),
    )


def _open_bridge(
    prepared: Prepared,
    served: Mapping[str, Any],
    inherited: Path | None,
    journal: Journal,
    diagnosing: DiagnosingListener,
    stack: ExitStack,
) -> tuple[Any, Callable[[], int] | None]:
    """The bridge to the run's models, and what makes its transcript durable; None without them."""
    bridge, durable = make_bridge(
        prepared.config,
        prepared.folder,
        served,
        inherited,
        stack,
        run_id=journal.noted("run_id"),
        tell=diagnosing.on_note,
    )
    if bridge is not None:
        _account_for(bridge, served, journal, stack)
    return bridge, durable


def _account_for(
    bridge: Any, served: Mapping[str, Any], journal: Journal, stack: ExitStack
) -> None:
    """Record the cost of language models in the manifest when the run ends, however it ends."""
    stack.callback(
        lambda: journal.note(
            llm=llm_summary(bridge, served), models=models(served, journal.noted("models"))
        )
    )
    # Otherwise each day's thousands of new objects would make the garbage collector scan everything
    # that JAX and the engine hold. Where a caller has frozen objects, they stay frozen.
    if gc.get_freeze_count() == 0:
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)


def _open_checkpoints(
    prepared: Prepared,
    recorder: Recorder | None,
    durable: Callable[[], int] | None,
    stack: ExitStack,
) -> Checkpoints:
    """The run's checkpoints; the one that a branch began with is always kept."""
    folder = prepared.folder / CHECKPOINTS
    # Only the main process removes old checkpoints, so only it must know which one is kept.
    origin = None if recorder is None else recorder.manifest.get("branched_from")
    checkpoints = Checkpoints(
        folder,
        prepared.config.checkpoint,
        protected=Position(origin["year"], 0) if origin else None,
        durable=durable,
    )
    stack.callback(checkpoints.close)
    if is_main_process():
        remove_unfinished(folder)
    return checkpoints


def _description(recorder: Recorder | None, bridge: Any) -> Callable[[], dict[str, Any]]:
    """The function that returns what a checkpoint holds besides the state.

    Only the main process writes it.
    """

    def describe() -> dict[str, Any]:
        manifest = {} if recorder is None else recorder.manifest
        return {
            **{name: manifest[name] for name in _DESCRIBED if name in manifest},
            "accounts": [] if bridge is None else bridge.accounts.as_json(),
            "waited": {} if bridge is None else bridge.accounts.seconds,
        }

    return describe


def _summarise(
    prepared: Prepared, simulation: Simulation, llm: dict[str, Any] | None, journal: Journal
) -> None:
    """Write the closing table into the manifest, unless no year is complete.

    llm: what language models did and cost.
    """
    row = simulation.last_row or last_row(prepared.folder)
    if row is None:
        return
    config, economy = prepared.config, prepared.economy
    with compute_context(config):
        sample = effective_sample(economy)
        rates = [rate for name, rate in row.items() if name.startswith("rate_")]
        final = TaxSchedule(simulation.schedule.thresholds, jnp.array(rates))
    with compute_context(config), gathered(economy) as everybody:
        policies, missing = policy_rows(
            everybody, config.planner.compared_with, Knowledge.from_config(config), {"final": final}
        )
        check_baseline(policies, everybody)
    policies[-1] |= _convergence(simulation.planner, final)
    journal.note(
        summary={
            "policies": policies,
            "policies_without_schedule": missing,
            "realised": row,
            "agents": {c.name: c.size for c in config.cohorts},
            "effective_sample_size": sample,
            "planner": simulation.planner.name,
            "llm": llm,
            "seconds": journal.seconds,
        }
    )
