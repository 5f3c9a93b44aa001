"""Differential evolution on welfare at exact responses."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.core.draws import draw, named_key, uniform
from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.space import Judge


def evolve(
    objective: Objective,
    members: Array,
    judge: Judge,
    generations: int,
    seed: Array,
    starts: int,
) -> tuple[Array, Array, Array]:
    """Differential evolution (Storn and Price 1997) with dithered scale.

    Members alternate between the strategies best/1/bin and current/1/bin.

    Args:
        objective: what is evaluated.
        members: (count, size) points of the first generation.
        judge: what is maximised.
        generations: how many; the first only evaluates the members.
        seed: uint32, of the draws.
        starts: how many of the first members come from an earlier search.

    Returns:
        The members (count, size), their values (count,), and the best value of the first `starts`
            members before any evolution, a scalar.
    """
    count, size = members.shape
    key = named_key(seed, "differential evolution")

    def generation(
        carry: tuple[Array, Array, Array], number: Array
    ) -> tuple[tuple[Array, Array, Array], None]:
        x, value, first = carry
        words = draw(key, number, 0, count * (size + 4)).first
        chance = uniform(words, x.dtype).reshape(count, size + 4)
        one, other = (jnp.floor(chance[:, i] * count).astype(jnp.int32) for i in (0, 1))
        towards = jnp.where(jnp.arange(count)[:, None] % 2 == 0, x[jnp.argmax(value)][None], x)
        mutant = towards + (0.3 + 0.6 * chance[:, 2:3]) * (x[one] - x[other])
        # one coordinate is taken from the mutant in any case
        whole = jnp.arange(size)[None] == jnp.floor(chance[:, 3:4] * size)
        taken = whole | (chance[:, 4:] < 0.8)
        # the first generation only evaluates
        trial = jax.vmap(objective.project)(jnp.where(taken & (number > 0), mutant, x))
        worth = objective.evaluate(trial, judge)
        first = jnp.where(number > 0, first, jnp.max(worth[:starts]))
        better = worth >= value
        return (
            jnp.where(better[:, None], trial, x),
            jnp.where(better, worth, value),
            first,
        ), None

    unknown = jnp.full((), -jnp.inf, members.dtype)
    start = (members, jnp.full(count, -jnp.inf, members.dtype), unknown)
    return jax.lax.scan(generation, start, jnp.arange(generations))[0]
