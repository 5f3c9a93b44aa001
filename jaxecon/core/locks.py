"""Locks on files: one process at a time writes a run, a sweep or a transcript."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from jaxecon.core.errors import UserError
from jaxecon.core.files import identity


def lock_for_writing(path: Path, what: str) -> Callable[[], None]:
    """Take the lock that lets only one process write.

    The operating system releases it when the process ends, however it ends.

    Args:
        path: a file made for the lock alone.
        what: names what is written, for the error message.

    Returns:
        A function that removes the file and releases the lock.

    Raises:
        UserError: the lock is taken, in this process or in another one.
        OSError: the folder cannot be written.
    """
    name = os.path.realpath(path)
    os.stat(os.path.dirname(name))  # raises if the folder is missing; filelock would make it
    # any thread may release it; no soft lock, as that would outlive a killed process
    lock = FileLock(name, thread_local=False, fallback_to_soft=False)
    while not lock.is_locked:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if os.path.exists(name):
                raise UserError(_taken(what)) from None
            # the writer before us removed the file after we opened it: try again with a new one

    own = identity(name)

    def release() -> None:
        with suppress(OSError):
            if identity(name) == own:  # not another's, where the folder has been replaced
                os.unlink(name)  # while locked: the next writer makes a new file
        lock.release()

    return release


def refuse_locked(path: Path, what: str) -> None:
    """Raise UserError if another process is writing.

    Nothing is written, and no lock is kept.
    """
    if is_locked(path):
        raise UserError(_taken(what))


def is_locked(path: Path) -> bool:
    """Whether this process or another one has the lock of this file.

    Nothing is written, and no lock is kept. Raises OSError where the file cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe would wait for a writer
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:  # a shared lock (filelock has none), so that readers do not refuse each other
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _taken(what: str) -> str:
    return f"{what} is being written by another process, which must end first"
