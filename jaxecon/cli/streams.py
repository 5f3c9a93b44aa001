"""Standard output and standard error of a command: closed, full, or a pipe without a reader."""

import errno
import io
import os
import sys
from typing import Any, TextIO

from jaxecon.core.errors import OutputError


class _Output(io.FileIO):
    """Writes to a descriptor. Its first failure raises OutputError; what follows is dropped."""

    _lost = False

    def write(self, data: Any, /) -> int:
        if self._lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._lost = True
            raise OutputError(error) from error


class _Messages(io.FileIO):
    """Writes to a descriptor; what cannot be written is dropped, as nobody could be told."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def guard_streams() -> None:
    """Make failures of this process's standard streams safe, whatever it was started with.

    A closed stream's number is taken, so that no file opened later gets it (messages of libraries
    would be written into that file). Standard output then raises OutputError where it cannot be
    written. Standard error never fails.
    """
    _take_closed_numbers()
    sys.stdout = _text(_Output(1, "w", closefd=False), sys.stdout)
    sys.stderr = _text(_Messages(2, "w", closefd=False), sys.stderr, line_buffering=True)


def keep_libraries_off_standard_output() -> None:
    """Send what libraries write to descriptor 1 to standard error; `print` still writes to 1's."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = _text(_Output(ours, "w", closefd=False), sys.stdout)


def _take_closed_numbers() -> None:
    # standard output is opened to be read, so that writing to it fails as it did when it was closed
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            os.open(os.devnull, mode)  # gets the lowest number that is free
            os.set_inheritable(number, True)


def _text(raw: io.FileIO, before: TextIO | None, *, line_buffering: bool = False) -> TextIO:
    """A text stream that never fails for a character that its encoding lacks."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=before.encoding if before is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=line_buffering or raw.isatty(),
    )
