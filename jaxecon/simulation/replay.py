"""Computes a run again from its transcript, and compares the results."""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jaxecon.config.names import decision_name
from jaxecon.config.read import load_config
from jaxecon.core.arguments import LISTENER, PATH, checked_arguments, unset_or
from jaxecon.core.errors import UserError
from jaxecon.core.processes import refuse_several
from jaxecon.simulation.changes import (
    changed_code,
    continuable,
    first_position,
    inexact,
    refuse_edited,
    refuse_foreign_transcript,
    refuse_other_files,
    refuse_reworded,
)
from jaxecon.simulation.damage import forced_changes, refuse_damaged_tables
from jaxecon.simulation.horizon import pieces
from jaxecon.simulation.language import open_transcript, replay_engines
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.prepare import assemble_run, new_recorder
from jaxecon.simulation.resume import restore_from
from jaxecon.simulation.run import simulate
from jaxecon.storage.checkpoint_files import (
    Checkpoint,
    DamagedCheckpoint,
    Position,
    newest,
    verified,
)
from jaxecon.storage.differences import Difference, differences
from jaxecon.storage.digest import Digest, digest_at
from jaxecon.storage.paths import CHECKPOINTS, TRANSCRIPT, refuse_existing, refuse_while_written
from jaxecon.storage.portable import path_from
from jaxecon.storage.provenance import environment
from jaxecon.storage.run import Run

if TYPE_CHECKING:
    from jaxecon.simulation.ports import Listener
    from llm.messages import Draw


@dataclass(frozen=True)
class Replay:
    """A run and the result of computing it again.

    differences: empty where the digests are equal. notes: what else may explain a difference.
    """

    recorded: Digest
    replayed: Digest
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return self.recorded == self.replayed and not self.differences


@checked_arguments(path=PATH, out=unset_or(PATH), listener=LISTENER)
def replay(
    path: str | Path,
    *,
    out: str | Path | None = None,
    listener: "Listener | None" = None,
    tell: Callable[[], None] | None = None,
) -> Replay:
    """Compute a run again as far as its newest sound checkpoint and compare the two.

    Its transcript answers in place of language models.

    Args:
        path: the run's folder.
        out: a new folder in which to keep the repetition; by default it is deleted.
        listener: called with days, years and diagnostics of the repetition.
        tell: called once nothing speaks against the repetition, before it begins.

    Returns:
        Both digests and every difference, none where the runs are equal.

    Raises:
        UserError: there is nothing to compare with, the run is being written or was changed on its
            way, its microdata or own rules are not what they were, or its language models were
            asked in other words than today's.
        EngineError: the transcript lacks an answer that the run must have had.
    """
    refuse_several("replay")
    run = continuable(path)
    refuse_while_written(run.path)
    recorded, damaged = newest(run.path / CHECKPOINTS)
    if recorded is None:
        found = f" ({'; '.join(damaged)})" if damaged else ""
        raise UserError(f"{path}: has no sound checkpoint to compare with{found}")
    refuse_edited(run)
    refuse_damaged_tables(run, recorded)
    _refuse_what_cannot_be_repeated(run)
    refuse_other_files(run)
    notes = [*damaged, *_possible_reasons(run)]
    with ExitStack() as stack:
        folder = Path(
            out
            or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-replay-")))
            / "run"
        )
        refuse_existing(folder)
        compute_again(run, folder, recorded.position, listener, past=run.past, tell=tell)
        again, _ = newest(folder / CHECKPOINTS)
        digests = digest_at(run.path, recorded), digest_at(folder, again)
        apart = [] if digests[0] == digests[1] else differences(run.path, folder, (recorded, again))
        if run.config.needs_engine:
            apart += different_decisions(run.path, folder, recorded.position)
    return Replay(*digests, tuple(apart), tuple(notes))


def compute_again(
    run: Run,
    folder: Path,
    until: Position,
    listener: "Listener | None",
    *,
    past: pa.Table | None,
    tell: Callable[[], None] | None = None,
) -> None:
    """Simulate a run again, in a new folder, up to a position and with the years it had then.

    Its transcript answers in place of language models. past: rows of the years before a branch
    began, for its diagnostics. tell: called before the first day. Raises as `replay` does.
    """
    origin = {n: run.manifest[n] for n in ("branched_from",) if n in run.manifest}
    recorder, checkpoint = None, None
    with ExitStack() as stack:
        served = stack.enter_context(replay_engines_of(run))
        if tell is not None:
            tell()
        for years, end in pieces(run, first_position(run), until):
            changes = [f"years={years}", "checkpoint.every_minutes=null"]
            config = load_config(run.config, [*changes, "checkpoint.every_years=null"])
            prepared = assemble_run(config, folder)
            if recorder is None:
                checkpoint = _origin(run) if first_position(run).year else None
                replayed = path_from(folder, run.path)
                recorder = stack.enter_context(
                    new_recorder(prepared, served, past, replay_of=replayed, **origin)
                )
            else:
                checkpoint, _ = newest(folder / CHECKPOINTS)
                recorder.configure(config)
            simulate(
                prepared,
                recorder,
                served,
                listener,
                begin=partial(_begin_at, checkpoint),
                until=end,
                inherited=run.path / TRANSCRIPT,
            )


def _begin_at(checkpoint: Checkpoint | None, simulation: Simulation, bridge: Any) -> None:
    if checkpoint is not None:
        restore_from(checkpoint, simulation, bridge)


def _refuse_what_cannot_be_repeated(run: Run) -> None:
    """Raise UserError where settings were changed by force, or models asked in other words."""
    forced = forced_changes(run)
    if forced:
        raise UserError(
            f"{run.path}: was changed on its way ({'; '.join(forced)}), which a replay cannot "
            "repeat"
        )
    refuse_reworded(run)


def _possible_reasons(run: Run) -> list[str]:
    """Why a replay may differ: versions, hardware or code that changed, now or at a resumption."""
    now = environment(run.config)
    resumed = [
        difference for entry in run.manifest.get("resumed", []) for difference in entry["inexact"]
    ]
    return [
        *inexact(run.manifest, now),
        *changed_code(run.manifest, now),
        *dict.fromkeys(resumed),
    ]


def _origin(run: Run) -> Checkpoint:
    """The checkpoint with which a branch began."""
    try:
        return verified(run.path / CHECKPOINTS / first_position(run).name)
    except DamagedCheckpoint as error:
        raise UserError(f"{error}: the branch cannot be computed again") from None


def different_decisions(one: Path, other: Path, until: Position) -> list[Difference]:
    """The number of language-model decisions before a position that differ, if any."""
    with ExitStack() as stack:
        both = [
            stack.enter_context(closing(open_transcript(path / TRANSCRIPT)))
            for path in (one, other)
        ]
        lists = [[d for d in t.decisions() if _decided_at(d[0]) < until] for t in both]
    apart = sum(a != b for a, b in zip_longest(*lists))
    return (
        [Difference("transcript", "decisions", True, float(apart), apart / max(map(len, lists)))]
        if apart
        else []
    )


def _decided_at(draw: "Draw") -> Position:
    """The run's position when a decision was made.

    People are asked whether they are satisfied, and a survey's questions, after a day; everything
    else before it.
    """
    after = decision_name(draw.kind) in ("satisfaction", "survey")
    return Position(draw.year, draw.day + int(after))


def replay_engines_of(run: Run) -> AbstractContextManager[dict[str, Any]]:
    """Engines, by cohort, that answer from the run's own transcript.

    Raises DiskError where it is another run's.
    """
    refuse_foreign_transcript(run)
    return replay_engines(run.config, run.path / TRANSCRIPT, run.manifest["identities"])
