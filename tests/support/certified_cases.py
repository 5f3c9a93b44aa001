"""Leaders' problems, and what the optimum says of them, for tests of the optimum."""

from functools import cache

import jax
import numpy as np
import pytest
from oracles import economy as oracle
from oracles import leader
from oracles.strictness import strict

import jaxecon as je
from jaxecon.kernels.optimum.certified import optimal_schedule
from jaxecon.kernels.optimum.space import Effort

THREE = oracle.THREE_THRESHOLDS
# cheap to run, not to compile
SEARCH = Effort(starts=8, gradient_steps=40, population=64, generations=100, polished=4)


N = 60


# One shape and one type, so that cases share compiled programs


def preferences_of(problem):
    return je.Preferences(problem.c.copy(), problem.d, problem.eta, problem.cap)


def solve(problem, welfare=None, **options):
    """NaN is the documented value of searches not used, so jax_debug_nans is off here."""
    options = {"effort": SEARCH, **options}
    with strict(True, nans=True):
        found = optimal_schedule(
            problem.skill,
            preferences_of(problem),
            problem.thresholds,
            problem.g if welfare is None else welfare,
            problem.w,
            **options,
        )
        return jax.tree.map(np.asarray, found)


def lognormal(seed, thresholds=(0.0, 30_000.0, 80_000.0)):
    """Skills, tastes, welfare and survey weights at random."""
    rng = np.random.default_rng(seed)
    skill = np.sort(np.exp(rng.normal(7, 0.9, N)))
    c = 0.03 * (skill / 1_000) ** rng.uniform(0, 0.9) * np.exp(rng.normal(0, 0.2, N))
    w = rng.integers(1, 5, N).astype(float)
    g = np.exp(rng.normal(0, 0.3, N)) / (skill + 300)
    return leader.Problem(skill, c, g / np.average(g, weights=w), np.array(thresholds), w=w)


CASES = {
    "calibrated": lambda: leader.standard("calibrated", N, THREE),
    "calibrated, no floor": lambda: leader.standard("calibrated", N, THREE, floor=1.0),
    "annualised": lambda: leader.standard("annualised", N, THREE),
    "paper": lambda: leader.standard("paper", N, THREE),
    "close thresholds": lambda: leader.standard("annualised", N, np.array([0.0, 5_000.0, 9_000.0])),
    "random 0": lambda: lognormal(0),
    "random 1": lambda: lognormal(1, (0.0, 10_000.0, 150_000.0)),
    "random 2": lambda: lognormal(2),
}


@cache
def case(name):
    return CASES[name]()


@cache
def best(name):
    return solve(case(name))


def assert_described(found, problem, bounds=(0.0, 1.0), rtol=1e-9):
    """What the optimum says of its schedule is what the oracle says of it."""
    rates = found.schedule.rates.astype(float)
    problem = problem.but(thresholds=found.schedule.thresholds.astype(float))
    exact, reference = leader.outcome(problem, rates), leader.reference_outcome(problem)
    assert np.all((rates >= bounds[0]) & (rates <= bounds[1]))
    assert found.welfare == pytest.approx(exact.welfare[0], rel=rtol)
    assert found.reference_welfare == pytest.approx(reference.welfare[0], rel=rtol)
    assert found.gain == pytest.approx(
        (exact.welfare[0] - reference.welfare[0]) / abs(reference.welfare[0]), rel=10 * rtol
    )
    assert found.rebate == pytest.approx(exact.rebate[0], rel=10 * rtol, abs=1e-6)


# Methods


@cache
def by_population(name="calibrated"):
    return solve(case(name), method="population")


# The condition that a best schedule satisfies


@cache
def dense(kind):
    problem = leader.standard(kind, 20_000, THREE)
    few = Effort(starts=4, gradient_steps=40, population=8, generations=1, polished=1)
    return problem, solve(problem, method="gradient", effort=few)
