"""What `jaxecon prompts` prints."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jaxecon.cli.output.printable import say, say_line
from jaxecon.cli.output.tables import new_table
from jaxecon.cli.output.terminal import Console

if TYPE_CHECKING:
    from llm.decisions.template_check import PromptSize
    from llm.messages import Message


def print_templates(descriptions: Mapping[str, str]) -> None:
    """Print the names of templates and what each says."""
    table = new_table("template")
    table.add_column("what it says", overflow="fold")
    for name, description in descriptions.items():
        table.add_row(name, description)
    console = Console()
    console.print(table)
    console.print(
        "jaxecon prompts show NAME prints one, --example a prompt; copy FOLDER makes files to "
        "change for llm.prompts."
    )


def print_chat(chat: "Iterable[Message]") -> None:
    """Print a chat as `jaxecon transcript --show` does."""
    for message in chat:
        say(f"--- {message.role}\n{message.content}")


def print_values(values: Mapping[str, tuple[bool, Any]]) -> None:
    """Print the names that a template knows, where, and what they stand for in a sample prompt."""
    table = new_table("name")
    table.add_column("known in")
    table.add_column("for example", overflow="fold")
    for name, (in_rules, value) in sorted(values.items()):
        table.add_row(name, "system, user" if in_rules else "user", _example_text(value))
    Console().print(table)


def _example_text(value: Any) -> str:
    """A value of a sample; of a long list only the last one, and how many there are."""
    if type(value) in (list, tuple) and len(value) > 1 and not isinstance(value[0], int | float):
        return f"{len(value)} of these: {value[-1]!r}"
    return repr(value)


def print_problems(problems: Sequence[str]) -> None:
    """Print each mistake on a line, on standard error."""
    for problem in problems:
        say_line(f"jaxecon: {problem}", stderr=True)


def print_sizes(sizes: "Sequence[PromptSize]", unit: str) -> None:
    """Print the length of each template's prompts. unit: what is counted."""
    table = new_table("template", "rules", "first", "longest", "shared")
    for size in sizes:
        table.add_row(
            *(size.template, f"{size.rules:,}", f"{size.first:,}", f"{size.longest:,}"),
            f"{100 * size.shared:.0f} %",
        )
    console = Console()
    console.print(table)
    console.print(
        f"In {unit}: the rules, the first and the longest of the sample prompts. shared: how "
        "much of them a prefix cache can serve again, over some days of two agents."
    )


def print_too_long(sizes: "Sequence[PromptSize]", limit: int) -> None:
    """Print which prompts do not fit a model. limit: tokens of prompt and answer together."""
    for size in sizes:
        if size.first > limit:
            say_line(
                f"{size.template}: fits only with llm.max_model_len above {size.first} ({limit})"
            )
        elif size.longest > limit:
            say_line(
                f"{size.template}: longer than llm.max_model_len ({limit}); its history is cut"
            )


def print_unused(unused: Mapping[str, Sequence[str]]) -> None:
    """Print which values a user's templates leave out."""
    for template, names in unused.items():
        say_line(f"{template}: does not use {', '.join(names)}")
