"""Files that are written whole or not at all, and locks that one process holds."""

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from jaxecon.core.errors import UserError


def lock_for_writing(path: Path, what: str) -> Callable[[], None]:
    """Be the one process that writes; what comes back ends it.

    The lock goes with the process, however that ends.

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


_UMASK = os.umask(0o022)

os.umask(_UMASK)


def write_atomically(path: Path, data: bytes) -> None:
    """The file holds either its old content or the new one, whatever happens."""
    with atomically(path) as file:
        file.write(data)


@contextmanager
def atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the path's place when the block ends without an error."""
    with tempfile.NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            yield cast(BinaryIO, file)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_UMASK)  # as open() would have made it
            os.fsync(file.fileno())
        except BaseException:
            os.unlink(file.name)
            raise
    os.replace(file.name, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself must survive a power cut
    finally:
        os.close(folder)
