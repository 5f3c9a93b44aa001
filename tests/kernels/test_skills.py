"""How skills move from year to year, and who works yesterday's hours, beside NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from support.dynamics import numpy_normal, skill_dynamics, variance_by_recursion, words

from jaxecon.core.draws import draw, named_key, normal
from jaxecon.kernels import skills as dyn


def test_normal_draws():
    draws = draw(named_key(3, "workers", "skill shock"), 5, 0, 1_000_000)
    found = np.asarray(normal(draws, np.float32), float)
    apart = np.abs(
        found - numpy_normal(*(np.asarray(w, np.uint64) for w in (draws.first, draws.second)))
    )
    assert np.quantile(apart, 0.999) < 2e-6
    # near 0, where the first word is near its end and float32 has few digits
    assert apart.max() < 4e-4
    assert stats.kstest(found[:200_000], "norm").pvalue > 1e-3
    assert abs(found.mean()) < 4e-3
    assert found.var() == pytest.approx(1, abs=6e-3)
    extremes = [jnp.asarray([0, 2**32 - 1], jnp.uint32)] * 2
    assert np.all(np.isfinite(normal(type(draws)(*extremes), np.float32)))


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.95, 0.999, 1.0])
@pytest.mark.parametrize("years", [0, 1, 2, 7, 40])
def test_variance_of_shocks(persistence, years):
    found = dyn.shock_variance(skill_dynamics(persistence), jnp.asarray([years]))
    assert float(found[0]) == pytest.approx(
        variance_by_recursion(persistence, 0.2, years), rel=1e-5
    )


@pytest.mark.parametrize("persistence", [0.0, 0.8, 1.0])
def test_a_year_beside_numpy(persistence):
    rng = np.random.default_rng(0)
    n, learning, shock = 500, 0.3, 0.2
    a, years = rng.normal(0, 1.5, n), rng.integers(0, 30, n)
    hours, innovation = rng.uniform(0, 100, n), rng.normal(size=n)
    expected = []
    for i in range(n):
        v = variance_by_recursion(persistence, shock, years[i])
        mean_now, mean_next = -v / 2, -variance_by_recursion(persistence, shock, years[i] + 1) / 2
        # by what the mean must fall for exp to keep its own
        drift = persistence * mean_now - mean_next
        moved = persistence * a[i] + learning * (hours[i] / 40 - 1) + shock * innovation[i] - drift
        expected.append(min(max(moved, -3), 3))
    arguments = [jnp.asarray(x, jnp.float32) for x in (a, years, hours, innovation)]
    found = dyn.next_deviation(skill_dynamics(persistence, learning, shock), *arguments)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    if persistence:
        assert np.any(np.abs(expected) == 3)
    np.testing.assert_allclose(
        jax.jit(dyn.next_deviation)(skill_dynamics(persistence, learning, shock), *arguments),
        found,
        atol=1e-6,
    )


@pytest.mark.parametrize("persistence", [0.5, 0.95, 1.0])
def test_shocks_keep_the_mean_of_skills_at_every_age(persistence):
    """Without learning, over all agents of an age, and over all when some are replaced."""
    n = 400_000
    for retirement in (0.0, 0.1):
        given = skill_dynamics(persistence, 0.0, 0.15, retirement)
        careers = dyn.new_careers({"a": jnp.ones(n)})
        hours = {"a": jnp.full(n, 77.0)}
        for year in range(12):
            careers = dyn.next_careers(given, careers, hours, jnp.uint32(1), year)
            level = np.exp(np.asarray(careers.deviation["a"], float))
            assert abs(level.mean() - 1) < 4.5 * level.std() / np.sqrt(n), (year, level.mean())
        assert level.std() > 0.14
        spread = np.asarray(careers.deviation["a"])[np.asarray(careers.years["a"]) == 12].std()
        assert spread == pytest.approx(
            variance_by_recursion(persistence, 0.15, 12) ** 0.5, rel=0.02
        )


def test_learning_by_doing_without_shocks():
    """a settles at learning*(h/40 - 1)/(1 - persistence): hours 1 % longer for good,
    learning/(1-persistence) % more skill.
    """
    careers = dyn.new_careers({"a": jnp.ones(3)})
    for year in range(300):
        careers = dyn.next_careers(
            skill_dynamics(0.9, 0.02, 0.0),
            careers,
            {"a": jnp.asarray([36.0, 40.0, 44.0])},
            jnp.uint32(0),
            year,
        )
    np.testing.assert_allclose(careers.deviation["a"], [-0.02, 0, 0.02], atol=1e-6)
    np.testing.assert_array_equal(careers.years["a"], 300)


def test_retirement():
    n = 200_000
    careers = dyn.Careers({"a": jnp.full(n, 0.7)}, {"a": jnp.full(n, 9, jnp.int32)})
    hours = {"a": jnp.full(n, 40.0)}
    after = dyn.next_careers(
        skill_dynamics(1.0, 0.0, 0.0, 1 / 20), careers, hours, jnp.uint32(4), 3
    )
    gone = np.asarray(after.years["a"]) == 0
    assert gone.mean() == pytest.approx(1 / 20, abs=4 * (0.05 * 0.95 / n) ** 0.5)
    np.testing.assert_array_equal(
        gone, words(4, "a", "retirement", 3, 0, n)[2] < np.float32(1 / 20)
    )
    np.testing.assert_allclose(np.asarray(after.deviation["a"]), np.where(gone, 0, 0.7), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(after.years["a"])[~gone], 10)
    for retirement, share in ((0.0, 0), (1.0, 1)):
        after = dyn.next_careers(
            skill_dynamics(1.0, 0.0, 0.1, retirement), careers, hours, jnp.uint32(4), 3
        )
        assert (np.asarray(after.years["a"]) == 0).mean() == share


def test_nothing_overflows():
    """The most of everything for centuries."""
    careers = dyn.new_careers({"a": jnp.ones(1000)})
    step = jax.jit(dyn.next_careers)
    for year in range(400):
        careers = step(
            skill_dynamics(1.0, 1.0, 0.5),
            careers,
            {"a": jnp.linspace(0, 168, 1000)},
            jnp.uint32(0),
            year,
        )
    assert np.all(np.abs(careers.deviation["a"]) <= dyn.MAX_DEVIATION)
    assert np.all(np.isfinite(dyn.shock_variance(skill_dynamics(1.0), jnp.asarray([2**31 - 1]))))


def test_adjusted_hours():
    n = 100_000
    draws = draw(named_key(0, "a", "inertia"), 2, 5, n)
    yesterday, chosen = jnp.full(n, 40.0), jnp.full(n, 50.0)
    found = np.asarray(dyn.adjusted_hours(jnp.float32(0.3), yesterday, chosen, draws))
    np.testing.assert_array_equal(
        found, np.where(words(0, "a", "inertia", 2, 5, n)[2] < np.float32(0.3), 40, 50)
    )
    assert (found == 40).mean() == pytest.approx(0.3, abs=0.006)
    np.testing.assert_array_equal(
        dyn.adjusted_hours(jnp.float32(0), yesterday, chosen, draws), chosen
    )
