"""Errors of a command as one line and an exit status, never a traceback."""

import errno
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, cast

import typer

from jaxecon.cli.output.printable import one_line
from jaxecon.core.environment import jax_mistake
from jaxecon.core.errors import (
    EngineError,
    Interrupted,
    InvariantError,
    OutputError,
    UserError,
    first_line,
    is_out_of_memory,
)
from jaxecon.core.text import shortened
from jaxecon.simulation.signals import lost_signal

DIFFERENT, USER_ERROR, ENGINE_FAILED, BUDGET_SPENT = 1, 2, 3, 4

_MAX_LINE = 2000  # characters of a message

READER_GONE = 128 + signal.SIGPIPE  # the status of a program that this signal ends
PROCESS_LOST = ENGINE_FAILED  # another process of the same run
IMPOSSIBLE_RESULT = ENGINE_FAILED  # the run broke one of its invariants

_RENAMED_OPTIONS = {"--join-hosts": "--join-processes", "--figures": "--statistics"}

_OUT_OF_MEMORY = (
    "out of memory: lower population.mechanical or the cohorts' sizes, set record.agents=sample, "
    "or, with a model on the same GPU, lower llm.gpu_memory_share or set device=cpu"
)

# Click's UsageError, or that of the Click inside Typer, which has no public name.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn an error that ends a command into one line and an exit status."""
    try:
        yield
    except UserError as error:
        fail(str(error), USER_ERROR)
    except InvariantError as error:
        fail(str(error), IMPOSSIBLE_RESULT)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help text
            raise
        fail(_usage_line(error), USER_ERROR)
    except KeyboardInterrupt as error:
        fail("interrupted", 128 + _signal_of(error))
    except BrokenPipeError:
        _leave_without_reader()
    except OutputError as error:
        if error.errno == errno.EPIPE:
            _leave_without_reader()
        fail(str(error), USER_ERROR)
    except Exception as error:
        number = _signal_behind(error)
        if number is not None:
            fail("interrupted", 128 + number)
        _fail_for_surroundings(error)
        raise


def _signal_of(error: KeyboardInterrupt) -> int:
    return error.signal if isinstance(error, Interrupted) else signal.SIGINT


def _signal_behind(error: BaseException) -> int | None:
    """The signal that led to an error; None if none did.

    Libraries that are being loaded turn a signal's error into one of their own.
    """
    return _signal_of(error) if isinstance(error, KeyboardInterrupt) else lost_signal()


def _leave_without_reader() -> NoReturn:
    """End without a word, as other programs do before `head`; the status says it."""
    processes = _joined_processes()
    if processes is not None:
        processes.leave(READER_GONE, "")
    sys.exit(READER_GONE)


def _fail_for_surroundings(error: Exception) -> None:
    """End the process with one line where something around it is at fault.

    A process of the same run, the machine's memory, the engine, a disk, or the environment.
    """
    if isinstance(error, RuntimeError | MemoryError | ValueError):
        processes = _joined_processes()
        if processes is not None and processes.is_lost_process(error):
            fail(
                f"another process of this run has gone ({first_line(error)}); start all again, "
                "with resume",
                PROCESS_LOST,
            )
        if is_out_of_memory(error):
            fail(_OUT_OF_MEMORY, ENGINE_FAILED)
        if isinstance(error, EngineError):
            fail(str(error), ENGINE_FAILED)
    if isinstance(error, OSError) and error.errno is not None:
        if error.filename is None and not _has_working_folder():
            fail("the working folder has been removed; change to another", USER_ERROR)
        what = "" if error.filename is None else f"{error.filename}: "
        fail(f"{what}{error.strerror}", USER_ERROR)
    mistake = jax_mistake(error)
    if mistake is not None:
        fail(mistake, USER_ERROR)


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _usage_line(error: Any) -> str:
    """A mistake in the options of a command as one line."""
    option = getattr(error, "option_name", None)
    renamed = _RENAMED_OPTIONS.get(option or "")
    if renamed and any(renamed in parameter.opts for parameter in error.ctx.command.params):
        return f"{option}: is now called {renamed}"
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    return message if error.ctx is None else f"{message} (see {error.ctx.command_path} --help)"


def fail(message: str, status: int) -> NoReturn:
    """End the process with one line on standard error and an exit status."""
    line, processes = f"jaxecon: {one_line(shortened(message, _MAX_LINE))}", _joined_processes()
    if processes is not None:
        processes.leave(status, line)
    print(line, file=sys.stderr)
    sys.exit(status)


def _joined_processes() -> Any:
    """The module `core.processes`, if this command has loaded it (and with it JAX), else None."""
    return sys.modules.get("jaxecon.core.processes")


@contextmanager
def saying_how_to_continue(*arguments: str | Path, begun: Path | None = None) -> Iterator[None]:
    """After an interruption, name the command that continues.

    arguments: those of `jaxecon`. begun: a file without which there is nothing to continue: the
    command is then this one again.
    """
    try:
        yield
    except (KeyboardInterrupt, ImportError) as error:
        number = _signal_behind(error)
        if number is None:
            raise
        again = begun is not None and not begun.exists()
        command = shlex.join(["jaxecon", *map(str, sys.argv[1:] if again else arguments)])
        fail(f"interrupted; continue with: {command}", 128 + number)
