"""Errors that end a run or a command with a message for the user."""

import re


class UserError(ValueError):
    """An error with one line for the user: the setting, its value and the accepted range.

    Commands print the line and exit with status 2. A line break in the message, from a user's own
    text, becomes an escape.
    """

    def __init__(self, message: str = "") -> None:
        super().__init__("\\n".join(message.splitlines()))


class DiskError(UserError):
    """A disk, or a file on it, cannot be read or written; the run itself is not at fault."""


class OutputError(Exception):
    """Standard output cannot be written: it is full, closed, or a pipe whose reader has gone.

    No OSError, which would be taken for a failure of a file. error: the operating system's.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"standard output: cannot be written ({error.strerror}); not everything was printed, "
            "what was written to files is kept"
        )
        self.errno = error.errno


class BudgetSpent(RuntimeError):
    """A budget for language models is used up.

    The run stops between two days, with everything so far on disk.
    """


class InvariantError(RuntimeError):
    """A run computed what cannot be, such as welfare that is no number or taxes that are lost.

    The message is one line for the user. The run ends as failed, never as complete.
    """


class Interrupted(KeyboardInterrupt):
    """A signal ended the run between two days; its state was saved.

    signal: the signal's number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"interrupted by signal {signal}")
        self.signal = signal


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_JAX_ERRORS = ("JaxRuntimeError", "XlaRuntimeError")

# errors on a GPU contain the first; errors on a CPU contain only the second
_NO_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the machine or a GPU ran out of memory."""
    # compared by name, without an import: JAX may not be loaded
    return isinstance(error, MemoryError) or (
        type(error).__name__ in _JAX_ERRORS and bool(_NO_MEMORY.search(str(error)))
    )


class EngineError(RuntimeError):
    """The engine of a language model did not start, or it died.

    The message is one line for the user.
    """
