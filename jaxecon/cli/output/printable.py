"""Text that somebody else wrote, as a terminal can show it."""

import sys
import unicodedata


def printable(text: str) -> str:
    """The text with escapes in place of control characters and of those its encoding lacks."""
    return _escaped(text, "\n\t")


def one_line(text: str) -> str:
    """The same on one line: with escapes in place of line breaks and tabs, too."""
    return _escaped(text, "")


def say(text: str, *, stderr: bool = False, end: str = "\n") -> None:
    """Print plain text that may have several lines."""
    print(printable(text), end=end, file=sys.stderr if stderr else sys.stdout)


def say_line(text: str, *, stderr: bool = False) -> None:
    """Print one line: line breaks in it are escapes."""
    print(one_line(text), file=sys.stderr if stderr else sys.stdout)


def _escaped(text: str, kept: str) -> str:
    shown = "".join(c if c in kept or _is_visible(c) else ascii(c)[1:-1] for c in text)
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)


def _is_visible(c: str) -> bool:
    """Whether a character is neither a control (of direction, too) nor breaks a line."""
    category = unicodedata.category(c)
    return not category.startswith("C") and category not in ("Zl", "Zp")
