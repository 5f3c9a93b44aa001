"""Saez's formulas: published values, closed-form distributions, an independent program, and the
self-consistent schedule.
"""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import economy
from oracles import saez as oracle
from oracles.strictness import PROPERTY, strict
from scipy import optimize

import jaxecon as je
from jaxecon.kernels.optimum.density import TAIL_SHARE, pareto_parameter
from jaxecon.kernels.optimum.saez_checks import SMALLEST_SAMPLE

N = 1_000
T = economy.THREE_THRESHOLDS
SKILL = economy.skills(N)
COST = economy.calibrated_weight(SKILL)
INCOME = 40 * SKILL  # under US federal everybody works 40 hours
G = economy.welfare_weights("inverse_income", INCOME)


def sample(seed=0, sigma=1.0, zeros=0):
    """Lognormal incomes, survey weights and welfare weights of mean one, (N,) each; the first few
    earn nothing.
    """
    rng = np.random.default_rng(seed)
    z, w = rng.lognormal(10.8, sigma, N), rng.uniform(0.2, 4.0, N)
    z[:zeros] = 0.0
    g = 1 / np.maximum(z, 5_000)
    return z, g / np.average(g, weights=w), w


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


# Closed-form distributions

MANY = 20_000
NARROW = 0.03  # a bandwidth that leaves no bias to speak of in 20,000 quantile midpoints
CASES = {
    # distribution, g(z), where it is not smooth, income below which the sample's own end distorts
    "pareto": (oracle.pareto(3.0, 40_000.0), lambda z: 1 / z, (), 48_000.0),
    "two weights": (
        oracle.pareto(3.0, 40_000.0),
        lambda z: np.where(z < 70_000, 1.5, 0.5),
        (70_000.0,),
        48_000.0,
    ),
    "lognormal": (oracle.lognormal(10.5, 0.9), lambda z: 1 / z, (), 6_000.0),
    "gb2": (oracle.gb2(), lambda z: 1 / np.maximum(z, 10_000), (10_000.0,), 1_500.0),
}


@pytest.mark.parametrize("name", CASES)
def test_pointwise_rates_of_known_distributions(name):
    """Hazard within 1.5 %, mean weight above within 1 % and rates within half a point, from the
    lower end to the top thousandth (beside a step of g, which is smoothed, 8 % and a point);
    bracket rates within a third of a point (2.5 where Pareto's distribution begins, which is
    smoothed too).
    """
    distribution, weight, kinks, lowest = CASES[name]
    exact = oracle.Formula(distribution, weight, lambda z: 0.4, kinks)
    z = oracle.midpoints(distribution, MANY)
    g = weight(z) / weight(z).mean()
    got = je.saez_schedule(z, T, 0.4, g, np.ones(MANY), bandwidth=NARROW)
    at = np.asarray(got.income)
    seen = np.flatnonzero((at > lowest) & (at < distribution.isf(1e-3)))[::9]
    assert len(seen) > 25
    hazard, above, rate = (
        np.array([f(x) for x in at[seen]]) for f in (exact.hazard, exact.weight_above, exact.rate)
    )
    np.testing.assert_allclose(np.asarray(got.hazard)[seen], hazard, rtol=0.015)
    np.testing.assert_allclose(
        np.asarray(got.weight_above)[seen], above, rtol=0.08 if name == "two weights" else 0.01
    )
    np.testing.assert_allclose(
        np.asarray(got.rates)[seen], rate, atol=0.01 if name == "two weights" else 0.005
    )
    brackets = exact.bracket_rates(T, z.min())
    np.testing.assert_allclose(
        got.schedule.rates[0], brackets[0], atol=0.025 if lowest == 48_000 else 0.0035
    )
    np.testing.assert_allclose(got.schedule.rates[1:], brackets[1:], atol=0.0035)
    assert float(got.pareto) == pytest.approx(exact.pareto_above(T[-1]), rel=0.02)


def test_what_the_closed_forms_are():
    """The oracle itself: Pareto's hazard is its parameter, and with g = 1/z the mean weight above
    is (z0/z) (a+1 = a+1).
    """
    exact = oracle.Formula(oracle.pareto(3.0, 20_000.0), lambda z: 1 / z, lambda z: 0.4)
    assert exact.hazard_without_tail(50_000.0) == pytest.approx(3, rel=1e-9)
    assert exact.weight_above(50_000.0) == pytest.approx(0.4, rel=1e-9)
    assert exact.pareto_above(50_000.0) == pytest.approx(3, rel=1e-6)
    assert exact.rate(50_000.0) == pytest.approx(0.6 / (0.6 + 3 * 0.4), rel=1e-6)
    normal = oracle.Formula(oracle.lognormal(10.0, 0.5), lambda z: 1 / z, lambda z: 0.4)
    assert normal.hazard(np.exp(10.0)) == pytest.approx(
        2 / (0.5 * np.sqrt(2 * np.pi)), rel=1e-9
    )  # phi(0)/(sigma/2)
    assert oracle.gb2().cdf(economy.gb2_quantile(0.3)) == pytest.approx(0.3, rel=1e-9)


def test_silvermans_bandwidth_does_not_bias_a_pareto_tail():
    """Smoothed by whatever width, z^-a stays z^-a."""
    z = oracle.midpoints(oracle.pareto(2.0, 10_000.0), N)
    got = je.saez_schedule(z, T, 0.4, np.ones(N), np.ones(N))
    middle = (got.income > np.quantile(z, 0.5)) & (got.income < np.quantile(z, 0.985))
    np.testing.assert_allclose(np.asarray(got.hazard)[middle], 2.0, rtol=2e-3)


# An independent program on the same sample


@cache
def kinked():
    """1,000 lognormal untaxed incomes under rates that jump up and then fall: one in eight bunches
    at 30,000.
    """
    untaxed = oracle.midpoints(oracle.lognormal(10.5, 0.9), N)
    return untaxed, oracle.incomes(untaxed, [0.0, 30_000.0, 80_000.0], [0.2, 0.6, 0.3], 0.4)


@pytest.mark.parametrize(
    "under", [None, ([0.0, 30_000.0, 80_000.0], [0.2, 0.6, 0.3])], ids=["as they are", "virtual"]
)
def test_the_formula_is_the_independent_programs(precision, under):
    """Bins against sums over all people: hazards within 0.2 %, rates within a tenth of a point.

    People without income count.
    """
    _, g, w = sample(3, zeros=30)
    z = kinked()[1].copy()
    z[:30] = 0.0
    z, g, w = (np.asarray(precision.array(x), float) for x in (z, g, w))  # what the kernel sees
    want = oracle.SampleFormula(z, g, w, lambda _: 0.4, under)
    schedule = None if under is None else je.TaxSchedule(*map(precision.array, under))
    got = je.saez_schedule(
        precision.array(z), T, 0.4, precision.array(g), precision.array(w), schedule=schedule
    )
    assert {x.dtype for x in jax.tree.leaves(got) if x.dtype != bool} == {np.dtype(precision.dtype)}
    at = np.asarray(got.income, float)
    seen = np.flatnonzero((at > z[z > 0].min()) & (at < z.max()))[::11]
    tight = 2e-3 if precision.x64 else 5e-3
    np.testing.assert_allclose(np.asarray(got.hazard)[seen], want.hazard(at[seen]), rtol=tight)
    np.testing.assert_allclose(
        np.asarray(got.weight_above)[seen], want.weight_above(at[seen]), rtol=tight
    )
    np.testing.assert_allclose(np.asarray(got.rates)[seen], want.rates(at[seen]), atol=1e-3)
    np.testing.assert_allclose(got.schedule.rates, want.bracket_rates(T), atol=1e-3)
    assert float(got.pareto) == pytest.approx(want.pareto_above(T[-1]), rel=1e-4)
    assert not np.asarray(got.empty).any()


def test_the_tail_has_its_pareto_parameter():
    z, g, w = sample(4)
    want = oracle.SampleFormula(z, g, w, lambda _: 0.4)
    got = je.saez_schedule(z, T, 0.4, g, w)
    tail = np.asarray(got.income) > want.start
    assert w[z > want.start].sum() / w.sum() == pytest.approx(TAIL_SHARE, rel=0.4)
    np.testing.assert_allclose(np.asarray(got.hazard)[tail], want.tail, rtol=1e-12)
    below = np.asarray(got.hazard)[~tail]
    assert np.abs(below / want.tail - 1).min() > 1e-6
    richer = np.where(
        z > want.start, want.start + 5 * (z - want.start), z
    )  # only the tail changes, and becomes heavier
    heavier = je.saez_schedule(richer, T, 0.4, g, w, bandwidth=want.h)
    assert float(heavier.hazard[-1]) == pytest.approx(1 + (want.tail - 1) / 5, rel=1e-9)
    assert float(heavier.schedule.rates[-1]) > float(got.schedule.rates[-1])


def test_survey_weights_are_repeated_people():
    """A sample of 500, each some times over, against an array as long in which all but the first
    copies weigh nothing (and earn something else, which would show).
    """
    rng = np.random.default_rng(6)
    z, copies = sample(5)[0][:500], rng.integers(1, 4, 500)
    copies[-1] += N - copies.sum()
    assert copies[-1] > 0
    many = np.repeat(z, copies)
    g = 1 / many
    g /= g.mean()
    first = np.r_[
        True, np.repeat(np.arange(500), copies)[1:] != np.repeat(np.arange(500), copies)[:-1]
    ]
    elsewhere = np.where(first, many, rng.permutation(many))
    weights = np.where(first, np.repeat(copies, copies), 0.0)
    repeated = je.saez_schedule(many, T, 0.4, g, np.ones(N), bandwidth=0.2)
    weighted = je.saez_schedule(elsewhere, T, 0.4, np.where(first, g, 1.0), weights, bandwidth=0.2)
    for field in ("income", "rates", "hazard", "weight_above", "pareto"):
        np.testing.assert_allclose(
            getattr(weighted, field), getattr(repeated, field), rtol=1e-9, atol=1e-7
        )
    np.testing.assert_allclose(weighted.schedule.rates, repeated.schedule.rates, rtol=1e-9)


def test_the_scale_of_weights_does_not_matter_but_their_spread_does_to_the_bandwidth():
    z, g, w = sample(7)
    np.testing.assert_allclose(
        je.saez_rates(z, T, 0.4, g, 13 * w), je.saez_rates(z, T, 0.4, g, w), rtol=1e-12
    )
    h = oracle.SampleFormula(z, g, w, lambda _: 0.4).h
    by_rule, given_h = (
        je.saez_schedule(z, T, 0.4, g, w),
        je.saez_schedule(z, T, 0.4, g, w, bandwidth=h),
    )
    np.testing.assert_allclose(by_rule.hazard, given_h.hazard, rtol=1e-9)
    wide = je.saez_schedule(z, T, 0.4, g, w, bandwidth=3 * h)
    want = oracle.SampleFormula(z, g, w, lambda _: 0.4, bandwidth=3 * h)
    at = np.asarray(wide.income)[300:700:50]
    np.testing.assert_allclose(np.asarray(wide.hazard)[300:700:50], want.hazard(at), rtol=2e-3)
    assert np.abs(np.asarray(wide.schedule.rates - by_rule.schedule.rates)).max() > 2e-3


# Weights


@pytest.mark.parametrize("level", [1.0, 0.9997])
def test_uniform_weights_ask_for_exactly_nothing(precision, level):
    """Whatever rounding makes of them: with survey weights, with atoms, and over people without
    income.
    """
    schedule = je.TaxSchedule(*map(precision.array, ([0.0, 30_000.0, 80_000.0], [0.2, 0.6, 0.3])))
    g = precision.array(np.full(N, level))
    for z, w in (
        (sample(8, 1.5)[0], sample(8)[2]),
        (kinked()[1], np.ones(N)),
        (sample(9, zeros=50)[0], sample(10)[2]),
    ):
        for under in (None, schedule):
            got = je.saez_schedule(
                precision.array(z), T, 0.4, g, precision.array(w), schedule=under
            )
            assert not np.asarray(got.schedule.rates).any()
            assert not np.asarray(got.rates).any()


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    sigma=st.floats(0.1, 2.5),
    power=st.floats(-2, 2),
    elasticity=st.floats(1e-3, 20),
    zeros=st.integers(0, 300),
)
def test_rates_are_fractions(seed, sigma, power, elasticity, zeros):
    z, _, w = sample(seed, sigma, zeros)
    g = np.maximum(z, 1_000) ** power
    got = je.saez_schedule(z, T, elasticity, g / np.average(g, weights=w), w)
    for rates in (got.rates, got.schedule.rates):
        assert ((np.asarray(rates) >= 0) & (np.asarray(rates) <= 1)).all()
    assert (np.asarray(got.hazard) >= 0).all()
    if power > 0.1:  # weights rise with income
        assert not np.asarray(got.schedule.rates).any()
    if power < -0.5:
        assert np.asarray(got.schedule.rates).min() > 0


def test_weights_that_rise_ask_for_nothing_and_those_that_fall_faster_for_more():
    z, _, w = sample(13)
    rates = []
    for power in (1.0, -0.5, -1.0, -2.0):
        g = z**power
        rates.append(np.asarray(je.saez_rates(z, T, 0.4, g / np.average(g, weights=w), w)))
    assert not rates[0].any()
    assert (rates[1] > 0).all()
    assert (np.diff(rates[1:], axis=0) > 0).all()


# Elasticities


def test_one_elasticity_the_same_in_every_bracket_and_a_constant_function():
    z, g, w = sample(14)
    scalar = je.saez_schedule(z, T, 0.3, g, w)
    by_bracket = je.saez_schedule(z, T, np.full(3, 0.3), g, w)
    np.testing.assert_array_equal(by_bracket.rates, scalar.rates)
    np.testing.assert_array_equal(by_bracket.schedule.rates, scalar.schedule.rates)


def test_a_bracket_s_elasticity_matters_there_and_nowhere_else():
    z, g, w = sample(14)
    same = je.saez_schedule(z, T, np.full(3, 0.3), g, w)
    for k in range(3):
        e = np.full(3, 0.3)
        e[k] = 0.9
        got = je.saez_schedule(z, T, e, g, w)
        inside = np.searchsorted(T, np.asarray(got.income), side="right") - 1 == k
        assert inside.any()
        np.testing.assert_array_equal(
            np.asarray(got.rates)[~inside], np.asarray(same.rates)[~inside]
        )
        assert (np.asarray(got.rates)[inside] < np.asarray(same.rates)[inside]).all()
        others = np.arange(3) != k
        # bins that straddle a threshold have one rate
        np.testing.assert_allclose(
            got.schedule.rates[others], same.schedule.rates[others], atol=2e-3
        )
        assert float(got.schedule.rates[k]) < float(same.schedule.rates[k]) - 0.05
        np.testing.assert_array_equal(got.hazard, same.hazard)


def test_an_elasticity_that_is_a_function_of_income_compiled_and_mapped():
    """0.4*(z/50,000)^slope over several samples and slopes at once; at slope 0 it is the scalar."""

    @jax.jit
    @jax.vmap
    def by_slope(z, g, w, slope):
        return je.saez_schedule(z, T, lambda income: 0.4 * (income / 50_000.0) ** slope, g, w)

    samples = [sample(14), sample(22, 0.7), sample(14)]
    mapped = by_slope(*(np.stack(x) for x in zip(*samples, strict=True)), np.array([0.0, 0.0, 0.3]))
    for i in range(2):
        z, g, w = samples[i]
        scalar = je.saez_schedule(z, T, 0.4, g, w)
        for field in ("income", "rates", "hazard", "weight_above", "pareto", "empty"):
            np.testing.assert_allclose(
                getattr(mapped, field)[i], getattr(scalar, field), rtol=1e-9, atol=1e-7
            )
        np.testing.assert_allclose(mapped.schedule.rates[i], scalar.schedule.rates, rtol=1e-9)
        np.testing.assert_array_equal(je.saez_rates(z, T, 0.4, g, w), scalar.schedule.rates)
    z, g, w = samples[2]
    want = oracle.SampleFormula(z, g, w, lambda x: 0.4 * (x / 50_000) ** 0.3)
    np.testing.assert_allclose(mapped.schedule.rates[2], want.bracket_rates(T), atol=1e-3)
    assert np.abs(np.asarray(mapped.schedule.rates[2] - mapped.schedule.rates[0])).max() > 0.01


# Incomes earned under a schedule

PROGRESSIVE = ([0.0, 30_000.0, 80_000.0], [0.1, 0.5, 0.75])
FALLING = ([0.0, 30_000.0, 80_000.0], [0.6, 0.3, 0.1])


@pytest.mark.parametrize("under", [PROGRESSIVE, FALLING], ids=["kinks", "gaps"])
def test_the_virtual_density_undoes_bunching_and_gaps(under):
    """Incomes are exact responses.

    The truth at each income: the lognormal density that everybody's facing the rate there would
    give, over the share who really earn more. Smoothing the atoms out of that share leaves the most
    error at kinks.
    """
    thresholds, rates = (np.array(x) for x in under)
    distribution = oracle.lognormal(10.5, 0.9)
    untaxed = oracle.midpoints(distribution, N)
    skill = untaxed / 40
    preferences = je.Preferences(skill / (3.5 * 40**2.5), 3.5, max_hours=1e4)
    z = np.asarray(skill * je.best_response(je.TaxSchedule(thresholds, rates), skill, preferences))
    np.testing.assert_allclose(z, oracle.incomes(untaxed, thresholds, rates, 0.4), rtol=1e-9)
    g = (1 / untaxed) / np.mean(1 / untaxed)
    virtual = je.saez_schedule(
        z, thresholds, 0.4, g, np.ones(N), schedule=je.TaxSchedule(thresholds, rates)
    )
    plain = je.saez_schedule(z, thresholds, 0.4, g, np.ones(N))
    at = np.asarray(virtual.income)
    seen = np.flatnonzero((at > np.quantile(z, 0.05)) & (at < np.quantile(z, 0.98)))
    truth = []
    for income in at[seen]:
        facing = float(economy.rate_on_next_dollar(thresholds, rates, income))
        linear = untaxed * (1 - facing) ** 0.4  # everybody's income under the tangent tax
        spread = oracle.lognormal(np.log(linear).mean(), 0.9)
        truth.append(income * float(spread.pdf(income)) / (z > income).mean())
    errors = [np.log(np.asarray(x.hazard)[seen] / truth) for x in (virtual, plain)]
    assert np.sqrt((errors[0] ** 2).mean()) < 0.09
    assert np.sqrt((errors[0] ** 2).mean()) < 0.45 * np.sqrt((errors[1] ** 2).mean())
    assert np.abs(errors[0]).max() < 0.75 * np.abs(errors[1]).max()
    assert np.abs(np.asarray(virtual.schedule.rates - plain.schedule.rates)).max() > 0.02


def test_a_schedule_with_one_rate_changes_nothing():
    z, g, w = sample(15)
    plain = je.saez_schedule(z, T, 0.4, g, w)
    flat = je.saez_schedule(
        z, T, 0.4, g, w, schedule=je.TaxSchedule(PROGRESSIVE[0], np.full(3, 0.35))
    )
    seen = slice(60, -60)
    np.testing.assert_allclose(
        np.asarray(flat.hazard)[seen], np.asarray(plain.hazard)[seen], rtol=1e-3
    )
    np.testing.assert_allclose(flat.schedule.rates, plain.schedule.rates, atol=1e-4)


def test_elasticities_belong_to_the_brackets_asked_about_and_not_to_those_of_the_schedule():
    """Earned under seven brackets, asked for three: an income of 50,000 is in the first of the
    three.
    """
    z, g, w = sample(16)
    schedule = je.TaxSchedule.us_federal()
    e = np.array([0.2, 0.5, 0.9])
    got = je.saez_schedule(z, T, e, g, w, schedule=schedule)
    federal = (economy.US_THRESHOLDS, economy.US_RATES)
    want = oracle.SampleFormula(
        z, g, w, lambda x: e[np.searchsorted(T, x, side="right") - 1], federal
    )
    at = np.asarray(got.income)[200:800:25]
    np.testing.assert_allclose(np.asarray(got.hazard)[200:800:25], want.hazard(at), rtol=0.01)
    np.testing.assert_allclose(got.schedule.rates, want.bracket_rates(T), atol=1e-3)


# Brackets


def test_empty_brackets_take_their_neighbours_rate_and_say_so():
    z, g, w = sample(17)
    z = np.where((z > 90_000) & (z < 100_000), 89_000.0, np.maximum(z, 20_000.0 + z / 100))

    def asked(*thresholds):
        got = je.saez_schedule(z, thresholds, 0.4, g, w)
        return np.asarray(got.schedule.rates), np.asarray(got.empty).tolist()

    rates, empty = asked(0.0, 90_000.0, 1e9)
    assert empty == [False, False, True]
    assert rates[2] == rates[1] != rates[0]
    rates, empty = asked(0.0, 1e9, 2e9)
    assert empty == [False, True, True]
    assert rates[0] == rates[1] == rates[2] > 0
    rates, empty = asked(0.0, 90_000.0, 100_000.0)
    assert empty == [False, True, False]
    assert rates[1] == rates[0] != rates[2]
    rates, empty = asked(0.0, 15_000.0, 90_000.0)
    assert empty == [True, False, False]
    assert rates[0] == rates[1] != rates[2]
    rates, empty = asked(0.0, 5_000.0, 15_000.0)
    assert empty == [True, True, False]
    assert rates[0] == rates[1] == rates[2]


def test_an_income_at_a_threshold_belongs_to_the_bracket_below():
    z, g, w = sample(17)
    z = np.minimum(z, 200_000.0)
    got = je.saez_schedule(z, (0.0, 90_000.0, 200_000.0), 0.4, g, w)
    assert np.asarray(got.empty).tolist() == [False, False, True]
    assert (
        float(got.schedule.rates[2]) == float(got.schedule.rates[1]) != float(got.schedule.rates[0])
    )


@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("last", [100_000.0, 124_250.0, 197_300.0])
def test_bunchers_whose_product_rounds_up_are_not_above_their_kink(precision, virtual, last):
    """A top rate that nobody crosses for: skill*(t/skill) is a rounding above t for some in
    float32, and nobody is rich.
    """
    thresholds, skill = precision.array([0.0, 60_000.0, last]), precision.array(SKILL)
    schedule = je.TaxSchedule(thresholds, precision.array([0.3, 0.5, 0.9995]))
    hours = je.best_response(
        schedule, skill, je.Preferences(precision.array(COST), 3.5, max_hours=100.0)
    )
    z = np.asarray(skill * hours)
    if not precision.x64:
        assert last < z.max() < last + 0.05
        assert 60_000 < z[z > 60_000].min() < 60_000.02
    clipped = np.where(np.abs(z / 60_000 - 1) < 1e-5, 60_000, np.minimum(z, last)).astype(z.dtype)
    got, exact = (
        je.saez_schedule(
            x, thresholds, 0.4, precision.array(G), schedule=schedule if virtual else None
        )
        for x in (z, clipped)
    )
    assert np.asarray(got.empty).tolist() == [False, False, True]
    assert float(got.pareto) == pytest.approx(float(exact.pareto), rel=1e-4)
    np.testing.assert_allclose(got.schedule.rates, exact.schedule.rates, atol=1e-5)
    np.testing.assert_allclose(got.rates, exact.rates, atol=1e-3)
    assert float(got.schedule.rates[2]) == float(got.schedule.rates[1]) > 0.3


def test_pareto_parameter_of_bunchers_is_that_of_those_above():
    """Half of 100 incomes one float32 above the threshold are at it, and alone they are no tail."""
    t = np.float32(90_000)
    at, above = np.full(50, np.nextafter(t, np.float32(np.inf))), np.full(50, np.float32(120_000))
    assert float(pareto_parameter(np.concatenate([at, above]), t)) == pytest.approx(4.0, rel=1e-6)
    assert float(pareto_parameter(at, t)) == np.inf


def test_a_bracket_averages_the_pointwise_rates_by_width():
    z, g, w = sample(4)
    got = je.saez_schedule(z, T, 0.4, g, w)
    fine = np.linspace(90_000, 159_100, 20_001)
    pointwise = np.interp(fine, np.asarray(got.income), np.asarray(got.rates))
    assert float(got.schedule.rates[1]) == pytest.approx(pointwise.mean(), abs=1e-4)
    inside = (z > T[1]) & (z < T[2])
    people = np.interp(z[inside], np.asarray(got.income), np.asarray(got.rates))
    for by_people in (people.mean(), np.average(people, weights=w[inside])):
        assert (
            by_people - float(got.schedule.rates[1]) > 0.005
        )  # most live where the bracket begins and rates are higher
    rich = z > T[2]
    heard = np.average(g[rich], weights=w[rich])
    mean = np.average(z[rich], weights=w[rich])
    top = je.saez_top_rate(mean / (mean - T[2]), 0.4, heard)
    assert float(got.schedule.rates[2]) == pytest.approx(float(top), rel=1e-9)


# The fixed point

TOLERANCE = 1e-3


ALIKE = np.full(
    3, 0.4
)  # one elasticity per bracket and survey weights everywhere: one compiled program
ONES = np.ones(N)


@cache
def solved(**options):
    """On the calibrated economy of 1,000 with three brackets.

    Unused `changes` are NaN, so NaN cannot be an error here.
    """
    arrays = {k: np.array(v) if isinstance(v, tuple) else v for k, v in options.items()}
    with strict(True, nans=True):
        return je.saez_self_consistent(
            SKILL, je.Preferences(COST, 3.5), T, ALIKE, G, ONES, **arrays
        )


def asked_by_the_oracle(rates, e=lambda _: 0.4, weights=None, spending=0.0):
    """The NumPy economy's incomes under these rates, and the rates that the independent formula
    asks for there.
    """
    outcome = economy.equilibrium(T, rates, SKILL, COST, weights=weights, spending=spending)
    w = np.ones(N) if weights is None else weights
    g = G / np.average(G, weights=w)
    return outcome, oracle.SampleFormula(outcome.income, g, w, e, (T, rates)).bracket_rates(T)


def test_the_fixed_point_of_the_calibrated_economy():
    got = solved()
    rates = np.asarray(got.schedule.rates)
    assert bool(got.converged)
    np.testing.assert_allclose(rates, [0.643, 0.531, 0.510], atol=1.5e-3)
    outcome, asked = asked_by_the_oracle(rates)
    np.testing.assert_allclose(got.outcome.income, outcome.income, rtol=1e-5)
    np.testing.assert_allclose(got.outcome.rebate, outcome.rebate, rtol=1e-6)
    np.testing.assert_allclose(asked, rates, atol=2 * TOLERANCE)
    np.testing.assert_allclose(got.formula.schedule.rates, asked, atol=TOLERANCE / 2)
    assert np.abs(np.asarray(got.formula.schedule.rates) - rates).max() <= TOLERANCE
    assert (
        np.abs(asked_by_the_oracle(np.array([0.5, 0.5, 0.5]))[1] - 0.5).max() > 0.1
    )  # and not everything is one


def test_its_gain_over_us_federal_is_just_below_the_optimum():
    federal = economy.equilibrium(economy.US_THRESHOLDS, economy.US_RATES, SKILL, COST)
    outcome, _ = asked_by_the_oracle(np.asarray(solved().schedule.rates))
    gain = 100 * (
        economy.social_welfare(outcome.utility, G) / economy.social_welfare(federal.utility, G) - 1
    )
    assert 28.5 < gain < 28.750


def test_iterations_are_recorded():
    got = solved()
    count, changes = int(got.iterations), np.asarray(got.changes)
    assert changes.shape == (300,)
    assert 3 < count < 50
    assert np.isfinite(changes[:count]).all()
    assert np.isnan(changes[count:]).all()
    assert changes[count - 1] <= TOLERANCE < changes[count - 2]
    _, first = asked_by_the_oracle(np.array([0.5, 0.5, 0.5]))
    assert changes[0] == pytest.approx(np.abs(first - 0.5).max(), abs=1e-3)
    if (np.diff(changes[:count]) < 0).all():
        assert float(got.damping) == 0.5


@pytest.mark.parametrize(
    "start", [(0.0, 0.0, 0.0), (0.9, 0.9, 0.9), (0.1, 0.5, 0.8), (0.9, 0.5, 0.1)]
)
def test_every_start_leads_to_the_same_point(start):
    got = solved(start=start)
    assert bool(got.converged)
    np.testing.assert_allclose(got.schedule.rates, solved().schedule.rates, atol=5 * TOLERANCE)
    fine, other = solved(tolerance=1e-5), solved(tolerance=1e-5, start=start)
    assert bool(fine.converged)
    if bool(other.converged):
        np.testing.assert_allclose(other.schedule.rates, fine.schedule.rates, atol=1e-3)


def test_a_start_where_nobody_works_is_refused_or_left_behind():
    """At rates of one all incomes are zero, and the formula has no distribution to look at."""
    try:
        got = solved(start=(1.0, 1.0, 1.0))
    except ValueError as error:
        assert str(error).startswith("start: ")
        return
    assert np.isfinite(np.asarray(got.schedule.rates)).all()


def test_uniform_weights_lead_to_no_tax():
    with strict(True, nans=True):
        got = je.saez_self_consistent(SKILL, je.Preferences(COST, 3.5), T, ALIKE, ONES, ONES)
    assert bool(got.converged)
    assert np.asarray(got.schedule.rates).max() <= TOLERANCE
    assert not np.asarray(got.formula.schedule.rates).any()


def test_damping_shrinks_where_changes_do_not():
    whole = solved(damping=1.0)
    changes = np.asarray(whole.changes)[: int(whole.iterations)]
    rose = (np.diff(changes) > 0).any()
    assert (float(whole.damping) < 1) == rose
    assert 0 < float(whole.damping) <= 1
    np.testing.assert_allclose(whole.schedule.rates, solved().schedule.rates, atol=5 * TOLERANCE)


@pytest.mark.parametrize("damping", [0.1, 0.01])
def test_a_small_damping_stays_while_changes_shrink(damping):
    """A tenth of the way leaves nine tenths of the change: that is progress.

    Nor may the step become larger than asked for.
    """
    got = solved(damping=damping)
    changes = np.asarray(got.changes)[: int(got.iterations)]
    assert float(got.damping) <= damping
    if (np.diff(changes) < 0).all():
        assert float(got.damping) == pytest.approx(damping)


def test_a_population_that_jumps_is_not_called_converged():
    """Twenty-five kinds of people, forty of each: rates at which one kind jumps have no fixed point
    to a hundred-millionth.
    """
    skill = np.repeat(economy.skills(25), 40)
    g = economy.welfare_weights("inverse_income", 40 * skill)
    with strict(True, nans=True):
        preferences = je.Preferences(economy.calibrated_weight(skill), 3.5)
        got = je.saez_self_consistent(skill, preferences, T, ALIKE, g, ONES, tolerance=1e-8)
    assert not bool(got.converged)
    assert int(got.iterations) == 300
    changes = np.asarray(got.changes)
    assert np.isfinite(changes).all()
    assert changes[0] > 0.1
    assert 1e-8 < changes[-1] < 1e-3
    asked = np.abs(np.asarray(got.formula.schedule.rates - got.schedule.rates)).max()
    assert asked == pytest.approx(changes[-1], rel=1e-6)
    assert float(got.damping) < 0.5


def test_elasticities_by_bracket_survey_weights_and_spending():
    w = np.random.default_rng(21).uniform(0.3, 3.0, N)
    g = G / np.average(G, weights=w)
    e = np.array([0.4, 0.4, 0.8])
    with strict(True, nans=True):
        same, got = (
            je.saez_self_consistent(
                SKILL, je.Preferences(COST, 3.5), T, x, g, w, public_spending=2_000.0
            )
            for x in (ALIKE, e)
        )
    assert bool(got.converged)
    assert bool(same.converged)
    rates = np.asarray(got.schedule.rates)
    assert rates[2] < float(same.schedule.rates[2]) - 0.1
    outcome, asked = asked_by_the_oracle(
        rates, lambda z: e[np.searchsorted(T, z, side="right") - 1], w, 2_000.0
    )
    np.testing.assert_allclose(got.outcome.rebate, outcome.rebate, rtol=1e-6)
    np.testing.assert_allclose(asked, rates, atol=2 * TOLERANCE)
    assert (
        np.abs(np.asarray(same.schedule.rates) - np.asarray(solved().schedule.rates)).max() > 1e-3
    )


def test_several_populations_at_once_compiled():
    def solve(skill, cost, g):
        return je.saez_self_consistent(skill, je.Preferences(cost, 3.5), T, ALIKE, g, ONES)

    skills = [SKILL, 1.3 * SKILL, 1_000 * (SKILL / 1_000) ** 0.5]
    inputs = [
        (s, economy.calibrated_weight(s), economy.welfare_weights("inverse_income", 40 * s))
        for s in skills
    ]
    with strict(True, nans=True):
        mapped = jax.jit(jax.vmap(solve))(*(np.stack(x) for x in zip(*inputs, strict=True)))
        loop = [solve(*x) for x in inputs]
    assert len({int(x.iterations) for x in loop}) > 1  # some wait for others
    rates, changes, iterations = (
        np.asarray(x) for x in (mapped.schedule.rates, mapped.changes, mapped.iterations)
    )
    for i, one in enumerate(loop):
        np.testing.assert_allclose(rates[i], one.schedule.rates, atol=1e-7)
        np.testing.assert_allclose(changes[i], one.changes, atol=1e-7)
        assert iterations[i] == int(one.iterations)
    assert np.asarray(mapped.converged).all()
    assert np.abs(np.diff(rates, axis=0)).max(axis=1).min() > 0.005


def test_in_single_precision_without_the_virtual_density():
    """Another fixed point: the gaps of its own falling rates are taken for the distribution.

    A scalar elasticity, no weights.
    """
    with strict(False, nans=True):
        preferences = je.Preferences(np.float32(COST), np.float32(3.5))
        single = je.saez_self_consistent(
            np.float32(SKILL), preferences, T, 0.4, np.float32(G), virtual=False
        )
        floats = {x.dtype for x in jax.tree.leaves(single) if jnp.issubdtype(x.dtype, jnp.floating)}
    assert floats == {np.dtype(np.float32)}
    assert bool(single.converged)
    rates = np.asarray(single.schedule.rates, float)
    outcome = economy.equilibrium(T, rates, SKILL, COST)
    asked = oracle.SampleFormula(outcome.income, G, ONES, lambda _: 0.4).bracket_rates(T)
    np.testing.assert_allclose(asked, rates, atol=2 * TOLERANCE)
    assert np.abs(rates - np.asarray(solved().schedule.rates)).max() > 0.01


# What cannot be used

BAD = {
    "elasticity zero": ({"elasticity": 0.0}, "elasticity"),
    "elasticity negative": ({"elasticity": -0.4}, "elasticity"),
    "elasticity nan": ({"elasticity": np.nan}, "elasticity"),
    "elasticity of one bracket zero": ({"elasticity": np.array([0.4, 0.0, 0.4])}, "elasticity"),
    "elasticities too few": ({"elasticity": np.array([0.4, 0.4])}, "elasticity"),
    "elasticities too many": ({"elasticity": np.full(4, 0.4)}, "elasticity"),
    "welfare weights of mean two": ({"welfare_weights": 2 * ONES}, "welfare_weights"),
    "a negative welfare weight": (
        {"welfare_weights": np.r_[-1.0, 3.0, np.ones(N - 2)]},
        "welfare_weights",
    ),
    "a welfare weight that is not a number": (
        {"welfare_weights": np.r_[np.nan, np.ones(N - 1)]},
        "welfare_weights",
    ),
    "welfare weights of mean one, not under the weights": (
        {"welfare_weights": 2 * np.arange(N) / (N - 1), "weights": np.arange(N) + 1.0},
        "welfare_weights",
    ),
    "welfare weights too few": ({"welfare_weights": np.ones(7)}, "welfare_weights"),
    "weights too few": ({"weights": np.ones(7)}, "weights"),
    "a negative weight": ({"weights": np.r_[-1.0, np.ones(N - 1)]}, "weights"),
    "no weight": ({"weights": np.zeros(N)}, "weights"),
    "equal incomes": ({"income": np.full(N, 5e4)}, "income"),
    "few incomes": ({"income": np.repeat(np.arange(1.0, SMALLEST_SAMPLE), 53)[:N]}, "income"),
    "few who earn": ({"income": np.r_[np.zeros(N - 19), np.arange(1.0, 20)]}, "income"),
    "a negative income": ({"income": np.r_[-1.0, INCOME[1:]]}, "income"),
    "an income that is not a number": ({"income": np.r_[np.nan, INCOME[1:]]}, "income"),
    "an infinite income": ({"income": np.r_[np.inf, INCOME[1:]]}, "income"),
    "thresholds that fall": ({"thresholds": [0.0, 2e5, 1e5]}, "thresholds"),
    "thresholds from five": ({"thresholds": [5.0, 1e5, 2e5]}, "thresholds"),
    "no bandwidth": ({"bandwidth": 0.0}, "bandwidth"),
    "a negative bandwidth": ({"bandwidth": -0.2}, "bandwidth"),
}
GOOD = {
    "income": INCOME,
    "thresholds": T,
    "elasticity": 0.4,
    "welfare_weights": ONES,
    "weights": ONES,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    wrong, says = BAD[name]
    with pytest.raises(ValueError, match=f"^{says}: ") as caught:
        je.saez_rates(**{**GOOD, **wrong})
    assert "\n" not in str(caught.value)


def test_twenty_different_incomes_are_enough():
    z = np.r_[np.zeros(N - SMALLEST_SAMPLE), np.linspace(20_000, 200_000, SMALLEST_SAMPLE)]
    rates = np.asarray(je.saez_rates(z, T, 0.4, economy.welfare_weights("inverse_income", z), ONES))
    assert ((rates > 0) & (rates < 1)).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"damping": 0.0}, "damping"),
        ({"damping": -0.5}, "damping"),
        ({"damping": 1.01}, "damping"),
        ({"damping": float("nan")}, "damping"),
        ({"iterations": 0}, "iterations"),
        ({"tolerance": 0.0}, "iterations|tolerance"),
        ({"elasticity": 0.0}, "elasticity"),
        ({"welfare_weights": 2 * ONES}, "welfare_weights"),
        ({"skill": np.full(N, 1_000.0)}, "skill|income"),
        ({"start": np.array([0.5, 0.5])}, "start|rates"),
        ({"start": np.array([0.5, 0.5, 1.5])}, "start|rates"),
    ],
)
def test_a_bad_fixed_point_is_refused(arguments, says):
    given = {
        "skill": SKILL,
        "preferences": je.Preferences(COST),
        "thresholds": T,
        "elasticity": 0.4,
        "welfare_weights": G,
    }
    with pytest.raises(ValueError, match=f"^({says}): "):
        je.saez_self_consistent(**{**given, **arguments})


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
