"""Saving: a second action beside work, with a return and a tax on it (Saez and Stantcheva 2018).

Pure functions of arrays. n agents; all money $/year, wealth $. Equations and sources:
docs/dynamics.md.
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete, pytree
from jaxecon.kernels.preferences import power
from jaxecon.kernels.taxation import weighted_mean


@pytree
class Saving:
    """How people save; scalars.

    Attributes:
        return_rate: r, return per year, a share of wealth.
        tax: tau, share of the return, in [0, 1].
        elasticity: e > 0, of desired wealth with respect to the net-of-tax return.
        adjustment: share of the gap to desired wealth that a year's saving closes, in (0, 1].
        wealth_income_ratio: mean wealth over mean income if the return is not taxed.
        concentration: elasticity of that wealth with respect to skill.
    """

    return_rate: Array
    tax: Array
    elasticity: Array
    adjustment: Array
    wealth_income_ratio: Array
    concentration: Array


@pytree
class Endowment:
    """What wealth adds to a year of work, (n,) $/year.

    income: the return net of tax. thrift: what holding the wealth costs in utility.
    """

    income: Array
    thrift: Array

    @property
    def worth(self) -> Array:
        """What wealth adds to utility at curvature 0, (n,) $/year."""
        return self.income - self.thrift


def untaxed_wealth(saving: Saving, skill: Array, weights: Array, mean_income: ArrayLike) -> Array:
    """Return k0, (n,) $, the wealth that each agent wants if the return is not taxed.

    It is proportional to skill^concentration, and its mean under the survey weights is
    wealth_income_ratio * mean_income. skill, weights: (n,); mean_income: scalar $/year.
    """
    relative = power(skill / weighted_mean(skill, weights), saving.concentration)
    return saving.wealth_income_ratio * mean_income * relative / weighted_mean(relative, weights)


def desired_wealth(saving: Saving, untaxed: Array) -> Array:
    """Return k0*(1-tau)^e, (n,) $: the wealth that maximises the return net of tax, less thrift.

    untaxed: k0.
    """
    return untaxed * power(1 - saving.tax, saving.elasticity)


def thrift(saving: Saving, wealth: Array, untaxed: Array) -> Array:
    """The utility cost of holding wealth, (n,) $/year: r*k0*(k/k0)^(1+1/e) / (1+1/e), convex."""
    exponent = 1 + 1 / saving.elasticity
    return saving.return_rate * untaxed * power(wealth / untaxed, exponent) / exponent


def endowment(saving: Saving, wealth: Array, untaxed: Array) -> Endowment:
    """Return what a year's wealth, (n,) $, adds to income and costs in utility."""
    return Endowment(
        (1 - saving.tax) * saving.return_rate * wealth, thrift(saving, wealth, untaxed)
    )


def saved(saving: Saving, wealth: Array, untaxed: Array) -> Array:
    """What each agent saves in a year, (n,) $/year: a share of the gap to the wealth it wants.

    Negative for agents who consume some of their wealth. wealth, untaxed: (n,) $.
    """
    return saving.adjustment * (desired_wealth(saving, untaxed) - wealth)


def capital_revenue(saving: Saving, wealth: ArrayLike) -> Array:
    """Tax on the return of this wealth, $/year, any shape."""
    return saving.tax * saving.return_rate * jnp.asarray(wealth)


def optimal_capital_tax(
    wealth: ArrayLike,
    elasticity: ArrayLike,
    welfare_weights: ArrayLike,
    weights: ArrayLike | None = None,
) -> Array:
    """The linear tax on the return to wealth that maximises welfare once wealth has settled.

    tau = (1 - g_K)/(1 - g_K + e), g_K = mean(g*k)/mean(k) (Saez and Stantcheva 2018, "A simpler
    theory of optimal capital taxation", proposition 2); no tax where g_K is 1 or more. It does not
    depend on the taxes on work: with linear utility of consumption, saving and work do not affect
    each other.

    Args:
        wealth: k, (n,) $, under any tax (a tax scales everybody's wealth alike).
        elasticity: e of wealth to the net-of-tax return, scalar, > 0.
        welfare_weights: g, (n,) of mean 1.
        weights: (n,) survey weights, equal by default.

    Returns:
        tau, a scalar share of the return in [0, 1).

    Raises:
        ValueError: for an elasticity that is not positive, and for wealth that is negative or all
            zero.
    """
    e, k = concrete(elasticity), concrete(wealth)
    if e is not None and not e > 0:
        raise ValueError(f"elasticity: {elasticity}; must be greater than 0")
    if k is not None and not ((k >= 0).all() and k.max() > 0):
        raise ValueError(
            f"wealth: smallest {k.min()}, largest {k.max()}; at least 0, and somebody's above"
        )
    wealth = jnp.asarray(wealth)
    g_wealth = weighted_mean(wealth * welfare_weights, weights) / weighted_mean(wealth, weights)
    gain = jnp.maximum(1 - g_wealth, 0)
    return gain / (gain + elasticity)
