"""Damaged tables of a run: refused in one line, which says whether they can be computed again."""

from jaxecon.core.errors import DiskError, UserError
from jaxecon.simulation.changes import (
    changed_code,
    inexact,
    lost_requests,
    refuse_other_files,
    refuse_reworded,
)
from jaxecon.storage.checkpoint_files import Checkpoint, Position
from jaxecon.storage.parts import parts, verify
from jaxecon.storage.paths import TABLES, TRANSCRIPT
from jaxecon.storage.provenance import environment
from jaxecon.storage.run import Run


def refuse_damaged_tables(run: Run, checkpoint: Checkpoint | None) -> None:
    """Raise DiskError unless the tables are whole up to a checkpoint.

    Later rows are simulated again when the run is resumed. checkpoint: None for the run's
    beginning, before which there are no rows.
    """
    if checkpoint is not None:
        try:
            check_tables(run, checkpoint.position)
        except DiskError as error:
            again = f"; jaxecon repair {run.path} computes it again"
            raise DiskError(f"{error}{'' if obstacles(run, checkpoint) else again}") from error
    run.past  # noqa: B018  raises where it is damaged, which no repetition repairs


def check_tables(run: Run, until: Position | None) -> None:
    """Raise DiskError where the rows of the tables before a position (None: all) are damaged."""
    for table in TABLES:
        for part in parts(run.path, table, before=None if until is None else until.year):
            verify(part)


def obstacles(run: Run, checkpoint: Checkpoint) -> list[str]:
    """Why a run cannot be computed again up to a checkpoint, one line each; none if it can."""
    found = [*forced_changes(run), *lost_requests(run.path / TRANSCRIPT, checkpoint)]
    for refuse in (refuse_reworded, refuse_other_files):
        try:
            refuse(run)
        except UserError as error:
            found.append(str(error))
    now = environment(run.config)
    return [*found, *changed_code(run.manifest, now), *inexact(run.manifest, now)]


def forced_changes(run: Run) -> list[str]:
    """What was changed by force on the way, one line each: no repetition has it."""
    return [change for entry in run.manifest.get("resumed", []) for change in entry["changed"]]
