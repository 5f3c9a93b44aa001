"""Running and reading: wires configuration, economy and bridge together."""

import gc
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon import __version__
from jaxecon import config as configuration
from jaxecon.config import Config
from jaxecon.errors import BudgetSpent, Interrupted, UserError, first_line
from jaxecon.records import CHECKPOINTS, TRANSCRIPT, Bystander, Recorder, Run, configuration_hash, environment, refuse_existing
from jaxecon.signatures import Signature, Watch

if TYPE_CHECKING:
    from jaxecon.checkpoint import Position
    from jaxecon.economy import Economy
    from jaxecon.planners import Planner
    from jaxecon.simulation import Listener, LLMUsage, Simulation
    from jaxecon.taxation import TaxSchedule
    from llm.engine import Engine


def run(
    config: "str | Path | dict[str, Any] | Config | None" = None,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    listener: "Listener | None" = None,
    engine: "Engine | None" = None,
) -> Run:
    """Run an economy and return what it left on disk.

    config: a YAML file's path, a dict, a Config, or None for the defaults. overrides: `key=value` on top of it.
    out: a new folder; by default runs/ and the time. engine: a running one to use, which stays open (starting one takes
    half a minute); by default the configuration's is started and closed.

    Raises UserError, one line, before anything is written, where the configuration, the folder or the model is not
    usable; EngineError when the language model's engine cannot start or dies.
    """
    resolved = configuration.load(config, overrides)
    folder = Path(out) if out else default_folder()
    return execute(prepare(resolved, folder), listener, engine)


def load(path: str | Path) -> Run:
    """A run on disk. Raises UserError where there is none."""
    return Run(path)


def default_folder() -> Path:
    """runs/ and the time in UTC, with a number where that is taken."""
    base = Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    taken = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 1_000_000))
    path = next(path for path in taken if not path.exists())
    from jaxecon.hosts import from_first

    return Path(from_first(str(path)))


@dataclass(frozen=True)
class Prepared:
    """A run that nothing stands in the way of but its engine. planner: None where `make_deciders` makes it."""

    config: Config
    folder: Path
    economy: "Economy"
    schedule: "TaxSchedule"
    planner: "Planner | None"


def prepare(config: Config, out: Path) -> Prepared:
    """A new run with everything checked, and worked out, that can be before an engine is started.

    Raises UserError: an unusable folder, somebody else's `llm`, a missing model, a rule or microdata that do not work, a
    planner that has no schedule for this economy.
    """
    from jaxecon.hosts import together

    together(lambda: refuse_existing(out))
    if config.needs_engine:
        check_engines(config)
    return assembled(config, out)


def check_engines(config: Config) -> None:
    """Raise UserError where the bridge, a model, a key or a transcript is missing."""
    check_bridge()
    from llm import serving

    serving.check(config)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # on a GPU JAX would take the memory the engine needs


def assembled(config: Config, out: Path) -> Prepared:
    """The economy, the first schedule and the planner of a configuration. Raises UserError as `prepare` does."""
    import jax

    from jaxecon.build import announced_schedule, build_economy, first_schedule
    from jaxecon.planners import SCHEDULES, Announced
    from jaxecon.sharding import gathered, layout_for
    from jaxecon.simulation import computing

    with computing(config):
        layout = layout_for(config)
        # memory that is not enough is heard of here: looking at an array that could not be made can wait for ever
        schedule, economy = jax.block_until_ready((first_schedule(config), build_economy(config, layout)))
        kind = config.planner_kind
        if kind not in SCHEDULES:
            return Prepared(config, out, economy, schedule, _trying_planner(config))
        with gathered(economy) as everybody:
            planner = Announced(kind, announced_schedule(config, everybody))
        return Prepared(config, out, economy, planner.schedule if config.schedule.rates is None else schedule, planner)


def _trying_planner(config: Config) -> "Planner | None":
    """The planner that does not work out its schedule; None for one that asks a model or the people."""
    from jaxecon.build import ingredients
    from jaxecon.planners import Fixed, InContext

    match config.planner_kind:
        case "fixed":
            return Fixed()
        case "in_context":
            return InContext(ingredients(config))
    return None


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
        live(prepared, recorder, served, listener)
    return Run(prepared.folder)


def create(prepared: Prepared, served: Mapping[str, Any], **more: Any) -> Recorder:
    """The folder of a new run, with its manifest. more: entries of it."""
    from jaxecon.hosts import first, together

    used = environment(prepared.config)
    manifest = {"started": _now(), **used, "models": models(served), "identities": identities(served), **more}
    if not first():
        return together(lambda: Bystander(prepared.folder, manifest))
    return together(lambda: Recorder.create(prepared.folder, prepared.config, manifest))


def live(
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

    begin: brings the simulation and the bridge (None without a model) to where they go on from; otherwise they begin.
    inherited: another run's transcript, whose answers count as this run's.
    """
    import jax.numpy as jnp

    from jaxecon.build import heard_sample
    from jaxecon.checkpoint import Checkpoints, Position, remove_unfinished
    from jaxecon.hosts import first
    from jaxecon.simulation import Silent, Simulation, computing
    from jaxecon.taxation import TaxSchedule

    config, out, economy = prepared.config, prepared.folder, prepared.economy
    started, before = time.monotonic(), float(recorder.manifest.get("seconds", 0.0))
    with ExitStack() as stack:
        begun = begin is None  # until then a run that is there already stays as it is
        stack.enter_context(_status(recorder, lambda: begun))
        signals = stack.enter_context(_signals())

        def note(**entries: Any) -> None:
            if begun:
                recorder.update(**entries)

        watching = _Watching(listener or Silent(), Watch(config), note)
        stack.callback(lambda: note(seconds=before + time.monotonic() - started, signatures=watching.found()))
        bridge, durable = make_bridge(config, out, served, inherited, stack)
        if bridge is not None:  # however it ends, what was spent is on record
            stack.callback(lambda: note(llm=_llm_summary(bridge, served), models=models(served)))
            # Each of a day's thousands of objects would make Python look through everything that JAX and the engine keep.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
        origin = recorder.manifest.get("branched_from")
        checkpoints = Checkpoints(
            out / CHECKPOINTS, config.checkpoint, protected=Position(origin["year"], 0) if origin else None, durable=durable
        )
        stack.callback(checkpoints.close)
        if first():
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
        with computing(config):
            heard = heard_sample(economy)
            rates = [rate for name, rate in row.items() if name.startswith("rate_")]
            final = TaxSchedule(simulation.schedule.thresholds, jnp.array(rates))
        recorder.update(
            summary={
                **_policies(config, economy, final),
                "realised": row,
                "agents": {c.name: c.size for c in config.cohorts},
                "effective_sample_size": heard,
                "planner": planner.name,
                "llm": None if bridge is None else _llm_summary(bridge, served),
                "seconds": before + time.monotonic() - started,
            }
        )


class _Watching:
    """A listener that tells another one what it hears, and when a failure signature is first seen. Implements Listener."""

    def __init__(self, listener: "Listener", watch: Watch, note: Callable[..., None]) -> None:
        self.watch, self._listener, self._note = watch, listener, note

    def found(self) -> list[dict[str, Any]]:
        """As the manifest has them."""
        return [vars(signature) for signature in self.watch.found]

    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: "LLMUsage") -> None:
        self._listener.on_days(year, days_done, day, usage)

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        self._listener.on_year(row, usage)
        for signature in self.watch.see(row):
            self.on_signature(signature)

    def on_signature(self, found: Signature) -> None:
        self._note(signatures=self.found())  # a crash must not take the news away
        self._listener.on_signature(found)


class _Signals:
    """What SIGINT and SIGTERM do: stop the simulation once there is one."""

    def __init__(self) -> None:
        self.stop: Callable[[int], None] | None = None
        self._heard = False

    def __call__(self, signum: int, frame: object) -> None:
        if self.stop is None:
            raise Interrupted(signum)
        if self._heard:  # somebody is in a hurry
            raise KeyboardInterrupt
        self._heard = True
        self.stop(signum)


@contextmanager
def _signals() -> Iterator[_Signals]:
    """Handlers for as long as a run lives; only a process's main thread hears signals."""
    handler = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield handler
        return
    old = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield handler
    finally:
        for number, before in old.items():
            signal.signal(number, before)


def _policies(config: Config, economy: "Economy", final: "TaxSchedule") -> dict[str, Any]:
    from jaxecon.build import knowledge
    from jaxecon.comparison import policy_rows
    from jaxecon.sharding import gathered
    from jaxecon.simulation import computing

    with computing(config), gathered(economy) as everybody:
        policies, missing = policy_rows(everybody, config.planner.compared_with, knowledge(config), {"final": final})
    return {"policies": policies, "policies_without_schedule": missing}


@contextmanager
def start_engines(config: Config, engine: "Engine | None") -> Iterator[dict[str, Any]]:
    """What serves each LLM cohort and an LLM planner, by name; nothing where a run has neither."""
    if not config.needs_engine:
        yield {}
        return
    from llm.serving import serving

    with serving(config, engine) as served:
        yield served


def models(served: Mapping[str, Any]) -> dict[str, Any] | None:
    if not served:
        return None
    from llm.serving import manifest

    return manifest(served)


def identities(served: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """By cohort, what answers it: part of every request's key."""
    return {cohort: one.engine.identity for cohort, one in served.items()}


def make_bridge(
    config: Config, out: Path, served: Mapping[str, Any], inherited: Path | None, stack: ExitStack
) -> tuple[Any, "Callable[[], int] | None"]:
    """The bridge that everybody shares, and what makes its transcript durable; None without a model."""
    if not served:
        return None, None
    from llm.bridge import Bridge
    from llm.engine import Sampling
    from llm.replay import Transcript

    transcript = stack.enter_context(closing(Transcript(out / TRANSCRIPT)))
    before = None if inherited is None else stack.enter_context(closing(Transcript(inherited, read_only=True)))
    given = config.llm
    bridge = Bridge(
        served,
        transcript,
        seed=config.seed_of_draws,
        sampling=Sampling(given.temperature, given.top_p, given.max_tokens),
        retries=given.retries,
        budget_tokens=given.budget_tokens,
        budget_usd=given.budget_usd,
        inherited=before,
    )
    return bridge, transcript.sync


def make_deciders(prepared: Prepared, bridge: Any) -> tuple[Any, Any]:
    """The planner, and the LLM cohorts' workers."""
    config, economy, planner, workers = prepared.config, prepared.economy, prepared.planner, None
    outside = {name: c for name, c in economy.cohorts.items() if name not in dict(economy.rules)}
    if outside:
        from llm.workers import LLMWorkers

        workers = LLMWorkers(bridge, outside, config)
    if config.planner_kind == "llm":
        from llm.planner import LLMPlanner

        planner = LLMPlanner(bridge, config)
    if config.holds_elections:
        planner = _with_elections(prepared, planner, bridge, workers)
    return planner, workers


def _with_elections(prepared: Prepared, planner: "Planner | None", bridge: Any, workers: Any) -> "Planner":
    """The planner that is elected, or the one given where the people may throw it out."""
    from jaxecon.build import election_rules
    from jaxecon.planners import Elected, Retained
    from jaxecon.sharding import on_host
    from jaxecon.simulation import computing

    config, economy = prepared.config, prepared.economy
    rules, electorate = election_rules(config), None
    if workers is not None:
        from llm.electorate import LLMElectorate

        skills = {name: on_host(cohort.skill) for name, cohort in economy.cohorts.items()}
        electorate = LLMElectorate(bridge, workers, skills, config)
    if planner is None:
        with computing(config):
            return Elected(economy, rules, prepared.schedule.thresholds, electorate)
    return Retained(planner, economy, rules, config.years, electorate)


def _llm_summary(bridge: Any, served: Mapping[str, Any]) -> dict[str, Any]:
    by_kind: dict[str, dict[str, int]] = {}
    for (_, kind), account in bridge.accounts.items():
        counts = by_kind.setdefault(kind, {})
        for status, count in account.statuses.items():
            counts[status] = counts.get(status, 0) + count
    return {
        **vars(bridge.usage),
        "by_kind": by_kind,
        "by_cohort": bridge.accounted(),
        "seconds_by_kind": bridge.seconds,
        "engines": sorted({one.engine.identity["engine"] for one in served.values()}),
        "restarts": sum({id(one): one.restarts for one in served.values()}.values()),
    }


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
                recorder.update(status="interrupted" if interrupted else "failed", finished=_now(), **why)
        raise
    recorder.update(status="stopped" if recorder.stopped else "complete", finished=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_bridge() -> None:
    """Raise UserError where `import llm` brings somebody else's module instead of jaxecon's bridge."""
    _check_ours("llm", "BRIDGE_OF")


def check_suite() -> None:
    """Raise UserError where `import experiments` brings somebody else's module, or none, instead of jaxecon's suite."""
    _check_ours("experiments", "SUITE_OF")


def _check_ours(name: str, mark: str) -> None:
    ours = Path(__file__).resolve().parent.parent / name
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        raise UserError(f"{name}: this installation of jaxecon ({__version__}) is without it; install jaxecon again") from None
    found = Path(module.__file__).resolve() if module.__file__ else None
    if found is not None and found.parent == ours and getattr(module, mark, None) == "jaxecon":
        return
    owners: Mapping[str, Sequence[str]] = metadata.packages_distributions()
    others = [other for other in dict.fromkeys(owners.get(name, ())) if other != "jaxecon"]
    remedy = f"pip uninstall {' '.join(others)}" if others else "move it away, or run from another folder"
    raise UserError(f"{name}: the module that Python finds at {found or module} is not jaxecon's ({__version__}); {remedy}")
