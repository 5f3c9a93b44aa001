"""How Saez's pointwise rates and elasticities belong to brackets, empty ones and kinks too."""

import numpy as np
import pytest
from oracles import economy
from oracles import saez as oracle
from support.saez_cases import COST, SKILL, G, T, sample

import jaxecon as je
from jaxecon.kernels.optimum.density import pareto_parameter

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
        # most live where the bracket begins and rates are higher
        assert by_people - float(got.schedule.rates[1]) > 0.005
    rich = z > T[2]
    heard = np.average(g[rich], weights=w[rich])
    mean = np.average(z[rich], weights=w[rich])
    top = je.saez_top_rate(mean / (mean - T[2]), 0.4, heard)
    assert float(got.schedule.rates[2]) == pytest.approx(float(top), rel=1e-9)
