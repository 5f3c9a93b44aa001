"""The best schedules of the reference tables ("Exact numbers to reproduce"), found by jaxecon's
leader in float32.

The numbers were computed by an independent NumPy/SciPy program; `leader` recomputes welfare of what
is found here.
"""

from functools import cache

import jax
import numpy as np
import pytest
from oracles import economy, leader
from oracles.strictness import strict
from oracles.test_facts import BEST_CONTINUOUS, BEST_FLAT, BEST_THREE_ON_GRID, THRESHOLDS
from scipy import optimize

import jaxecon as je

ROWS = pytest.mark.parametrize("row", BEST_FLAT, ids=lambda r: f"{r[0]}-{r[1]}")


@cache
def economy_of(row, brackets):
    return leader.standard(row[0], 1_000, np.array(THRESHOLDS[brackets]), floor=float(row[1]))


@cache
def best(row, brackets, **options):
    problem = economy_of(row, brackets)
    with strict(False, nans=True):  # NaN is what searches not used reached
        found = je.optimal_schedule(
            problem.skill.astype(np.float32),
            je.Preferences(problem.c.astype(np.float32)),
            problem.thresholds.astype(np.float32),
            problem.g.astype(np.float32),
            **options,
        )
        return jax.tree.map(np.asarray, found)


def assert_gain_is_real(found, row, teeth=True):
    """Welfare, gain and rebate of the returned rates are what the double-precision oracle says of
    them or, since the best rates lie at the teeth of the sawtooth, where float32 decides whether a
    worker jumps, of rates 0.00003 away.
    """
    rates = found.schedule.rates.astype(float)
    problem, base = (
        economy_of(row, len(rates)),
        leader.reference_outcome(economy_of(row, len(rates))).welfare[0],
    )
    near = np.random.default_rng(0).uniform(-3e-5, 3e-5, (100 if teeth else 0, len(rates)))
    exact = leader.outcome(problem, np.clip(np.concatenate([rates[None], rates + near]), 0, 1))
    assert found.welfare == pytest.approx(
        exact.welfare[np.abs(exact.welfare - found.welfare).argmin()], rel=3e-6
    )
    assert found.gain == pytest.approx(found.welfare / base - 1, abs=1e-5)
    assert found.rebate == pytest.approx(
        exact.rebate[np.abs(exact.rebate - found.rebate).argmin()], rel=1e-5
    )
    assert {
        leaf.dtype for leaf in jax.tree.leaves((found.schedule, found.welfare, found.gain))
    } == {np.dtype(np.float32)}


@ROWS
def test_best_flat_tax(row):
    rate, gain = BEST_FLAT[row]
    found = best(row, 1)
    assert_gain_is_real(found, row, teeth=False)
    assert found.certified
    assert 100 * found.gain >= gain - 0.001
    assert found.schedule.rates[0] == pytest.approx(rate, abs=0.002)

    problem = economy_of(row, 1)

    def loss(rate):
        return -leader.welfare(problem, [rate])[0]

    grid = np.linspace(0, 1, 201)
    start = grid[np.argmax(leader.welfare(problem, grid[:, None]))]
    scipys = optimize.minimize_scalar(
        loss, bounds=(start - 0.005, start + 0.005), method="bounded", options={"xatol": 1e-7}
    )
    assert found.welfare == pytest.approx(-scipys.fun, rel=2e-6)
    assert found.schedule.rates[0] == pytest.approx(scipys.x, abs=0.002)


@ROWS
def test_best_three_brackets_on_the_ten_point_grid(row):
    rates, gain = BEST_THREE_ON_GRID[row]
    found = best(row, 3, method="grid", bounds=(0.0, 0.9), grid_step=0.1)
    assert tuple(np.round(found.schedule.rates, 1)) == rates
    np.testing.assert_allclose(found.schedule.rates, rates, atol=1e-6)
    assert 100 * found.gain == pytest.approx(gain, abs=0.0015)
    assert_gain_is_real(found, row, teeth=False)
    assert not found.certified  # the best of a grid has better neighbours


@ROWS
def test_best_three_brackets(row):
    (_, gain), *_ = BEST_CONTINUOUS[row]
    found = best(row, 3)
    assert_gain_is_real(found, row)
    assert found.certified
    assert 100 * found.gain >= gain - 0.005
    assert 100 * found.gain <= gain + 0.05
    assert np.abs(found.residuals).max() < 0.05


@pytest.mark.parametrize(
    "row",
    [row for row in BEST_CONTINUOUS if len(BEST_CONTINUOUS[row]) == 2],
    ids=lambda r: f"{r[0]}-{r[1]}",
)
def test_best_seven_brackets(row):
    """The table has lower bounds."""
    _, (_, gain) = BEST_CONTINUOUS[row]
    found = best(row, 7)
    assert_gain_is_real(found, row)
    assert found.certified
    assert found.neighbours.shape == (128,)
    assert 100 * found.gain >= gain - 0.003
    assert 100 * found.gain <= gain + 0.1
    assert found.gain > best(row, 3).gain


def test_the_default_economy_gains_what_is_asked_for():
    assert best(("calibrated", 10_000), 3).gain >= 0.2874
    assert best(("calibrated", 10_000), 7).gain >= 0.2965


@pytest.mark.parametrize("brackets", [3, 7])
def test_neighbours_are_the_oracles(brackets):
    """In float64, which decides at the sawtooth's teeth as the oracle does."""
    problem = economy_of(("calibrated", 10_000), brackets)
    with strict(True, nans=True):
        found = je.optimal_schedule(
            problem.skill, je.Preferences(problem.c), problem.thresholds, problem.g
        )
        found = jax.tree.map(np.asarray, found)
    assert found.schedule.rates.dtype == np.float64
    expected = leader.welfare(problem, leader.neighbours(found.schedule.rates)) - found.welfare
    np.testing.assert_allclose(np.sort(found.neighbours), np.sort(expected), atol=1e-6)
    assert expected.max() < 1e-6


def test_the_leaders_oracle_reproduces_the_tables():
    """The oracle's responses against brute force, its exhaustive grid against the best printed."""
    row = ("calibrated", 10_000)
    problem = economy_of(row, 3)
    assert leader.reference_outcome(problem).welfare[0] == pytest.approx(25_306.512, abs=5e-4)
    rates, welfare = leader.grid(problem, np.arange(10) / 10)
    assert tuple(rates) == BEST_THREE_ON_GRID[row][0]
    assert f"{100 * (welfare / 25_306.512 - 1):.3f}" == f"{BEST_THREE_ON_GRID[row][1]:.3f}"
    for kind, rates in (
        ("calibrated", (0.9, 0.3, 0.5)),
        ("annualised", (0.1, 0.8, 0.4)),
        ("paper", (0.7, 0.9, 0.2)),
    ):
        p = economy_of((kind, 10_000), 3)
        brute, _ = economy.best_response(p.thresholds, rates, p.skill[::10], p.c[::10])
        np.testing.assert_allclose(leader.responses(p, rates)[0][::10], brute, atol=1e-4)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_the_leaders_oracle_responds_with_curvature_as_brute_force_does(eta):
    p = economy_of(("annualised", 10_000), 3)
    p = leader.Problem(p.skill[::20], p.c[::20] * 30_000.0**-eta, p.g[::20], p.thresholds, eta=eta)
    for rates, rebate in (((0.7, 0.5, 0.4), 20_000.0), ((0.2, 0.6, 0.3), 0.0)):
        brute, _ = economy.best_response(p.thresholds, rates, p.skill, p.c, eta=eta, rebate=rebate)
        np.testing.assert_allclose(leader.responses(p, rates, rebate)[0], brute, atol=1e-4)


def test_the_density_of_skills_is_that_of_their_quantiles():
    s = np.array([50.0, 400.0, 1_000.0, 3_000.0, 20_000.0])
    slope = (economy.gb2_cdf(40 * s * 1.0001) - economy.gb2_cdf(40 * s * 0.9999)) / (0.0002 * s)
    np.testing.assert_allclose(leader.gb2_skill_density(s), slope, rtol=1e-6)
