"""Searches over evenly spaced points: all combinations of rates, or one rate ever finer."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.kernels.optimum.objective import MAX_ELEMENTS, Objective
from jaxecon.kernels.optimum.space import Judge, SearchResult
from jaxecon.kernels.optimum.starts import starting_points


def search_grid(objective: Objective, points: int, judge: Judge) -> SearchResult:
    """Return the best of all combinations of `points` evenly spaced rates, computed in chunks."""
    space, limits = objective.space, objective.limits
    dtype = objective.problem.skill.dtype
    k, count = space.brackets, points**space.brackets
    chunk = min(count, max(1, MAX_ELEMENTS // (k * objective.problem.skill.shape[0])))
    place = jnp.asarray(points ** np.arange(k - 1, -1, -1), jnp.int32)

    def point(index: Array) -> Array:
        digit = (index // place) % points
        return limits.low + (limits.high - limits.low) * digit / (points - 1)

    def feasible(welfare: Array, rebate: Array) -> Array:
        return objective.feasible_welfare(judge(welfare, rebate), rebate)

    def one_chunk(best: tuple[Array, Array], start: Array) -> tuple[tuple[Array, Array], None]:
        index = jnp.minimum(start + jnp.arange(chunk), count - 1)
        x = jax.vmap(point)(index).astype(dtype)
        value = objective.evaluate(x, feasible)
        if space.monotone:
            value = jnp.where(jnp.all(jnp.diff(x, axis=1) >= 0, axis=1), value, -jnp.inf)
        top = jnp.argmax(value)
        better = value[top] > best[1]
        return (
            jnp.where(better, x[top], best[0]),
            jnp.where(better, value[top], best[1]),
        ), None

    nothing = (
        objective.project(starting_points(objective, 1)[0]),
        jnp.full((), -jnp.inf, dtype),
    )
    (x, value), _ = jax.lax.scan(one_chunk, nothing, jnp.arange(0, count, chunk))
    return SearchResult(x, value, jnp.asarray(count, jnp.int32))


def search_line(objective: Objective, judge: Judge) -> SearchResult:
    """Return the best single rate, by nested grids.

    Each grid spans two steps on either side of the best rate of the one before. The steps of the
    last are below 1e-6 of the bounds' width.
    """
    rounds, count = 4, 101
    limits = objective.limits
    width = limits.high - limits.low

    def look(i: Array, carry: SearchResult) -> SearchResult:
        step = width / (count - 1) / (count // 4) ** i
        offsets = (jnp.arange(count) - count // 2) * step
        x = jax.vmap(objective.project)(carry.x[None] + offsets[:, None])
        value = objective.evaluate(x, judge)
        top = jnp.argmax(value)
        better = value[top] > carry.value
        return SearchResult(
            jnp.where(better, x[top], carry.x),
            jnp.where(better, value[top], carry.value),
            carry.evaluations + count,
        )

    middle = (limits.low + limits.high)[None] / 2
    start = SearchResult(middle, jnp.full((), -jnp.inf, middle.dtype), jnp.zeros((), jnp.int32))
    return jax.lax.fori_loop(0, rounds, look, start)
