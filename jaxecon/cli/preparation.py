"""How a command prepares its process before it works.

These functions import JAX when they are called, so that `jaxecon --help` is instant.
"""

from typing import TYPE_CHECKING

from jaxecon.cli.output.printable import say_line
from jaxecon.cli.streams import keep_libraries_off_standard_output

if TYPE_CHECKING:
    from jaxecon.cli.options import ExecutorName
    from jaxecon.sweeps.executor import Executor


def keep_compiled_programs() -> None:
    """Let this process read and write the user's cache of compiled programs."""
    from jaxecon.core.compilation import keep_compiled

    problem = keep_compiled()
    if problem is not None:
        say_line(f"jaxecon: {problem}", stderr=True)


def join_other_processes(join: bool, seconds: int) -> bool:
    """Join the other processes of a run, if asked to. Returns whether this one prints."""
    if not join:
        return True
    from jaxecon.core.processes import is_main_process, join_run

    keep_libraries_off_standard_output()  # Gloo reports each connection there
    join_run(seconds)
    return is_main_process()


def executor_named(name: "ExecutorName") -> "Executor | None":
    """The executor of that name; None for this process."""
    if name == "local":
        return None
    from jaxecon.sweeps.ray_executor import RayExecutor

    keep_libraries_off_standard_output()  # Ray's processes write warnings there
    return RayExecutor()
