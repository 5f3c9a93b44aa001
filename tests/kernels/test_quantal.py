"""The quantal response against an independent program."""

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle
from oracles.strictness import PROPERTY, strict
from support.labor_cases import ETAS, RATES, SCHEDULES, common_weight

import jaxecon as je
from jaxecon.kernels.quantal import choice_payoffs, cumulated_response

# Quantal response


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("rebate", [0.0, 9_000.0])
def test_quantal_response_matches_the_oracle(precision, eta, rebate):
    thresholds, rates = SCHEDULES["seesaw"]
    skill = oracle.skills(20)
    c = common_weight(eta)
    p = je.quantal_response(
        je.TaxSchedule(precision.array(thresholds), precision.array(rates)),
        precision.array(skill),
        je.Preferences(precision.array(c), consumption_curvature=eta),
        20.0,
        rebate,
    )
    assert p.shape == (20, 11)
    assert p.dtype == precision.dtype
    expected = oracle.quantal_response(thresholds, rates, skill, c, 20.0, eta=eta, rebate=rebate)
    np.testing.assert_allclose(
        p, expected, rtol=1e-9 if precision.x64 else 2e-3, atol=1e-12 if precision.x64 else 1e-6
    )
    np.testing.assert_allclose(np.sum(p, axis=-1), 1, rtol=precision.rtol)


def test_quantal_response_uses_the_given_reference_consumption():
    skill, x_ref = np.array([100.0, 2_000.0]), np.array([20_000.0, 50_000.0])
    p = je.quantal_response(
        je.TaxSchedule.us_federal(),
        skill,
        je.Preferences(common_weight(2.0), 3.5, 2.0),
        30.0,
        7_000.0,
        x_ref,
    )
    expected = oracle.quantal_response(
        oracle.US_THRESHOLDS,
        oracle.US_RATES,
        skill,
        common_weight(2.0),
        30.0,
        eta=2.0,
        rebate=7_000.0,
        x_ref=x_ref,
    )
    np.testing.assert_allclose(p, expected, rtol=1e-9, atol=1e-14)


@PROPERTY
@given(rates=RATES, eta=st.sampled_from(ETAS), precision_=st.floats(0, 500))
def test_quantal_probabilities(rates, eta, precision_):
    skill = oracle.skills(15)
    preferences = je.Preferences(np.float64(common_weight(eta)), consumption_curvature=eta)
    schedule = je.TaxSchedule(SCHEDULES["falling"][0], rates)
    p = np.asarray(je.quantal_response(schedule, skill, preferences, precision_, 2_000.0))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert (p >= 0).all()


@pytest.mark.parametrize("eta", ETAS)
def test_quantal_response_becomes_the_best_discrete_choice(eta):
    thresholds, rates = SCHEDULES["falling"]
    skill, c = oracle.skills(25), common_weight(eta)
    p = je.quantal_response(
        je.TaxSchedule(thresholds, rates), skill, je.Preferences(c, 3.5, eta), 1e7, 1_000.0
    )
    income = skill[:, None] * oracle.CHOICES
    u = oracle.utility(
        income - oracle.tax(thresholds, rates, income) + 1_000.0, oracle.CHOICES, c, 3.5, eta
    )
    np.testing.assert_array_equal(np.argmax(p, axis=1), np.argmax(u, axis=1))
    np.testing.assert_allclose(np.max(p, axis=1), 1, atol=1e-6)


def test_no_precision_is_uniform_over_the_hours_allowed():
    """Precision 0 is in the accepted range: every possible choice is as likely, impossible ones
    have probability 0.
    """
    schedule, skill = je.TaxSchedule.us_federal(), np.array([500.0])
    np.testing.assert_allclose(
        je.quantal_response(schedule, skill, je.Preferences.annualised(), 0.0),
        np.full((1, 11), 1 / 11),
    )
    with strict(True, nans=True):
        capped = je.quantal_response(schedule, skill, je.Preferences(0.026, max_hours=40.0), 0.0)
        np.testing.assert_allclose(capped, [[0.2] * 5 + [0] * 6])
        starving = je.quantal_response(schedule, skill, je.Preferences(1e-7, 3.5, 1.0), 0.0)
        np.testing.assert_allclose(starving, [[0] + [0.1] * 10])


def test_hours_above_the_cap_are_never_chosen():
    skill = np.array([5_000.0, 5_000.0])
    p = je.quantal_response(
        je.TaxSchedule.flat(0.1),
        skill,
        je.Preferences(0.026, 3.5, 0.0, np.array([45.0, 100.0])),
        20.0,
    )
    assert (p[0, 5:] == 0).all()
    assert (p[1, 5:] > 0).all()
    expected = oracle.quantal_response(
        [0.0], [0.1], skill, 0.026, 20.0, cap=np.array([45.0, 100.0])
    )
    np.testing.assert_allclose(p, expected, rtol=1e-10, atol=1e-15)


def test_gradient_of_the_quantal_response_with_impossible_choices():
    skill = np.array([700.0])

    def share(precision_, cap):
        return je.quantal_response(
            je.TaxSchedule.flat(0.1), skill, je.Preferences(0.026, max_hours=cap), precision_
        )[0, 3]

    with strict(True, nans=True):
        for cap in (100.0, 60.0):
            slope = jax.grad(share)(5.0, cap)
            np.testing.assert_allclose(
                slope, (share(5.001, cap) - share(4.999, cap)) / 0.002, rtol=1e-5
            )


def test_nobody_can_live_on_any_choice_still_gives_probabilities():
    with strict(True, nans=True):
        p = je.quantal_response(
            je.TaxSchedule.flat(0.1),
            np.array([1.0]),
            je.Preferences(1e-7, 3.5, 1.0),
            20.0,
            -50_000.0,
        )
        np.testing.assert_allclose(np.sum(p, axis=-1), 1)


def test_payoffs_are_in_units_of_full_time_income():
    payoff = choice_payoffs(
        je.TaxSchedule.flat(0.25), np.array([1_000.0]), je.Preferences(0.026), 500.0
    )
    h = oracle.CHOICES
    np.testing.assert_allclose(payoff[0], (750 * h + 500 - 0.026 * h**3.5) / 40_000, rtol=1e-13)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.0, 20.0, 1e4])
@pytest.mark.parametrize("cap", [100.0, 45.0, np.array([7.0, 40.0, 59.9, 100.0])])
@pytest.mark.parametrize("rebate", [8_000.0, -40_000.0])
def test_cumulated_response_is_the_cumulated_quantal_response(precision, eta, noise, cap, rebate):
    """In the second case of the rebate the poor cannot live on any choice."""
    skill = precision.array([150.0, 900.0, 2_500.0, 20_000.0])
    c = precision.array(0.026 * (40 * np.asarray(skill, float)) ** -eta)
    preferences = je.Preferences(c, 3.5, eta, precision.array(cap))
    schedule = je.TaxSchedule.us_federal().astype(precision.dtype)
    cumulated = cumulated_response(schedule, skill, preferences, noise, rebate)
    assert (cumulated.shape, cumulated.dtype) == ((10, 4), precision.dtype)
    chances = np.asarray(je.quantal_response(schedule, skill, preferences, noise, rebate), float)
    np.testing.assert_allclose(
        cumulated.T,
        np.cumsum(chances, axis=1)[:, :-1],
        atol=10 * precision.rtol * max(1, noise / 20),
    )
    nothing_above = np.cumsum(chances[:, ::-1], axis=1)[:, ::-1][:, 1:] == 0
    np.testing.assert_array_equal(cumulated.T[nothing_above], 1)
