"""Optima under the constraint that taxes pay for spending, one by one and in a batch."""

from functools import cache

import jax
import numpy as np
import pytest
from oracles import economy as oracle
from oracles import leader
from oracles.strictness import strict
from support.certified_cases import SEARCH, THREE, assert_described, by_population, case, solve

import jaxecon as je
from jaxecon.kernels.optimum.certified import optimal_schedule


@pytest.mark.parametrize("spending", [0.0, 28_300.0])
def test_the_grid_with_a_floor_takes_the_best_point_that_pays(spending):
    problem = case("calibrated").but(spending=spending, floor=0.0)
    rates, welfare = leader.grid(problem, np.linspace(0, 1, 11))
    found = solve(problem, method="grid", public_spending=spending, rebate_floor=0.0)
    np.testing.assert_allclose(found.schedule.rates, rates, atol=1e-12)
    assert found.welfare == pytest.approx(welfare, rel=1e-9)


# Public spending that taxes have to pay for

BINDING = (28_600.0, 28_700.0, 28_800.0)


@cache
def paying(spending):
    problem = leader.standard("calibrated", 1_000, THREE)
    return solve(problem, method="population", public_spending=spending, rebate_floor=0.0)


def test_spending_within_reach_costs_what_it_costs():
    """Not binding: the optimum of FACTS in double precision, multiplier 0; each dollar of spending
    takes a dollar.
    """
    none, some = paying(0.0), paying(12_345.0)
    assert_described(none, leader.standard("calibrated", 1_000, THREE))
    assert none.gain * 100 >= 28.750 - 0.005
    for found in (none, some):
        assert found.multiplier == 0
        assert found.feasible
        assert found.certified
    np.testing.assert_allclose(some.schedule.rates, none.schedule.rates, atol=0.005)
    assert none.welfare - some.welfare == pytest.approx(12_345, abs=1)
    assert none.rebate - some.rebate == pytest.approx(12_345, abs=40)


@pytest.mark.parametrize("spending", BINDING)
def test_spending_that_binds(spending):
    found = paying(spending)
    problem = leader.standard("calibrated", 1_000, THREE, spending=spending)
    rates = found.schedule.rates
    exact = leader.outcome(problem, rates)
    assert found.welfare == pytest.approx(exact.welfare[0], rel=1e-8)
    assert -1e-3 <= found.rebate <= 15
    assert found.rebate == pytest.approx(exact.rebate[0], abs=1e-5)
    assert found.feasible
    assert found.certified
    assert rates[0] > paying(0.0).schedule.rates[0] + 0.01
    assert found.welfare < paying(0.0).welfare - spending
    around = leader.welfare(problem.but(floor=-1e-3), leader.neighbours(rates))
    assert around.max() <= found.welfare + 1e-6
    _, on_grid = leader.grid(problem.but(floor=0.0), np.linspace(0, 1, 11))
    assert found.welfare > on_grid


def test_the_multiplier_is_what_spending_costs_beyond_itself():
    low, middle, high = (paying(spending) for spending in BINDING)
    slope = (high.welfare - low.welfare) / (BINDING[2] - BINDING[0])
    assert middle.multiplier > 0
    assert middle.multiplier == pytest.approx(-slope - 1, rel=0.15)
    assert low.multiplier < middle.multiplier < high.multiplier


def test_spending_out_of_reach_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^public_spending: 50000; .* rebate_floor 0: the most falls 2\d,\d{3} \$/year",
    ):
        paying(50_000.0)


MANY = ["calibrated", "annualised", "calibrated, no floor"]


@cache
def many_at_once():
    """Three populations; then one whose taxes just pay, and one whose taxes cannot.

    One compiled call.
    """
    problems = [case(name) for name in (*MANY, "calibrated", "calibrated")]
    spending = np.array([0.0, 0.0, 0.0, 28_000.0, 1e5])

    def one(skill, c, g, spending):
        preferences = je.Preferences(c, oracle.D, 0.0, 100.0)
        return optimal_schedule(
            skill,
            preferences,
            THREE,
            g,
            method="population",
            public_spending=spending,
            rebate_floor=0.0,
            effort=SEARCH,
        )

    stacked = (np.stack([getattr(p, field) for p in problems]) for field in ("skill", "c", "g"))
    with strict(True, nans=True):
        found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*stacked, spending))
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(len(problems))]


@pytest.mark.parametrize("number", range(3))
def test_populations_at_once_are_one_after_the_other(number):
    """And a floor that does not bind changes nothing."""
    found, alone = many_at_once()[number], by_population(MANY[number])
    assert found.welfare == pytest.approx(alone.welfare, rel=1e-9)
    np.testing.assert_allclose(found.schedule.rates, alone.schedule.rates, atol=1e-6)
    assert found.multiplier == 0
    assert found.feasible
    assert found.certified


def test_a_floor_that_binds_in_a_batch():
    found = many_at_once()[3]
    problem = case("calibrated").but(spending=28_000.0, floor=0.0)
    assert found.feasible
    assert found.multiplier > 0
    assert 0 <= found.rebate + 1e-6 <= 30
    assert found.welfare == pytest.approx(
        leader.welfare(problem, found.schedule.rates)[0], rel=1e-9
    )
    welfare = leader.by_differential_evolution(problem)[1]
    assert found.welfare + 28_000 >= (welfare + 28_000) * (1 - 1e-4)


def test_what_cannot_be_paid_is_said_element_by_element():
    """Nothing is raised for the batch; the element says so, comes nearest to paying, and certifies
    nothing.
    """
    found = many_at_once()[4]
    assert not found.feasible
    problem = case("calibrated").but(spending=1e5)
    every = np.array(np.meshgrid(*[np.linspace(0.4, 1, 13)] * 3)).reshape(3, -1).T
    most = leader.outcome(problem, every).rebate.max()
    assert most <= found.rebate + 1
    assert found.rebate < 0
    assert not found.certified
