"""Roots of monotone functions within a bracket.

Two other searches do not use these, as their comments explain: `workers.social` (Newton with a
slope, for many workers at once) and `kernels.optimum.constraint` (each step is itself a search).
The Newton iterations of `kernels.labor` and `economy.gb2` start where they converge monotonically
and need no bracket.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

_SECANTS, _MAX_EVALUATIONS = 16, 80  # 64 bisections: beyond float64's resolution of any rebate


def bisect(
    is_below: Callable[[Array], Array], low: Array, high: Array, steps: int
) -> tuple[Array, Array]:
    """Return a bracket of a root after `steps` halvings; any shape, each element on its own.

    Args:
        is_below: whether points, the shape of low, lie below their roots, bool.
        low: below the roots.
        high: at or above the roots.
        steps: how often the bracket is halved.

    Returns:
        The ends of the last bracket, the shape of low.
    """

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        below = is_below(middle)
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    return jax.lax.fori_loop(0, steps, halve, (low, high))


class _RootSearch(NamedTuple):
    """A bracket, f at its ends (as reweighted by the method), and the point evaluated last.

    moved_low: whether that point became the low end.
    """

    low: Array
    high: Array
    f_low: Array
    f_high: Array
    x: Array
    f: Array
    moved_low: Array
    evaluations: Array


def falling_root(
    f: Callable[[Array], Array], low: Array, high: Array, resolution: float | None = None
) -> Array:
    """Return where a falling scalar function crosses zero, by secants and then bisection.

    Uses the Illinois variant of regula falsi (Dowell and Jarratt 1971), which needs a handful of
    evaluations where f is smooth. After _SECANTS evaluations it bisects, for a function that jumps
    across zero. It stops at a bracket whose width relative to the root is `resolution`, by default
    twice that of the dtype.

    All are scalars; f(low) >= 0 >= f(high).
    """
    finest = 2 * float(np.finfo(low.dtype).eps)
    narrowest = max(resolution or 0.0, finest)

    def unfinished(carry: _RootSearch) -> Array:
        width = jnp.abs(carry.high - carry.low)
        scale = jnp.maximum(jnp.abs(carry.low), jnp.abs(carry.high))
        return (
            (carry.evaluations < _MAX_EVALUATIONS)
            & (width > narrowest * scale)
            & (jnp.abs(carry.f) > finest * scale)
        )

    def evaluate(carry: _RootSearch) -> _RootSearch:
        secant = (carry.low * carry.f_high - carry.high * carry.f_low) / (
            carry.f_high - carry.f_low
        )
        inside = (secant > carry.low) & (secant < carry.high) & (carry.evaluations < _SECANTS)
        x = jnp.where(inside, secant, (carry.low + carry.high) / 2)
        value = f(x)
        up = value > 0
        # an end that stays for a second time has its value halved; else it might never move
        f_low = jnp.where(up, value, jnp.where(carry.moved_low, carry.f_low, carry.f_low / 2))
        f_high = jnp.where(up, jnp.where(carry.moved_low, carry.f_high / 2, carry.f_high), value)
        return _RootSearch(
            jnp.where(up, x, carry.low),
            jnp.where(up, carry.high, x),
            f_low,
            f_high,
            x,
            value,
            up,
            carry.evaluations + 1,
        )

    f_low, f_high = f(low), f(high)
    lower = jnp.abs(f_low) < jnp.abs(f_high)
    start = _RootSearch(
        low,
        high,
        f_low,
        f_high,
        jnp.where(lower, low, high),
        jnp.where(lower, f_low, f_high),
        lower,
        jnp.zeros((), jnp.int32),
    )
    return jax.lax.while_loop(unfinished, evaluate, start).x
