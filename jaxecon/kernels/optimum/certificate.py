"""The evidence for an optimum: no better neighbour, slopes near zero, and idle brackets named."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.kernels.optimum.density import past_bunching
from jaxecon.kernels.optimum.objective import ROUNDING, Objective
from jaxecon.kernels.optimum.pattern_search import CERTIFIED_STEP
from jaxecon.kernels.taxation import fill_empty

_DIFFERENCE = 0.002  # of a rate, the step of finite differences of smoothed welfare


class Certificate(NamedTuple):
    """The comparison of a point with its neighbours.

    welfare, rebate ($/year): at the point, scalars. neighbours: (m,) their welfare less the
    point's. noise: the rounding of welfare, a scalar. certified: whether no neighbour is better
    (except for rounding), and at least one is worse by more than the noise.
    """

    welfare: Array
    rebate: Array
    neighbours: Array
    noise: Array
    certified: Array


def certify(objective: Objective, x: Array) -> Certificate:
    """Compare a point (size,) with all neighbours CERTIFIED_STEP away, at exact responses.

    Welfare that is rounded away looks the same everywhere. So that this is no certificate, a
    neighbour must be worse by more than the noise: the change of welfare between points that differ
    in the last digits alone.
    """
    shifts = np.array([-3.0, -1.0, 1.0, 3.0]) * np.finfo(x.dtype).eps
    nearby = jax.vmap(lambda shift: objective.project(x + shift))(jnp.asarray(shifts, x.dtype))
    every = jnp.concatenate([x[None], objective.neighbours(x, CERTIFIED_STEP), nearby])
    value, rebate = objective.evaluate_with_rebate(every, objective.feasible_welfare)
    welfare, compared = value[0], value[1 : -len(shifts)]
    # a worker who jumps between brackets moves welfare on one side of the point alone
    feasible = jnp.isfinite(welfare)
    base = jnp.where(feasible, welfare, 0)
    seen = jnp.sort(jnp.abs(value[-len(shifts) :] - base))[1]
    tolerance = ROUNDING * np.finfo(welfare.dtype).eps * jnp.abs(welfare)
    noise = jnp.maximum(tolerance, jnp.where(jnp.isfinite(seen), seen, 0))
    neighbours = compared - base
    certified = feasible & jnp.all(neighbours <= tolerance) & jnp.any(neighbours < -noise)
    return Certificate(welfare, rebate[0], neighbours, noise, certified)


def fill_idle_brackets(objective: Objective, x: Array, income: Array) -> tuple[Array, Array]:
    """Return the point in which each idle bracket has the rate of the nearest non-idle one below.

    If there is none below, it has that of the nearest one above. A bracket is idle if nobody has
    income in it and taking a neighbour's rate in this way does not lower welfare. A bracket that
    would attract people at that rate is empty only because of its own rate, and keeps it.

    Args:
        objective: what is evaluated.
        x: (size,) the point.
        income: (n,) $/year at that point.

    Returns:
        The point (size,), and which brackets are idle, (k,) bool.
    """
    k = objective.space.brackets
    thresholds = past_bunching(objective.schedule(x).thresholds)
    bracket = jnp.clip(jnp.searchsorted(thresholds, income, side="left") - 1, 0, k - 1)
    empty = jnp.zeros(k, jnp.int32).at[bracket].add(1) == 0
    rates = fill_empty(x[:k], empty)
    alone = jax.vmap(lambda i: x.at[i].set(rates[i]))(jnp.arange(k))
    value = objective.evaluate(jnp.concatenate([x[None], alone]), objective.feasible_welfare)
    idle = empty & (value[1:] >= value[0] - ROUNDING * np.finfo(x.dtype).eps * jnp.abs(value[0]))
    return x.at[:k].set(fill_empty(x[:k], idle)), idle


def slopes(objective: Objective, x: Array, multiplier: Array) -> Array:
    """Return the derivatives (k,) of smoothed welfare plus multiplier * rebate in each rate.

    They are central differences, one-sided at the bounds. x: (size,); multiplier: a scalar, welfare
    per $/year per person.
    """
    k, limits = objective.space.brackets, objective.limits
    unit = jnp.eye(k, objective.space.size, dtype=x.dtype)
    ends = jnp.concatenate([x[None] + _DIFFERENCE * unit, x[None] - _DIFFERENCE * unit])
    ends = ends.at[:, :k].set(jnp.clip(ends[:, :k], limits.low, limits.high))
    value = jax.lax.map(lambda x: objective.smoothed(x, lambda w, r: w + multiplier * r), ends)
    up, down = jnp.split(value, 2)
    apart = jnp.sum(ends[:k] - ends[k:], axis=1)
    return (up - down) / apart
