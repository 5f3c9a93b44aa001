"""Reads objects and lists in forms near JSON, as models write them.

Read besides JSON: Python's literals, single and typographic quotes, names without quotes, comments,
trailing commas, and values without quotes such as +10, 10% or forty hours. A value that cannot be
read for certain is no value: the text then holds no object.
"""

import json
import re
from typing import Any

_MAX_DEPTH = 32
_MAX_NUMBER = 400  # digits of a number; Python's integers from text have a limit of their own
# The rest of a line that is numbers alone: "// 1," and "#2" are values as likely as comments.
_NUMBERS = r"[-+.,% \t#]*+\d[-+.,% \t#\d]*+(?:[\n\]}]|\Z)"
_SPACE = re.compile(
    rf"(?:\s|//(?!{_NUMBERS})[^\n]*|#(?!\d|{_NUMBERS})[^\n]*|/\*.*?\*/)*", re.DOTALL
)
_NAME = re.compile(r"\w[\w-]{0,40}(?: [\w-]{1,40}){0,3}")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
# Signs of another value, or of text between two values, in a value without quotes.
_WORDS = re.compile(r"(?:#(?=\d))?[^\s,\[\]{}()\"'“”‘’:=/#][^\n,\[\]{}()\"'“”‘’:=/#]*")
# By the opening quote. An apostrophe may stand for much, so that its text ends with the line.
_STRINGS = {
    '"': re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL),
    "'": re.compile(r"'(?:[^'\\\n]|\\.)*'"),
    "“": re.compile(r"“(?:[^”\\]|\\.)*”", re.DOTALL),
    "‘": re.compile(r"‘(?:[^’\\\n]|\\.)*’"),
}
_CLOSING = {"{": "}", "[": "]", "(": ")"}
_LITERALS = {
    "true": True,
    "false": False,
    "null": None,
    "True": True,
    "False": False,
    "None": None,
}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


class NoValue(ValueError):
    """There is no value that can be read for certain."""


class Repeated(NoValue):
    """An object gives one of its fields twice."""


def tolerant_value(text: str, start: int) -> tuple[Any, int]:
    """The object or list that begins at `start`, and where it ends.

    Raises:
        NoValue: there is none, or it is nested too deeply.
    """
    return _Reader(text).value(start, 0)


def value_or_text(text: str) -> Any:
    """The value that the whole text is, or else the text itself."""
    try:
        value, end = tolerant_value(text, 0)
    except NoValue:
        return text
    return value if end == len(text) else text


class _Reader:
    """Reads one text. Positions are indices of its characters."""

    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, at: int, depth: int) -> tuple[Any, int]:
        if depth > _MAX_DEPTH:
            raise NoValue
        sign = self._text[at : at + 1]
        if sign == "{":
            return self._object(at, depth)
        if sign in ("[", "("):
            return self._list(at, depth)
        if sign in _STRINGS:
            return self._string(at)
        return self._words(at)

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self._skip(at + 1)
        while self._text[at : at + 1] != "}":
            name, at = self._name(at)
            at = self._skip(at)
            if self._text[at : at + 1] != ":":
                raise NoValue
            value, at = self.value(self._skip(at + 1), depth + 1)
            if name in found:
                raise Repeated
            found[name] = value
            at = self._after_item(at, "}")
        return found, at + 1

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        closing = _CLOSING[self._text[at]]
        found: list[Any] = []
        at = self._skip(at + 1)
        while self._text[at : at + 1] != closing:
            value, at = self.value(at, depth + 1)
            found.append(value)
            at = self._after_item(at, closing)
        return found, at + 1

    def _after_item(self, at: int, closing: str) -> int:
        """Where the next item, or the closing sign, is."""
        at = self._skip(at)
        sign = self._text[at : at + 1]
        if sign == ",":
            return self._skip(at + 1)
        if sign != closing:
            raise NoValue
        return at

    def _name(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] in _STRINGS:
            return self._string(at)
        match = _NAME.match(self._text, at)
        if match is None:
            raise NoValue
        return match.group(), match.end()

    def _string(self, at: int) -> tuple[str, int]:
        match = _STRINGS[self._text[at]].match(self._text, at)
        if match is None:
            raise NoValue
        return _ESCAPE.sub(_unescaped, match.group()[1:-1]), match.end()

    def _words(self, at: int) -> tuple[Any, int]:
        match = _WORDS.match(self._text, at)
        if match is None:
            raise NoValue
        words = match.group().strip()
        if words in _LITERALS:
            return _LITERALS[words], match.end()
        number = _NUMBER.fullmatch(words)
        if number is not None and len(words) <= _MAX_NUMBER:
            if number[1] is not None and len(number[1]) == 4 and number[2] is None:
                return words, match.end()  # 5.600 may be 5600: kinds of numbers know
            whole = number[1] is None and number[2] is None
            return int(words) if whole else float(words), match.end()
        return words, match.end()

    def _skip(self, at: int) -> int:
        """Where the next character is that is neither space nor part of a comment."""
        match = _SPACE.match(self._text, at)
        assert match is not None  # the pattern matches nothing at all, too
        return match.end()


def _unescaped(match: re.Match[str]) -> str:
    escape = match[1]
    if len(escape) > 1:
        # pairs of surrogates are put together by JSON's reader, halves are kept as they are
        return str(json.loads(f'"\\{escape}"'))
    return _ESCAPED.get(escape, escape)
