"""When checkpoints are written, and which of them are kept."""

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.config.recording import CheckpointPolicy
from jaxecon.core import processes
from jaxecon.core.errors import DiskError, UserError, first_line
from jaxecon.core.json_text import json_text
from jaxecon.core.pytree import named_leaves
from jaxecon.storage.checkpoint_files import (
    ARRAYS,
    FILE_BYTES,
    FORMAT,
    SUMS,
    UNFINISHED,
    Leaves,
    Position,
    arrays_handler,
    files_below,
    orbax_checkpoint,
    positions,
    sha256_of_file,
    unsaid_late_writes,
)
from jaxecon.storage.paths import CHECKPOINT_META, MANIFEST, RunFolder

# --- writing --------------------------------------------------------------------------------------


class Checkpoints:
    """A run's checkpoints, written by a background thread.

    A save waits for the previous one, so that memory holds only one copy of the state.

    policy: when checkpoints are written, and which are kept. protected: a checkpoint that is always
    kept. durable: called before a checkpoint is written; it makes the transcript durable and
    returns the transcript's number of requests.
    """

    def __init__(
        self,
        folder: Path,
        policy: CheckpointPolicy,
        *,
        protected: Position | None = None,
        durable: Callable[[], int] | None = None,
    ) -> None:
        self.folder, self._policy, self._protected, self._durable = (
            folder.absolute(),
            policy,
            protected,
            durable,
        )
        self._run = RunFolder(self.folder.parent)
        self._thread = ThreadPoolExecutor(1, "jaxecon-checkpoint")
        self._saving: Future[None] | None = None
        self.latest: Position | None = None  # last saved, or continued from
        self._last = time.monotonic()

    def due(self, position: Position, days_a_year: int) -> bool:
        """Whether the policy asks for a checkpoint at this position."""
        self._raise_failure()
        if position == Position(0, 0):
            return False
        policy, done = self._policy, position.year * days_a_year + position.day
        for years in (policy.every_years, policy.keep_every_years):
            if years and position.day == 0 and position.year % years == 0:
                return True
        if policy.every_days and done % policy.every_days == 0:
            return True
        if policy.every_minutes is None or (self._saving is not None and not self._saving.done()):
            return False
        first_year = self.latest is None and position.day == 0  # a kill then costs no whole run
        return first_year or time.monotonic() - self._last >= 60 * policy.every_minutes

    def save(self, position: Position, state: Any, meta: Mapping[str, Any]) -> None:
        """Copy the state and write the copy while the run continues.

        Several processes share the folder: they write at the same time, each its own part, and wait
        for each other.

        Raises UserError where the previous save failed.
        """
        self.wait()
        self._last, self.latest = time.monotonic(), position
        if processes.has_several_processes():
            # all processes write together, at the same point of the program
            self._saving = Future()
            try:
                leaves = {
                    n: x if isinstance(x, jax.Array) else np.array(x)
                    for n, x in named_leaves(state).items()
                }
                self._write(position, leaves, dict(meta))
                self._saving.set_result(None)
            except Exception as error:
                self._saving.set_exception(error)
            self._raise_failure()
            return
        leaves = {name: _copied(leaf) for name, leaf in named_leaves(state).items()}
        self._saving = self._thread.submit(self._write, position, leaves, dict(meta))

    def wait(self) -> None:
        """Wait until everything is on disk. Raises UserError where writing failed."""
        if self._saving is not None:
            self._saving.exception()
            self._raise_failure()

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _write(self, position: Position, leaves: Leaves, meta: dict[str, Any]) -> None:
        requests = None if self._durable is None else self._durable()
        self._check_place()
        try:
            described = {"transcript_requests": requests, **meta}
            write(self.folder, position, leaves, described, check=self._check_place)
        except Exception:
            self._check_place()
            raise
        if not processes.is_main_process():
            return
        kept = set(list(positions(self.folder))[-self._policy.keep_last :]) | {
            position,
            self._protected,
        }
        for old in positions(self.folder):
            every = self._policy.keep_every_years
            if old not in kept and not (every and old.day == 0 and old.year % every == 0):
                shutil.rmtree(self.folder / old.name)

    def _check_place(self) -> None:
        """Raise DiskError where another folder, or none, has the run's path.

        Folders that writing has made anew there are removed.
        """
        if self._run.is_in_place():
            return
        run = self.folder.parent
        if not (run / MANIFEST).exists():
            with suppress(OSError):  # what holds anything is somebody else's
                self.folder.rmdir()
                run.rmdir()
        raise DiskError(f"{run}: removed or replaced by something else while it was being written")

    def _raise_failure(self) -> None:
        if self._saving is None or not self._saving.done():
            return
        error = self._saving.exception()
        if error is None:
            return
        self._saving = None
        if isinstance(error, UserError):
            raise error
        raise DiskError(
            f"{self.folder}: no checkpoint can be written ({_reason(error)}); what was written "
            "before is kept"
        ) from error


def _reason(error: BaseException) -> str:
    """Why a checkpoint cannot be written, in the operating system's words where it has some."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # tensorstore raises a ValueError with a very long message
    code = re.search(r"os_error_code='(\d+)'", str(error))
    return os.strerror(int(code[1])) if code else first_line(error)


def write(
    folder: Path,
    position: Position,
    leaves: Leaves,
    meta: Mapping[str, Any],
    *,
    check: Callable[[], None] = lambda: None,
) -> Path:
    """Write one checkpoint; it appears whole, or not at all.

    leaves: arrays and Python numbers by dotted name. check: called before it appears; it raises
    where the folder is no longer the run's.

    Raises OSError and orbax's own errors; no checkpoint has changed then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.absolute()  # orbax needs an absolute path
    made = processes.run_together(
        lambda: (
            tempfile.mkdtemp(dir=folder, prefix=UNFINISHED) if processes.is_main_process() else ""
        )
    )
    unfinished = Path(processes.broadcast_from_main(made))
    target = folder / position.name
    try:
        with unsaid_late_writes(), arrays_handler() as handler:
            pieces = dict.fromkeys(leaves, orbax_checkpoint().SaveArgs(chunk_byte_size=FILE_BYTES))
            handler.save(
                unfinished / ARRAYS,
                args=orbax_checkpoint().args.PyTreeSave(dict(leaves), save_args=pieces),
            )
        shapes = {
            name: [np.dtype(leaf.dtype).name, list(leaf.shape)] for name, leaf in leaves.items()
        }
        described = {
            "format": FORMAT,
            "year": position.year,
            "day": position.day,
            "leaves": shapes,
            **meta,
        }
        processes.run_together(
            lambda: (
                _finish(unfinished, target, described, check)
                if processes.is_main_process()
                else None
            )
        )
    except BaseException:
        _remove(unfinished)
        raise
    _sync(folder)
    return target


def _remove(unfinished: Path) -> None:
    """Remove what a failed save leaves, while tensorstore's threads may still add files to it."""
    for _ in range(20):
        shutil.rmtree(unfinished, ignore_errors=True)
        if not unfinished.exists():
            return
        time.sleep(0.05)


def _finish(
    unfinished: Path, target: Path, described: Mapping[str, Any], check: Callable[[], None]
) -> None:
    """Write metadata and checksums, flush everything to disk, and give the checkpoint its name.

    check: as for `write`.
    """
    # orbax writes where the checkpoint lay on this machine, and does not read it
    (unfinished / ARRAYS / "commit_success.txt").unlink(missing_ok=True)
    (unfinished / CHECKPOINT_META).write_text(json_text(described, indent=1) + "\n")
    sums = "".join(
        f"{digest}  {name}\n"
        for name, digest in sha256_of_file(unfinished, files_below(unfinished)).items()
    )
    (unfinished / SUMS).write_text(sums)
    for path in (*unfinished.rglob("*"), unfinished):
        _sync(path)
    unfinished.chmod(0o755)
    check()
    if target.exists():  # computed again after a later checkpoint turned out to be damaged
        shutil.rmtree(target)
    unfinished.rename(target)


def remove_after(folder: Path, position: Position) -> None:
    """Remove all checkpoints after the position from which a run continues."""
    for later in positions(folder):
        if later > position:
            shutil.rmtree(folder / later.name, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a crash left half-written. Only for the one process that writes the run."""
    for left in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


# --- files ----------------------------------------------------------------------------------------


def _copied(leaf: Any) -> Any:
    """Copy a leaf: the run donates its buffers to the next day's program, or writes into them."""
    return jnp.copy(leaf) if isinstance(leaf, jax.Array) else np.array(leaf)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
