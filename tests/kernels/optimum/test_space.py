"""Optima among monotone schedules, with free thresholds, and with empty brackets."""

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle
from oracles import leader
from oracles.strictness import PROPERTY, strict
from scipy import optimize
from support.certified_cases import N, assert_described, best, case, solve

from jaxecon.kernels.optimum.space import isotonic

# Monotone schedules


@given(
    st.sampled_from([1, 2, 7]).flatmap(
        lambda k: st.lists(st.floats(-1, 2, width=32), min_size=k, max_size=k)
    )
)
@PROPERTY
def test_isotonic_projection_is_scipys(values):
    expected = optimize.isotonic_regression(values).x
    np.testing.assert_allclose(_isotonic(np.array(values)), expected, atol=1e-14)
    with strict(False):
        single = _isotonic(np.array(values, np.float32))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected, atol=2e-6)


_isotonic = jax.jit(isotonic)


def for_the_middle():
    """Weights on incomes about 40,000: free rates are nothing, much, less; in order, the upper two
    meet.
    """
    problem = case("annualised").but(thresholds=np.array([0.0, 40_000.0, 100_000.0]))
    g = np.exp(-((np.log(leader.reference_outcome(problem).income[0] / 40_000) / 0.6) ** 2))
    return problem.but(g=g / g.mean())


@pytest.mark.parametrize("name", ["calibrated", "annualised", "random 0", "random 2"])
def test_monotone_schedules(name):
    problem = case(name)
    found = solve(problem, monotone=True, method="population")
    assert_described(found, problem)
    assert np.all(np.diff(found.schedule.rates) >= 0)
    assert found.certified
    assert found.welfare <= best(name).welfare * (1 + 1e-5)
    assert found.welfare >= leader.grid(problem, np.linspace(0, 1, 21), monotone=True)[1]


def test_monotone_schedules_that_rise_where_they_may():
    problem = for_the_middle()
    found, freely = solve(problem, monotone=True, method="population"), solve(problem)
    assert_described(found, problem)
    assert found.certified
    assert freely.schedule.rates[1] > freely.schedule.rates[2] + 0.02
    assert freely.schedule.rates[0] + 0.3 < found.schedule.rates[1] == found.schedule.rates[2]
    assert (
        leader.grid(problem, np.linspace(0, 1, 21), monotone=True)[1]
        <= found.welfare
        < freely.welfare
    )


# Free thresholds


@pytest.mark.parametrize("name", ["calibrated", "annualised", "random 0"])
def test_free_thresholds(name):
    problem = case(name)
    found = solve(problem, free_thresholds=True, method="population")
    thresholds = found.schedule.thresholds
    assert thresholds[0] == 0
    income = leader.reference_outcome(problem).income[0]
    assert income[income > 0].min() * (1 - 1e-12) <= thresholds[1]
    assert thresholds[1] < thresholds[2] <= income.max() * (1 + 1e-12)
    assert_described(found, problem)
    assert found.certified
    assert found.welfare >= best(name).welfare
    rescued = solve(problem.but(thresholds=thresholds))
    # with its thresholds given, hardly better rates
    assert found.welfare >= rescued.welfare * (1 - 1e-3)


# Brackets without people


def test_a_bracket_above_everybody_takes_the_rate_below():
    problem = case("calibrated").but(thresholds=np.array([0.0, 30_000.0, 1e8]))
    found = solve(problem)
    assert_described(found, problem)
    assert found.empty.tolist() == [False, False, True]
    assert found.schedule.rates[2] == found.schedule.rates[1] != found.schedule.rates[0]
    assert not any(best("calibrated").empty)


def test_brackets_below_everybody_take_the_rate_above():
    problem = case("calibrated").but(thresholds=np.array([0.0, 20.0, 30.0]))
    found = solve(problem)
    assert found.empty.tolist() == [True, True, False]
    assert found.schedule.rates[0] == found.schedule.rates[1] == found.schedule.rates[2]
    assert_described(found, problem)


def test_a_lump_sum_below_everybody_is_an_empty_bracket():
    """Its rate is the same tax for all and comes back to all."""
    problem = case("calibrated").but(thresholds=np.array([0.0, 100.0, 60_000.0]))
    found = solve(problem)
    assert leader.outcome(problem, found.schedule.rates).income.min() > 100
    assert found.empty.tolist() == [True, False, False]
    assert found.schedule.rates[0] == found.schedule.rates[1]


def test_an_empty_bracket_that_matters_hides_none_that_does_not():
    """A gap between poor and rich: the rate in it taxes the rich.

    Nobody is above the last threshold.
    """
    skill = (
        np.concatenate(
            [np.geomspace(5_000, 20_000, N // 2), np.geomspace(120_000, 200_000, N // 2)]
        )
        / 40
    )
    g = oracle.welfare_weights("inverse_income", 40 * skill)
    problem = leader.Problem(
        skill, oracle.calibrated_weight(skill), g, np.array([0.0, 30_000.0, 60_000.0, 5e8])
    )
    found = solve(problem, method="grid", grid_step=0.25)
    assert_described(found, problem)
    rates = found.schedule.rates
    np.testing.assert_allclose(rates[:3], leader.grid(problem, np.linspace(0, 1, 5))[0][:3])
    income = leader.outcome(problem, rates).income[0]
    assert not np.any((income > 30_000) & (income <= 60_000))
    assert rates[1] != rates[0]
    assert found.empty.tolist() == [False, False, False, True]
    assert rates[3] == rates[2]
