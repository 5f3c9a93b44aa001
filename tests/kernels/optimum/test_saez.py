"""Saez's formula for a schedule: closed-form distributions and an independent program."""

from functools import cache

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles import economy
from oracles import saez as oracle
from oracles.strictness import PROPERTY
from support.saez_cases import INCOME, ONES, N, T, sample

import jaxecon as je
from jaxecon.kernels.optimum.density import TAIL_SHARE
from jaxecon.kernels.optimum.saez_checks import SMALLEST_SAMPLE

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
    # phi(0)/(sigma/2)
    assert normal.hazard(np.exp(10.0)) == pytest.approx(2 / (0.5 * np.sqrt(2 * np.pi)), rel=1e-9)
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
    # only the tail changes, and becomes heavier
    richer = np.where(z > want.start, want.start + 5 * (z - want.start), z)
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
