"""What is said of an error in one line."""

import pytest

from jaxecon.core.errors import first_line


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError(), "ValueError"),
        (ValueError("\n \n"), "ValueError"),
        (RuntimeError("\nlate\nlines"), "late"),
    ],
)
def test_first_line(error, line):
    assert first_line(error) == line
