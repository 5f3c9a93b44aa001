"""The language of templates: Jinja2's, in a sandbox, with lines that may go on.

A line of nothing but tags leaves no line in the prompt, and a line that begins with a space goes on
with the line above it. A template sees the values that its decision hands it and nothing else: a
name that does not exist is an error rather than empty text.
"""

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from numbers import Number
from typing import Any

from jinja2 import (
    BaseLoader,
    StrictUndefined,
    TemplateRuntimeError,
    TemplateSyntaxError,
    Undefined,
)
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment

from jaxecon.core.text import amount_text

_CONTINUED = re.compile(r" *\n +")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
_TAG_LINE = re.compile(r"^[ \t]*((?:\{%(?:(?!%\})[^\n])*%\}[ \t]*)+|[ \t]*)\n", re.MULTILINE)


class Missing(StrictUndefined):
    """A value that a template does not have. Filters that format it say so, too."""

    __format__ = __abs__ = __round__ = StrictUndefined._fail_with_undefined_error


class TemplateEnvironment(ImmutableSandboxedEnvironment):
    """Reads templates from a loader. A template's parts are its loader's too."""

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=Missing,
            extensions=[_TagLines],
            finalize=_said,
            keep_trailing_newline=True,
            auto_reload=False,
        )
        self.globals.clear()
        del self.filters["random"]  # a prompt depends on its observation alone
        self.tests |= {
            name: _refusing_missing(test)
            for name, test in dict[str, Any](self.tests).items()
            if name not in ("defined", "undefined")
        }
        self.filters |= {
            "amount": amount,
            "whole": whole,
            "percent": percent,
            "percents": percents,
        }

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A field of a record at once: the sandbox's own checks take most of a prompt's time."""
        kind: Any = type(obj)
        if attribute in _fields(kind):
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)


def words_of(source: str) -> str:
    """What a template can say: its text without comments and the lines that leave none."""
    return _TAG_LINE.sub(lambda line: line[1].strip(), _COMMENT.sub("", source))


def joined(text: str) -> str:
    """A rendered text with lines that go on joined to those above them."""
    return _CONTINUED.sub(" ", text).strip()


def place_of(error: BaseException) -> tuple[str | None, str]:
    """The template and the line in which an error arose, as far as they are known.

    Of a passage that is filled in from several values only the first line is known.
    """
    if isinstance(error, TemplateSyntaxError):
        return error.name, f"line {error.lineno}"
    place: tuple[str | None, str] = None, ""
    traceback = error.__traceback__
    while traceback is not None:
        template = traceback.tb_frame.f_globals.get("__jinja_template__")
        if template is not None:
            line = template.get_corresponding_lineno(traceback.tb_lineno)
            place = template.name, f"from line {line}"
        traceback = traceback.tb_next
    return place


def _said(value: Any) -> Any:
    """The value, if a prompt can say it; others would be said as Python writes them."""
    if type(value) in (str, int, float) or isinstance(value, str | Number):
        return value
    if isinstance(value, Missing):
        str(value)  # raises the error that names it
    if isinstance(value, Undefined):  # what `x if y`, without an else, says where y is false
        return ""
    raise TemplateRuntimeError(
        f"a {type(value).__name__} cannot be said; a text or a number can (|join makes one of a "
        "list)"
    )


def _refusing_missing(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test, which fails for a value that a template does not have: `x is none` would be no."""

    @wraps(test)
    def refusing(value: Any, *arguments: Any) -> Any:
        if isinstance(value, Missing):
            str(value)  # raises the error that names it
        return test(value, *arguments)

    return refusing


@lru_cache(maxsize=256)
def _fields(kind: type) -> frozenset[str]:
    """The names of the fields of a dataclass or a named tuple."""
    if dataclasses.is_dataclass(kind):
        return frozenset(field.name for field in dataclasses.fields(kind))
    return frozenset(getattr(kind, "_fields", ())) if issubclass(kind, tuple) else frozenset()


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
