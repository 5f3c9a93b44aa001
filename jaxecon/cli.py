"""The command line. Heavy modules are imported inside commands, so that `--help` is instant."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jaxecon import __version__
from jaxecon.errors import UserError

USER_ERROR, INTERRUPTED, ENGINE_FAILED = 2, 130, 3


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        _fail(str(error), USER_ERROR)
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)
    except RuntimeError as error:
        if type(error).__name__ != "EngineError":  # named, not imported: the bridge may not be loaded
            raise
        _fail(str(error), ENGINE_FAILED)


def _fail(message: str, status: int) -> None:
    print(f"jaxecon: {message}", file=sys.stderr)
    sys.exit(status)


class _Commands(TyperGroup):
    """All commands: a user's mistake is one line and exit status 2, never a traceback."""

    def invoke(self, ctx: Any) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


app = typer.Typer(
    cls=_Commands, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, rich_markup_mode=None
)
models_app = typer.Typer(no_args_is_help=True, help="The local language models.")
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
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """A hybrid simulator of tax policy: mechanical and language-model workers in one economy."""


@app.command()
def run(
    config: Annotated[
        Path | None, typer.Argument(help="YAML configuration; the defaults without one.", show_default=False)
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="A new folder for the run; runs/TIME without one.", show_default=False)] = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Run an economy and print how its planner did."""
    from jaxecon import api
    from jaxecon import config as configuration

    overrides = [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]
    resolved = configuration.load(config, overrides)
    folder = out or api.default_folder()
    economy = api.prepare(resolved, folder)
    from jaxecon.terminal import RunProgress, print_summary

    with RunProgress(resolved, folder) as progress:
        finished = api.execute(resolved, folder, economy, progress)
    if as_json:
        print(json.dumps({"run": str(finished.path), **finished.summary}))
    else:
        print_summary(finished)


@app.command()
def settings() -> None:
    """All settings: default, accepted range, meaning."""
    from jaxecon import config as configuration

    for line in configuration.describe():
        print(line)


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """The models that can be pulled, and where those that are here lie."""
    store = _model_store()
    here = {m.name: m for m in store.installed()}
    rows = [{"name": n, "license": k.license, "path": str(here[n].path) if n in here else None} for n, k in store.KNOWN.items()]
    if as_json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['name']:<12} {row['license']:<12} {row['path'] or 'not here; jaxecon models pull ' + row['name']}")


@models_app.command("pull")
def models_pull(name: Annotated[str, typer.Argument(help="A name of `jaxecon models list`.")]) -> None:
    """Fetch a model, convert it once, and keep it in the per-user cache."""
    print(_model_store().pull(name, report=lambda line: print(line, file=sys.stderr)))


@models_app.command("path")
def models_path(name: Annotated[str, typer.Argument(help="A known name, a Hugging Face name, or a folder.")]) -> None:
    """Print where a model lies."""
    print(_model_store().resolve(name))


def _model_store() -> Any:
    from jaxecon.api import check_bridge

    check_bridge()
    from llm import models

    return models


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Versions, devices and models found; what is missing."""
    from jaxecon.doctor import examine, print_report

    report = examine()
    if as_json:
        print(json.dumps(report))
    else:
        print_report(report)


if __name__ == "__main__":
    main()
