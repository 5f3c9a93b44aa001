"""The leader's optimum. So far the exact best flat tax, the baseline that every run's table shows."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxecon._pytree import pytree
from jaxecon.taxation import TaxSchedule

Array = jax.Array


@pytree
class FlatOptimum:
    """rate: fraction; welfare: at the followers' equilibrium under it; schedule: the flat tax."""

    rate: Array
    welfare: Array
    schedule: TaxSchedule


_GRID = 21  # rates per pass; three passes resolve 0.05/10/10


def best_flat_tax(welfare: Callable[[TaxSchedule], Array], dtype: jnp.dtype | type | None = None) -> FlatOptimum:
    """The flat rate that maximises welfare(schedule), to 0.0005, by three nested grids.

    welfare: from a schedule to a scalar, traced by JAX (for example the welfare of `equilibrium`'s utility). It is a
    single hump in the rate but for a fine sawtooth where workers jump, which a grid does not mind.
    """
    dtype = dtype or jnp.result_type(float)

    def flat(rate: Array) -> TaxSchedule:
        return TaxSchedule(jnp.zeros(1, dtype), rate[None])

    low, high = jnp.zeros((), dtype), jnp.ones((), dtype)
    rates = values = jnp.zeros(0, dtype)
    for _ in range(3):
        rates = jnp.linspace(low, high, _GRID, dtype=dtype)
        values = jax.lax.map(lambda rate: welfare(flat(rate)), rates)
        step = (high - low) / (_GRID - 1)
        best = rates[jnp.argmax(values)]
        low, high = jnp.maximum(best - step, 0), jnp.minimum(best + step, 1)
    best = jnp.argmax(values)
    return FlatOptimum(rates[best], values[best], flat(rates[best]))
