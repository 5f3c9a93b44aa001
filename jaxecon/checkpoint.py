"""Checkpoints: everything that a run carries, in a folder that is whole or not there; verified before it is opened.

checkpoints/00000012-000000/     12 years lived, no day of the next
  arrays/                        orbax: the leaves of simulation.RunState by their dotted names
  checkpoint.json                format, position, names and shapes, and whatever the run added
  SHA256SUMS                     of every file here, as `sha256sum -c` reads it
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon import hosts
from jaxecon.config import CheckpointPolicy
from jaxecon.errors import UserError, first_line

FORMAT = 1
META, SUMS, ARRAYS = "checkpoint.json", "SHA256SUMS", "arrays"
_UNFINISHED = ".unfinished-"
_FILE_BYTES = 1 << 24  # a large array is several files, which several threads write and hash

Tree = TypeVar("Tree")
Leaves = dict[str, Any]

# From a format to the next: what the leaves and checkpoint.json would have been. Formats before the last are read through these.
MIGRATIONS: dict[int, Callable[[Leaves, dict[str, Any]], tuple[Leaves, dict[str, Any]]]] = {}


@total_ordering
@dataclass(frozen=True)
class Position:
    """The next day to live; both count from 0. day is the number of days of that year that are done."""

    year: int
    day: int

    @property
    def name(self) -> str:
        return f"{self.year:08d}-{self.day:06d}"

    @classmethod
    def named(cls, name: str) -> "Position":
        """Raises ValueError for anything that is not a name."""
        year, _, day = name.partition("-")
        position = cls(int(year), int(day))
        if position.name != name:
            raise ValueError(name)
        return position

    def __lt__(self, other: "Position") -> bool:
        return (self.year, self.day) < (other.year, other.day)

    def __str__(self) -> str:
        return f"year {self.year}, day {self.day}"


class Damaged(Exception):
    """A checkpoint that is not what was written. The message is one line."""


@dataclass(frozen=True)
class Checkpoint:
    """One that was found whole. meta: checkpoint.json."""

    path: Path
    position: Position
    meta: dict[str, Any]


# --- writing -------------------------------------------------------------------------------------------------------


class Checkpoints:
    """A run's checkpoints, written beside it by one thread: a save waits for the one before, so that memory holds one copy.

    policy: when, and which are kept. protected: one that is always kept. durable: called before a checkpoint is written, to
    make the transcript durable, of which it returns the number of requests.
    """

    def __init__(
        self,
        folder: Path,
        policy: CheckpointPolicy,
        *,
        protected: Position | None = None,
        durable: Callable[[], int] | None = None,
    ) -> None:
        self.folder, self._policy, self._protected, self._durable = folder.absolute(), policy, protected, durable
        self._thread = ThreadPoolExecutor(1, "jaxecon-checkpoint")
        self._saving: Future[None] | None = None
        self.latest: Position | None = None  # that was saved, or that the run goes on from
        self._last = time.monotonic()

    def due(self, position: Position, days_a_year: int) -> bool:
        """Whether the policy wants one here."""
        self._raise_failure()
        if position == Position(0, 0):
            return False
        policy, lived = self._policy, position.year * days_a_year + position.day
        for years in (policy.every_years, policy.keep_every_years):
            if years and position.day == 0 and position.year % years == 0:
                return True
        if policy.every_days and lived % policy.every_days == 0:
            return True
        waited = time.monotonic() - self._last
        saving = self._saving is not None and not self._saving.done()
        return policy.every_minutes is not None and waited >= 60 * policy.every_minutes and not saving

    def save(self, position: Position, state: Any, meta: Mapping[str, Any]) -> None:
        """Copy the state and write the copy while the run goes on. Raises UserError where the save before has failed.

        Several processes (which share the folder) write at once, each its part, and wait for each other."""
        self.wait()
        self._last, self.latest = time.monotonic(), position
        if hosts.several():  # they write together, at the same place of the program
            self._saving = Future()
            try:
                leaves = {n: x if isinstance(x, jax.Array) else np.array(x) for n, x in named_leaves(state).items()}
                self._write(position, leaves, dict(meta))
                self._saving.set_result(None)
            except Exception as error:
                self._saving.set_exception(error)
            self._raise_failure()
            return
        leaves = {name: _copied(leaf) for name, leaf in named_leaves(state).items()}
        self._saving = self._thread.submit(self._write, position, leaves, dict(meta))

    def wait(self) -> None:
        """Until everything is on disk. Raises UserError where it cannot be."""
        if self._saving is not None:
            self._saving.exception()
            self._raise_failure()

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    def _write(self, position: Position, leaves: Leaves, meta: dict[str, Any]) -> None:
        requests = None if self._durable is None else self._durable()
        write(self.folder, position, leaves, {"transcript_requests": requests, **meta})
        if not hosts.first():
            return
        kept = set(list(positions(self.folder))[-self._policy.keep_last :]) | {position, self._protected}
        for old in positions(self.folder):
            every = self._policy.keep_every_years
            if old not in kept and not (every and old.day == 0 and old.year % every == 0):
                shutil.rmtree(self.folder / old.name)

    def _raise_failure(self) -> None:
        if self._saving is None or not self._saving.done():
            return
        error = self._saving.exception()
        if error is None:
            return
        self._saving = None
        if isinstance(error, UserError):
            raise error
        # tensorstore reports a full disk as a ValueError, with everything it knows in it
        reason = (error.strerror if isinstance(error, OSError) else None) or first_line(error)
        raise UserError(f"{self.folder}: no checkpoint can be written ({reason}); what was written before is kept") from error


def write(folder: Path, position: Position, leaves: Leaves, meta: Mapping[str, Any]) -> Path:
    """One checkpoint; it appears whole, or not at all. leaves: arrays and Python numbers by dotted name.

    Raises OSError and what orbax raises; then nothing has changed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.absolute()  # as orbax needs it
    made = hosts.together(lambda: tempfile.mkdtemp(dir=folder, prefix=_UNFINISHED) if hosts.first() else "")
    unfinished = Path(hosts.from_first(made))
    target = folder / position.name
    try:
        with _arrays_handler() as handler:
            pieces = dict.fromkeys(leaves, _ocp().SaveArgs(chunk_byte_size=_FILE_BYTES))
            handler.save(unfinished / ARRAYS, args=_ocp().args.PyTreeSave(dict(leaves), save_args=pieces))
        shapes = {name: [np.dtype(leaf.dtype).name, list(leaf.shape)] for name, leaf in leaves.items()}
        described = {"format": FORMAT, "year": position.year, "day": position.day, "leaves": shapes, **meta}
        hosts.together(lambda: _finish(unfinished, target, described) if hosts.first() else None)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    _sync(folder)
    return target


def _finish(unfinished: Path, target: Path, described: Mapping[str, Any]) -> None:
    """What belongs beside the arrays, everything made durable, and the name."""
    (unfinished / META).write_text(json.dumps(described, indent=1, default=str) + "\n")
    sums = "".join(f"{digest}  {name}\n" for name, digest in _sha256(unfinished, _files(unfinished)).items())
    (unfinished / SUMS).write_text(sums)
    for path in (*unfinished.rglob("*"), unfinished):
        _sync(path)
    unfinished.chmod(0o755)
    if target.exists():  # the same position, lived again after a later checkpoint was found damaged
        shutil.rmtree(target)
    unfinished.rename(target)


def remove_after(folder: Path, position: Position) -> None:
    """What is of no use to a run that goes on from a position."""
    for later in positions(folder):
        if later > position:
            shutil.rmtree(folder / later.name, ignore_errors=True)


def remove_unfinished(folder: Path) -> None:
    """What a crash left half-written. Only for the one process that writes the run."""
    for left in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)


# --- reading -------------------------------------------------------------------------------------------------------


def positions(folder: Path) -> Iterator[Position]:
    """Of all checkpoints there, sound or not, in order."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            found.append(Position.named(path.name))
        except ValueError:
            continue  # unfinished, or somebody else's
    yield from sorted(found)


def newest(folder: Path, until: Position | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The last sound checkpoint (not after `until`), and what is wrong with each damaged one after it."""
    damaged: list[str] = []
    for position in reversed(list(positions(folder))):
        if until is not None and position > until:
            continue
        try:
            return verified(folder / position.name), damaged
        except Damaged as error:
            damaged.append(str(error))
    return None, damaged


def verified(path: Path) -> Checkpoint:
    """The checkpoint, if every byte is what was written.

    Raises:
        Damaged: a file that is missing, changed or not ours.
        UserError: from a newer jaxecon.
    """
    try:
        lines = (path / SUMS).read_text().splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        present = set(_files(path)) - {SUMS}
        for name in sorted(present ^ sums.keys()):
            raise Damaged(f"{path}: {name} is {'missing' if name in sums else 'not one of its files'}")
        for name, digest in _sha256(path, sums).items():
            if digest != sums[name]:
                raise Damaged(f"{path}: {name} is not what was written")
        meta = json.loads((path / META).read_text())
        position = Position(meta["year"], meta["day"])
    except FileNotFoundError as error:
        raise Damaged(f"{path}: {Path(error.filename).name} is missing") from None
    except OSError as error:
        raise Damaged(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{path}: cannot be understood ({error!r})") from None
    if meta["format"] > FORMAT:
        raise UserError(f"{path}: format {meta['format']}; this jaxecon reads up to {FORMAT}; install a newer jaxecon")
    return Checkpoint(path, position, meta)


def restore(checkpoint: Checkpoint, like: Tree) -> tuple[Tree, dict[str, Any]]:
    """The state in the form of `like`, and checkpoint.json, both in today's format.

    like: with arrays or jax.ShapeDtypeStruct for what are JAX arrays, their shardings included; NumPy arrays and Python
    numbers for what are those.

    Raises UserError: a state of another form.
    """
    wanted = named_leaves(like)
    meta, stored = checkpoint.meta, {name: _described(*given) for name, given in checkpoint.meta["leaves"].items()}
    if meta["format"] == FORMAT:
        _check_form(checkpoint.path, wanted, stored)
        leaves = _read(checkpoint.path / ARRAYS, stored, wanted)
    else:
        leaves, meta = _read(checkpoint.path / ARRAYS, stored, {}), dict(meta)
        while meta["format"] < FORMAT:
            step = meta["format"]
            leaves, meta = MIGRATIONS[step](leaves, meta)
            meta["format"] = step + 1
        _check_form(checkpoint.path, wanted, leaves)
        leaves = {name: _placed(leaves[name], leaf) for name, leaf in wanted.items()}
    values = [leaves[name].item() if isinstance(leaf, int | float) else leaves[name] for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), values), meta


def read_leaves(checkpoint: Checkpoint) -> Leaves:
    """All arrays, in the memory of this machine, by name."""
    stored = {name: _described(*given) for name, given in checkpoint.meta["leaves"].items()}
    return _read(checkpoint.path / ARRAYS, stored, {})


def state_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over names, types, shapes and values: of the state, not of how it lies on disk."""
    digest = hashlib.sha256()
    for name, leaf in sorted(read_leaves(checkpoint).items()):
        digest.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def named_leaves(tree: Any) -> Leaves:
    """Leaves by dotted path; Python numbers as they are."""
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _described(dtype: str, shape: list[int]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))


def check_form(where: object, like: Any, state: Any) -> None:
    """Raise UserError where a state is not of the form of `like`."""
    _check_form(where, named_leaves(like), {n: _numeric(x) for n, x in named_leaves(state).items()})


def _numeric(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, int | float) else leaf


def _check_form(path: object, wanted: Leaves, stored: Mapping[str, Any]) -> None:
    for name in sorted(wanted.keys() ^ stored.keys()):
        raise UserError(f"{path}: {name} is {'missing' if name in wanted else 'not known'}: the state of another configuration")
    for name, leaf in wanted.items():
        shape, dtype = np.shape(leaf), _numeric(leaf).dtype
        held = stored[name]
        if tuple(held.shape) != tuple(shape) or held.dtype != dtype:
            raise UserError(f"{path}: {name} is {held.dtype} {list(held.shape)}, this configuration needs {dtype} {list(shape)}")


def _placed(array: np.ndarray, leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return jax.device_put(array, leaf.sharding)
    return array


def _read(path: Path, stored: Mapping[str, jax.ShapeDtypeStruct], wanted: Leaves) -> Leaves:
    """By orbax, onto the devices that `wanted` says; what it does not name, into the memory of this machine."""
    ocp = _ocp()
    arguments = {}
    for name, held in stored.items():
        leaf = wanted.get(name)
        if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
            sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jnp.zeros(()).device)
            arguments[name] = ocp.ArrayRestoreArgs(sharding=sharding, global_shape=held.shape, dtype=held.dtype)
        else:
            arguments[name] = ocp.RestoreArgs(restore_type=np.ndarray)
    with _arrays_handler() as handler:
        return dict(handler.restore(path.absolute(), args=ocp.args.PyTreeRestore(item=dict(stored), restore_args=arguments)))


# --- files ---------------------------------------------------------------------------------------------------------


def _copied(leaf: Any) -> Any:
    """Of its own: the run gives its buffers away to the next day, or writes into them."""
    return jnp.copy(leaf) if isinstance(leaf, jax.Array) else np.array(leaf)


def _ocp() -> Any:
    import orbax.checkpoint as ocp  # seconds: not where a command needs none

    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs with a traceback what it then raises
    return ocp


def _arrays_handler() -> Any:
    ocp = _ocp()
    # files as the arrays lie in memory: quicker to write than one database of all
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False, use_ocdbt=False))


def _files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _sha256(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Of each file, several at a time."""

    def digest(name: str) -> str:
        with (folder / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return dict(zip(names, threads.map(digest, names), strict=True))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
