"""Optional dynamics: skills that change over the years, and hours that adjust slowly.

A third option is saving (saving.py). Pure functions of arrays. Equations and sources:
docs/dynamics.md.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.draws import Draws, draw, named_key, normal, uniform
from jaxecon.core.pytree import pytree
from jaxecon.kernels.preferences import REFERENCE_HOURS
from jaxecon.kernels.saving import Saving

# largest deviation of log skill from its base: a factor of 20 up or down
MAX_DEVIATION = 3.0


@pytree
class SkillDynamics:
    """How skills change from year to year; scalars.

    Attributes:
        persistence: share of a deviation that is left after a year, in [0, 1].
        learning: what a year at 80 hours adds to log skill, and a year at 0 hours takes away.
        shock: standard deviation of a year's innovation of log skill.
        retirement: probability of retiring at the end of a year.
    """

    persistence: Array
    learning: Array
    shock: Array
    retirement: Array


@pytree
class Dynamics:
    """The dynamics of an economy; None for those that are switched off.

    hours_inertia: scalar, the probability that a worker cannot adjust its hours on a day.
    """

    skills: SkillDynamics | None = None
    hours_inertia: Array | None = None
    saving: Saving | None = None


@pytree
class Careers:
    """The state of agents' careers, by cohort, (n,).

    deviation: of log skill from the base. years: since entry, int32.
    """

    deviation: dict[str, Array]
    years: dict[str, Array]


@pytree
class DynamicState:
    """The part of an economy's state that its dynamics need.

    hours: yesterday's, h/week. wealth: $. Both (n,) by cohort.
    """

    careers: Careers | None = None
    hours: dict[str, Array] | None = None
    wealth: dict[str, Array] | None = None


def shock_variance(dynamics: SkillDynamics, years: Array) -> Array:
    """Return the variance of a deviation that is due to the shocks of `years` years, (n,).

    shock^2 * sum of persistence^(2k), k < years.
    """
    rho = dynamics.persistence
    below = rho < 1
    log_kept = 2 * jnp.log(jnp.maximum(rho, np.finfo(rho.dtype).tiny))
    t = years.astype(rho.dtype)
    total = jnp.where(below, jnp.expm1(t * log_kept) / jnp.where(below, jnp.expm1(log_kept), 1), t)
    return dynamics.shock**2 * total


def next_deviation(
    dynamics: SkillDynamics, deviation: Array, years: Array, hours: Array, innovation: Array
) -> Array:
    """Return the deviation of log skill after a year, kept within MAX_DEVIATION; (n,) all.

    a' = persistence*a + learning*(hours/40 - 1) + shock*innovation - m.

    hours: the year's mean, h/week. innovation: standard normal. The drift m = (shock^2 -
    persistence*(1-persistence)*V)/2, with V = `shock_variance`, makes the shocks mean-preserving in
    levels: without learning, a is normal with mean -V/2 at every age, so the mean of exp(a) over
    agents of any one age is exactly 1 (apart from the bounds).
    """
    rho = dynamics.persistence
    drift = (dynamics.shock**2 - rho * (1 - rho) * shock_variance(dynamics, years)) / 2
    moved = (
        rho * deviation
        + dynamics.learning * (hours / REFERENCE_HOURS - 1)
        + dynamics.shock * innovation
        - drift
    )
    return jnp.clip(moved, -MAX_DEVIATION, MAX_DEVIATION)


def new_careers(skill: dict[str, Array]) -> Careers:
    """The careers of people who have just entered. skill: by cohort, (n,)."""
    years = {name: jnp.zeros(s.shape, jnp.int32) for name, s in skill.items()}
    return Careers({name: jnp.zeros_like(s) for name, s in skill.items()}, years)


def next_careers(
    dynamics: SkillDynamics, careers: Careers, hours: dict[str, Array], seed: Array, year: Array
) -> Careers:
    """Return careers after a year: skills have changed, and new people replace those who retired.

    hours: by cohort, (n,) h/week, the year's mean. seed, year: of the draws, one for each agent.
    """
    deviation, years = {}, {}
    for name, a in careers.deviation.items():
        n, t = a.shape[0], careers.years[name]
        innovation = normal(draw(named_key(seed, name, "skill shock"), year, 0, n), a.dtype)
        retires = (
            uniform(draw(named_key(seed, name, "retirement"), year, 0, n).first, a.dtype)
            < dynamics.retirement
        )
        deviation[name] = jnp.where(
            retires, 0, next_deviation(dynamics, a, t, hours[name], innovation)
        )
        years[name] = jnp.where(retires, 0, t + 1)
    return Careers(deviation, years)


def adjusted_hours(inertia: Array, yesterday: Array, chosen: Array, draws: Draws) -> Array:
    """Hours worked, (n,): with probability `inertia` yesterday's, else `chosen` (Calvo 1983)."""
    return jnp.where(uniform(draws.first, chosen.dtype) < inertia, yesterday, chosen)
