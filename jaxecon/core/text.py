"""Numbers as people and language models read them."""


def amount_text(x: float) -> str:
    """An amount as text: from 1,000 on without decimals, below with five significant digits.

    Dollars are large numbers; utilities with curvature are small ones that differ in later digits.
    """
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.5g}"
