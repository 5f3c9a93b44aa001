"""A point with language models: a whole run of its own, in the sweep's folder."""

import json
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from jaxecon.config.language import Serving
from jaxecon.config.names import LLM_RULE
from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, EngineError, UserError
from jaxecon.simulation.changes import continuable, differing_settings
from jaxecon.simulation.language import check_engines, start_engines
from jaxecon.simulation.prepare import assemble_run, new_recorder
from jaxecon.simulation.resume import Resumption, resume
from jaxecon.simulation.run import simulate
from jaxecon.storage.paths import MANIFEST, TRANSCRIPT
from jaxecon.storage.run import Run
from jaxecon.sweeps.chunk import SweepStopped
from jaxecon.sweeps.folder import run_folder
from jaxecon.sweeps.points import Point, Points
from jaxecon.sweeps.rows import RowBuilder


class SharedEngines(ExitStack):
    """Engines of language models that one point started and later points reuse.

    They stop when this object closes, or when a point needs others.
    """

    def __init__(self) -> None:
        super().__init__()
        self._key, self._served = "", dict[str, Any]()

    def engines_for(self, config: Config) -> Mapping[str, Any]:
        """The engines that a configuration needs, by cohort; started if they do not run yet.

        Raises UserError and EngineError as starting them does.
        """
        cohorts = [(c.name, c.llm) for c in config.cohorts if c.rule == LLM_RULE]
        models = {
            str(name): {field: getattr(serving, field) for field in Serving.model_fields}
            for name, serving in config.servings.items()
        }
        key = json.dumps(
            [models, cohorts, config.planner_kind, config.planner.llm, config.device], default=str
        )
        if key != self._key:
            self.close()
            self._key, self._served = key, self.enter_context(start_engines(config, None))
        return self._served


def simulate_point(
    point: Point,
    points: Points,
    rows: RowBuilder,
    sweep_folder: Path,
    engines: SharedEngines,
    *,
    force: bool,
) -> pa.Table:
    """Simulate a point's run, or continue one that was begun; return the rows of its years.

    Raises:
        SweepStopped: an error that concerns more than this point.
        Exception: any other error, such as a spent budget, concerns this point only.
    """
    config, folder = points.config(point), run_folder(sweep_folder, point.index)
    running = False  # whether the run has its models and its folder

    def on_resumption(resumption: Resumption) -> None:
        nonlocal running
        running = True

    begun = (folder / MANIFEST).exists()
    if not begun:
        if (folder / TRANSCRIPT).exists():  # paid answers of a run that has lost its manifest
            raise SweepStopped(DiskError(f"{folder / MANIFEST}: missing; give a new folder"))
        shutil.rmtree(folder, ignore_errors=True)  # left by a process that was killed as it began
        prepared = assemble_run(config, folder)
    try:
        check_engines(config)
        if begun:
            _refuse_another(folder, config, point)
            resume(folder, force=force, tell=on_resumption)
        else:
            served = engines.engines_for(config)
            with new_recorder(prepared, served) as recorder:
                running = True
                simulate(prepared, recorder, served)
    except Exception as error:
        if _concerns_all_points(error, running):
            raise SweepStopped(error) from error
        raise
    run = Run(folder)
    if "stopped" in run.manifest:
        raise UserError(run.manifest["stopped"])
    return rows.years_of_run(point.index, run.years)


def _refuse_another(folder: Path, config: Config, point: Point) -> None:
    """Raise DiskError where a folder holds the run of another point or sweep."""
    changed = differing_settings(continuable(folder), config)
    if changed:
        raise DiskError(
            f"{folder}: not the run of point {point.index} ({'; '.join(changed)}); put that run "
            "back, or give a new folder"
        )


def _concerns_all_points(error: Exception, running: bool) -> bool:
    """Whether an error of one point's run would affect the next points too.

    running: whether the run had its models and its folder. Before that, a UserError means a missing
    model or key, another process or changed code; after that, it concerns this run only, unless it
    is a DiskError.
    """
    if isinstance(error, UserError):
        return not running or isinstance(error, DiskError)
    return isinstance(error, OSError | EngineError)
