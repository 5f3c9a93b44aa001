"""Numbers as text for people and language models."""


def amount_text(x: float) -> str:
    """An amount as text: without decimals from 1,000 on, otherwise with five significant digits.

    Dollar amounts are large. Utilities with curvature are small, and differ only in later digits.
    """
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.5g}"
