"""Roots of monotone functions, bracketed."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


_SECANTS, _MAX_EVALUATIONS = 16, 80  # 64 bisections: beyond float64's resolution of any rebate


def falling_root(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a falling scalar function crosses zero between low and high, f(low) >= 0 >= f(high); it
    may jump across.

    Illinois' regula falsi (Dowell and Jarratt 1971), a handful of evaluations where f is smooth;
    bisection after _SECANTS of them, for a function that jumps. Stops at the resolution of the
    dtype.
    """
    eps = np.finfo(low.dtype).eps

    def unfinished(carry: RootSearch) -> Array:
        width = jnp.abs(carry.high - carry.low)
        scale = jnp.maximum(jnp.abs(carry.low), jnp.abs(carry.high))
        return (
            (carry.evaluations < _MAX_EVALUATIONS)
            & (width > 2 * eps * scale)
            & (jnp.abs(carry.f) > 2 * eps * scale)
        )

    def evaluate(carry: RootSearch) -> RootSearch:
        secant = (carry.low * carry.f_high - carry.high * carry.f_low) / (
            carry.f_high - carry.f_low
        )
        inside = (secant > carry.low) & (secant < carry.high) & (carry.evaluations < _SECANTS)
        x = jnp.where(inside, secant, (carry.low + carry.high) / 2)
        value = f(x)
        up = value > 0
        # the end that stays a second time has its value halved, or one end would never move
        f_low = jnp.where(up, value, jnp.where(carry.moved_low, carry.f_low, carry.f_low / 2))
        f_high = jnp.where(up, jnp.where(carry.moved_low, carry.f_high / 2, carry.f_high), value)
        return RootSearch(
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
    start = RootSearch(
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


class RootSearch(NamedTuple):
    """A bracket, f at its ends (as weighted by the method), the point last evaluated, and whether
    it became the low end.
    """

    low: Array
    high: Array
    f_low: Array
    f_high: Array
    x: Array
    f: Array
    moved_low: Array
    evaluations: Array
