"""The state of a run at an earlier position, computed again from a checkpoint before it."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.simulation.changes import first_position, refuse_other_files, refuse_reworded
from jaxecon.simulation.deciders import make_deciders
from jaxecon.simulation.horizon import pieces
from jaxecon.simulation.language import make_bridge
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.ports import SilentListener
from jaxecon.simulation.prepare import assemble_run
from jaxecon.simulation.replay import replay_engines_of
from jaxecon.simulation.state import RunState
from jaxecon.storage.checkpoint_files import Position, newest
from jaxecon.storage.parts import read_table
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT, YEARS
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.storage.usage import LLMUsage


def state_of_run(run: Run, position: Position) -> RunState:
    """The run's state at a position, computed again from the last checkpoint up to it.

    Raises UserError where that is not possible, or does not agree with the recorded years.
    """
    checkpoint, damaged = newest(run.path / CHECKPOINTS, until=position)
    if checkpoint is None and first_position(run).year:
        raise UserError(
            f"{run.path}: a branch whose first checkpoint is lost ({'; '.join(damaged)})"
        )
    if checkpoint is None or checkpoint.position != position:
        refuse_reworded(run)
    begin = Position(0, 0) if checkpoint is None else checkpoint.position
    if begin != position:
        refuse_other_files(run)
    simulation: Simulation | None = None
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-branch-")))
        served = stack.enter_context(replay_engines_of(run))
        bridge, _ = make_bridge(run.config, folder, served, run.path / TRANSCRIPT, stack)
        for years, end in pieces(run, begin, position):
            config = load_config(run.config, [f"years={years}"])
            prepared = assemble_run(config, folder)
            planner, workers = make_deciders(prepared, bridge)
            before, simulation = (
                simulation,
                Simulation(
                    config,
                    prepared.economy,
                    prepared.schedule,
                    planner,
                    workers=workers,
                    meter=bridge,
                    listener=_RecordedYearChecker(run, position.year),
                ),
            )
            if before is not None:
                simulation.begin_at(before.position, before.state)
            elif checkpoint is not None:
                simulation.restore(checkpoint)
            simulation.run(end)
    assert simulation is not None  # there is always one piece
    return simulation.state


class _RecordedYearChecker(SilentListener):
    """Checks that years computed again agree with the recorded ones.

    Welfare may differ by rounding on another machine.
    """

    def __init__(self, run: Run, until: int) -> None:
        self._run = run
        rows = read_table(run.path, YEARS, before=until).to_pylist()
        self._recorded = {row["year"]: row for row in rows}

    def on_year(self, row: Mapping[str, Any], usage: "LLMUsage") -> None:
        recorded = self._recorded[row["year"]]
        same = all(row[name] == recorded[name] for name in row if name.startswith("rate_"))
        if not same or abs(row["swf"] - recorded["swf"]) > 1e-3 * abs(recorded["swf"]):
            raise UserError(
                f"{self._run.path}: year {row['year']}, computed again, is not what was "
                "recorded (other code, or a run that was changed on its way); branch from a year "
                "that has a checkpoint"
            )
