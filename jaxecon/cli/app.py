"""The command line. Heavy modules are imported inside commands, so that `--help` is instant."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jaxecon import __version__
from jaxecon.cli.errors import one_line_errors
from jaxecon.cli.experiments import experiment
from jaxecon.cli.information import doctor, settings
from jaxecon.cli.models import models_app
from jaxecon.cli.policies import compare, optimum
from jaxecon.cli.running import branch, digest, replay, resume, run
from jaxecon.cli.sweeping import sweep
from jaxecon.cli.transcript import transcript

_COMMANDS = (
    *(run, resume, replay, branch, digest, optimum, compare),
    *(sweep, experiment, transcript, settings, doctor),
)


class _Commands(TyperGroup):
    """All commands: a user's mistake is one line and exit status 2, never a traceback."""

    def make_context(self, *args: Any, **named: Any) -> Any:
        with one_line_errors():
            return super().make_context(*args, **named)

    def invoke(self, ctx: Any) -> Any:
        with one_line_errors():
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


def main() -> None:
    """Entry point of `jaxecon`."""
    app()


def _version(value: bool) -> None:
    if value:
        print(f"jaxecon {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A hybrid simulator of tax policy: mechanical and language-model workers in one economy."""
