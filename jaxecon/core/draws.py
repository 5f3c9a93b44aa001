"""Counter-based random numbers.

An agent's draw depends only on (seed, cohort, purpose, year, day, index). Other cohorts, the order
of computation, its division into chunks, and the size of the population do not change it.
"""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.pytree import pytree


@pytree
class Draws:
    """One threefry block per agent: two independent (n,) uint32 words."""

    first: Array
    second: Array


def named_key(seed: int | Array, *names: str) -> Array:
    """Return a typed threefry key for a seed and names (such as a cohort's name and a purpose).

    seed: in [0, 2^32). JAX's own function for keys adds JAX_RANDOM_SEED_OFFSET to it.
    """
    low = jnp.asarray(seed, jnp.uint32)
    key = jax.random.wrap_key_data(jnp.stack([jnp.zeros_like(low), low]), impl="threefry2x32")
    for name in names:
        key = jax.random.fold_in(key, zlib.crc32(name.encode()))
    return key


def draw(key: Array, year: int | Array, day: int | Array, n: int) -> Draws:
    """Return the draws of agents 0..n-1 on one day, under a key from `named_key`.

    year, day: scalars, traced or not.
    """
    index = jnp.arange(n, dtype=jnp.uint32)
    return Draws(
        *threefry_2x32(
            _fold_in(_fold_in(jax.random.key_data(key), year), day), index, jnp.zeros_like(index)
        )
    )


def _fold_in(key: Array, number: int | Array) -> Array:
    """`jax.random.fold_in` on key data (2,); XLA fuses it with what follows, without a loop."""
    return jnp.stack(
        threefry_2x32(key, jnp.zeros((), jnp.uint32), jnp.asarray(number).astype(jnp.uint32))
    )


def threefry_2x32(key: Array, first: Array, second: Array) -> tuple[Array, Array]:
    """Threefry-2x32 (20 rounds) of counters (n,) under key data (2,); all uint32.

    Source: Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3".
    Written out so that XLA fuses it with the code that uses the numbers. On a CPU, JAX's own
    version loops over whole arrays and is three times slower.
    """
    keys = (key[0], key[1], key[0] ^ key[1] ^ np.uint32(0x1BD11BDA))
    x, y = first + keys[0], second + keys[1]
    for group in range(5):
        for rotation in ((13, 15, 26, 6), (17, 29, 16, 24))[group % 2]:
            x = x + y
            y = ((y << rotation) | (y >> (32 - rotation))) ^ x
        x, y = x + keys[(group + 1) % 3], y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def normal(draws: Draws, dtype: np.dtype | type) -> Array:
    """Return standard normal numbers (n,) from both words (Box and Muller 1958), in [-6.8, 6.8]."""
    distance = jnp.sqrt(-2 * jnp.log((draws.first.astype(dtype) + 0.5) * 2.0**-32))
    return distance * jnp.cos(2 * np.pi * uniform(draws.second, dtype))


def uniform(word: Array, dtype: np.dtype | type) -> Array:
    """Uniform numbers on [0, 1) from a word, as fine as the dtype allows (at most 32 bits)."""
    if np.finfo(dtype).nmant >= 32:
        return word.astype(dtype) * 2.0**-32
    return (word >> 8).astype(dtype) * 2.0**-24
