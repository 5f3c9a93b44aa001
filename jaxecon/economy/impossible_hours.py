"""Whether all worked possible hours on a day: a rule of a user's own may return anything."""

import jax.numpy as jnp
from jax import Array

from jaxecon.core.pytree import pytree
from jaxecon.economy.state import Economy


@pytree
class ImpossibleHours:
    """Whether somebody in a cohort worked impossible hours on a day.

    Of one day (cohorts,), or of several (days, cohorts), with cohorts in the economy's order.

    Attributes:
        agent: the index of the first whose hours are impossible, -1 where all are possible.
        lowest, highest: hours of the cohort, h/week; NaN where somebody's are.
    """

    agent: Array
    lowest: Array
    highest: Array


def are_possible(hours: Array, max_hours: Array) -> Array:
    """Whether hours (h/week) lie in [0, max_hours], up to float32's rounding; False for NaN."""
    return (hours >= 0) & (hours <= max_hours * (1 + 1e-5))


def impossible_hours(economy: Economy, hours: dict[str, Array]) -> ImpossibleHours:
    """Look for impossible hours on a day. hours: (n,) h/week by cohort.

    These are three reductions that XLA adds to those of a day's statistics. To look up the agent's
    own hours as well would take an array that a day does not need otherwise, and change the
    rounding of its other results.
    """
    found = []
    for name, cohort in economy.cohorts.items():
        worked, n = hours[name], hours[name].shape[0]
        possible = are_possible(worked, cohort.preferences.max_hours)
        first = jnp.min(jnp.where(possible, n, jnp.arange(n, dtype=jnp.int32)))
        found.append((jnp.where(first < n, first, -1), jnp.min(worked), jnp.max(worked)))
    return ImpossibleHours(*(jnp.stack(parts) for parts in zip(*found, strict=True)))
