"""What each choice of hours brings a worker, against plain Python."""

import math

import numpy as np
import pytest

import jaxecon as je
from llm.agents.worth import worth_of

CHOICES = tuple(range(0, 101, 10))
SCHEDULE = je.TaxSchedule(
    np.array([0.0, 20_000.0, 60_000.0], np.float32), np.array([0.1, 0.5, 0.3], np.float32)
)


def plain(skill, weight, curvature, rebate, hours):
    """Tax and utility of one worker's hours."""
    income = skill * hours
    tax = 0.1 * min(income, 20_000) + 0.5 * min(max(income - 20_000, 0), 40_000)
    tax += 0.3 * max(income - 60_000, 0)
    effort = weight * hours**3.5
    if curvature == 0:
        return tax, income - tax - effort
    consumption = income - tax + rebate
    if consumption <= 0:
        return tax, -math.inf
    if curvature == 1:
        return tax, math.log(consumption) - effort
    power = 1 - curvature
    return tax, (consumption**power - 1) / power - effort


@pytest.mark.parametrize(("curvature", "rebate"), [(0.0, 9_000.0), (1.0, 9_000.0), (2.0, -3_000.0)])
def test_it_is_what_plain_python_finds(curvature, rebate):
    skill = np.array([30.0, 550.0, 4_000.0])
    weight = np.array([0.001, 0.02, 0.3]) * (1 if curvature == 0 else 1e-6)
    preferences = je.Preferences(weight, 3.5, curvature)
    found = worth_of(CHOICES, SCHEDULE, skill, preferences, rebate)
    for agent, (own, heavy) in enumerate(zip(skill, weight, strict=True)):
        for at, hours in enumerate(CHOICES):
            expected = plain(own, heavy, curvature, rebate, hours)
            actual = [column[agent][at] for column in found]
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-3)
    assert found.of(1).utility == found.utility[1].tolist()


def test_the_rebate_matters_only_where_it_changes_what_a_dollar_is_worth():
    skill = np.array([500.0])
    linear, log = (je.Preferences(0.02 if eta == 0 else 1e-7, 3.5, eta) for eta in (0.0, 1.0))
    for preferences, same in ((linear, True), (log, False)):
        low, high = (worth_of(CHOICES, SCHEDULE, skill, preferences, r).utility for r in (0.0, 9e3))
        assert np.array_equal(low, high) == same


def test_late_digits_are_there():
    """At curvature 2 utility is 1 less something tiny: float32 could not tell hours apart."""
    utility = worth_of(CHOICES, SCHEDULE, [50_000.0], je.Preferences(1e-18, 3.5, 2.0), 1e5).utility[
        0
    ]
    assert len(set(utility.tolist())) == len(CHOICES)
    assert len(set(utility.astype(np.float32).tolist())) < len(CHOICES)
