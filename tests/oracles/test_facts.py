"""The numbers of the reference tables ("Exact numbers to reproduce"), from jaxecon's kernels.

They were computed by an independent NumPy/SciPy program: 1,000 quantile midpoints, d = 3.5, cap 100
h, equal weights, inverse-income welfare weights fixed at the US federal response.
"""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy as oracle
from oracles.strictness import strict

import jaxecon as je
from jaxecon.economy.population import base_preferences
from jaxecon.kernels.equilibrium import equilibrium

# parameters, floor: mean hours, share at the cap, mean income, rebate, Gini(z), SWF, paper welfare,
# effective sample
TABLE = {
    ("calibrated", 10_000): (
        "40.000",
        "0.000",
        "58853.11",
        "10390.24",
        "0.5269",
        "25306.512",
        "1916.633",
        "594.8",
    ),
    ("calibrated", 1): (
        "40.000",
        "0.000",
        "58853.11",
        "10390.24",
        "0.5269",
        "15478.897",
        "1916.633",
        "15.7",
    ),
    ("annualised", 10_000): (
        "38.526",
        "0.003",
        "81401.06",
        "17927.27",
        "0.6567",
        "30642.274",
        "16543.732",
        "579.7",
    ),
    ("annualised", 1): (
        "38.526",
        "0.003",
        "81401.06",
        "17927.27",
        "0.6567",
        "18632.085",
        "16543.732",
        "3.3",
    ),
    ("paper", 10_000): (
        "96.736",
        "0.884",
        "146943.53",
        "34265.07",
        "0.5288",
        "67752.827",
        "7130.956",
        "388.7",
    ),
}
BEST_FLAT = {  # rate, gain in percent
    ("calibrated", 10_000): (0.604, 27.857),
    ("calibrated", 1): (0.684, 90.876),
    ("annualised", 10_000): (0.669, 43.716),
    ("annualised", 1): (0.719, 121.301),
    ("paper", 10_000): (0.881, 85.027),
}
BEST_THREE_ON_GRID = {
    ("calibrated", 10_000): ((0.6, 0.5, 0.5), 28.334),
    ("calibrated", 1): ((0.7, 0.5, 0.5), 94.538),
    ("annualised", 10_000): ((0.7, 0.6, 0.6), 44.504),
    ("annualised", 1): ((0.8, 0.6, 0.6), 126.475),
    ("paper", 10_000): ((0.8, 0.8, 0.9), 85.872),
}
BEST_CONTINUOUS = {  # rates rounded to three digits, gain of the unrounded ones
    ("calibrated", 10_000): [
        ((0.649, 0.512, 0.517), 28.750),
        ((0.788, 0.680, 0.560, 0.532, 0.507, 0.518, 0.421), 29.673),
    ],
    ("calibrated", 1): [
        ((0.740, 0.520, 0.528), 95.372),
        ((0.907, 0.735, 0.594, 0.556, 0.539, 0.540, 0.388), 101.685),
    ],
    ("annualised", 10_000): [
        ((0.725, 0.626, 0.615), 44.719),
        ((0.825, 0.743, 0.666, 0.625, 0.611, 0.599, 0.625), 45.210),
    ],
    ("annualised", 1): [
        ((0.798, 0.637, 0.622), 126.695),
        ((0.921, 0.789, 0.695, 0.644, 0.633, 0.607, 0.632), 130.667),
    ],
    ("paper", 10_000): [((0.837, 0.855, 0.914), 87.612)],
}
THRESHOLDS = {1: [0.0], 3: oracle.THREE_THRESHOLDS, 7: oracle.US_THRESHOLDS}


def summary(parameters, floor, dtype):
    skill = je.gb2_skill(1_000, dtype=dtype)
    preferences = base_preferences(parameters, skill)
    federal = equilibrium(je.TaxSchedule.us_federal().astype(dtype), skill, preferences)
    g = je.welfare_weights("inverse_income", federal.income, floor=float(floor))
    values = (
        jnp.mean(federal.hours),
        jnp.mean(federal.hours >= 100),
        jnp.mean(federal.income),
        federal.rebate,
        je.gini(federal.income),
        je.social_welfare(federal.utility, g),
        je.paper_welfare(federal.utility, federal.income),
        je.effective_sample_size(g),
    )
    return [float(v) for v in values]


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r[0]}-{r[1]}")
def test_first_table_to_every_printed_digit(row):
    printed = TABLE[row]
    got = summary(*row, np.float64)
    assert (
        tuple(f"{v:.{len(p.split('.')[1])}f}" for v, p in zip(got, printed, strict=True)) == printed
    )


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r[0]}-{r[1]}")
def test_first_table_in_single_precision(row):
    with strict(False):
        got = summary(*row, np.float32)
    exact = [float(v) for v in TABLE[row]]
    printed = [0.5 * 10.0 ** -len(v.split(".")[1]) for v in TABLE[row]]
    for value, target, rounding in zip(got, exact, printed, strict=True):
        assert value == pytest.approx(target, rel=2e-5, abs=rounding + 1e-6)


@pytest.mark.parametrize("row", TABLE, ids=lambda r: f"{r[0]}-{r[1]}")
def test_first_table_from_the_brute_force_oracle(row):
    """The oracle of the kernel tests reproduces the table too, so the two programs stand for each
    other.
    """
    skill = oracle.skills(1_000)
    c = {"calibrated": oracle.calibrated_weight(skill), "annualised": 0.026, "paper": 0.0005}[
        row[0]
    ]
    o = oracle.equilibrium(oracle.US_THRESHOLDS, oracle.US_RATES, skill, c, points=401)
    g = oracle.welfare_weights("inverse_income", o.income, floor=float(row[1]))
    got = [
        o.hours.mean(), (o.hours >= 100).mean(), o.income.mean(), o.rebate, oracle.gini(o.income),
        oracle.social_welfare(o.utility, g), oracle.paper_welfare(o.utility, o.income),
        g.sum() ** 2 / (g**2).sum(),
    ]  # fmt: skip
    for value, text in zip(got, TABLE[row], strict=True):
        assert value == pytest.approx(
            float(text), abs=0.5 * 10.0 ** -len(text.split(".")[1]) + 1e-9
        )


@cache
def gains(row, brackets):
    """(rates (m, k)) -> gain over US federal in percent (m,), one compiled call."""
    with strict(True):
        skill = je.gb2_skill(1_000)
        preferences = base_preferences(row[0], skill)
        federal = equilibrium(je.TaxSchedule.us_federal(), skill, preferences)
        g = je.welfare_weights("inverse_income", federal.income, floor=float(row[1]))
        base = je.social_welfare(federal.utility, g)

    def gain(rates):
        o = equilibrium(je.TaxSchedule(THRESHOLDS[brackets], rates), skill, preferences)
        return 100 * (je.social_welfare(o.utility, g) / base - 1)

    return jax.jit(lambda many: jax.lax.map(gain, many, batch_size=50))


@pytest.mark.parametrize("row", BEST_FLAT, ids=lambda r: f"{r[0]}-{r[1]}")
def test_best_flat_tax(row):
    rate, printed = BEST_FLAT[row]
    grid = np.arange(1_000) / 1_000
    found = np.asarray(gains(row, 1)(grid[:, None]))
    assert f"{grid[found.argmax()]:.3f}" == f"{rate:.3f}"
    assert f"{found.max():.3f}" == f"{printed:.3f}"


@pytest.mark.parametrize("row", BEST_THREE_ON_GRID, ids=lambda r: f"{r[0]}-{r[1]}")
def test_best_three_brackets_on_the_ten_point_grid(row):
    """Exhaustive over the thousand schedules with rates 0, 10, .., 90 %: exactly the listed one and
    its gain.
    """
    rates, printed = BEST_THREE_ON_GRID[row]
    grid = np.array(list(itertools.product(np.arange(10) / 10, repeat=3)))
    found = np.asarray(gains(row, 3)(grid))
    assert tuple(np.round(grid[found.argmax()], 1)) == rates
    assert f"{found.max():.3f}" == f"{printed:.3f}"


@pytest.mark.parametrize("row", BEST_CONTINUOUS, ids=lambda r: f"{r[0]}-{r[1]}")
def test_gains_of_rounded_continuous_optima(row):
    """Rates are printed rounded and the objective is a fine sawtooth: the gain of the rounded rates
    is a lower bound (0.09 points below at worst), and among the rates that round to the printed
    ones some come to the printed gain.
    """
    for rates, printed in BEST_CONTINUOUS[row]:
        nearby = np.random.default_rng(0).uniform(-0.0005, 0.0005, (150, len(rates))) + rates
        found = np.asarray(gains(row, len(rates))(np.concatenate([[rates], nearby])))
        assert printed - 0.1 <= found[0] <= printed + 0.0006
        assert printed - 0.03 <= found.max() <= printed + 0.002
