"""Checkpoints on disk: their format, and how they are verified and read."""

import hashlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import total_ordering
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import check_regular, read_json_object, sha256_of
from jaxecon.core.pytree import named_leaves
from jaxecon.storage.earlier_memories import with_schedule_means
from jaxecon.storage.paths import CHECKPOINT_META
from jaxecon.storage.run_id import check_run_id

FORMAT = 2

SUMS, ARRAYS = "SHA256SUMS", "arrays"

UNFINISHED = ".unfinished-"

FILE_BYTES = 1 << 24  # a larger array is split into files, written and hashed in parallel


Tree = TypeVar("Tree")

Leaves = dict[str, Any]


# By format: the function that converts leaves and checkpoint.json to the next format. Earlier
# formats are read through these.
MIGRATIONS: dict[int, Callable[[Leaves, dict[str, Any]], tuple[Leaves, dict[str, Any]]]] = {
    1: with_schedule_means
}


@total_ordering
@dataclass(frozen=True)
class Position:
    """The next day to simulate; year and day count from 0.

    `day` is also the number of days of that year that are already simulated.
    """

    year: int
    day: int

    @property
    def name(self) -> str:
        return f"{self.year:08d}-{self.day:06d}"

    @classmethod
    def named(cls, name: str) -> "Position":
        """The position with this name. Raises ValueError where the name is not a position's."""
        year, _, day = name.partition("-")
        position = cls(int(year), int(day))
        if position.name != name:
            raise ValueError(name)
        return position

    def __lt__(self, other: "Position") -> bool:
        return (self.year, self.day) < (other.year, other.day)

    def __str__(self) -> str:
        return f"year {self.year}, day {self.day}"


class DamagedCheckpoint(Exception):
    """A checkpoint that differs from what was written. The message is one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint of which every byte was verified. meta: the content of checkpoint.json."""

    path: Path
    position: Position
    meta: dict[str, Any]


# --- reading --------------------------------------------------------------------------------------


def positions(folder: Path) -> Iterator[Position]:
    """The positions of all checkpoints in a folder, sound or damaged, in order."""
    positions = []
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            position = Position.named(path.name)
        except ValueError:
            continue  # unfinished, or not a checkpoint
        if any((path / name).exists() for name in (CHECKPOINT_META, SUMS, ARRAYS)):
            positions.append(position)  # and not a file, or an empty folder, with such a name
    yield from sorted(positions)


def newest(folder: Path, until: Position | None = None) -> tuple[Checkpoint | None, list[str]]:
    """The newest sound checkpoint (up to `until`), or None; and the damage of each newer one.

    Raises UserError where one of them is another run's, or from a newer jaxecon.
    """
    damaged: list[str] = []
    for position in reversed(list(positions(folder))):
        if until is not None and position > until:
            continue
        try:
            return verified(folder / position.name), damaged
        except DamagedCheckpoint as error:
            damaged.append(str(error))
    return None, damaged


def verified(path: Path) -> Checkpoint:
    """The checkpoint, if every byte is what was written.

    Raises:
        DamagedCheckpoint: a file is missing, changed, unknown or unreadable.
        UserError: the checkpoint is from a newer jaxecon.
        DiskError: it is another run's.
    """
    try:
        check_regular(path / SUMS)
        lines = (path / SUMS).read_text().splitlines()
        sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        present = set(files_below(path)) - {SUMS}
        for name in sorted(present ^ sums.keys()):
            raise DamagedCheckpoint(
                f"{path}: {name} is {'missing' if name in sums else 'not one of its files'}"
            )
        for name, digest in sha256_of_file(path, sums).items():
            if digest != sums[name]:
                raise DamagedCheckpoint(f"{path}: {name} is not what was written")
        meta = read_json_object(path / CHECKPOINT_META)
        position = Position(meta["year"], meta["day"])
        if position.name != path.name:
            raise DamagedCheckpoint(f"{path}: holds {position}")
        newer = meta["format"] > FORMAT
    except FileNotFoundError as error:
        raise DamagedCheckpoint(f"{path}: {Path(error.filename).name} is missing") from None
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: cannot be read ({error.strerror})") from None
    except DiskError as error:
        raise DamagedCheckpoint(str(error)) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{path}: cannot be understood ({error!r})") from None
    if newer:
        raise UserError(
            f"{path}: format {meta['format']}; this jaxecon reads up to {FORMAT}; install a newer "
            "jaxecon"
        )
    check_run_id(path.parents[1], path, meta.get("run_id"))
    return Checkpoint(path, position, meta)


def restore(checkpoint: Checkpoint, like: Tree) -> tuple[Tree, dict[str, Any]]:
    """Read the state in the form of `like`, and checkpoint.json, both converted to today's format.

    like: holds arrays or jax.ShapeDtypeStruct in place of JAX arrays, whose shardings are used, and
    NumPy arrays and Python numbers in place of those.

    Raises UserError where the stored state has another form.
    """
    wanted = named_leaves(like)
    meta, stored = (
        checkpoint.meta,
        {name: _described(*leaf) for name, leaf in checkpoint.meta["leaves"].items()},
    )
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
    values = [
        leaves[name].item() if isinstance(leaf, int | float) else leaves[name]
        for name, leaf in wanted.items()
    ]
    return jax.tree.unflatten(jax.tree.structure(like), values), meta


def read_leaves(checkpoint: Checkpoint) -> Leaves:
    """All arrays of a checkpoint by name, in host memory."""
    stored = {name: _described(*leaf) for name, leaf in checkpoint.meta["leaves"].items()}
    return _read(checkpoint.path / ARRAYS, stored, {})


def state_digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over the state's names, types, shapes and values, however it is stored on disk."""
    digest = hashlib.sha256()
    for name, leaf in sorted(read_leaves(checkpoint).items()):
        digest.update(f"{name} {leaf.dtype} {leaf.shape}\n".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _described(dtype: str, shape: list[int]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(shape), np.dtype(dtype))


def check_form(where: object, like: Any, state: Any) -> None:
    """Raise UserError where a state does not have the names, shapes and types of `like`."""
    _check_form(where, named_leaves(like), {n: _numeric(x) for n, x in named_leaves(state).items()})


def _numeric(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, int | float) else leaf


def _check_form(path: object, wanted: Leaves, stored: Mapping[str, Any]) -> None:
    for name in sorted(wanted.keys() ^ stored.keys()):
        raise UserError(
            f"{path}: {name} is {'missing' if name in wanted else 'not known'}: the state of "
            "another configuration"
        )
    for name, leaf in wanted.items():
        shape, dtype = np.shape(leaf), _numeric(leaf).dtype
        array = stored[name]
        if tuple(array.shape) != tuple(shape) or array.dtype != dtype:
            raise UserError(
                f"{path}: {name} is {array.dtype} {list(array.shape)}, this configuration needs "
                f"{dtype} {list(shape)}"
            )


def _placed(array: np.ndarray, leaf: Any) -> Any:
    if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
        return jax.device_put(array, leaf.sharding)
    return array


def _read(path: Path, stored: Mapping[str, jax.ShapeDtypeStruct], wanted: Leaves) -> Leaves:
    """Read arrays with orbax onto the devices of the arrays in `wanted`.

    Arrays that `wanted` does not name go into host memory.
    """
    ocp = orbax_checkpoint()
    arguments = {}
    for name, array in stored.items():
        leaf = wanted.get(name)
        if isinstance(leaf, jax.Array | jax.ShapeDtypeStruct):
            sharding = leaf.sharding or jax.sharding.SingleDeviceSharding(jnp.zeros(()).device)
            arguments[name] = ocp.ArrayRestoreArgs(
                sharding=sharding, global_shape=array.shape, dtype=array.dtype
            )
        else:
            arguments[name] = ocp.RestoreArgs(restore_type=np.ndarray)
    with arrays_handler() as handler:
        return dict(
            handler.restore(
                path.absolute(),
                args=ocp.args.PyTreeRestore(item=dict(stored), restore_args=arguments),
            )
        )


def orbax_checkpoint() -> Any:
    import orbax.checkpoint as ocp  # takes seconds to import: only where it is needed

    # orbax logs a traceback of each error before raising it
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").addFilter(_not_of_orbax)
    return ocp


def _not_of_orbax(record: logging.LogRecord) -> bool:
    # orbax raises the first of several failed writes, and leaves the others to asyncio's log
    return "/orbax/" not in record.getMessage()


def arrays_handler() -> Any:
    ocp = orbax_checkpoint()
    # plain files of the arrays as in memory: quicker to write than one database of all arrays
    return ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_compression=False, use_ocdbt=False))


@contextmanager
def unsaid_late_writes() -> Iterator[None]:
    """While orbax writes, show no traceback of a write that ends after another one has failed.

    The first failure is raised, and closes the event loop to which tensorstore's threads report the
    others; each would print a traceback, as would the loop for those that nobody has asked for.
    After a failure they still come.
    """
    show, log = sys.unraisablehook, logging.getLogger("asyncio")

    def is_asked_for(record: logging.LogRecord) -> bool:
        # of a Future, a _GatheringFuture or a Task
        return "exception was never retrieved" not in record.getMessage().partition("\n")[0]

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if repr(unraisable.exc_value) != "RuntimeError('Event loop is closed')":
            show(unraisable)

    sys.unraisablehook = hook
    log.addFilter(is_asked_for)
    # a write that had not begun
    warnings.filterwarnings("ignore", "coroutine 'async_serialize.*never awaited", RuntimeWarning)
    yield
    sys.unraisablehook = show
    log.removeFilter(is_asked_for)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def sha256_of_file(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each file by name, computed in parallel."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        digests = threads.map(lambda name: sha256_of(folder / name), names)
        return dict(zip(names, digests, strict=True))
