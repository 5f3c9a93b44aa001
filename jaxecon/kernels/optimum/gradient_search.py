"""Gradient ascent on welfare with the response smoothed over brackets."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.space import Judge

_LEARNING_RATE = 0.05  # of the first step, in rates; falls to 0 along a cosine


def climb(objective: Objective, starts: Array, steps: int, judge: Judge) -> Array:
    """Return the points that `steps` steps of Adam reach from the starts, kept within the space.

    starts, and the points returned: (m, size).
    """
    # the least eps: Adam must take steps of the same size whatever unit welfare has, and at a
    # curvature of 10 a rate changes it by 1e-45
    least = float(np.finfo(starts.dtype).tiny)
    adam = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, steps), eps=least)
    # forward mode is as fast as backward for a few rates, and compiles sooner
    slope = jax.jacfwd(lambda x: -objective.smoothed(x, judge))

    def climb_from(start: Array) -> Array:
        def step(
            carry: tuple[Array, optax.OptState], _: None
        ) -> tuple[tuple[Array, optax.OptState], None]:
            x, state = carry
            downhill = slope(x)
            updates, state = adam.update(jnp.where(jnp.isfinite(downhill), downhill, 0), state, x)
            return (objective.project(optax.apply_updates(x, updates)), state), None

        return jax.lax.scan(step, (start, adam.init(start)), None, length=steps)[0][0]

    return jax.lax.map(climb_from, starts)
