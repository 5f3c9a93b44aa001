"""Numbers as people and language models read them."""


def amount_text(x: float) -> str:
    """Dollars without cents; utilities of a curved scale, which are small numbers, with the digits
    that tell them apart.
    """
    return f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.5g}"
