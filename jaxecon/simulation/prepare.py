"""A run before it begins: everything that can be checked and computed without its engine."""

import atexit
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import pyarrow as pa

from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError
from jaxecon.core.processes import broadcast_from_main, is_main_process, run_together
from jaxecon.economy.build import build_economy
from jaxecon.economy.devices import layout_for
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.planners.announced import Announced
from jaxecon.planners.registry import NEEDS_ENGINES, PlannerInputs, make_planner
from jaxecon.simulation.language import check_engines, identities, models, prompts_of
from jaxecon.simulation.state import Prepared
from jaxecon.storage.paths import refuse_existing
from jaxecon.storage.provenance import environment, utc_now
from jaxecon.storage.recorder import Recorder


def default_folder() -> Path:
    """Make a new folder: runs/ and the time in UTC, with a number where that is taken.

    Making it is what takes its name, so that two commands never get the same one. If nothing is
    written into it, it is removed when this process ends.

    Raises DiskError where it cannot be made.
    """
    made = run_together(lambda: str(_made_folder()) if is_main_process() else "")
    return Path(broadcast_from_main(made))


def _made_folder() -> Path:
    base = Path("runs") / datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    path, number = base, 1
    while True:
        try:
            path.parent.mkdir(exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not path.parent.is_dir():
                raise DiskError(f"--out: {path.parent}: is a file; give a new folder") from None
            number += 1
            path = base.with_name(f"{base.name}-{number}")
            continue
        except OSError as error:
            raise DiskError(f"--out: {path}: cannot be made ({error.strerror})") from error
        atexit.register(_remove_empty, path.absolute())
        return path


def _remove_empty(path: Path) -> None:
    with suppress(OSError):  # not empty: a run is in it
        path.rmdir()


def prepare(config: Config, out: Path) -> Prepared:
    """Check a new run, and compute all that can be computed before an engine is started.

    Raises UserError for an unusable folder, another project's `llm`, a missing model, a rule or
    microdata that do not work, or a planner that has no schedule for this economy.
    """
    run_together(lambda: refuse_existing(out))
    return check_and_assemble(config, out)


def check_and_assemble(config: Config, folder: Path) -> Prepared:
    """Check that the run's models are there, then `assemble_run`.

    Raises UserError as `prepare` does, except for the folder.
    """
    if config.needs_engine:
        check_engines(config)
    return assemble_run(config, folder)


def assemble_run(config: Config, out: Path) -> Prepared:
    """The economy, the first schedule and the planner of a configuration.

    Raises UserError for rules, microdata or planners as `prepare` does.
    """
    with compute_context(config):
        layout = layout_for(config)
        # Wait here, so that a lack of memory is an error now: reading an array that could not be
        # allocated can block forever.
        schedule, economy = jax.block_until_ready(
            (first_schedule(config), build_economy(config, layout))
        )
        planner = None
        if config.planner_kind not in NEEDS_ENGINES:
            planner = make_planner(PlannerInputs(config, economy, schedule))
        if isinstance(planner, Announced) and config.schedule.rates is None:
            schedule = planner.schedule
        return Prepared(config, out, economy, schedule, planner)


@contextmanager
def new_recorder(
    prepared: Prepared,
    served: Mapping[str, Any],
    past: pa.Table | None = None,
    *,
    unbegun: bool = False,
    **more: Any,
) -> Iterator[Recorder | None]:
    """Make the folder and manifest of a new run, and yield its recorder.

    Yields None in processes that do not write.

    served: engines by cohort. past: rows of the years before a branch began. unbegun: the
    folder becomes a run only when the recorder's `begin` is called. more: further entries of the
    manifest.
    """
    prompts = prompts_of(prepared.config)
    manifest = {
        "started": utc_now(),
        **environment(prepared.config),
        "models": models(served),
        "identities": identities(served),
        "prompts": prompts.digest,
        **more,
    }
    recorder = run_together(
        lambda: (
            Recorder.create(
                prepared.folder, prepared.config, manifest, prompts.own, unbegun=unbegun
            )
            if is_main_process()
            else None
        )
    )
    if recorder is None:
        yield None
        return
    try:
        if past is not None:
            recorder.inherit(past)
        yield recorder
    finally:
        recorder.close()
