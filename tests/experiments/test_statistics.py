"""The suite's statistics, against SciPy, NumPy and textbooks; and that no effect is found more
often than it should be.
"""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from experiments.suite import statistics as st
from experiments.suite.arms import arms_of
from experiments.suite.tables import arms_table
from jaxecon.sweeps.sweep import sweep

# Student's sleep data: extra hours with each of two drugs, ten patients (Student 1908)
FIRST = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SECOND = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_the_sign_flip_test_is_exact_where_it_can_be():
    differences = SECOND - FIRST
    flips = np.array(list(product((-1, 1), repeat=10))) @ differences  # all 2^10, written out
    exact = np.mean(np.abs(flips) >= np.abs(differences.sum()) - 1e-9)
    # a zero and nine gains: only all of one sign is as extreme
    assert exact == pytest.approx(2 / 512)
    assert st.sign_flip_p(differences) == pytest.approx(exact)
    mixed = np.array([3.0, -1.0, 2.0, 5.0, -4.0, 2.5, 0.3, 1.1])
    flips = np.array(list(product((-1, 1), repeat=8))) @ mixed
    assert st.sign_flip_p(np.array([0, 0, 0.7])) == 1  # one difference says nothing
    assert st.sign_flip_p(mixed) == pytest.approx(np.mean(np.abs(flips) >= abs(mixed.sum()) - 1e-9))


def test_many_populations_are_flipped_at_random():
    """Near the paired t test's p where that holds, and never 0."""
    x = np.random.default_rng(1).normal(0.3, 1, 60)
    assert st.sign_flip_p(x) == pytest.approx(stats.ttest_1samp(x, 0).pvalue, abs=0.01)
    assert st.sign_flip_p(x) == st.sign_flip_p(x)
    assert st.sign_flip_p(x + 5, resamples=999) == pytest.approx(2 / 1000)


def test_a_difference_against_numpy():
    x = SECOND - FIRST
    found = st.difference(x)
    assert (found.n, found.mean) == (10, pytest.approx(1.58))
    assert found.effect == pytest.approx(x.mean() / x.std(ddof=1))
    # d_z of the sleep data: t / sqrt(n) = 4.0621 / sqrt(10)
    assert found.effect == pytest.approx(1.285, abs=1e-3)
    assert found.low < found.mean < found.high


def test_the_interval_is_the_bias_corrected_and_accelerated_one():
    """From its definition (Efron and Tibshirani 1993, section 14.3), on the same resamples'
    distribution.
    """
    x = np.random.default_rng(3).lognormal(0, 1, 40)
    found = st.estimate(x, resamples=9_999)
    means = np.random.default_rng(0).choice(x, (60_000, 40)).mean(1)
    z0 = stats.norm.ppf(np.mean(means < x.mean()))
    left_out = (x.sum() - x) / 39
    centred = left_out.mean() - left_out
    a = (centred**3).sum() / (6 * (centred**2).sum() ** 1.5)
    z = stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(means, stats.norm.cdf(z0 + (z0 + z) / (1 - a * (z0 + z))))
    assert found.low == pytest.approx(low, rel=0.02)
    assert found.high == pytest.approx(high, rel=0.02)
    assert found.high - found.mean > found.mean - found.low  # longer on the long tail's side


def test_the_interval_covers():
    """The mean of a skewed distribution, in 400 samples of 40: near 95 %, a little below as for any
    bootstrap.
    """
    rng = np.random.default_rng(5)
    samples = rng.exponential(1, (400, 40))
    found = [st.estimate(x, seed=i, resamples=999) for i, x in enumerate(samples)]
    assert 0.90 <= np.mean([e.low <= 1 <= e.high for e in found]) <= 0.975


def test_deviation_against_numpy():
    x = np.random.default_rng(4).normal(0, 2, 200)
    found = st.deviation(x)
    assert found.mean == pytest.approx(np.std(x, ddof=1))
    assert found.low < 2 < found.high


def test_what_cannot_be_estimated():
    one, same = st.estimate(np.array([3.0])), st.difference(np.full(30, 0.0))
    assert one.mean == 3
    assert np.isnan([one.low, one.high]).all()
    assert (same.mean, same.low, same.high, same.effect, same.p) == (0, 0, 0, 0, 1)
    shifted = st.difference(np.full(30, 0.2))
    assert (shifted.low, shifted.high) == pytest.approx((0.2, 0.2))
    assert np.isnan(shifted.effect)
    assert shifted.p < 0.001


def test_holm():
    """The example of Holm's method in R's p.adjust, and its definition."""
    assert st.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert st.holm([0.6, 0.5]) == [1.0, 1.0]
    assert st.holm([]) == []
    p = np.random.default_rng(0).random(20) ** 3
    order = sorted(range(20), key=lambda i: p[i])
    expected = [
        max(min(1, (20 - j) * p[order[j]]) for j in range(order.index(i) + 1)) for i in range(20)
    ]
    assert st.holm(p) == pytest.approx(expected)


def test_factorial_effects_of_a_textbook():
    """Box, Hunter and Hunter (2005), table 5.3: the pilot plant, 2^3, temperature, concentration
    and catalyst.
    """
    yields = {
        (False, False, False): 60,
        (True, False, False): 72,
        (False, True, False): 54,
        (True, True, False): 68,
        (False, False, True): 52,
        (True, False, True): 83,
        (False, True, True): 45,
        (True, True, True): 80,
    }
    found = st.factorial_effects(
        {cell: np.array([y, 2.0 * y]) for cell, y in yields.items()}, ("T", "C", "K")
    )
    assert {members: values[0] for members, values in found.items()} == pytest.approx(
        {("T",): 23, ("C",): -5, ("K",): 1.5, ("T", "C"): 1.5, ("T", "K"): 10, ("C", "K"): 0}
    )
    assert found["T",].tolist() == [23, 46]  # each population by itself


def test_factorial_effects_are_regression_coefficients():
    """Twice the coefficients of a least-squares fit on signs, which is the other definition."""
    rng = np.random.default_rng(2)
    levels = list(product((False, True), repeat=4))
    cells = {cell: rng.normal(size=7) for cell in levels}
    found = st.factorial_effects(cells, "abcd")
    signs = np.where(levels, 1.0, -1.0)
    columns = {tuple("abcd"[j] for j in m): signs[:, m].prod(1) for m in [(0,), (1,), (2,), (3,)]}
    columns |= {
        ("abcd"[i], "abcd"[j]): signs[:, i] * signs[:, j] for i in range(4) for j in range(i + 1, 4)
    }
    design = np.column_stack([np.ones(16), *columns.values()])
    fit, *_ = np.linalg.lstsq(design, np.array([cells[cell] for cell in levels]), rcond=None)
    for row, members in enumerate(columns, start=1):
        np.testing.assert_allclose(found[members], 2 * fit[row], atol=1e-12)


def test_a_factorial_must_be_full():
    with pytest.raises(ValueError, match="cells: 3; a full factorial of 2 factors has 4"):
        st.factorial_effects(
            {(True, True): np.ones(2), (True, False): np.ones(2), (False, True): np.ones(2)}, "ab"
        )


# --- no effect ------------------------------------------------------------------------------------

EXPERIMENTS, POPULATIONS = 1000, 30


@pytest.fixture(scope="module")
def nulls(tmp_path_factory):
    """Rows of experiments: the same planner on the same people in both arms, with other draws."""
    points = [
        {"seed": seed, "draw_seed": seed + arm * 10_000_000}
        for seed in range(EXPERIMENTS * POPULATIONS)
        for arm in (1, 2)
    ]
    run = {
        "years": 4,
        "year": {"days": 4},
        "population": {
            "cohorts": [{"name": "workers", "rule": "adaptive", "size": 10}],
            "sampling": "random",
        },
        "schedule": {"brackets": "flat"},
        "planner": {"kind": "in_context", "exploration_rate": 1.0},
    }
    found = sweep(
        {"run": run, "list": points},
        out=tmp_path_factory.mktemp("null") / "sweep",
        chunk_size=20_000,
    )
    return [row | {"arm": row["draw_seed"] // 10_000_000} for row in found.points.to_pylist()]


def test_no_effect_is_found_where_there_is_none(nulls):
    """1,000 whole experiments through the code behind the tables: 3 to 7.5 % are significant at 5
    %, before Holm.
    """
    statistics = ("gain_realised", "gain_equilibrium")
    rejected = dict.fromkeys(statistics, 0)
    family = 0
    for i in range(EXPERIMENTS):
        mine = nulls[2 * POPULATIONS * i : 2 * POPULATIONS * (i + 1)]
        arms = arms_of(mine, lambda row: row["arm"], statistics)
        assert len(arms.seeds) == POPULATIONS
        table = arms_table("null", "", arms, statistics, 1, resamples=999)
        tested = [row for row in table.rows if "p" in row]
        assert len(tested) == len(statistics)
        for row in tested:
            rejected[row["statistic"]] += row["p_raw"] <= 0.05
        family += any(row["p"] <= 0.05 for row in tested)
    for statistic in statistics:
        assert 0.03 <= rejected[statistic] / EXPERIMENTS <= 0.075, rejected
    assert family / EXPERIMENTS <= 0.075  # what Holm keeps below 5 %
