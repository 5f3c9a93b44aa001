"""`jaxecon repair`. Imports what takes long (JAX, Arrow) when it is called."""

from jaxecon.cli.errors import USER_ERROR, fail
from jaxecon.cli.options import RunArgument
from jaxecon.cli.output.printable import say_line
from jaxecon.cli.preparation import keep_compiled_programs


def repair(run: RunArgument) -> None:
    """Compute damaged or lost files of a run's tables again, where that is possible.

    The run is simulated again, with its transcript in place of a model. Nothing is put in place
    unless all that is whole is equal to the repetition. Exit status 2 where damage remains.
    """
    keep_compiled_programs()
    from jaxecon.cli.output.progress import RunProgress
    from jaxecon.simulation import repair as simulation_repair

    configuration = simulation_repair.recorded_configuration(run)
    with RunProgress(configuration, run) as progress:
        done = simulation_repair.repair(run, listener=progress)
    if done.position is not None:
        say_line(
            f"{run}: computed again up to {done.position}; equal to {done.compared} files of "
            "tables, the state and the decisions"
        )
    for file in done.repaired:
        say_line(f"repaired: {file}")
    if done.remaining:
        fail(f"cannot be repaired: {'; '.join(done.remaining)}", USER_ERROR)
