"""Files that are written whole or not at all, and JSON that is read with one line for damage."""

import errno
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from jaxecon.core.errors import DiskError, first_line

_MAX_DEPTH = 64  # of JSON that is read: ours has a tenth of it, and deeper cannot be written again

_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)  # on some file systems

_UMASK = os.umask(0o022)  # the only way to read it is to set it
os.umask(_UMASK)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that, even after a crash, it holds either its old content or the new one."""
    with atomically(path) as file:
        file.write(data)


@contextmanager
def atomically(path: Path, *, new: bool = False) -> Iterator[BinaryIO]:
    """Open a temporary file that takes the name `path` when the block ends without an error.

    Args:
        path: the file; one that is there is replaced.
        new: refuse to replace one.

    Raises:
        OSError: it cannot be written; the error names `path` where it would name no file.
        FileExistsError: with `new`, the file exists.
    """
    try:
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            try:
                yield cast(BinaryIO, file)
                file.flush()
                os.fchmod(file.fileno(), 0o666 & ~_UMASK)  # the permissions that open() gives
                os.fsync(file.fileno())
            except BaseException:
                os.unlink(file.name)
                raise
        _give_name(file.name, path, new)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the rename itself must survive a power cut
        finally:
            os.close(folder)
    except OSError as error:
        if error.filename is None:  # as errors of writing do
            error.filename = str(path)
        raise


def _give_name(temporary: str, path: Path, new: bool) -> None:
    try:
        if new:
            os.link(temporary, path)  # unlike a rename it never replaces a file
            os.unlink(temporary)
        else:
            os.replace(temporary, path)
    except OSError as error:
        if new and error.errno in _NO_LINKS and not path.exists():
            os.replace(temporary, path)
            return
        os.unlink(temporary)
        raise


def check_regular(path: Path) -> None:
    """Raise OSError for what is no file: a pipe may let its reader wait forever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a file (a folder, a device or a pipe)", str(path))


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError where it cannot be read."""
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(path: Path | str) -> tuple[int, int] | None:
    """Device and inode of a file or folder: whether it is still the one that had this path.

    None where there is none.
    """
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def read_json_object(path: Path) -> dict[str, Any]:
    """The content of a file that holds one JSON object.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no file.
        DiskError: one line that names the file, where it is damaged or cannot be read.
    """
    try:
        check_regular(path)
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise DiskError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError:
        raise DiskError(f"{path}: damaged (nested too deeply)") from None
    except ValueError as error:
        raise DiskError(f"{path}: damaged ({first_line(error)})") from error
    if not isinstance(content, dict):
        raise DiskError(f"{path}: damaged (holds a {type(content).__name__}, not an object)")
    if _is_deeper(content, _MAX_DEPTH):
        raise DiskError(f"{path}: damaged (nested too deeply)")
    return content


def _is_deeper(content: Any, depth: int) -> bool:
    if not isinstance(content, dict | list):
        return False
    inner = content.values() if isinstance(content, dict) else content
    return depth == 0 or any(_is_deeper(value, depth - 1) for value in inner)
