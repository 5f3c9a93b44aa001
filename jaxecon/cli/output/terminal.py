"""The one place where text leaves for a terminal: shown as it is, whatever it holds.

Paths, names, settings, models' answers and servers' errors may hold Rich's markup, terminal escapes
or line breaks. What people read is printed here or, without Rich, in `printable`; commands print
JSON as it is, which escapes control characters.
"""

import os
from typing import Any

import rich.console
from rich.progress import Task, TextColumn
from rich.text import Text

from jaxecon.cli.output.printable import one_line, printable

_LEAST, _MOST = 20, 10_000  # columns and lines of a terminal that we believe


class Console(rich.console.Console):
    """A console that interprets no markup, and shows control characters as escapes.

    Styles come from Text objects and from tables.
    """

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, _environ=_environment())

    def render_str(self, text: str, **options: Any) -> Text:  # all text comes through here
        options |= {"markup": False, "emoji": False}
        return super().render_str(printable(text), **options)

    def print_line(self, text: str) -> None:
        """Print one line, not broken at the terminal's width; line breaks in it are escapes."""
        self.print(one_line(text), soft_wrap=True)


class PlainColumn(TextColumn):
    """A column of a progress line whose text is no markup."""

    def __init__(self, text_format: str) -> None:
        super().__init__(text_format, markup=False)

    def render(self, task: Task) -> Text:
        return Text(one_line(self.text_format.format(task=task)))


def _environment() -> dict[str, str]:
    """The environment without a width or height that no terminal has."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLUMNS", "LINES") or _is_plausible(value)
    }


def _is_plausible(size: str) -> bool:
    plain = size.isascii() and size.isdigit() and len(size) < 9
    return plain and _LEAST <= int(size) <= _MOST
