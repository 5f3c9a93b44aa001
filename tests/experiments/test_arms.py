"""Rows of sweeps sorted into arms over the same populations, and their numbers as text."""

import numpy as np
import pytest

from experiments.suite.arms import arms_of, reversals, yearly_change
from experiments.suite.tables import arms_table
from experiments.suite.wording import interval_text
from jaxecon.core.errors import UserError


def test_oscillation():
    rates = np.array([[0.5, 0.5], [0.6, 0.5], [0.5, 0.5], [0.5, 0.4], [0.6, 0.3]])
    # the first bracket turns twice in two changes that follow one, the second goes on once
    assert reversals(rates) == pytest.approx(2 / 3)
    assert yearly_change(rates) == pytest.approx(100 * (0.1 + 0.1 + 0.1 + 0.1 + 0.1) / 8)
    assert reversals(rates[:1]) == reversals(np.full((5, 2), 0.3)) == yearly_change(rates[:1]) == 0


def rows(values, seeds=range(3)):
    return [
        {"arm": arm, "seed": seed, "status": "ok", "x": x}
        for arm, column in values.items()
        for seed, x in zip(seeds, column, strict=True)
    ]


def test_populations_are_paired_and_failures_leave_all_arms():
    points = rows({"a": [1.0, 2.0, 3.0], "b": [10.0, 20.0, 30.0]})
    points[1] |= {"status": "failed", "x": None}
    arms = arms_of(reversed(points), lambda row: row["arm"], ("x",))
    assert arms.dropped == 1
    assert dict(zip(arms.seeds, arms.of("x", "a"), strict=True)) == {0: 1.0, 2: 3.0}
    assert dict(zip(arms.seeds, arms.of("x", "b"), strict=True)) == {0: 10.0, 2: 30.0}


def test_draws_of_one_population_are_no_populations():
    points = rows({"a": [1.0, 3.0, 5.0]}, seeds=[7, 7, 8])
    assert arms_of(points, lambda row: row["arm"], ("x",)).of("x", "a").tolist() == [2.0, 5.0]


def simulated(seed, arm, settling=1.0, status="ok"):
    return {"seed": seed, "arm": arm, "status": status, "settling": settling, "gain_realised": 0.1}


def two_arms(*rows):
    return arms_of(rows, lambda row: row["arm"], ("gain_realised", "settling"))


def test_a_statistic_without_a_value_is_no_failure():
    with pytest.raises(UserError, match=r"^settling: no population has a value in all arms$"):
        two_arms(
            simulated(0, "a"),
            simulated(0, "b", None),
            simulated(1, "a"),
            simulated(1, "b", status="failed"),
        )
    with pytest.raises(
        UserError, match=r"no population was simulated in all arms.*points\.parquet"
    ):
        two_arms(simulated(0, "a", None), simulated(0, "b", status="failed"))
    rest = [
        simulated(0, "a", None),
        simulated(0, "b"),
        *(simulated(seed, arm) for seed in (1, 2) for arm in "ab"),
    ]
    arms = two_arms(
        *rest,
        simulated(3, "a"),
        simulated(3, "b", status="failed"),
        simulated(4, "a", None),
        simulated(4, "b"),
    )
    assert (arms.seeds, arms.dropped, arms.lacking) == ([1, 2], 1, 2)
    note = arms_table("t", "", arms, ("settling",), resamples=99).note
    assert "1 population left out: an arm failed there." in note
    assert "2 populations left out: a statistic has no value" in note


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.12345, 0.11, 0.14, 100), "12.3 [11.0, 14.0]"),
        ((0.5, np.nan, np.nan), "0.50"),
        ((12.0, 12.0, 12.0), "12.00 [12.00, 12.00]"),
        ((-0.0001, -0.02, 0.02, 100), "0.0 [-2.0, 2.0]"),
        ((1234.5, 1000, 1500), "1,234 [1,000, 1,500]"),
    ],
)
def test_numbers_as_they_are_shown(numbers, text):
    assert interval_text(*numbers) == text
