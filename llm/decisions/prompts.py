"""Prompts from templates: the words are in files, which need no programming to read or to change.

`templates/KIND.jinja` has two blocks, `system` (the rules) and `user` (what one agent knows), in
Jinja2's language; files with other names are parts that several of them include. A line of nothing
but tags leaves no line in the prompt, and a line that begins with a space goes on with the line
above it. A template sees the values that its decision hands it and nothing else: it runs in a
sandbox, and a name that does not exist is an error rather than empty text.

Prompts are laid out for the engine's prefix cache, which reuses common beginnings: rules and this
year's schedule (the same for all agents of a kind) | what is constant for one agent | its history,
which grows at its end | what is new on this day.
"""

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, Template
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxecon.core.text import amount_text
from llm.messages import Message, Role

FOLDER = Path(__file__).parent / "templates"
BLOCKS: tuple[Role, ...] = ("system", "user")
_CONTINUED = re.compile(r" *\n +")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_TAG_LINE = re.compile(r"^[ \t]*((?:\{%(?:(?!%\})[^\n])*%\}[ \t]*)+|[ \t]*)\n", re.MULTILINE)


def messages(template: str, **values: Any) -> tuple[Message, ...]:
    """The chat that a decision's template makes of its values: one message a block.

    template: the file's name without its ending. Raises jinja2.TemplateError where the template
    uses a name that it is not given.
    """
    return tuple(Message(role, _text(template, role, values)) for role in BLOCKS)


def try_again(chat: Sequence[Message], reply: str, problem: str) -> tuple[Message, ...]:
    """The chat, continued after a reply that could not be used.

    The reply's white space is shortened: JSON allows any number of line breaks, and a small model
    that got stuck in them would go on with them.
    """
    return (
        *chat,
        Message("assistant", " ".join(reply.split())[:300]),
        Message("user", _text("again", "user", {"problem": problem})),
    )


@cache
def digest() -> str:
    """SHA-256 of the words of all templates, without comments."""
    found = hashlib.sha256()
    for path in sorted(FOLDER.glob("*.jinja")):
        words = _COMMENT.sub("", path.read_text(encoding="utf-8"))
        found.update(f"{path.name}\n{words}\n".encode())
    return found.hexdigest()


def _text(template: str, block: str, values: Mapping[str, Any]) -> str:
    found = _template(f"{template}.jinja")
    lines = "".join(found.blocks[block](found.new_context(dict(values))))
    return _CONTINUED.sub(" ", lines).strip()


@cache
def _template(name: str) -> Template:
    return _environment().get_template(name)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        extensions=[_TagLines],
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.globals.clear()
    environment.filters |= {
        "amount": amount,
        "whole": whole,
        "percent": percent,
        "percents": percents,
    }
    return environment


class _TagLines(Extension):
    """Removes comments, empty lines and the line breaks after lines of nothing but tags.

    The breaks go on as comments, so that errors name the right line.
    """

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        plain = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), source)
        return _TAG_LINE.sub(lambda line: f"{line[1].strip()}{{#\n#}}", plain)


def amount(x: float, decimals: int | None = None) -> str:
    """An amount of utility, or of anything: by its size, or with so many decimals."""
    if not math.isfinite(x):
        return "minus infinity" if x < 0 else "infinity" if x > 0 else "unknown"
    return amount_text(x) if decimals is None else f"{x:,.{decimals}f}"


def whole(x: float) -> str:
    """A whole number, such as `22,080`."""
    return f"{x:,.0f}"


def percent(fraction: float) -> str:
    """A fraction in percent without the sign, such as `37` or `12.5`."""
    return f"{round(100 * fraction, 1):g}"


def percents(fractions: Sequence[float]) -> str:
    """Rates from the lowest bracket up, such as `10/25/40 %`."""
    return "/".join(map(percent, fractions)) + " %"
