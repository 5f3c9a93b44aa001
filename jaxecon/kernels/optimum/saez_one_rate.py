"""Saez's formulas for one rate: on top incomes, and of a flat tax.

Derivations, sources and limits of validity: docs/optimal-taxation.md.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating
from jaxecon.kernels.optimum.saez_checks import check_people, require
from jaxecon.kernels.taxation import weighted_mean


def saez_top_rate(
    pareto: ArrayLike,
    elasticity: ArrayLike,
    welfare_weight: ArrayLike = 0.0,
    uncompensated: ArrayLike | None = None,
) -> Array:
    """Optimal rate on top incomes, (1-g)/(1-g + a*e) (Saez 2001; Diamond and Saez 2011).

    Shapes broadcast.

    Args:
        pareto: a = E[z|z>z*]/(E[z|z>z*]-z*), > 1.
        elasticity: e of taxable income to the net-of-tax rate, > 0.
        welfare_weight: g, the mean welfare weight of top earners, where everybody's mean is 1; at
            least 0.
        uncompensated: with income effects, the uncompensated elasticity e_u; `elasticity` is then
            the compensated one, e_c, and the rate is (1-g)/(1-g + e_u + e_c*(a-1)).

    Returns:
        The rate, a fraction; negative where g > 1, and minus infinity from g = 1 + a*e on.

    Raises:
        ValueError: for a <= 1, an elasticity <= 0 or a negative weight.
    """
    require("pareto", pareto, lambda a: a > 1, "must be greater than 1")
    require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
    require("welfare_weight", welfare_weight, lambda g: g >= 0, "must be at least 0")
    compensated = jnp.asarray(elasticity)
    response = (
        pareto * compensated
        if uncompensated is None
        else uncompensated + compensated * (jnp.asarray(pareto) - 1)
    )
    require(
        "uncompensated",
        response,
        lambda r: r > 0,
        "that is e_u + e_c*(a-1), which must be greater than 0",
    )
    return _unbounded_rate(1 - jnp.asarray(welfare_weight), response)


def saez_linear_rate(
    income: ArrayLike,
    elasticity: ArrayLike,
    welfare_weights: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    """Optimal rate of a flat tax with a lump-sum rebate, (1-gbar)/(1-gbar + e).

    gbar is the income-weighted mean of g (Piketty and Saez 2013).

    Args:
        income: (n,) $/year under that tax, taken as it is.
        elasticity: e of aggregate income to the net-of-tax rate, > 0.
        welfare_weights: (n,) g of mean 1.
        weights: (n,) survey weights, equal by default.

    Returns:
        The rate, a scalar fraction; negative where weights rise with income.

    Raises:
        ValueError: for an elasticity <= 0 or weights that do not average to one.
    """
    require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
    check_people(income, welfare_weights, weights)
    income = floating(income)
    gbar = weighted_mean(income * welfare_weights, weights) / weighted_mean(income, weights)
    return _unbounded_rate(1 - gbar, elasticity)


def _unbounded_rate(gain: Array, response: ArrayLike) -> Array:
    """Return the rate gain/(gain + response).

    Minus infinity where transfers to the people concerned are worth more than any response costs.
    """
    denominator = gain + response
    return jnp.where(denominator > 0, gain / jnp.where(denominator > 0, denominator, 1), -jnp.inf)
