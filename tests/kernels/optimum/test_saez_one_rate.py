"""Saez's formulas for one rate against published values."""

import jax
import numpy as np
import pytest
from oracles import economy
from scipy import optimize
from support.saez_cases import COST, INCOME, SKILL, G, N

import jaxecon as je
from jaxecon.kernels.optimum.density import pareto_parameter

# Top and linear rates


@pytest.mark.parametrize(
    ("pareto", "elasticity", "weight", "rate", "digits"),
    [  # Diamond and Saez 2011 and those who cite them; Saez and Stantcheva 2016
        (1.5, 0.25, 0.0, 0.727, 3),
        (1.5, 0.57, 0.0, 0.54, 2),
        (1.5, 0.17, 0.0, 0.80, 2),
        (1.5, 0.60, 0.0, 0.526, 3),
        (1.5, 0.65, 0.0, 0.506, 3),
        (1.5, 0.50, 0.0, 0.57, 2),
        (1.5, 0.50, 1 / 3, 0.47, 2),
    ],
)
def test_published_top_rates(precision, pareto, elasticity, weight, rate, digits):
    got = je.saez_top_rate(
        precision.array(pareto), precision.array(elasticity), precision.array(weight)
    )
    assert got.dtype == precision.dtype
    assert round(float(got), digits) == rate


@pytest.mark.parametrize(
    ("pareto", "uncompensated", "compensated", "weight", "percent"),
    # Saez 2001, table 2, worked out by hand: 1/1.1, 1/1.25, 1/1.5, 1/1.7, 0.75/1.45, 1/2.25,
    # 0.75/1.35
    [
        (1.5, 0.0, 0.2, 0.0, 91),
        (1.5, 0.0, 0.5, 0.0, 80),
        (2.0, 0.0, 0.5, 0.0, 67),
        (2.0, 0.2, 0.5, 0.0, 59),
        (2.0, 0.2, 0.5, 0.25, 52),
        (2.5, 0.5, 0.5, 0.0, 44),
        (1.5, 0.2, 0.8, 0.25, 56),
    ],
)
def test_top_rates_with_income_effects(pareto, uncompensated, compensated, weight, percent):
    assert (
        round(100 * float(je.saez_top_rate(pareto, compensated, weight, uncompensated))) == percent
    )


def test_top_rate_without_income_effects_is_the_plain_one():
    a, e, g = np.array([1.2, 1.5, 3.0]), np.array([0.1, 0.4, 2.0]), np.array([0.0, 0.3, 0.9])
    plain = (1 - g) / (1 - g + a * e)
    np.testing.assert_allclose(je.saez_top_rate(a, e, g), plain, rtol=1e-14)
    np.testing.assert_allclose(je.saez_top_rate(a, e, g, uncompensated=e), plain, rtol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.vmap(je.saez_top_rate))(a, e, g), plain, rtol=1e-14)
    assert je.saez_top_rate(a[:, None], 0.25).shape == (3, 1)
    assert (np.asarray(je.saez_top_rate(a, e, g, uncompensated=e / 2)) > plain).all()


def test_a_weight_above_one_asks_for_a_subsidy():
    """Also beyond 1 + a*e, where numerator and denominator are both negative and the formula's
    value exceeds 1.
    """
    assert float(je.saez_top_rate(1.5, 0.25, 1.2)) < 0
    assert float(je.saez_top_rate(1.5, 0.25, 2.0)) < 0


def test_linear_rate_at_the_best_flat_tax_is_that_tax():
    """The best flat tax by direct search on the calibrated economy: a fixed point of the formula,
    and no other rate is.
    """
    untaxed = SKILL * (SKILL / (3.5 * COST)) ** 0.4

    def at(t):
        return economy.settle(
            [0.0], [t], untaxed * (1 - t) ** 0.4 / SKILL, SKILL, COST, 3.5, 0.0, None, 0.0
        )

    best = optimize.minimize_scalar(
        lambda t: -np.mean(G * at(t).utility),
        bounds=(0.3, 0.9),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert round(best.x, 3) == 0.604
    assert float(je.saez_linear_rate(at(best.x).income, 0.4, G)) == pytest.approx(best.x, abs=1e-6)
    # fixed weights and a common elasticity: the weighted mean of incomes does not depend on a flat
    # rate
    assert round(float(je.saez_linear_rate(at(0.604).income, 0.4, G)), 3) == 0.604
    # but it does on the schedule they are earned under, and on the elasticity
    assert abs(float(je.saez_linear_rate(INCOME, 0.4, G)) - best.x) > 0.003
    assert float(je.saez_linear_rate(at(best.x).income, 0.2, G)) > 0.7


def test_linear_rate_with_survey_weights(precision):
    z, copies = np.array([10_000.0, 30_000.0, 80_000.0]), np.array([3, 2, 1])
    many = np.repeat(z, copies)
    g = np.repeat(np.array([1.5, 0.75, 0.0]), copies)
    assert g.mean() == 1
    got = je.saez_linear_rate(
        precision.array(z),
        0.5,
        precision.array([1.5, 0.75, 0.0]),
        precision.array(copies.astype(float)),
    )
    assert got.dtype == precision.dtype
    heard = (g * many).sum() / many.sum()
    assert float(got) == pytest.approx((1 - heard) / (1 - heard + 0.5), rel=precision.rtol)
    assert float(je.saez_linear_rate(precision.array(z), 0.5, precision.array(np.ones(3)))) == 0


def test_linear_rate_with_weights_that_rise_is_no_tax():
    """Mean weights of income above 1 + e make numerator and denominator negative: not a rate above
    one.
    """
    assert float(je.saez_linear_rate(INCOME, 0.4, INCOME / INCOME.mean())) <= 0


def test_pareto_parameter(precision):
    z, w = precision.array([1.0, 2.0, 3.0, 6.0]), precision.array([5.0, 1.0, 2.0, 1.0])
    assert float(pareto_parameter(z, 2.0)) == pytest.approx(4.5 / 2.5, rel=1e-6)
    assert float(pareto_parameter(z, 2.0, w)) == pytest.approx(4.0 / 2.0, rel=1e-6)
    assert float(pareto_parameter(z, 6.0)) == np.inf


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((1.0, 0.4), "pareto"),
        ((0.5, 0.4), "pareto"),
        ((np.array([2.0, np.nan]), 0.4), "pareto"),
        ((1.5, 0.0), "elasticity"),
        ((1.5, np.array([0.4, -0.1])), "elasticity"),
        ((1.5, 0.4, -0.1), "welfare_weight"),
        ((1.5, 0.4, np.nan), "welfare_weight"),
    ],
)
def test_a_bad_top_rate_is_refused(arguments, says):
    with pytest.raises(ValueError, match=f"^{says}: "):
        je.saez_top_rate(*arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((INCOME, 0.0, G), "elasticity"),
        ((INCOME, -1.0, G), "elasticity"),
        ((INCOME, 0.4, 2 * G), "welfare_weights"),
        ((INCOME, 0.4, np.ones(7)), "welfare_weights"),
        ((-INCOME, 0.4, G), "income"),
        ((np.zeros(N), 0.4, G), "income"),
    ],
)
def test_a_bad_linear_rate_is_refused(arguments, says):
    with pytest.raises(ValueError, match=f"^{says}: "):
        je.saez_linear_rate(*arguments)
