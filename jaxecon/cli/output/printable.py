"""Text that somebody else wrote, as a terminal can show it."""

import sys

from jaxecon.core.text import escaped


def printable(text: str) -> str:
    """The text with escapes in place of control characters and of those its encoding lacks."""
    return _in_encoding(escaped(text, "\n\t"))


def one_line(text: str) -> str:
    """The same on one line: with escapes in place of line breaks and tabs, too."""
    return _in_encoding(escaped(text))


def say(text: str, *, stderr: bool = False, end: str = "\n") -> None:
    """Print plain text that may have several lines."""
    print(printable(text), end=end, file=sys.stderr if stderr else sys.stdout)


def say_line(text: str, *, stderr: bool = False) -> None:
    """Print one line: line breaks in it are escapes."""
    print(one_line(text), file=sys.stderr if stderr else sys.stdout)


def _in_encoding(text: str) -> str:
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
