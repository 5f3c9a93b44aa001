"""Optimal tax formulas in sufficient statistics: pointwise schedule, top rate, linear rate, and
their fixed point.

Derivations, sources and where each holds: docs/optimal-taxation.md.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

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
from jaxecon.kernels.optimum.saez_checks import Elasticity, check_people, check_sample, require
from jaxecon.kernels.taxation import TaxSchedule, fill_empty, weighted_mean

Array = jax.Array

ArrayLike = jax.typing.ArrayLike


def saez_top_rate(
    pareto: ArrayLike,
    elasticity: ArrayLike,
    welfare_weight: ArrayLike = 0.0,
    uncompensated: ArrayLike | None = None,
) -> Array:
    """Optimal rate on top incomes, (1-g)/(1-g + a*e) (Saez 2001; Diamond and Saez 2011).

    pareto: a = E[z|z>z*]/(E[z|z>z*]-z*), > 1. elasticity: of taxable income, > 0. welfare_weight:
    g, the mean weight of top earners beside a mean of 1. uncompensated: with income effects, the
    uncompensated elasticity; `elasticity` is then the compensated one and the rate is (1-g)/(1-g +
    e_u + e_c*(a-1)). Shapes broadcast. Negative where g > 1, without bound from g = 1 + a*e on.

    Raises ValueError for a <= 1, an elasticity <= 0 or a negative weight.
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
    """Optimal rate of a flat tax with a lump-sum rebate, (1-gbar)/(1-gbar + e), gbar the
    income-weighted mean of g (Piketty and Saez 2013; at incomes under that tax: `income`, (n,)
    $/year, is taken as it is).

    elasticity: of aggregate income to the net-of-tax rate, > 0. welfare_weights: (n,) of mean 1.
    weights: (n,) survey weights. Raises ValueError for an elasticity <= 0 or weights that do not
    average to one.
    """
    require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
    check_people(income, welfare_weights, weights)
    income = floating(income)
    heard = weighted_mean(income * welfare_weights, weights) / weighted_mean(income, weights)
    return _unbounded_rate(1 - heard, elasticity)


def _unbounded_rate(gain: Array, response: ArrayLike) -> Array:
    """gain/(gain + response); minus infinity where transfers to those concerned are worth more than
    any response costs.
    """
    denominator = gain + response
    return jnp.where(denominator > 0, gain / jnp.where(denominator > 0, denominator, 1), -jnp.inf)


@pytree
class SaezSchedule:
    """The formula's rates, pointwise and by bracket.

    m income bins, k brackets.

    income: (m,) $/year, bins' centres; rates: (m,) pointwise marginal rates; hazard: (m,) alpha =
    z*h/(1-H); weight_above: (m,) mean welfare weight of those who earn more. pareto: a of the top
    bracket. empty: (k,) bool, nobody has income there; the bracket has its neighbour's rate (the
    one below, if there is one).
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
    """The rates (k,) of `saez_schedule`."""
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
    """T' = (1-Gbar)/(1-Gbar + alpha*e) at each income, averaged into brackets by width (Saez 2001;
    Saez and Stantcheva 2016; brackets as in Zheng et al.

    2022).

    income: (n,) $/year, at least 0. thresholds: (k,) $/year. elasticity: e > 0, a scalar, (k,) by
    bracket, or a function of income. welfare_weights: (n,) g of mean 1. weights: (n,) survey
    weights. schedule: the one under which the incomes were earned. Given, alpha comes from the
    virtual density (Saez 2001), the one there would be at z if everybody faced the linear tax
    tangent at z: bunching at kinks and the gaps that falling rates leave are not taken for the
    distribution. Unset, alpha comes from the incomes as they are. bandwidth: of the Gaussian that
    smooths log incomes; by default Silverman's rule for the weights' effective sample.

    The density is binned linearly in log income and smoothed (a Pareto tail's alpha is not biased
    by that); above the income that TAIL_SHARE of the people exceed, alpha is the tail's Pareto
    parameter, and the unbounded top bracket (the last one with people in it, where it is empty) has
    the top rate at its own threshold, one bracket alone the linear rate. Rates are kept in [0, 1]:
    a negative one (weights that rise with income) becomes 0.

    Pure; under `jit` the elasticity function is static. Raises ValueError, where values can be
    seen, for an elasticity <= 0, weights that do not average to one, fewer than SMALLEST_SAMPLE
    different positive incomes, or negative ones.
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
    elasticity: Elasticity = elasticities if elasticity_function is None else elasticity_function  # type: ignore[assignment]
    dtype, k = income.dtype, thresholds.shape[0]
    w = jnp.ones_like(income) if weights is None else weights
    w = w / jnp.sum(w)
    g = g / jnp.sum(g * w)  # rounding only; uniform weights then give exactly nothing

    earning = income > 0
    log_income = jnp.log(jnp.where(earning, income, jnp.max(income)))
    working = w * earning
    tail_share = TAIL_SHARE / jnp.maximum(jnp.sum(working), TAIL_SHARE)
    lower, upper, rich_one = at_quantiles(log_income, working, (0.25, 0.75, 1 - tail_share))
    h = (
        silverman(log_income, working, log_income[upper] - log_income[lower])
        if bandwidth is None
        else jnp.asarray(bandwidth, dtype)
    )
    grid = IncomeGrid.over(log_income, h)
    people, heard = grid.smoothed(log_income, working), grid.smoothed(log_income, working * g)
    above, heard_above = share_above(people), share_above(heard)
    weight_above = jnp.where(above > 0, heard_above / jnp.where(above > 0, above, 1), 0)

    bin_income = jnp.exp(grid.centres)
    bracket = jnp.clip(jnp.searchsorted(thresholds, bin_income, side="right") - 1, 0, k - 1)
    e = _elasticity_at(elasticity, bin_income, bracket)
    if schedule is None:
        density = people / grid.spacing
    else:
        own = jnp.clip(jnp.searchsorted(thresholds, income, side="right") - 1, 0, k - 1)
        own_e = _elasticity_at(elasticity, income, own)
        density = virtual_density(schedule, income, log_income, working, h, own_e, bin_income, e)
    hazard = density / jnp.where(above > 0, above, 1)

    start = income[rich_one]
    tail = pareto_parameter(income, start, w)
    hazard = jnp.where((bin_income > start) & jnp.isfinite(tail), tail, hazard)
    rates = _rate(weight_above, hazard * e)

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
    averaged = jnp.sum(overlap * rates[None, :], axis=1) / jnp.where(width > 0, width, 1)

    position = jnp.clip(
        jnp.searchsorted(past_bunching(thresholds), income, side="left") - 1, 0, k - 1
    )
    empty = jnp.zeros(k, dtype).at[position].add(working) == 0
    last = (
        k - 1 - jnp.argmin(empty[::-1])
    )  # the highest bracket with anybody in it: unbounded, as far as people go
    rich = income > past_bunching(thresholds[last])
    rich_people = jnp.sum(w * rich)
    rich_weight = jnp.sum(w * rich * g) / jnp.where(rich_people > 0, rich_people, 1)
    rich_income = jnp.sum(w * rich * income) / jnp.where(rich_people > 0, rich_people, 1)
    pareto = pareto_parameter(income, thresholds[last], w)
    top_e = _elasticity_at(elasticity, rich_income[None], last[None])[0]
    top = _rate(rich_weight, jnp.where(jnp.isfinite(pareto), pareto, 0) * top_e)
    # everybody in the first bracket: it has no tail to speak of, it is the linear tax
    linear = _rate(jnp.sum(w * g * income) / jnp.sum(w * income), top_e)
    by_bracket = averaged.at[last].set(jnp.where(last > 0, top, linear))
    by_bracket = jnp.clip(fill_empty(by_bracket, empty), 0, 1)
    return SaezSchedule(
        TaxSchedule(thresholds, by_bracket), bin_income, rates, hazard, weight_above, pareto, empty
    )


def _rate(weight_above: Array, response: Array) -> Array:
    gain = 1 - weight_above
    gain = jnp.where(
        gain > 32 * np.finfo(gain.dtype).eps, gain, 0
    )  # equal weights ask for nothing, whatever their rounding
    denominator = gain + response
    return jnp.where(denominator > 0, gain / jnp.where(denominator > 0, denominator, 1), 0)


def _elasticity_at(elasticity: Elasticity, income: Array, bracket: Array) -> Array:
    if callable(elasticity):
        return jnp.broadcast_to(elasticity(income), income.shape)
    e = jnp.asarray(elasticity, income.dtype)
    return e[bracket] if e.ndim else jnp.broadcast_to(e, income.shape)
