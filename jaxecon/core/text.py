"""Numbers as text for people and language models."""

import itertools
import math
from collections.abc import Sequence


def amount_text(x: float) -> str:
    """An amount as text: without decimals from 1,000 on, otherwise with five significant digits.

    Dollar amounts are large. Utilities with curvature are small, and differ only in later digits.
    """
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.5g}"


def decimals_apart(values: Sequence[float]) -> int:
    """How many decimals show the differences of amounts: two digits of the smallest one.

    At most 12. Of fewer than two different finite amounts, the decimals of `amount_text`.
    """
    finite = sorted({value for value in values if math.isfinite(value)})
    if len(finite) < 2:
        largest = abs(finite[0]) if finite else 0.0
        digits = 4 - math.floor(math.log10(largest)) if 0 < largest < 1000 else 0
    else:
        gap = min(b - a for a, b in itertools.pairwise(finite))
        digits = 1 - math.floor(math.log10(gap))
    return min(max(digits, 0), 12)
