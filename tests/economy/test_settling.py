"""How many days mean hours take to settle within a year."""

import numpy as np
import pytest

from jaxecon.economy.summary import SETTLED_WITHIN, planner_window, settling_days


@pytest.mark.parametrize("days", [1, 5, 8, 40])
def test_settling_days_against_numpy(days):
    """From its definition, day by day."""
    rng = np.random.default_rng(days)
    for _ in range(20):
        hours = (
            30 + 8 * np.exp(-np.arange(days) / 5) * rng.choice([0, 1]) + rng.normal(0, 0.7, days)
        )
        closing = hours[-planner_window(days) :].mean()
        expected = next(
            d for d in range(days + 1) if np.all(np.abs(hours[d:] - closing) <= SETTLED_WITHIN)
        )
        assert float(settling_days(hours.astype(np.float32))) == expected


def test_a_path_with_a_known_settling_day():
    hours = np.r_[np.full(7, 40.0), np.full(25, 28.0)].astype(np.float32)
    assert float(settling_days(hours)) == 7
    assert float(settling_days(np.full(10, 28.0, np.float32))) == 0


def test_the_planner_judges_by_an_eighth_of_the_year():
    assert [planner_window(days) for days in (1, 8, 15, 16, 128)] == [1, 1, 1, 2, 16]
