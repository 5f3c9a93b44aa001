"""The lock that lets one process write, and others know of it."""

import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from jaxecon.errors import UserError


def lock_for_writing(path: Path, what: str) -> Callable[[], None]:
    """Be the one process that writes; what comes back ends it. The lock goes with the process, however that ends.

    path: of a file made for the lock alone. what: is being written, for the message.

    Raises:
        UserError: somebody else holds it, here or in another process.
        OSError: the folder cannot be written.
    """
    name = os.path.realpath(path)
    while True:
        handle = os.open(name, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(name)):
                break
        except BlockingIOError:
            os.close(handle)
            raise UserError(_taken(what)) from None
        except FileNotFoundError:
            pass  # the writer before us took the file away between our opening and our locking it
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)

    def release() -> None:
        with suppress(OSError):
            os.unlink(name)
        os.close(handle)

    return release


def refuse_locked(path: Path, what: str) -> None:
    """Raise UserError where somebody holds the lock."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(_taken(what)) from None
    finally:
        os.close(handle)


def _taken(what: str) -> str:
    return f"{what} is being written by another process, which must end first"
