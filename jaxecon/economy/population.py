"""The people of an economy: skills, survey weights, preferences and the reference outcome."""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating
from jaxecon.economy.gb2 import midpoints
from jaxecon.kernels.equilibrium import Outcome, equilibrium
from jaxecon.kernels.preferences import DISUTILITY_EXPONENT, Preferences
from jaxecon.kernels.taxation import TaxSchedule

PreferenceSet = Literal["calibrated", "annualised", "paper"]

# The paper's alternative population: hourly wages in dollars (arXiv 2507.15815).
UNIFORM_WAGE = (1.24, 159.1)

WEEKS_PER_YEAR = 52


def uniform_skill(n: int, dtype: jnp.dtype | type | None = None) -> Array:
    """Skills of the paper's alternative population, (n,) $/year per weekly hour.

    The quantile midpoints of an hourly wage that is uniform on 1.24..159.1 $, times 52 weeks.
    """
    below, _ = midpoints(n, dtype)
    low, high = UNIFORM_WAGE
    return WEEKS_PER_YEAR * (low + (high - low) * below)


def weighted_quantile_skill(skill: np.ndarray, weights: np.ndarray, n: int) -> np.ndarray:
    """Return the n quantile midpoints, (n,), of a weighted sample (m,), such as microdata.

    Each is a value of the sample.
    """
    order = np.argsort(skill, kind="stable")
    cumulated = np.cumsum(weights[order])
    below = (np.arange(n) + 0.5) / n * cumulated[-1]
    return np.asarray(skill[order][np.searchsorted(cumulated, below)])


def survey_weights(sizes: dict[str, int], shares: dict[str, float]) -> dict[str, float]:
    """Return the survey weight of one agent of each cohort, w_c = share_c * N / n_c.

    The mean over all agents is 1. sizes: agents per cohort. shares: each cohort's share of the
    people, under the same names, summing to 1.
    """
    total = sum(sizes.values())
    return {name: shares[name] * total / size for name, size in sizes.items()}


def base_preferences(
    kind: PreferenceSet,
    skill: ArrayLike,
    exponent: ArrayLike = DISUTILITY_EXPONENT,
    max_hours: ArrayLike = 100.0,
) -> Preferences:
    """One of the three sets of preferences, at curvature 0."""
    if kind == "calibrated":
        return Preferences.calibrated(skill, exponent, max_hours)
    if kind == "annualised":
        return Preferences.annualised(exponent, max_hours)
    if kind == "paper":
        return Preferences.paper(exponent, max_hours)
    raise ValueError(f"preferences: {kind!r}; one of {', '.join(get_args(PreferenceSet))}")


def with_curvature(
    preferences: Preferences, reference_consumption: ArrayLike, curvature: float
) -> Preferences:
    """Return preferences with curvature eta > 0: the disutility weight becomes c_i*x_ref,i^(-eta).

    This leaves the trade-off between hours and consumption at the reference unchanged.
    reference_consumption: x_ref, (n,) $/year.
    """
    x_ref = jnp.asarray(reference_consumption)
    weight = preferences.disutility_weight * x_ref**-curvature
    return Preferences(weight, preferences.disutility_exponent, curvature, preferences.max_hours)


def federal_reference(
    skill: ArrayLike,
    preferences: Preferences,
    weights: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
) -> Outcome:
    """Return the equilibrium under the US federal schedule, (n,).

    Welfare weights and the reference consumption are taken from it.
    """
    skill = floating(skill)
    schedule = TaxSchedule.us_federal().astype(skill.dtype)
    return equilibrium(schedule, skill, preferences, weights, public_spending, rebate_floor)
