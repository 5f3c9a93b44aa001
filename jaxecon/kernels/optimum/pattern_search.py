"""Pattern search on welfare at exact responses: the polish that the certificate rests on."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.kernels.optimum.objective import ROUNDING, Objective
from jaxecon.kernels.optimum.space import Judge, SearchResult

CERTIFIED_STEP = 0.01  # of a rate; of the logarithm of a free threshold
_STEPS = (0.02, 0.01, 0.005, 0.002, 0.001, CERTIFIED_STEP)  # the last only verifies
_MAX_MOVES = 1000


def polish(objective: Objective, x: Array, value: Array, judge: Judge) -> SearchResult:
    """Move to the best neighbour while one is better, at ever smaller steps.

    After each success it goes back to larger steps. It ends when no neighbour is better at any of
    _STEPS in a row, CERTIFIED_STEP last.

    Args:
        objective: what is evaluated.
        x: (size,) the point to begin at.
        value: its value, a scalar.
        judge: what is maximised.
    """
    steps = jnp.asarray(_STEPS, x.dtype)

    def unfinished(carry: tuple[Array, Array, Array, Array]) -> Array:
        _, _, level, moves = carry
        return (level < len(_STEPS)) & (moves < _MAX_MOVES)

    def look_around(
        carry: tuple[Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array]:
        x, value, level, moves = carry
        around = objective.neighbours(x, steps[level])
        worth = objective.evaluate(around, judge)
        top = jnp.argmax(worth)
        rounding = ROUNDING * np.finfo(value.dtype).eps * jnp.abs(value)
        # from -inf any larger value is better
        better = worth[top] > value + jnp.where(jnp.isfinite(value), rounding, 0)
        level = jnp.where(
            better, jnp.where(level == len(_STEPS) - 1, 1, jnp.maximum(level - 1, 0)), level + 1
        )
        return (
            jnp.where(better, around[top], x),
            jnp.where(better, worth[top], value),
            level,
            moves + 1,
        )

    zero = jnp.zeros((), jnp.int32)
    x, value, _, moves = jax.lax.while_loop(unfinished, look_around, (x, value, zero, zero))
    return SearchResult(x, value, moves * len(objective.space.directions))
