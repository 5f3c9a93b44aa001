"""Saez's formula for a schedule of marginal rates, pointwise and by bracket.

Derivations, sources and limits of validity: docs/optimal-taxation.md.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating, pytree
from jaxecon.kernels.optimum.density import (
    TAIL_SHARE,
    IncomeGrid,
    at_quantiles,
    pareto_parameter,
    past_bunching,
    share_above,
    silverman,
    virtual_density,
)
from jaxecon.kernels.optimum.saez_checks import Elasticity, check_sample, require
from jaxecon.kernels.taxation import TaxSchedule, fill_empty


@pytree
class SaezSchedule:
    """The formula's rates, pointwise and by bracket. m income bins, k brackets.

    Attributes:
        schedule: the rates by bracket.
        income: (m,) $/year, the bins' centres.
        rates: (m,) pointwise marginal rates, fractions.
        hazard: (m,) alpha = z*h(z)/(1-H(z)), no unit.
        weight_above: (m,) mean welfare weight of those who earn more.
        pareto: a of the top bracket, a scalar.
        empty: (k,) bool, nobody has income in the bracket; it has its neighbour's rate (the one
            below, if there is one).
    """

    schedule: TaxSchedule
    income: Array
    rates: Array
    hazard: Array
    weight_above: Array
    pareto: Array
    empty: Array


def saez_rates(
    income: ArrayLike,
    thresholds: ArrayLike,
    elasticity: Elasticity,
    welfare_weights: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    schedule: TaxSchedule | None = None,
    bandwidth: ArrayLike | None = None,
) -> Array:
    """Return the rates by bracket of `saez_schedule`, (k,) fractions, with the same arguments.

    Args:
        income: (n,) $/year, at least 0.
        thresholds: (k,) $/year.
        elasticity: e > 0, a scalar, (k,) by bracket, or a function of income.
        welfare_weights: (n,) g of mean 1.
        weights: (n,) survey weights, equal by default.
        schedule: the one under which the incomes were earned.
        bandwidth: of the Gaussian that smooths log incomes.

    Returns:
        One rate for each bracket, (k,), in [0, 1].

    Raises:
        ValueError: as `saez_schedule`.
    """
    return saez_schedule(
        income,
        thresholds,
        elasticity,
        welfare_weights,
        weights,
        schedule=schedule,
        bandwidth=bandwidth,
    ).schedule.rates


def saez_schedule(
    income: ArrayLike,
    thresholds: ArrayLike,
    elasticity: Elasticity,
    welfare_weights: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    schedule: TaxSchedule | None = None,
    bandwidth: ArrayLike | None = None,
) -> SaezSchedule:
    """Optimal marginal rates T' = (1-Gbar)/(1-Gbar + alpha*e), averaged into brackets by width.

    Saez (2001); Saez and Stantcheva (2016); brackets as in Zheng et al. (2022). The density is
    binned linearly in log income and smoothed (which does not bias alpha in a Pareto tail). Above
    the income that TAIL_SHARE of the people exceed, alpha is the tail's Pareto parameter. The
    unbounded top bracket (the last with people in it) has the top rate at its own threshold, or the
    linear rate if it is the only one. Pure; under `jit` the elasticity function is static.

    Args:
        income: (n,) $/year, at least 0.
        thresholds: (k,) $/year.
        elasticity: e > 0, a scalar, (k,) by bracket, or a function of income.
        welfare_weights: (n,) g of mean 1.
        weights: (n,) survey weights, equal by default.
        schedule: the one under which the incomes were earned. With it, alpha comes from the virtual
            density (Saez 2001): the density at z if everybody faced the linear tax tangent at z.
            Bunching at kinks, and the gaps that falling rates leave, then do not distort alpha.
            Without it, alpha comes from the incomes as they are.
        bandwidth: of the Gaussian that smooths log incomes; by default Silverman's rule for the
            weights' effective sample.

    Returns:
        The rates, kept in [0, 1]: a negative one (weights that rise with income) becomes 0.

    Raises:
        ValueError: where values can be seen, for an elasticity <= 0, weights that do not average to
            one, fewer than SMALLEST_SAMPLE different positive incomes, or negative ones.
    """
    check_sample(income, thresholds, elasticity, welfare_weights, weights)
    if bandwidth is not None:
        require("bandwidth", bandwidth, lambda h: h > 0, "must be greater than 0 (of log income)")
    income = floating(income)
    return _formula(
        income,
        jnp.asarray(thresholds, income.dtype),
        None if callable(elasticity) else jnp.asarray(elasticity, income.dtype),
        jnp.asarray(welfare_weights, income.dtype),
        None if weights is None else jnp.asarray(weights, income.dtype),
        schedule,
        bandwidth,
        elasticity_function=elasticity if callable(elasticity) else None,
    )


@partial(jax.jit, static_argnames="elasticity_function")
def _formula(
    income: Array,
    thresholds: Array,
    elasticities: Array | None,
    g: Array,
    weights: Array | None,
    schedule: TaxSchedule | None,
    bandwidth: ArrayLike | None,
    *,
    elasticity_function: Callable[[Array], Array] | None,
) -> SaezSchedule:
    elasticity = cast(
        Elasticity, elasticities if elasticity_function is None else elasticity_function
    )
    w = jnp.ones_like(income) if weights is None else weights
    w = w / jnp.sum(w)
    g = g / jnp.sum(g * w)  # corrects rounding; equal weights then give a rate of exactly 0
    people = _distribution(income, w, g, bandwidth)

    bin_income = jnp.exp(people.grid.centres)
    e = _elasticity_at(elasticity, bin_income, _bracket_of(thresholds, bin_income))
    if schedule is None:
        density = people.mass / people.grid.spacing
    else:
        own_e = _elasticity_at(elasticity, income, _bracket_of(thresholds, income))
        density = virtual_density(
            schedule,
            income,
            people.log_income,
            people.working,
            people.bandwidth,
            own_e,
            bin_income,
            e,
        )
    hazard = density / jnp.where(people.above > 0, people.above, 1)

    tail_start = income[people.rich_one]
    tail = pareto_parameter(income, tail_start, w)
    hazard = jnp.where((bin_income > tail_start) & jnp.isfinite(tail), tail, hazard)
    rates = _rate(people.weight_above, hazard * e)

    averaged = _averaged_by_width(people.grid, rates, thresholds)
    empty, last = _occupied(thresholds, income, people.working)
    top, pareto = _rate_of_last(thresholds, income, w, g, elasticity, last)
    by_bracket = averaged.at[last].set(top)
    by_bracket = jnp.clip(fill_empty(by_bracket, empty), 0, 1)
    return SaezSchedule(
        TaxSchedule(thresholds, by_bracket),
        bin_income,
        rates,
        hazard,
        people.weight_above,
        pareto,
        empty,
    )


class _Distribution(NamedTuple):
    """Incomes (n,) smoothed on a grid of m bins in log income.

    working: (n,) shares of the people, 0 for those without income. mass: (m,) people in each bin;
    above: (m,) people above its centre; weight_above: (m,) their mean welfare weight. rich_one:
    index of the person above whom the tail begins.
    """

    log_income: Array
    working: Array
    bandwidth: Array
    rich_one: Array
    grid: IncomeGrid
    mass: Array
    above: Array
    weight_above: Array


def _distribution(income: Array, w: Array, g: Array, bandwidth: ArrayLike | None) -> _Distribution:
    """The distribution of incomes (n,); w: (n,) shares of the people; g: (n,) welfare weights."""
    earning = income > 0
    log_income = jnp.log(jnp.where(earning, income, jnp.max(income)))
    working = w * earning
    tail_share = TAIL_SHARE / jnp.maximum(jnp.sum(working), TAIL_SHARE)
    lower, upper, rich_one = at_quantiles(log_income, working, (0.25, 0.75, 1 - tail_share))
    h = (
        silverman(log_income, working, log_income[upper] - log_income[lower])
        if bandwidth is None
        else jnp.asarray(bandwidth, income.dtype)
    )
    grid = IncomeGrid.over(log_income, h)
    mass, weighted = grid.smoothed(log_income, working), grid.smoothed(log_income, working * g)
    above, weighted_above = share_above(mass), share_above(weighted)
    weight_above = jnp.where(above > 0, weighted_above / jnp.where(above > 0, above, 1), 0)
    return _Distribution(log_income, working, h, rich_one, grid, mass, above, weight_above)


def _bracket_of(thresholds: Array, income: Array) -> Array:
    """The index of the bracket whose rate applies to the next dollar, the shape of income."""
    last = thresholds.shape[0] - 1
    return jnp.clip(jnp.searchsorted(thresholds, income, side="right") - 1, 0, last)


def _averaged_by_width(grid: IncomeGrid, rates: Array, thresholds: Array) -> Array:
    """Pointwise rates (m,) averaged into brackets (k,) by the bins' width in dollars."""
    edges = jnp.exp(
        jnp.append(grid.centres - grid.spacing / 2, grid.centres[-1] + grid.spacing / 2)
    )
    tops = jnp.append(thresholds[1:], jnp.inf)
    overlap = jnp.clip(
        jnp.minimum(edges[None, 1:], tops[:, None])
        - jnp.maximum(edges[None, :-1], thresholds[:, None]),
        0,
    )
    width = jnp.sum(overlap, axis=1)
    return jnp.sum(overlap * rates[None, :], axis=1) / jnp.where(width > 0, width, 1)


def _occupied(thresholds: Array, income: Array, working: Array) -> tuple[Array, Array]:
    """Return which brackets are empty, (k,) bool, and the index of the last that is not.

    The latter is in effect unbounded, as nobody earns more. An income at a threshold belongs to the
    bracket below.
    """
    k = thresholds.shape[0]
    position = jnp.clip(
        jnp.searchsorted(past_bunching(thresholds), income, side="left") - 1, 0, k - 1
    )
    empty = jnp.zeros(k, income.dtype).at[position].add(working) == 0
    return empty, k - 1 - jnp.argmin(empty[::-1])


def _rate_of_last(
    thresholds: Array, income: Array, w: Array, g: Array, elasticity: Elasticity, last: Array
) -> tuple[Array, Array]:
    """Return the rate of the last bracket with people in it, and its Pareto parameter, scalars.

    It is the top rate at the bracket's own threshold. If everybody is in the first bracket there is
    no tail, and it is the rate of the linear tax.
    """
    rich = income > past_bunching(thresholds[last])
    rich_people = jnp.sum(w * rich)
    rich_weight = jnp.sum(w * rich * g) / jnp.where(rich_people > 0, rich_people, 1)
    rich_income = jnp.sum(w * rich * income) / jnp.where(rich_people > 0, rich_people, 1)
    pareto = pareto_parameter(income, thresholds[last], w)
    top_e = _elasticity_at(elasticity, rich_income[None], last[None])[0]
    top = _rate(rich_weight, jnp.where(jnp.isfinite(pareto), pareto, 0) * top_e)
    linear = _rate(jnp.sum(w * g * income) / jnp.sum(w * income), top_e)
    return jnp.where(last > 0, top, linear), pareto


def _rate(weight_above: Array, response: Array) -> Array:
    """Return (1-g)/(1-g + response) with g = weight_above; 0 where g is 1 or more."""
    gain = 1 - weight_above
    # equal weights ask for no tax, whatever their rounding
    gain = jnp.where(gain > 32 * np.finfo(gain.dtype).eps, gain, 0)
    denominator = gain + response
    return jnp.where(denominator > 0, gain / jnp.where(denominator > 0, denominator, 1), 0)


def _elasticity_at(elasticity: Elasticity, income: Array, bracket: Array) -> Array:
    """The elasticity at incomes in these brackets, the shape of income."""
    if callable(elasticity):
        return jnp.broadcast_to(elasticity(income), income.shape)
    e = jnp.asarray(elasticity, income.dtype)
    return e[bracket] if e.ndim else jnp.broadcast_to(e, income.shape)
