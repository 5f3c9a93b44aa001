"""Numbers and texts as people and language models read them."""

import itertools
import math
import unicodedata
from collections.abc import Sequence

TOKEN_BYTES = 3  # of a language model's token, which English rarely exceeds


def estimated_tokens(text: str) -> int:
    """Tokens of a text, where there is no tokenizer at hand."""
    return -(-len(text.encode(errors="replace")) // TOKEN_BYTES)


def amount_text(x: float) -> str:
    """An amount as text: without decimals from 1,000 on, otherwise with five significant digits.

    Dollar amounts are large. Utilities with curvature are small, and differ only in later digits.
    """
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.5g}"


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: a longer one is cut, and ends in two dots."""
    return text if len(text) <= most else f"{text[: most - 2]}.."


def shown(value: object, most: int) -> str:
    """Any value as Python writes it, in at most so many characters.

    A number too long to be written, or an object that cannot be, is named by its type.
    """
    try:
        return shortened(repr(value), most)
    except Exception:  # of a user's own object, or ValueError of a number of 4,300 digits and more
        return f"({type(value).__name__})"


def escaped(text: str, kept: str = "") -> str:
    """A text with escapes in place of control characters (of direction, too) and line breaks.

    kept: those that stay, such as "\\n\\t".
    """
    return "".join(c if c in kept or _is_visible(c) else ascii(c)[1:-1] for c in text)


def _is_visible(c: str) -> bool:
    category = unicodedata.category(c)
    return not category.startswith("C") and category not in ("Zl", "Zp")


def is_text(text: str) -> bool:
    """Whether a name or a path is text that UTF-8 can write, without null characters."""
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of another encoding, which Python keeps as surrogates
        return False
    return "\0" not in text


def plural(count: float, one: str, many: str = "") -> str:
    """A number and its noun: "1 year", "2,000 years". many: the plural, if it has no plain s."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def decimals_apart(values: Sequence[float], resolution: float = 0.0) -> int:
    """How many decimals show the differences of amounts: two digits of the smallest one.

    At most 12. Of fewer than two different finite amounts, the decimals of `amount_text`.
    resolution: amounts closer than this share of the largest one count as equal.
    """
    finite = sorted({value for value in values if math.isfinite(value)})
    largest = max(map(abs, finite), default=0.0)
    gaps = [b - a for a, b in itertools.pairwise(finite) if b - a > resolution * largest]
    if gaps:
        digits = 1 - math.floor(math.log10(min(gaps)))
    else:
        digits = 4 - math.floor(math.log10(largest)) if 0 < largest < 1000 else 0
    return min(max(digits, 0), 12)
