"""`jaxecon prompts show`, `copy` and `check`. They import `llm` when they are called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxecon.cli.errors import USER_ERROR
from jaxecon.cli.output.printable import say, say_line
from jaxecon.config.base import one_of
from jaxecon.config.language import Serving
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import write_atomically
from jaxecon.storage.paths import TEMPLATE_ENDING

DEFAULT_MODEL = str(Serving.model_fields["model"].default)

prompts_app = typer.Typer(
    no_args_is_help=True, help="The words in which language models are asked (llm.prompts)."
)

_FolderOption = Annotated[
    Path | None,
    typer.Option("--prompts", metavar="FOLDER", help="Your templates, in place of the package's."),
]


@prompts_app.command("show")
def prompts_show(
    name: Annotated[
        str | None, typer.Argument(help="A template; without one, the list of all.")
    ] = None,
    prompts: _FolderOption = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a prompt that the template makes.")
    ] = False,
    values: Annotated[
        bool, typer.Option("--values", help="Print what the template knows in that prompt.")
    ] = False,
) -> None:
    """Print the templates' names; or one of them, a prompt that it makes, or what it knows."""
    from jaxecon.cli.output.prompts import print_chat, print_templates, print_values
    from jaxecon.simulation.language import templates

    module, check = templates()
    if example and values:
        raise UserError("--example, --values: give one of them")
    words = module.Prompts(prompts)
    if name is None:
        if example or values:
            raise UserError("--example, --values: give the name of a template")
        print_templates({template: words.description(template) for template in words.names})
        return
    _check_name(name, words.names)
    if not (example or values):
        say(words.source(name), end="")
        return
    if name not in check.TEMPLATES:
        raise UserError(
            f"{'--example' if example else '--values'}: {name} is a part of other templates; give "
            f"one of {', '.join(check.TEMPLATES)}"
        )
    if example:
        print_chat(check.example(words, name))
    else:
        print_values(check.example_values(name))


@prompts_app.command("copy")
def prompts_copy(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made if it is not there.")],
    names: Annotated[
        list[str] | None, typer.Argument(help="The templates; without any, all of them.")
    ] = None,
) -> None:
    """Copy templates into a folder, to be changed there. Nothing is overwritten."""
    from jaxecon.simulation.language import templates

    module, _ = templates()
    words = module.Prompts()
    for name in names or ():
        _check_name(name, words.names)
    targets = {
        folder / (name + TEMPLATE_ENDING): words.source(name) for name in names or words.names
    }
    for target in targets:
        if target.exists():
            raise UserError(f"{target}: exists; it is left as it is, and nothing was copied")
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target, text in targets.items():
            written.append(target)
            write_atomically(target, text.encode())
    except OSError as error:
        for target in written:
            target.unlink(missing_ok=True)
        raise DiskError(f"{folder}: cannot be written ({error.strerror})") from error
    for target in targets:
        say_line(str(target))


@prompts_app.command("check")
def prompts_check(
    folder: Annotated[
        Path | None, typer.Argument(help="Your templates; without a folder, the package's.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help=f"Count tokens as this local model does; by default {DEFAULT_MODEL}.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Look for mistakes in templates, and print how long their prompts are."""
    from jaxecon.cli.output.prompts import print_problems, print_sizes, print_too_long, print_unused
    from jaxecon.simulation.language import templates

    module, check = templates()
    words = module.Prompts(folder)
    problems = check.problems(words)
    if problems:
        print_problems(problems)
        raise typer.Exit(USER_ERROR)
    tokenizer, unit = _tokenizer(model)
    sizes = check.sizes(words, tokenizer)
    print_sizes(sizes, unit)
    if unit.startswith("tokens"):
        print_too_long(sizes, Serving.model_fields["max_model_len"].default)
    print_unused(check.unused_values(words))
    say_line("No mistakes.")


def _tokenizer(model: str | None) -> tuple[Any, str]:
    """What counts the length of a chat, and in which unit."""
    from jaxecon.simulation.language import chat_tokenizer

    try:
        return chat_tokenizer(model or DEFAULT_MODEL), f"tokens of {model or DEFAULT_MODEL}"
    except UserError as error:
        if model is not None:
            raise UserError(f"--model: {error}") from None
        return _characters, f"characters, since tokens cannot be counted ({error})"


def _check_name(name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise UserError(f"{name}: no such template; {one_of(names, name)}")


def _characters(chat: Sequence[Any]) -> str:
    """A chat as one text, whose characters stand for tokens."""
    return "".join(message.content for message in chat)
