"""Densities and tails of incomes, as Saez's formulas need them."""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating
from jaxecon.kernels.taxation import TaxSchedule, marginal_rate, weighted_mean

Numbers = TypeVar("Numbers", Array, np.ndarray)

TAIL_SHARE = 0.01  # of the people: the top incomes, whose density is taken to be Pareto's

_BINS = 1024  # in log income
_PADDING = 4.0  # bandwidths by which the grid exceeds the lowest and highest income
_BUNCHING = 16.0  # incomes within this many epsilons of a kink count as at the kink
_MIN_NET_OF_TAX = 1e-3


def past_bunching(thresholds: Numbers) -> Numbers:
    """Return thresholds (k,) raised by a few epsilons, so that incomes at a threshold lie below.

    An income at a threshold, skill*(threshold/skill), may round up.
    """
    return thresholds * (1 + _BUNCHING * float(np.finfo(thresholds.dtype).eps))


def pareto_parameter(
    income: ArrayLike, threshold: ArrayLike, weights: ArrayLike | None = None
) -> Array:
    """Return a = E[z|z>z*]/(E[z|z>z*]-z*) of incomes (n,) above a threshold z* > 0, $/year.

    Infinity if nobody earns more than z*.
    """
    income = floating(income)
    above = (income > past_bunching(jnp.asarray(threshold, income.dtype))) * (
        jnp.ones_like(income) if weights is None else jnp.asarray(weights)
    )
    people = jnp.sum(above)
    excess = jnp.sum(above * (income - threshold)) / jnp.where(people > 0, people, 1)
    return jnp.where(excess > 0, 1 + threshold / jnp.where(excess > 0, excess, 1), jnp.inf)


class IncomeGrid(NamedTuple):
    """Evenly spaced bins in log income, and the matrix (m, m) that smooths counts on them."""

    centres: Array
    spacing: Array
    kernel: Array

    @classmethod
    def over(cls, log_income: Array, bandwidth: Array) -> "IncomeGrid":
        low, high = (
            jnp.min(log_income) - _PADDING * bandwidth,
            jnp.max(log_income) + _PADDING * bandwidth,
        )
        spacing = (high - low) / (_BINS - 1)
        centres = low + spacing * jnp.arange(_BINS, dtype=log_income.dtype)
        steps = jnp.arange(_BINS, dtype=log_income.dtype)
        kernel = jnp.exp(-0.5 * ((steps[:, None] - steps[None, :]) * (spacing / bandwidth)) ** 2)
        return cls(centres, spacing, kernel / (2 * jnp.sum(kernel[0]) - 1))

    def smoothed(self, log_income: Array, mass: Array) -> Array:
        """Return the mass (n,) at log incomes (n,) on the grid's bins, smoothed: (m,).

        Each mass is first split between the nearest two bins.
        """
        position = (log_income - self.centres[0]) / self.spacing
        left = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, _BINS - 2)
        share = position - left
        counts = (
            jnp.zeros(_BINS, mass.dtype)
            .at[left]
            .add(mass * (1 - share))
            .at[left + 1]
            .add(mass * share)
        )
        smoothed = self.kernel @ counts
        # restores the mass that the kernel carries beyond the grid
        return smoothed * (jnp.sum(mass) / jnp.sum(smoothed))


def share_above(mass: Array) -> Array:
    """Return the mass above each bin's centre, (m,), given the mass in each bin, (m,)."""
    return jnp.cumsum(mass[::-1])[::-1] - mass / 2


def silverman(log_income: Array, mass: Array, between_quartiles: Array) -> Array:
    """Silverman's bandwidth, 0.9 * min(sd, IQR/1.34) * n^(-1/5) (Silverman 1986, eq. 3.31).

    n is the effective sample size of the masses (n,); between_quartiles: IQR of log income.
    """
    mean = weighted_mean(log_income, mass)
    sd = jnp.sqrt(weighted_mean((log_income - mean) ** 2, mass))
    effective = jnp.sum(mass) ** 2 / jnp.sum(mass**2)
    spread = jnp.where(between_quartiles > 0, jnp.minimum(sd, between_quartiles / 1.34), sd)
    return 0.9 * jnp.maximum(spread, 1e-3) * effective**-0.2


def at_quantiles(x: Array, mass: Array, p: tuple[ArrayLike, ...]) -> list[Array]:
    """Return the indices of the people whose x (n,) are the p-quantiles, by mass (n,)."""
    order = jnp.argsort(x)
    cumulated = jnp.cumsum(mass[order])
    return [
        order[jnp.minimum(jnp.searchsorted(cumulated, q * cumulated[-1]), len(order) - 1)]
        for q in p
    ]


def virtual_density(
    schedule: TaxSchedule,
    income: Array,
    log_income: Array,
    mass: Array,
    bandwidth: Array,
    e: Array,
    at: Array,
    elasticity_at: Array,
) -> Array:
    """Density of log income at incomes `at` (m,) if everybody faced the linear tax tangent there.

    Everybody's income without a tax is z/(1-T'(z))^e, whose density has neither atoms nor gaps. The
    untaxed incomes of people who bunch at a kink may lie anywhere between those implied by the
    rates on either side, and are spread evenly over that range.

    Args:
        schedule: the one under which income was earned.
        income: (n,) $/year.
        log_income: (n,) its logarithm.
        mass: (n,) shares of the people.
        bandwidth: of the Gaussian, a scalar.
        e: (n,) elasticities of the people.
        at: (m,) $/year, where the density is wanted.
        elasticity_at: (m,) elasticities there.
    """

    def log_untaxed(log_z: Array, rate: Array, e: Array) -> Array:
        return log_z - e * jnp.log(jnp.maximum(1 - rate, _MIN_NET_OF_TAX))

    untaxed = log_untaxed(log_income, marginal_rate(schedule, income), e)
    tolerance = _BUNCHING * float(np.finfo(income.dtype).eps)

    def spread(kink: Array, below: Array, above: Array) -> tuple[Array, Array]:
        """Return who bunches at the kink, and the untaxed log income that each is given."""
        bunched = jnp.abs(income - kink) <= tolerance * kink
        there = mass * bunched
        place = (jnp.cumsum(there) - there / 2) / jnp.maximum(
            jnp.sum(there), np.finfo(income.dtype).tiny
        )
        low, high = log_untaxed(log_income, below, e), log_untaxed(log_income, above, e)
        return bunched, low + place * (high - low)

    if schedule.brackets > 1:
        bunched, places = jax.vmap(spread)(
            schedule.thresholds[1:], schedule.rates[:-1], schedule.rates[1:]
        )
        untaxed = jnp.where(jnp.any(bunched, 0), jnp.sum(jnp.where(bunched, places, 0), 0), untaxed)
    grid = IncomeGrid.over(untaxed, bandwidth)
    smoothed = grid.smoothed(untaxed, mass) / grid.spacing
    wanted = log_untaxed(jnp.log(at), marginal_rate(schedule, at), elasticity_at)
    return jnp.interp(wanted, grid.centres, smoothed, left=0, right=0)
