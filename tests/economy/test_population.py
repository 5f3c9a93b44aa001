"""Skills, samples, weights, parameter sets."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy as oracle

# its fixtures make every test of this file strict about numbers
from oracles.strictness import precision, strict, strict_numerics  # noqa: F401
from scipy import stats

import jaxecon as je
from jaxecon.economy.gb2 import ACS_2023, GB2
from jaxecon.economy.population import (
    base_preferences,
    survey_weights,
    uniform_skill,
    weighted_quantile_skill,
)

TAILS = np.array(
    [
        1e-12,
        1e-9,
        1e-6,
        1e-3,
        0.02,
        0.3,
        0.4999,
        0.5,
        0.5001,
        0.7,
        0.98,
        1 - 1e-3,
        1 - 1e-6,
        1 - 1e-9,
    ]
)


def quantile(p, distribution=ACS_2023):
    """At a fixed number of probabilities: one compilation for all tests (the incomplete beta
    function is slow to compile).
    """
    p = jnp.asarray(p)
    return je.gb2_quantile(
        jnp.concatenate([p, jnp.full((16 - p.size,), 0.5, p.dtype)]), distribution
    )[: p.size]


def test_quantiles_are_scipys():
    np.testing.assert_allclose(quantile(TAILS), oracle.gb2_quantile(TAILS), rtol=1e-11)
    ppf = oracle.MU * stats.betaprime(oracle.NU, oracle.TAU).ppf(TAILS[2:-2]) ** (1 / oracle.SIGMA)
    np.testing.assert_allclose(quantile(TAILS[2:-2]), ppf, rtol=1e-8)


def test_quantiles_invert_the_distribution_function():
    p = np.linspace(0.001, 0.999, 16)
    np.testing.assert_allclose(oracle.gb2_cdf(np.asarray(je.gb2_quantile(p))), p, rtol=1e-11)


def test_quantiles_in_single_precision():
    with strict(False):
        p = np.float32(TAILS[:-2])
        got = quantile(p)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, oracle.gb2_quantile(p.astype(float)), rtol=5e-5)


@pytest.mark.parametrize(
    ("x64", "p"), [(False, 1e-20), (False, 1e-30), (True, 1e-150), (True, 1e-300)]
)
def test_the_far_lower_tail_is_small_and_not_nan(x64, p):
    """The quantile of a tiny p is a tiny positive number, p^(1/(nu*sigma)), down to the type's
    smallest numbers.
    """
    expected = (
        np.exp(
            (np.log(p) + np.log(oracle.NU * oracle.special.beta(oracle.NU, oracle.TAU)))
            / oracle.NU
            / oracle.SIGMA
        )
        * oracle.MU
    )
    with strict(x64):
        got = float(quantile(jnp.full(1, p, jnp.float64 if x64 else jnp.float32))[0])
    assert got == pytest.approx(expected, rel=1e-3)


def test_published_moments():
    income = np.asarray(je.gb2_skill(100_000)) * 40
    assert income.mean() == pytest.approx(oracle.gb2_mean(), rel=2e-3)
    assert income.mean() == pytest.approx(59_249, rel=2e-3)
    assert float(je.gini(income)) == pytest.approx(0.530, abs=1e-3)
    quantiles = quantile(np.array([0.1, 0.5, 0.9, 0.99]))
    np.testing.assert_allclose(quantiles[:3], [6_851, 38_102, 124_509], atol=0.5)
    # the facts print 361,316; SciPy (betaincinv and betaprime.ppf) and the kernel agree on
    # 361,313.2
    np.testing.assert_allclose(quantiles[3], 361_316, atol=3)


def test_other_distributions():
    # nu = sigma = 1: Pareto type II, closed form
    lomax = GB2(mu=50_000.0, sigma=1.0, nu=1.0, tau=2.5)
    p = np.array([0.01, 0.4, 0.6, 0.99])
    np.testing.assert_allclose(quantile(p, lomax), 50_000 * ((1 - p) ** (-1 / 2.5) - 1), rtol=1e-11)
    np.testing.assert_allclose(
        quantile(p, GB2(2.0, 3.0, 1.5, 0.8)),
        oracle.gb2_quantile(p, None, 2.0, 3.0, 1.5, 0.8),
        rtol=1e-11,
    )


@pytest.mark.parametrize("n", [1, 1_000, 4_097, 100_000])
def test_midpoint_population_is_scipys(n):
    skill = np.asarray(je.gb2_skill(n))
    assert skill.shape == (n,)
    np.testing.assert_allclose(skill, oracle.skills(n), rtol=1e-11)  # both branches, both tails
    assert (np.diff(skill) > 0).all()


@pytest.mark.parametrize("n", [1_000, 100_000])
def test_midpoint_population_in_single_precision(n):
    """Measured: 6e-6 at worst, 1e-6 in the median."""
    with strict(False):
        skill = je.gb2_skill(n)
        assert skill.dtype == np.float32
        np.testing.assert_allclose(skill, oracle.skills(n), rtol=3e-5)
        assert (np.diff(skill) >= 0).all()


def test_more_agents_than_single_precision_can_count():
    """float32 has no whole numbers in a row beyond 2^24: both ends of the population are right all
    the same.
    """
    n = 2**24 + 2**22
    with strict(False):
        skill = np.asarray(je.gb2_skill(n))
    assert skill.dtype == np.float32
    assert np.all(np.isfinite(skill))
    ends = np.array([0, 1, 2, 3, n // 2])
    np.testing.assert_allclose(skill[ends], oracle.gb2_quantile((ends + 0.5) / n) / 40, rtol=1e-5)
    np.testing.assert_allclose(
        skill[n - 1 - ends],
        oracle.gb2_quantile(1 - (ends + 0.5) / n, (ends + 0.5) / n) / 40,
        rtol=1e-5,
    )


def test_dtype_can_be_chosen():
    assert je.gb2_skill(5, dtype=np.float32).dtype == np.float32
    assert je.sample_gb2(jax.random.key(0), 5, dtype=np.float32).dtype == np.float32
    assert uniform_skill(5, np.float32).dtype == np.float32


def test_derivative_of_the_quantile_is_one_over_the_density():
    p = np.array([1e-4, 0.1, 0.4, 0.6, 0.95, 0.9999])
    slope = jax.vmap(jax.grad(je.gb2_quantile))(p)
    y = oracle.gb2_quantile(p)
    density = (oracle.gb2_cdf(y * (1 + 1e-6)) - oracle.gb2_cdf(y * (1 - 1e-6))) / (2e-6 * y)
    np.testing.assert_allclose(slope, 1 / density, rtol=1e-5)
    numeric = (quantile(p + 1e-7 * p * (1 - p)) - quantile(p - 1e-7 * p * (1 - p))) / (
        2e-7 * p * (1 - p)
    )
    np.testing.assert_allclose(slope, numeric, rtol=1e-5)


def test_many_quantiles_have_the_derivatives_of_few():
    p = jnp.linspace(0.001, 0.999, 5_000)  # interpolated
    _, slope = jax.jvp(je.gb2_quantile, (p,), (jnp.zeros_like(p).at[1_234].set(1.0),))
    few = jax.grad(je.gb2_quantile)(p[1_234])
    np.testing.assert_allclose(slope[1_234], few, rtol=1e-6)
    assert np.abs(np.delete(np.asarray(slope), 1_234)).max() < 1e-6 * float(few)


def test_jit_vmap_and_one_trace(precision):
    rows = precision.array(np.random.default_rng(0).uniform(0, 1, (3, 16)))
    loop = np.stack([je.gb2_quantile(row) for row in rows])
    np.testing.assert_allclose(jax.vmap(je.gb2_quantile)(rows), loop, rtol=precision.rtol)
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(lambda p: je.gb2_quantile(p), n=1))
    np.testing.assert_allclose(np.stack([traced(row) for row in rows]), loop, rtol=precision.rtol)
    if precision.x64:
        with jax.disable_jit():
            np.testing.assert_allclose(je.gb2_quantile(rows[0]), loop[0], rtol=precision.rtol)


# Samples


def test_samples_follow_the_distribution():
    draws = np.asarray(je.sample_gb2(jax.random.key(0), 20_000)) * 40
    assert stats.kstest(draws, oracle.gb2_cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(np.log(draws[:-1]), np.log(draws[1:]))[0, 1]) < 0.03
    assert stats.kstest(draws, lambda y: oracle.gb2_cdf(1.05 * y)).pvalue < 1e-3, (
        "the test could not tell 5 %"
    )


def test_a_draw_depends_on_key_and_index_only(precision):
    """docs/economics.md: another cohort size or chunk changes nobody's draws, to the last bit."""
    key = jax.random.key(7)
    most = np.asarray(je.sample_gb2(key, 20_000))
    for n in (1_000, 5_000):
        np.testing.assert_array_equal(je.sample_gb2(key, n), most[:n])


def test_keys_differ_and_repeat():
    a, b = je.sample_gb2(jax.random.key(0), 1_000), je.sample_gb2(jax.random.key(1), 1_000)
    assert not np.isclose(a, b).any()
    np.testing.assert_array_equal(a, je.sample_gb2(jax.random.key(0), 1_000))


def test_samples_are_finite_in_single_precision():
    with strict(False):
        draws = np.asarray(je.sample_gb2(jax.random.key(3), 20_000))
        assert np.isfinite(draws).all()
        assert (draws > 0).all()
        assert stats.kstest(40 * draws.astype(float), oracle.gb2_cdf).pvalue > 1e-3


@pytest.mark.parametrize("n", [0, -3])
@pytest.mark.parametrize("make", ["gb2_skill", "sample_gb2", "uniform_skill"])
def test_a_population_has_somebody(n, make):
    call = {
        "gb2_skill": lambda: je.gb2_skill(n),
        "sample_gb2": lambda: je.sample_gb2(jax.random.key(0), n),
        "uniform_skill": lambda: uniform_skill(n),
    }[make]
    with pytest.raises(ValueError, match=rf"^n: {n}; at least 1"):
        call()


# Other populations and weights


def test_uniform_wages(precision):
    skill = uniform_skill(1_000, precision.dtype)
    np.testing.assert_allclose(
        skill,
        52 * np.quantile([1.24, 159.1], (np.arange(1_000) + 0.5) / 1_000),
        rtol=precision.rtol,
    )
    assert skill.dtype == precision.dtype


def test_weighted_quantiles_of_microdata():
    rng = np.random.default_rng(0)
    values, copies = rng.permutation(np.arange(10.0, 60.0)), rng.integers(0, 5, 50)
    repeated = np.sort(np.repeat(values, copies))
    total = len(repeated)
    expected = repeated[np.ceil((np.arange(400) + 0.5) / 400 * total).astype(int) - 1]
    np.testing.assert_array_equal(
        weighted_quantile_skill(values, copies.astype(float), 400), expected
    )
    np.testing.assert_array_equal(weighted_quantile_skill(values, np.ones(50), 50), np.sort(values))


def test_survey_weights_have_mean_one_and_the_shares_asked_for():
    sizes, shares = {"llm": 100, "rule": 900, "other": 50}, {"llm": 0.2, "rule": 0.7, "other": 0.1}
    w = survey_weights(sizes, shares)
    assert sum(w[c] * sizes[c] for c in sizes) / 1_050 == pytest.approx(1)
    for cohort in sizes:
        assert w[cohort] * sizes[cohort] / 1_050 == pytest.approx(shares[cohort])


def test_parameter_sets_by_name():
    skill = oracle.skills(10)
    np.testing.assert_allclose(
        base_preferences("calibrated", skill).disutility_weight,
        oracle.calibrated_weight(skill),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        base_preferences("calibrated", skill, 3.0).disutility_weight,
        oracle.calibrated_weight(skill, 3.0),
        rtol=1e-12,
    )
    assert float(base_preferences("annualised", skill).disutility_weight) == pytest.approx(0.026)
    assert float(base_preferences("paper", skill, 3.5, 80.0).max_hours) == 80
    with pytest.raises(
        ValueError, match=r"^preferences: 'weekly'; one of calibrated, annualised, paper"
    ):
        base_preferences("weekly", skill)
