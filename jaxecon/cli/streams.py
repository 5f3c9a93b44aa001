"""Standard output and standard error of a command: closed, full, or a pipe without a reader."""

import errno
import io
import os
import sys
from typing import TextIO

from jaxecon.core.errors import OutputError


class _Stream(io.TextIOWrapper):
    """Text for a descriptor, of which no character that its encoding lacks makes it fail.

    When the descriptor fails, `_fail` says so; what comes after that is dropped. (The write itself
    must not be Python code: a signal between it and its accounting would repeat the text.)
    """

    def __init__(self, descriptor: int, before: TextIO | None, *, by_line: bool = False) -> None:
        file = io.FileIO(descriptor, "w", closefd=False)
        super().__init__(
            io.BufferedWriter(file),
            encoding=before.encoding if before is not None else "utf-8",
            errors="backslashreplace",
            line_buffering=by_line or file.isatty(),
        )

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop_all()
            self._fail(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop_all()
            self._fail(error)

    def _drop_all(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)

    def _fail(self, error: OSError) -> None:
        """Nobody could be told of a message that is lost."""


class _Output(_Stream):
    """Standard output, whose first failure raises OutputError."""

    def _fail(self, error: OSError) -> None:
        raise OutputError(error) from error


def guard_streams() -> None:
    """Make failures of this process's standard streams safe, whatever it was started with.

    A closed stream's number is taken, so that no file opened later gets it (messages of libraries
    would be written into that file). Standard output then raises OutputError where it cannot be
    written. Standard error never fails.
    """
    _take_closed_numbers()
    sys.stdout = _Output(1, sys.stdout)
    sys.stderr = _Stream(2, sys.stderr, by_line=True)


def keep_libraries_off_standard_output() -> None:
    """Send what libraries write to descriptor 1 to standard error; `print` still writes to 1's."""
    sys.stdout.flush()
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = _Output(ours, sys.stdout)


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
