"""`jaxecon models list`, `pull` and `path`. They import `llm` when they are called."""

from typing import Annotated

import typer

from jaxecon.cli.output.printable import say_line
from jaxecon.core.json_text import json_text

models_app = typer.Typer(no_args_is_help=True, help="Local language models.")


@models_app.command("list")
def models_list(as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """Print the models that can be fetched, and the folders of those that are here."""
    from jaxecon.simulation.language import model_store

    store = model_store()
    here = {m.name: m for m in store.installed()}
    rows = [
        {"name": n, "license": k.license, "path": str(here[n].path) if n in here else None}
        for n, k in store.KNOWN.items()
    ]
    if as_json:
        print(json_text(rows))
        return
    for row in rows:
        say_line(
            f"{row['name']:<12} {row['license']:<12} "
            f"{row['path'] or 'not here; jaxecon models pull ' + row['name']}"
        )


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="A name of `jaxecon models list`.")],
) -> None:
    """Fetch a model, convert it once, and keep it in the user's cache."""
    from jaxecon.simulation.language import model_store

    path = model_store().pull(name, report=lambda line: say_line(line, stderr=True))
    say_line(str(path))


@models_app.command("path")
def models_path(
    name: Annotated[str, typer.Argument(help="A known name, a Hugging Face name, or a folder.")],
) -> None:
    """Print the folder of a model."""
    from jaxecon.simulation.language import model_store

    say_line(str(model_store().resolve(name)))
