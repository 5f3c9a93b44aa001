"""A user's mistake is one line and an exit status, never a traceback."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import typer

from jaxecon.core.errors import EngineError, Interrupted, UserError, first_line, is_out_of_memory

DIFFERENT, USER_ERROR, ENGINE_FAILED, BUDGET_SPENT, INTERRUPTED = 1, 2, 3, 4, 130

LOST = ENGINE_FAILED  # another process of the same run


_OUT_OF_MEMORY = (
    "out of memory: lower population.mechanical or the cohorts' sizes, set record.agents=sample, "
    "or, with a model on the same "
    "GPU, lower llm.gpu_memory_share or set device=cpu"
)


# Of Click, or of the Click in Typer, which has no public name.
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[1])


@contextmanager
def one_line_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        fail(str(error), USER_ERROR)
    except _UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":  # whose message is the help
            raise
        fail(_usage_line(error), USER_ERROR)
    except Interrupted as error:
        fail("interrupted", 128 + error.signal)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except (RuntimeError, MemoryError, ValueError) as error:
        hosts = sys.modules.get(
            "jaxecon.core.processes"
        )  # only where this command has joined others
        if hosts is not None and hosts.is_lost_process(error):
            fail(
                f"another process of this run has gone ({first_line(error)}); start all again, "
                "with resume",
                LOST,
            )
        if is_out_of_memory(error):
            fail(_OUT_OF_MEMORY, ENGINE_FAILED)
        if not isinstance(error, EngineError):
            raise
        fail(str(error), ENGINE_FAILED)


def _usage_line(error: Any) -> str:
    said = " ".join(error.format_message().split()).rstrip(".")
    return said if error.ctx is None else f"{said} (see {error.ctx.command_path} --help)"


def fail(message: str, status: int) -> None:
    print(f"jaxecon: {message}", file=sys.stderr)
    if "jaxecon.core.processes" in sys.modules:
        sys.modules["jaxecon.core.processes"].leave(status)
    sys.exit(status)


@contextmanager
def hinting_at_resume(folder: Path) -> Iterator[None]:
    """What to do after an interruption."""
    try:
        yield
    except KeyboardInterrupt as error:
        number = error.signal if isinstance(error, Interrupted) else 2
        fail(f"interrupted; continue with: jaxecon resume {shlex.quote(str(folder))}", 128 + number)
