"""The command `jaxecon`: the list of its commands."""

import sys
from contextlib import nullcontext, suppress
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jaxecon import __version__
from jaxecon.cli.commands.branch import branch
from jaxecon.cli.commands.compare import compare
from jaxecon.cli.commands.digest import digest
from jaxecon.cli.commands.doctor import doctor
from jaxecon.cli.commands.experiment import experiment
from jaxecon.cli.commands.models import models_app
from jaxecon.cli.commands.optimum import optimum
from jaxecon.cli.commands.prompts import prompts_app
from jaxecon.cli.commands.repair import repair
from jaxecon.cli.commands.replay import replay
from jaxecon.cli.commands.resume import resume
from jaxecon.cli.commands.run import run
from jaxecon.cli.commands.settings import settings
from jaxecon.cli.commands.survey import survey
from jaxecon.cli.commands.sweep import sweep
from jaxecon.cli.commands.transcript import transcript
from jaxecon.cli.errors import one_line_errors
from jaxecon.cli.output.printable import say_line
from jaxecon.cli.streams import guard_streams
from jaxecon.core.environment import check_limits, check_xla_flags
from jaxecon.core.errors import Interrupted, OutputError, UserError
from jaxecon.core.text import is_text
from jaxecon.simulation.signals import handling_signals

_COMMANDS = (
    *(run, resume, replay, repair, branch, digest, optimum, compare),
    *(sweep, experiment, transcript, survey, settings, doctor),
)


class _Commands(TyperGroup):
    """All commands: a user's mistake is one line and exit status 2, never a traceback."""

    def make_context(self, *args: Any, **named: Any) -> Any:
        with one_line_errors():
            return super().make_context(*args, **named)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for argument in args:
            if not is_text(argument):
                raise UserError(f"{argument}: not text in UTF-8, as names and paths must be")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        with one_line_errors():
            check_xla_flags()
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

for _command in _COMMANDS:
    app.command()(_command)
app.add_typer(models_app, name="models")
app.add_typer(prompts_app, name="prompts")


def main() -> None:
    """Obey the arguments of `jaxecon`, and end the process."""
    guard_streams()
    with one_line_errors(), handling_signals() as signals:
        check_limits()
        try:
            app()
        except SystemExit as ended:
            # Here, where a failure is still one line. A command's own failure goes before it.
            with suppress(OutputError) if ended.code else nullcontext():
                sys.stdout.flush()
            if not ended.code and signals.received is not None:  # a library swallowed its error
                raise Interrupted(signals.received) from None
            raise


def _version(value: bool) -> None:
    if value:
        say_line(f"jaxecon {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A hybrid simulator of tax policy: mechanical and language-model workers in one economy."""
