"""Where searches begin: points spread evenly over the space of schedules."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.kernels.optimum.objective import Objective


def starting_points(objective: Objective, count: int) -> Array:
    """Points (count, size): flat taxes, then Roberts' (2018) low-discrepancy sequence."""
    space, limits = objective.space, objective.limits
    k, size = space.brackets, space.size
    golden = _roberts_root(size)
    sequence = (0.5 + np.outer(np.arange(1, count + 1), golden ** -np.arange(1.0, size + 1))) % 1
    flats = min(count // 4, 8)
    sequence[:flats, :k] = ((np.arange(flats) + 0.5) / max(flats, 1))[:, None]
    dtype = objective.problem.skill.dtype
    rates = limits.low + (limits.high - limits.low) * jnp.asarray(sequence[:, :k], dtype)
    if space.free_thresholds:
        logs = jnp.log(limits.thresholds[1:])
        # half keep the thresholds of the problem, the others lie within a factor e of them
        spread = jnp.asarray(sequence[:, k:] - 0.5, dtype).at[: count // 2].set(0)
        rates = jnp.concatenate([rates, logs[None] + 2 * spread], axis=1)
    return jax.vmap(objective.project)(rates)


def _roberts_root(size: int) -> float:
    """The root above 1 of g^(size+1) = g + 1, which Roberts' sequence is built on."""
    root = 2.0
    for _ in range(50):
        root = (1 + root) ** (1 / (size + 1))
    return root
