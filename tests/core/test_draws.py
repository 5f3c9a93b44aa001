"""Counter-based draws: against JAX's own threefry, and independent of everything they should not
depend on.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.random import threefry_2x32 as jax_threefry
from scipy import stats

from jaxecon.core.draws import draw, named_key, threefry_2x32, uniform


def test_threefry_is_jax_threefry():
    key = jax.random.key_data(jax.random.key(123))
    first = jnp.arange(1000, dtype=jnp.uint32)
    second = first * np.uint32(2654435761)
    ours = jnp.concatenate(threefry_2x32(key, first, second))
    np.testing.assert_array_equal(ours, jax_threefry(key, jnp.concatenate([first, second])))


def test_draws_are_folded_keys_and_the_agents_index():
    day_key = jax.random.fold_in(jax.random.fold_in(named_key(7, "quantal", "labor"), 3), 11)
    counters = jnp.concatenate([jnp.arange(10, dtype=jnp.uint32), jnp.zeros(10, jnp.uint32)])
    expected = jax_threefry(jax.random.key_data(day_key), counters)
    draws = draw(named_key(7, "quantal", "labor"), 3, 11, 10)
    np.testing.assert_array_equal(jnp.concatenate([draws.first, draws.second]), expected)


def test_a_larger_cohort_changes_nobodys_draws():
    key = named_key(0, "a", "labor")
    np.testing.assert_array_equal(draw(key, 1, 2, 1000).first[:10], draw(key, 1, 2, 10).first)


@pytest.mark.parametrize(
    "other",
    [
        lambda: draw(named_key(1, "a", "labor"), 0, 0, 64),
        lambda: draw(named_key(0, "b", "labor"), 0, 0, 64),
        lambda: draw(named_key(0, "a", "skill"), 0, 0, 64),
        lambda: draw(named_key(0, "a", "labor"), 1, 0, 64),
        lambda: draw(named_key(0, "a", "labor"), 0, 1, 64),
    ],
)
def test_everything_that_should_change_draws_does(other):
    base = draw(named_key(0, "a", "labor"), 0, 0, 64)
    assert not np.any(np.asarray(base.first) == np.asarray(other().first))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype):
    with jax.enable_x64(dtype is np.float64):
        words = draw(named_key(0, "a", "labor"), 0, 0, 100_000)
        for word in (words.first, words.second):
            u = np.asarray(uniform(word, dtype))
            assert u.dtype == dtype
            assert u.min() >= 0
            assert u.max() < 1
            assert stats.kstest(u, "uniform").pvalue > 1e-3
        largest = uniform(jnp.full(1, 2**32 - 1, jnp.uint32), dtype)
        assert largest[0] < 1
