"""Prompts from templates: the words are in files, which need no programming to read or to change.

`templates/KIND.jinja` has two blocks, `system` (the rules) and `user` (what one agent knows), in
Jinja2's language; files with other names are parts that several of them include. A line that begins
with a space goes on with the line above it. A template sees the values that its decision hands it
and nothing else: it runs in a sandbox, and a name that does not exist is an error rather than empty
text.

Prompts are laid out for the engine's prefix cache, which reuses common beginnings: rules and this
year's schedule (the same for all agents of a kind) | what is constant for one agent | its history,
which grows at its end | what is new on this day.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined, Template
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxecon.core.text import amount_text
from llm.messages import Message

FOLDER = Path(__file__).parent / "templates"
BLOCKS = ("system", "user")
_CONTINUED = re.compile(r"\n +")


def messages(template: str, **values: Any) -> tuple[Message, ...]:
    """The chat that a decision's template makes of its values: one message a block.

    template: the file's name without its ending. Raises jinja2.TemplateError where the template
    uses a name that it is not given.
    """
    found = _template(f"{template}.jinja")
    context = found.new_context(values)
    return tuple(Message(role, _text(found, role, context)) for role in BLOCKS)  # type: ignore[arg-type]


def _text(template: Template, block: str, context: Any) -> str:
    return _CONTINUED.sub(" ", "".join(template.blocks[block](context))).strip()


@cache
def _template(name: str) -> Template:
    return _environment().get_template(name)


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {
        "amount": amount,
        "dollars": dollars,
        "percent": percent,
        "percents": percents,
    }
    return environment


def amount(x: float, decimals: int | None = None) -> str:
    """An amount of utility, or of anything: by its size, or with so many decimals."""
    return amount_text(x) if decimals is None else f"{x:,.{decimals}f}"


def dollars(x: float) -> str:
    """Whole dollars, such as `22,080`."""
    return f"{x:,.0f}"


def percent(fraction: float) -> str:
    """A fraction in percent without the sign, such as `37` or `12.5`."""
    return f"{round(100 * fraction, 1):g}"


def percents(fractions: Sequence[float]) -> str:
    """Rates from the lowest bracket up, such as `10/25/40 %`."""
    return "/".join(map(percent, fractions)) + " %"


def fields_of(observation: Any) -> Mapping[str, Any]:
    """The fields of a frozen dataclass by name, as a template sees them."""
    return vars(observation)
