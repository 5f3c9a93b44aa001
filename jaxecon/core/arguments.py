"""Arguments of public functions: what is of another kind is a UserError of one line."""

import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

from jaxecon.core.errors import UserError
from jaxecon.core.text import is_text, shown

_P = ParamSpec("_P")
_R = TypeVar("_R")

# limits that commands and functions share
MAX_SEEDS = 100_000  # new runs of one branch
MAX_CHUNK = 100_000_000  # runs in one compiled program
MAX_PLANNED = 10**15  # of a sweep, whatever the user asks for: more cannot be planned

_MAX_VALUE = 200  # characters of a wrong value that are shown


class Kind(NamedTuple):
    """What an argument may be, in words, and whether a value is that."""

    words: str
    accepts: Callable[[Any], bool]


def _is_path(value: Any) -> bool:
    if not isinstance(value, str | os.PathLike):
        return False
    path = os.fspath(value)
    return isinstance(path, str) and is_text(path)


def _is_whole(value: Any) -> bool:
    # NumPy's whole numbers have __index__, too
    return hasattr(value, "__index__") and not isinstance(value, bool)


PATH = Kind("a path: text in UTF-8 or a Path", _is_path)
WHOLE = Kind("a whole number", _is_whole)
FLAG = Kind("True or False", lambda value: isinstance(value, bool))
FUNCTION = Kind("a function or None", lambda value: value is None or callable(value))


def unset_or(kind: Kind) -> Kind:
    """The same kind, or None."""
    return Kind(f"{kind.words}, or None", lambda value: value is None or kind.accepts(value))


def having(words: str, *methods: str) -> Kind:
    """An object with these methods, or None."""
    return Kind(
        f"{words} (an object with {', '.join(methods)}) or None",
        lambda value: value is None or all(callable(getattr(value, m, None)) for m in methods),
    )


LISTENER = having("a listener", "on_days", "on_year", "on_diagnostic")
ENGINE = having("an engine", "complete", "prompt_tokens", "close")


def checked_arguments(**kinds: Kind) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Check arguments of a function by their names, before it is called.

    Args:
        kinds: of the arguments that are checked.
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*arguments: _P.args, **named: _P.kwargs) -> _R:
            bound = signature.bind(*arguments, **named)
            for name, value in bound.arguments.items():
                if name in kinds and not kinds[name].accepts(value):
                    raise UserError(
                        f"{name}: {shown(value, _MAX_VALUE)}; {kinds[name].words} "
                        f"(argument of {function.__name__})"
                    )
            return function(*arguments, **named)

        return checked

    return decorate
