"""The closing table: when the gain among the workers' choices has a column."""

import io
from typing import Any

import pytest
from rich.console import Console

from jaxecon.cli.output.policies import print_policies

NAN = float("nan")


def row(**changes: Any) -> dict[str, Any]:
    values = {"welfare": 30_098.0, "gain": 0.2919, "gain_choices": 0.2919, "hours": 27.3}
    rates = [0.738, 0.726, 0.601, 0.407, 0.407, 0.407, 0.407]
    rest = {"policy": "optimum", "rates": rates, "gini_consumption": 0.207, "rebate": 26_858.0}
    return values | rest | changes


def printed(*rows: dict[str, Any]) -> str:
    out = io.StringIO()
    print_policies(Console(file=out, width=80), rows)
    return out.getvalue()


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, False),
        ({"gain_choices": 0.29191}, False),  # two digits show no difference
        ({"gain_choices": 0.3062}, True),
        ({"gain": NAN, "gain_choices": 0.55}, True),
        ({"gain": NAN, "gain_choices": NAN}, False),
        ({"gain": float("-inf"), "gain_choices": -0.5}, True),
    ],
)
def test_it_is_shown_where_it_differs(changes: dict[str, Any], shown: bool) -> None:
    text = printed(row(), row(**changes))
    assert ("grid" in text) == shown
    assert max(map(len, text.splitlines())) <= 80
    if changes.get("gain_choices") == 0.3062:
        assert "+29.19  +30.62" in text


def test_a_run_of_an_earlier_version_has_none() -> None:
    earlier = row()
    del earlier["gain_choices"]
    assert "grid" not in printed(earlier)
