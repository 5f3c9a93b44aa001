"""Text that somebody else wrote, as a terminal can show it."""

import sys
import unicodedata


def printable(text: str) -> str:
    """The text with escapes in place of control characters and of those its encoding lacks."""
    shown = "".join(
        c if c in "\n\t" or not unicodedata.category(c).startswith("C") else ascii(c)[1:-1]
        for c in text
    )
    encoding = sys.stdout.encoding or "utf-8"
    return shown.encode(encoding, "backslashreplace").decode(encoding)
