"""How a command prepares its process before it works.

These functions import JAX when they are called, so that `jaxecon --help` is instant.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxecon.cli.options import ExecutorName
    from jaxecon.sweeps.executor import Executor


def keep_compiled_programs() -> None:
    """Let this process read and write the user's cache of compiled programs."""
    from jaxecon.core.compilation import keep_compiled

    keep_compiled()


def join_other_processes(join: bool, seconds: int) -> bool:
    """Join the other processes of a run, if asked to. Returns whether this one prints."""
    if not join:
        return True
    from jaxecon.core.processes import is_main_process, join_run

    # Gloo reports each connection on file descriptor 1, which now leads to standard error; our own
    # output goes to standard output by another descriptor.
    ours = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(ours, "w", closefd=False)
    join_run(seconds)
    return is_main_process()


def executor_named(name: "ExecutorName") -> "Executor | None":
    """The executor of that name; None for this process."""
    if name == "local":
        return None
    from jaxecon.sweeps.ray_executor import RayExecutor

    return RayExecutor()
