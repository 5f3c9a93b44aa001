"""Computes again what is damaged of a run's tables, from its transcript and checkpoints."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import write_atomically
from jaxecon.core.processes import refuse_several
from jaxecon.simulation.changes import (
    continuable,
    first_position,
    lost_requests,
    refuse_edited,
    refuse_other_files,
    refuse_reworded,
)
from jaxecon.simulation.damage import check_tables, forced_changes
from jaxecon.simulation.replay import compute_again, different_decisions
from jaxecon.storage.checkpoint_files import Checkpoint, Position, newest, state_digest
from jaxecon.storage.digest import rows_digest
from jaxecon.storage.manifest import check_continuable, read_manifest
from jaxecon.storage.parts import (
    Part,
    PartRecord,
    named_parts,
    parts,
    read_part,
    read_records,
    record_of,
    recorded_parts,
    verify,
)
from jaxecon.storage.paths import (
    CHECKPOINTS,
    CONFIG,
    PARTS,
    PAST,
    TABLES,
    TRANSCRIPT,
    lock_run,
)
from jaxecon.storage.recorder import Recorder
from jaxecon.storage.run import Run, configuration_file, recorded_config

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener


@dataclass(frozen=True)
class Repair:
    """What was damaged of a run, and what was done about it.

    Attributes:
        repaired: Files that are whole again, by their path within the run.
        remaining: Damage that could not be repaired, one line each.
        compared: How many whole files of tables the repetition was compared with, and equalled.
        position: How far the run was computed again; None where that was not needed.
    """

    repaired: tuple[str, ...]
    remaining: tuple[str, ...]
    compared: int
    position: Position | None


def repair(path: str | Path, *, listener: "Listener | None" = None) -> Repair:
    """Compute damaged or lost files of a run's tables again, and put them in their place.

    The run is simulated again in a temporary folder, as `replay` does. Nothing is put in place
    unless that repetition equals every file that is whole, the newest sound checkpoint and all
    decisions. A configuration that cannot be read is written again from the manifest.

    Args:
        path: the run's folder.
        listener: called with days, years and diagnostics of the repetition.

    Returns:
        What was repaired, and what could not be.

    Raises:
        UserError: nothing is damaged, another process writes the run, or it cannot be computed
            again; its tables have not changed then.
        EngineError: the transcript lacks an answer that the run must have had.
    """
    refuse_several("repair")
    rewritten = _rewritten_configuration(Path(path))
    run = continuable(path)
    refuse_edited(run)
    recorder = Recorder.open(run.path)
    try:
        checkpoint, remaining = newest(run.path / CHECKPOINTS)
        past, lost = _past(run)
        remaining += lost
        if _is_whole(run, checkpoint):
            if not rewritten and not remaining:
                raise UserError(f"{run.path}: nothing to repair: its files are what was written")
            return Repair(tuple(rewritten), tuple(remaining), 0, None)
        if checkpoint is None:
            raise UserError(f"{run.path}: cannot be repaired: no checkpoint is sound")
        _refuse_unrepeatable(run, checkpoint)
        with tempfile.TemporaryDirectory(prefix="jaxecon-repair-") as temporary:
            again = Path(temporary) / "run"
            compute_again(run, again, checkpoint.position, listener, past=past)
            _check_state(run, again, checkpoint)
            whole = [part for table in TABLES for part in _whole_files(run, again, table)]
            missing = _missing(again, checkpoint.position, whole)
            written = recorder.restore(_records(run, whole), missing)
    finally:
        recorder.close()
    files = [record.file for record in written] or [PARTS]
    return Repair((*rewritten, *files), tuple(remaining), len(whole), checkpoint.position)


def recorded_configuration(path: Path) -> Config:
    """The configuration in a run's manifest. Raises UserError where that cannot be read."""
    manifest, _ = read_manifest(path)
    if "configuration" in manifest:
        check_continuable(path, manifest)
        return recorded_config(path, manifest)
    return Run(path).config


def _rewritten_configuration(path: Path) -> list[str]:
    """Write config.yaml from the manifest where it cannot be read; its name if that was done.

    What was there is kept beside it.
    """
    recorded_configuration(path)  # raises where it cannot be read either
    release = lock_run(path)
    try:
        Run(path)
    except UserError:
        manifest, _ = read_manifest(path)
        try:
            with suppress(FileNotFoundError):
                os.replace(path / CONFIG, path / f"{CONFIG}.damaged")
            write_atomically(path / CONFIG, configuration_file(manifest))
        except OSError as error:
            raise DiskError(
                f"{path / CONFIG}: cannot be written ({error.strerror}); nothing is lost"
            ) from error
        return [CONFIG]
    finally:
        release()
    return []


def _past(run: Run) -> tuple[pa.Table | None, list[str]]:
    """The years before a branch began, or None; and one line where they are damaged."""
    lost = "only the run from which this one branched has these years"
    try:
        read_records(run.path)
    except DiskError:  # nobody knows what it should be
        missing = first_position(run).year and not (run.path / PAST).exists()
        return None, [f"{run.path / PAST}: missing; {lost}"] if missing else []
    try:
        return run.past, []
    except DiskError as error:
        return None, [f"{error}; {lost}"]


def _is_whole(run: Run, checkpoint: Checkpoint | None) -> bool:
    """Whether the tables up to a checkpoint are what was written."""
    try:
        check_tables(run, None if checkpoint is None else checkpoint.position)
    except DiskError:
        return False
    return True


def _refuse_unrepeatable(run: Run, checkpoint: Checkpoint) -> None:
    """Raise UserError where the run cannot be computed again up to a checkpoint."""
    reasons = [*forced_changes(run), *lost_requests(run.path / TRANSCRIPT, checkpoint)]
    if reasons:
        raise UserError(f"{run.path}: cannot be computed again: {'; '.join(reasons)}")
    refuse_reworded(run)
    refuse_other_files(run)


def _check_state(run: Run, again: Path, checkpoint: Checkpoint) -> None:
    """Raise UserError unless the repetition comes to the same state, by the same decisions."""
    computed, _ = newest(again / CHECKPOINTS)
    if computed is None or state_digest(computed) != state_digest(checkpoint):
        raise _refusal(run, f"another state than {checkpoint.path}")
    if run.config.needs_engine and different_decisions(run.path, again, checkpoint.position):
        raise _refusal(run, f"other decisions than {run.path / TRANSCRIPT}")


def _refusal(run: Run, difference: str) -> UserError:
    return UserError(
        f"{run.path}: cannot be repaired: computed again, it has {difference} (jaxecon replay "
        "compares a run whose tables are whole)"
    )


def _whole_files(run: Run, again: Path, table: str) -> Iterator[Part]:
    """The files of a table that are what was written.

    Raises UserError where one of them is not what the repetition has for its years.
    """
    try:
        records = read_records(run.path)
    except DiskError:
        records = None
    listed = [] if records is None else recorded_parts(run.path, table, records)
    for part in listed:
        if _is_sound(part):
            if not _equals(part, again, table):
                raise _refusal(run, f"other rows than {part.path}")
            yield part
    known = {part.path for part in listed}
    for part in named_parts(run.path / table):
        # without a list, a file that can be read is whole if the repetition has its rows
        if part.path not in known and _is_sound(part):
            if _equals(part, again, table):
                yield part
            elif records is None:
                raise _refusal(run, f"other rows than {part.path}")


def _is_sound(part: Part) -> bool:
    try:
        verify(part)
    except DiskError:
        return False
    return True


def _equals(part: Part, again: Path, table: str) -> bool:
    """Whether a file has the repetition's rows; years that the repetition lacks do not count."""
    computed = _rows(again, table, part.first, part.last)
    years = computed["year"].unique() if computed.num_columns else pa.array([], pa.int64())
    recorded = read_part(part)
    recorded = recorded.filter(pc.is_in(recorded["year"], years))
    return rows_digest([recorded]) == rows_digest([computed]) or not len(recorded) + len(computed)


def _rows(run: Path, table: str, first: int, last: int) -> pa.Table:
    """The rows of a table from one year to another."""
    found = [
        read_part(part).filter((pc.field("year") >= first) & (pc.field("year") <= last))
        for part in parts(run, table)
        if part.first <= last and first <= part.last
    ]
    return pa.concat_tables(found, promote_options="permissive") if found else pa.table({})


def _missing(
    again: Path, until: Position, whole: list[Part]
) -> Iterator[tuple[str, int, int, pa.Table]]:
    """What no whole file has: the table, the first and the last year, and the rows of each gap."""
    for table in TABLES:
        years = set()
        for part in parts(again, table):
            years |= set(read_part(part)["year"].unique().to_pylist())
        for part in whole:
            if part.path.parent.name == table:
                years -= set(range(part.first, part.last + 1))
        for first, last in _spans(sorted(year for year in years if year < until.year)):
            yield table, first, last, _rows(again, table, first, last)


def _spans(years: list[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each group of consecutive years."""
    for first in years:
        if first - 1 in years:
            continue
        last = first
        while last + 1 in years:
            last += 1
        yield first, last


def _records(run: Run, whole: list[Part]) -> Iterator[PartRecord]:
    """The records of files that stay in the list."""
    for part in whole:
        yield part.record or record_of(run.path, part.path)
    past = run.path / PAST
    if past.exists():
        yield record_of(run.path, past)
