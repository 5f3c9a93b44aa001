"""Errors that a user can cause."""

import re


class UserError(ValueError):
    """One line for the user: the setting, the value, the accepted range.

    Commands print it and exit with status 2.
    """


class DiskError(UserError):
    """A disk, or a file on it, cannot be read or written; the run that needs it is not at fault."""


class BudgetSpent(RuntimeError):
    """A budget for language models is used up.

    The run stops between two days, with everything so far on disk.
    """


class Interrupted(KeyboardInterrupt):
    """A signal ended the run between two days; its state was saved.

    signal: the signal's number.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(f"interrupted by signal {signal}")
        self.signal = signal


def first_line(error: BaseException) -> str:
    """The first line of an error's message; the name of its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


_JAX_ERRORS = ("JaxRuntimeError", "XlaRuntimeError")

# the first on a GPU, the second alone on a CPU
_NO_MEMORY = re.compile("RESOURCE_EXHAUSTED|out of memory", re.IGNORECASE)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory, the machine's or a GPU's, was not enough."""
    # by name, not imported: JAX may not be loaded
    return isinstance(error, MemoryError) or (
        type(error).__name__ in _JAX_ERRORS and bool(_NO_MEMORY.search(str(error)))
    )


class EngineError(RuntimeError):
    """The engine did not start, or it died.

    The message is one line for the user.
    """
