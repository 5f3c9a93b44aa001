"""Running and reading: wires configuration, economy and bridge together."""

import importlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon import __version__
from jaxecon import config as configuration
from jaxecon.config import Config
from jaxecon.errors import UserError
from jaxecon.records import TRANSCRIPT, Recorder, Run, configuration_hash, environment, refuse_existing

if TYPE_CHECKING:
    from jaxecon.economy import Economy
    from jaxecon.simulation import Listener
    from llm.vllm_engine import VLLMEngine


def run(
    config: "str | Path | dict[str, Any] | Config | None" = None,
    *,
    overrides: Sequence[str] = (),
    out: str | Path | None = None,
    listener: "Listener | None" = None,
    engine: "VLLMEngine | None" = None,
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
    return execute(resolved, folder, prepare(resolved, folder), listener, engine)


def load(path: str | Path) -> Run:
    """A run on disk. Raises UserError where there is none."""
    return Run(path)


def default_folder() -> Path:
    """runs/ and the time in UTC, with a number where that is taken."""
    base = Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    taken = (base if n == 1 else base.with_name(f"{base.name}-{n}") for n in range(1, 1_000_000))
    return next(path for path in taken if not path.exists())


def prepare(config: Config, out: Path) -> "Economy":
    """The economy that `execute` will run, with everything checked that can be before an engine is started.

    Raises UserError: an unusable folder, somebody else's `llm`, a missing model, a rule or microdata that do not work.
    """
    refuse_existing(out)
    if config.needs_engine:
        check_bridge()
        from llm.models import resolve

        resolve(config.llm.model)
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # on a GPU JAX would take the memory the engine needs
    from jaxecon.build import build_economy, first_schedule
    from jaxecon.simulation import precision

    with precision(config):
        first_schedule(config)
        return build_economy(config)


def execute(
    config: Config,
    out: Path,
    economy: "Economy",
    listener: "Listener | None" = None,
    engine: "VLLMEngine | None" = None,
) -> Run:
    """`run` with everything resolved; `economy` as `prepare` made it."""
    from jaxecon.build import heard_sample
    from jaxecon.simulation import Simulation, baselines, precision

    started = time.monotonic()
    with ExitStack() as stack:
        if not config.needs_engine:
            engine = None
        elif engine is None:
            engine = stack.enter_context(_engine(config))
        with precision(config):
            heard = heard_sample(economy)
        recorder = Recorder.create(
            out,
            config,
            {
                "seed": config.seed,
                "configuration_hash": configuration_hash(config),
                "started": datetime.now(UTC).isoformat(timespec="seconds"),
                **environment(),
                "model": {**engine.identity, **engine.description} if engine else None,
                "effective_sample_size": heard,
            },
        )
        stack.enter_context(_status(recorder))
        planner, workers, bridge = _deciders(config, economy, engine, out, stack)
        simulation = Simulation(config, economy, planner, workers=workers, meter=bridge, recorder=recorder, listener=listener)
        rows = simulation.run()
        with precision(config):
            policies = baselines(economy, simulation.schedule)
        summary = {
            "policies": policies,
            "realised": rows[-1],
            "agents": {c.name: c.size for c in config.cohorts},
            "effective_sample_size": heard,
            "planner": planner.name,
            "llm": None
            if bridge is None
            else {**vars(bridge.usage), "by_kind": {k: dict(v) for k, v in bridge.statuses.items()}},
            "seconds": time.monotonic() - started,
        }
        recorder.update(summary=summary)
    return Run(out)


@contextmanager
def _engine(config: Config) -> "Iterator[VLLMEngine]":
    from llm.vllm_engine import VLLMEngine

    given = config.llm
    engine = VLLMEngine(
        model=given.model,
        dtype=given.dtype,
        max_model_len=given.max_model_len,
        kv_cache_gib=given.kv_cache_gib,
        memory_share=given.gpu_memory_share,
        seed=config.seed,
    )
    try:
        yield engine
    finally:
        engine.close()


def _deciders(config: Config, economy: "Economy", engine: Any, out: Path, stack: ExitStack) -> tuple[Any, Any, Any]:
    """The planner, the LLM cohorts' workers, and the bridge they share (None without a model)."""
    from jaxecon.planners import Fixed

    if engine is None:
        return Fixed(), None, None
    from llm.bridge import Bridge
    from llm.engine import Sampling
    from llm.planner import LLMPlanner
    from llm.replay import Transcript
    from llm.workers import LLMWorkers

    transcript = Transcript(out / TRANSCRIPT)
    stack.callback(transcript.close)
    sampling = Sampling(config.llm.temperature, config.llm.top_p, config.llm.max_tokens)
    bridge = Bridge(engine, transcript, seed=config.seed, sampling=sampling, retries=config.llm.retries)
    outside = {name: c for name, c in economy.cohorts.items() if name not in dict(economy.rules)}
    workers = LLMWorkers(bridge, outside, config.llm.window) if outside else None
    planner = LLMPlanner(bridge, config.llm.window) if config.planner_kind == "llm" else Fixed()
    return planner, workers, bridge


@contextmanager
def _status(recorder: Recorder) -> Iterator[None]:
    """The manifest says how the run ended, whatever ended it."""
    try:
        yield
    except KeyboardInterrupt:
        recorder.update(status="interrupted", finished=_now())
        raise
    except BaseException as error:
        recorder.update(
            status="failed", finished=_now(), error=str(error).splitlines()[0] if str(error) else type(error).__name__
        )
        raise
    recorder.update(status="complete", finished=_now())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_bridge() -> None:
    """Raise UserError where `import llm` brings somebody else's module instead of jaxecon's bridge."""
    ours = Path(__file__).resolve().parent.parent / "llm"
    module = importlib.import_module("llm")
    found = Path(module.__file__).resolve() if module.__file__ else None
    if found is not None and found.parent == ours and getattr(module, "BRIDGE_OF", None) == "jaxecon":
        return
    owners: Mapping[str, Sequence[str]] = metadata.packages_distributions()
    others = [name for name in dict.fromkeys(owners.get("llm", ())) if name != "jaxecon"]
    remedy = f"pip uninstall {' '.join(others)}" if others else "move it away, or run from another folder"
    raise UserError(f"llm: the module that Python finds at {found or module} is not jaxecon's ({__version__}); {remedy}")
