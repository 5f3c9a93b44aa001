"""Optimal tax formulas in sufficient statistics: pointwise schedule, top rate, linear rate, and their fixed point.

Derivations, sources and where each holds: docs/optimal-taxation.md.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon._pytree import concrete, floating, pytree
from jaxecon.equilibrium import Outcome, equilibrium
from jaxecon.preferences import Preferences
from jaxecon.taxation import TaxSchedule, fill_empty, marginal_rate, weighted_mean
from jaxecon.welfare import check_mean_one

Array = jax.Array
ArrayLike = jax.typing.ArrayLike
Numbers = TypeVar("Numbers", Array, np.ndarray)
Elasticity = ArrayLike | Callable[[Array], Array]  # a scalar, (k,) by bracket, or a function of income in $/year

SMALLEST_SAMPLE = 20  # different positive incomes, for a density
TAIL_SHARE = 0.01  # of the people: above their income the density is taken to be Pareto's
_BINS = 1024  # in log income
_PADDING = 4.0  # bandwidths of grid beyond the lowest and the highest income
_BUNCHING = 16.0  # epsilons from a kink: income there is income at it
_LEAST_NET_OF_TAX = 1e-3
_LEAST_DAMPING = 0.02  # that the fixed point shrinks to by itself


def saez_top_rate(
    pareto: ArrayLike, elasticity: ArrayLike, welfare_weight: ArrayLike = 0.0, uncompensated: ArrayLike | None = None
) -> Array:
    """Optimal rate on top incomes, (1-g)/(1-g + a*e) (Saez 2001; Diamond and Saez 2011).

    pareto: a = E[z|z>z*]/(E[z|z>z*]-z*), > 1. elasticity: of taxable income, > 0. welfare_weight: g, the mean weight of top
    earners beside a mean of 1. uncompensated: with income effects, the uncompensated elasticity; `elasticity` is then the
    compensated one and the rate is (1-g)/(1-g + e_u + e_c*(a-1)). Shapes broadcast. Negative where g > 1, without bound from
    g = 1 + a*e on.

    Raises ValueError for a <= 1, an elasticity <= 0 or a negative weight.
    """
    _require("pareto", pareto, lambda a: a > 1, "must be greater than 1")
    _require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
    _require("welfare_weight", welfare_weight, lambda g: g >= 0, "must be at least 0")
    compensated = jnp.asarray(elasticity)
    response = pareto * compensated if uncompensated is None else uncompensated + compensated * (jnp.asarray(pareto) - 1)
    _require("uncompensated", response, lambda r: r > 0, "that is e_u + e_c*(a-1), which must be greater than 0")
    return _unbounded_rate(1 - jnp.asarray(welfare_weight), response)


def saez_linear_rate(
    income: ArrayLike, elasticity: ArrayLike, welfare_weights: ArrayLike, weights: ArrayLike | None = None
) -> Array:
    """Optimal rate of a flat tax with a lump-sum rebate, (1-gbar)/(1-gbar + e), gbar the income-weighted mean of g
    (Piketty and Saez 2013; at incomes under that tax: `income`, (n,) $/year, is taken as it is).

    elasticity: of aggregate income to the net-of-tax rate, > 0. welfare_weights: (n,) of mean 1. weights: (n,) survey weights.
    Raises ValueError for an elasticity <= 0 or weights that do not average to one.
    """
    _require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
    _check_people(income, welfare_weights, weights)
    income = floating(income)
    heard = weighted_mean(income * welfare_weights, weights) / weighted_mean(income, weights)
    return _unbounded_rate(1 - heard, elasticity)


def _unbounded_rate(gain: Array, response: ArrayLike) -> Array:
    """gain/(gain + response); minus infinity where transfers to those concerned are worth more than any response costs."""
    denominator = gain + response
    return jnp.where(denominator > 0, gain / jnp.where(denominator > 0, denominator, 1), -jnp.inf)


def past_bunching(thresholds: Numbers) -> Numbers:
    """Incomes above these are above the thresholds, not at them: skill*(threshold/skill) may round up."""
    return thresholds * (1 + _BUNCHING * float(np.finfo(thresholds.dtype).eps))


def pareto_parameter(income: ArrayLike, threshold: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """a = E[z|z>z*]/(E[z|z>z*]-z*) of incomes (n,) above a threshold z* > 0; infinity where nobody earns more."""
    income = floating(income)
    above = (income > past_bunching(jnp.asarray(threshold, income.dtype))) * (
        jnp.ones_like(income) if weights is None else jnp.asarray(weights)
    )
    people = jnp.sum(above)
    excess = jnp.sum(above * (income - threshold)) / jnp.where(people > 0, people, 1)
    return jnp.where(excess > 0, 1 + threshold / jnp.where(excess > 0, excess, 1), jnp.inf)


@pytree
class SaezSchedule:
    """The formula's rates, pointwise and by bracket. m income bins, k brackets.

    income: (m,) $/year, bins' centres; rates: (m,) pointwise marginal rates; hazard: (m,) alpha = z*h/(1-H);
    weight_above: (m,) mean welfare weight of those who earn more. pareto: a of the top bracket.
    empty: (k,) bool, nobody has income there; the bracket has its neighbour's rate (the one below, if there is one).
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
        income, thresholds, elasticity, welfare_weights, weights, schedule=schedule, bandwidth=bandwidth
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
    """T' = (1-Gbar)/(1-Gbar + alpha*e) at each income, averaged into brackets by width (Saez 2001; Saez and
    Stantcheva 2016; brackets as in Zheng et al. 2022).

    income: (n,) $/year, at least 0. thresholds: (k,) $/year. elasticity: e > 0, a scalar, (k,) by bracket, or a function
    of income. welfare_weights: (n,) g of mean 1. weights: (n,) survey weights.
    schedule: the one under which the incomes were earned. Given, alpha comes from the virtual density (Saez 2001), the one
    there would be at z if everybody faced the linear tax tangent at z: bunching at kinks and the gaps that falling rates
    leave are not taken for the distribution. Unset, alpha comes from the incomes as they are.
    bandwidth: of the Gaussian that smooths log incomes; by default Silverman's rule for the weights' effective sample.

    The density is binned linearly in log income and smoothed (a Pareto tail's alpha is not biased by that); above the
    income that TAIL_SHARE of the people exceed, alpha is the tail's Pareto parameter, and the unbounded top bracket (the
    last one with people in it, where it is empty) has the top rate at its own threshold, one bracket alone the linear
    rate. Rates are kept in [0, 1]: a negative one (weights that rise with income) becomes 0.

    Pure; under `jit` the elasticity function is static. Raises ValueError, where values can be seen, for an elasticity
    <= 0, weights that do not average to one, fewer than SMALLEST_SAMPLE different positive incomes, or negative ones.
    """
    _check_sample(income, thresholds, elasticity, welfare_weights, weights)
    if bandwidth is not None:
        _require("bandwidth", bandwidth, lambda h: h > 0, "must be greater than 0 (of log income)")
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
    lower, upper, rich_one = _at_quantiles(log_income, working, (0.25, 0.75, 1 - tail_share))
    h = (
        _silverman(log_income, working, log_income[upper] - log_income[lower])
        if bandwidth is None
        else jnp.asarray(bandwidth, dtype)
    )
    grid = _Grid.over(log_income, h)
    people, heard = grid.smoothed(log_income, working), grid.smoothed(log_income, working * g)
    above, heard_above = _above(people), _above(heard)
    weight_above = jnp.where(above > 0, heard_above / jnp.where(above > 0, above, 1), 0)

    bin_income = jnp.exp(grid.centres)
    bracket = jnp.clip(jnp.searchsorted(thresholds, bin_income, side="right") - 1, 0, k - 1)
    e = _elasticity_at(elasticity, bin_income, bracket)
    if schedule is None:
        density = people / grid.spacing
    else:
        own = jnp.clip(jnp.searchsorted(thresholds, income, side="right") - 1, 0, k - 1)
        own_e = _elasticity_at(elasticity, income, own)
        density = _virtual_density(schedule, income, log_income, working, h, own_e, bin_income, e)
    hazard = density / jnp.where(above > 0, above, 1)

    start = income[rich_one]
    tail = pareto_parameter(income, start, w)
    hazard = jnp.where((bin_income > start) & jnp.isfinite(tail), tail, hazard)
    rates = _rate(weight_above, hazard * e)

    edges = jnp.exp(jnp.append(grid.centres - grid.spacing / 2, grid.centres[-1] + grid.spacing / 2))
    tops = jnp.append(thresholds[1:], jnp.inf)
    overlap = jnp.clip(jnp.minimum(edges[None, 1:], tops[:, None]) - jnp.maximum(edges[None, :-1], thresholds[:, None]), 0)
    width = jnp.sum(overlap, axis=1)
    averaged = jnp.sum(overlap * rates[None, :], axis=1) / jnp.where(width > 0, width, 1)

    position = jnp.clip(jnp.searchsorted(past_bunching(thresholds), income, side="left") - 1, 0, k - 1)
    empty = jnp.zeros(k, dtype).at[position].add(working) == 0
    last = k - 1 - jnp.argmin(empty[::-1])  # the highest bracket with anybody in it: unbounded, as far as people go
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
    return SaezSchedule(TaxSchedule(thresholds, by_bracket), bin_income, rates, hazard, weight_above, pareto, empty)


def _rate(weight_above: Array, response: Array) -> Array:
    gain = 1 - weight_above
    gain = jnp.where(gain > 32 * np.finfo(gain.dtype).eps, gain, 0)  # equal weights ask for nothing, whatever their rounding
    denominator = gain + response
    return jnp.where(denominator > 0, gain / jnp.where(denominator > 0, denominator, 1), 0)


def _elasticity_at(elasticity: Elasticity, income: Array, bracket: Array) -> Array:
    if callable(elasticity):
        return jnp.broadcast_to(elasticity(income), income.shape)
    e = jnp.asarray(elasticity, income.dtype)
    return e[bracket] if e.ndim else jnp.broadcast_to(e, income.shape)


# --- densities in log income -------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """Even bins in log income, and the matrix (m, m) that smooths counts on them."""

    centres: Array
    spacing: Array
    kernel: Array

    @classmethod
    def over(cls, log_income: Array, bandwidth: Array) -> "_Grid":
        low, high = jnp.min(log_income) - _PADDING * bandwidth, jnp.max(log_income) + _PADDING * bandwidth
        spacing = (high - low) / (_BINS - 1)
        centres = low + spacing * jnp.arange(_BINS, dtype=log_income.dtype)
        steps = jnp.arange(_BINS, dtype=log_income.dtype)
        kernel = jnp.exp(-0.5 * ((steps[:, None] - steps[None, :]) * (spacing / bandwidth)) ** 2)
        return cls(centres, spacing, kernel / (2 * jnp.sum(kernel[0]) - 1))

    def smoothed(self, log_income: Array, mass: Array) -> Array:
        """Mass (n,) at log incomes (n,), divided between the two nearest bins and smoothed: (m,)."""
        position = (log_income - self.centres[0]) / self.spacing
        left = jnp.clip(jnp.floor(position).astype(jnp.int32), 0, _BINS - 2)
        share = position - left
        counts = jnp.zeros(_BINS, mass.dtype).at[left].add(mass * (1 - share)).at[left + 1].add(mass * share)
        smoothed = self.kernel @ counts
        return smoothed * (jnp.sum(mass) / jnp.sum(smoothed))  # what the kernel carries beyond the grid comes back


def _above(mass: Array) -> Array:
    """Mass above each bin's centre."""
    return jnp.cumsum(mass[::-1])[::-1] - mass / 2


def _silverman(log_income: Array, mass: Array, between_quartiles: Array) -> Array:
    """0.9 * min(sd, IQR/1.34) * n^(-1/5) (Silverman 1986, eq. 3.31), n the effective sample size of the masses."""
    mean = weighted_mean(log_income, mass)
    sd = jnp.sqrt(weighted_mean((log_income - mean) ** 2, mass))
    effective = jnp.sum(mass) ** 2 / jnp.sum(mass**2)
    spread = jnp.where(between_quartiles > 0, jnp.minimum(sd, between_quartiles / 1.34), sd)
    return 0.9 * jnp.maximum(spread, 1e-3) * effective**-0.2


def _at_quantiles(x: Array, mass: Array, p: tuple[ArrayLike, ...]) -> list[Array]:
    """Whose x (n,) are the quantiles p."""
    order = jnp.argsort(x)
    cumulated = jnp.cumsum(mass[order])
    return [order[jnp.minimum(jnp.searchsorted(cumulated, q * cumulated[-1]), len(order) - 1)] for q in p]


def _virtual_density(
    schedule: TaxSchedule,
    income: Array,
    log_income: Array,
    mass: Array,
    bandwidth: Array,
    e: Array,
    at: Array,
    elasticity_at: Array,
) -> Array:
    """Density of log income at incomes `at` (m,) if everybody faced the linear tax tangent there. e: (n,) elasticities.

    Everybody's income without a tax is z/(1-T'(z))^e, whose density has neither atoms nor gaps; those who bunch at a kink
    (whose untaxed income lies anywhere between those that either side's rate would give) are spread evenly over the range.
    """

    def log_untaxed(log_z: Array, rate: Array, e: Array) -> Array:
        return log_z - e * jnp.log(jnp.maximum(1 - rate, _LEAST_NET_OF_TAX))

    untaxed = log_untaxed(log_income, marginal_rate(schedule, income), e)
    tolerance = _BUNCHING * float(np.finfo(income.dtype).eps)

    def spread(kink: Array, below: Array, above: Array) -> tuple[Array, Array]:
        """Who bunches at the kink, and where each is put."""
        bunched = jnp.abs(income - kink) <= tolerance * kink
        there = mass * bunched
        place = (jnp.cumsum(there) - there / 2) / jnp.maximum(jnp.sum(there), np.finfo(income.dtype).tiny)
        low, high = log_untaxed(log_income, below, e), log_untaxed(log_income, above, e)
        return bunched, low + place * (high - low)

    if schedule.brackets > 1:
        bunched, places = jax.vmap(spread)(schedule.thresholds[1:], schedule.rates[:-1], schedule.rates[1:])
        untaxed = jnp.where(jnp.any(bunched, 0), jnp.sum(jnp.where(bunched, places, 0), 0), untaxed)
    grid = _Grid.over(untaxed, bandwidth)
    smoothed = grid.smoothed(untaxed, mass) / grid.spacing
    wanted = log_untaxed(jnp.log(at), marginal_rate(schedule, at), elasticity_at)
    return jnp.interp(wanted, grid.centres, smoothed, left=0, right=0)


# --- the fixed point -----------------------------------------------------------------------------------------------------


@pytree
class SaezFixedPoint:
    """The formula at the incomes that its own schedule brings about.

    changes: (iterations,) largest change of a rate that the formula asked for in each iteration, NaN beyond the last;
    converged: the last is below the tolerance; iterations: how many there were; damping: the step at the end.
    formula: what it asks for at `schedule`, whose equilibrium is `outcome`.
    """

    schedule: TaxSchedule
    outcome: Outcome
    formula: SaezSchedule
    converged: Array
    iterations: Array
    changes: Array
    damping: Array


@partial(jax.jit, static_argnames=("elasticity_function", "iterations", "virtual"))
def _fixed_point(
    skill: Array,
    preferences: Preferences,
    start: TaxSchedule,
    elasticity: Array | None,
    g: Array,
    weights: Array | None,
    public_spending: ArrayLike,
    damping: Array,
    tolerance: ArrayLike,
    *,
    elasticity_function: Callable[[Array], Array] | None,
    iterations: int,
    virtual: bool,
) -> SaezFixedPoint:
    e: Elasticity = elasticity_function if elasticity_function is not None else elasticity  # type: ignore[assignment]

    def formula(schedule: TaxSchedule) -> tuple[Outcome, SaezSchedule]:
        outcome = equilibrium(schedule, skill, preferences, weights, public_spending)
        under = schedule if virtual else None
        return outcome, saez_schedule(outcome.income, schedule.thresholds, e, g, weights, schedule=under)

    def unfinished(carry: SaezFixedPoint) -> Array:
        return ~carry.converged & (carry.iterations < iterations)

    def iterate(carry: SaezFixedPoint) -> SaezFixedPoint:
        """Follows the step the last formula asked for (none before the first), and asks again."""
        count, last = carry.iterations, carry.changes[jnp.maximum(carry.iterations - 1, 0)]
        step = jnp.where(count > 0, carry.damping, 0)
        rates = carry.schedule.rates + step * (carry.formula.schedule.rates - carry.schedule.rates)
        schedule = TaxSchedule(start.thresholds, rates)
        outcome, found = formula(schedule)
        change = jnp.max(jnp.abs(found.schedule.rates - rates))
        slow = (count > 0) & (change > (1 - 0.2 * carry.damping) * last)  # a step of that share should cut the change by it
        damping = jnp.where(slow, jnp.maximum(0.8 * carry.damping, jnp.minimum(carry.damping, _LEAST_DAMPING)), carry.damping)
        changes = carry.changes.at[count].set(change)
        return SaezFixedPoint(schedule, outcome, found, change <= tolerance, count + 1, changes, damping)

    shapes = jax.eval_shape(formula, start)
    outcome, found = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    nothing = jnp.full(iterations, jnp.nan, skill.dtype)
    unstarted = SaezFixedPoint(start, outcome, found, jnp.zeros((), bool), jnp.zeros((), jnp.int32), nothing, damping)
    return jax.lax.while_loop(unfinished, iterate, unstarted)


def saez_self_consistent(
    skill: ArrayLike,
    preferences: Preferences,
    thresholds: ArrayLike,
    elasticity: Elasticity,
    welfare_weights: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    start: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    damping: float = 0.5,
    tolerance: float = 1e-3,
    iterations: int = 300,
    virtual: bool = True,
) -> SaezFixedPoint:
    """Iterates formula -> followers' equilibrium -> incomes -> formula until no rate moves by more than `tolerance`.

    Arguments as `saez_schedule` and `equilibrium`, (n,) and (k,). start: (k,) rates, 0.5 everywhere by default. damping: in
    (0, 1], the share of the way to the formula's rates that an iteration goes; it shrinks while the changes do not.
    virtual: take alpha from the virtual density (`saez_schedule`); without it, bunching at the schedule's own kinks is
    mistaken for the distribution.

    Weights stay tied to people. Pure; works under `jit` and `vmap`. A finite population jumps, so `converged` may be False at a
    small tolerance: `changes` says how near it came. Raises ValueError as `saez_schedule`.
    """
    skill = floating(skill)
    if not 0 < damping <= 1:
        raise ValueError(f"damping: {damping}; must be in (0, 1]")
    if iterations < 1 or not tolerance > 0:
        raise ValueError(f"iterations: {iterations}, tolerance: {tolerance}; at least 1, and above 0")
    _check_sample(skill, thresholds, elasticity, welfare_weights, weights)
    if start is not None:
        _require(
            "start", start, lambda t: (t >= 0) & (t <= 1) & np.any(t < 1), "fractions in [0, 1], not all 1: nobody would work"
        )
    given = jnp.asarray(thresholds, skill.dtype)
    first = TaxSchedule(given, jnp.full(given.shape, 0.5, skill.dtype) if start is None else jnp.asarray(start, skill.dtype))
    return _fixed_point(
        skill,
        preferences,
        first,
        None if callable(elasticity) else jnp.asarray(elasticity, skill.dtype),
        jnp.asarray(welfare_weights, skill.dtype),
        None if weights is None else jnp.asarray(weights, skill.dtype),
        public_spending,
        jnp.asarray(damping, skill.dtype),
        tolerance,
        elasticity_function=elasticity if callable(elasticity) else None,
        iterations=iterations,
        virtual=virtual,
    )


# --- what cannot be used ---------------------------------------------------------------------------------------------------


def _require(name: str, given: object, holds: Callable[[np.ndarray], np.ndarray], must: str) -> None:
    value = concrete(given)
    if value is not None and not np.all(holds(value)):
        raise ValueError(f"{name}: {value.tolist() if value.size <= 16 else value[~holds(value)][0]}; {must}")


def _check_people(income: ArrayLike, welfare_weights: ArrayLike, weights: ArrayLike | None) -> None:
    for name, x in (("welfare_weights", welfare_weights), ("weights", weights)):
        if x is not None and np.shape(x) != np.shape(income):
            raise ValueError(f"{name}: shape {np.shape(x)} for {np.shape(income)} incomes; one each")
    if weights is not None:
        _require("weights", weights, lambda w: (w >= 0) & (np.sum(w) > 0), "must be at least 0, and not all 0")
    check_mean_one(welfare_weights, weights)
    _require(
        "income", income, lambda z: np.isfinite(z) & (z >= 0) & np.any(z > 0), "must be finite and at least 0, and not all 0"
    )


def _check_sample(
    income: ArrayLike, thresholds: ArrayLike, elasticity: Elasticity, welfare_weights: ArrayLike, weights: ArrayLike | None
) -> None:
    if np.ndim(thresholds) != 1:
        raise ValueError(f"thresholds: {thresholds}; a list that begins with 0 ($/year)")
    k = np.shape(thresholds)[0]
    if callable(elasticity):
        earned = concrete(income)
        if earned is not None and earned.ndim == 1 and np.any(earned > 0):
            _require(
                "elasticity",
                elasticity(jnp.asarray(earned[earned > 0])),
                lambda e: e > 0,
                "must be greater than 0 at every income",
            )
    else:
        _require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
        if np.shape(elasticity) not in ((), (k,)):
            raise ValueError(f"elasticity: {np.size(elasticity)} values for {k} brackets; one, one per bracket, or a function")
    seen = concrete(thresholds)
    if seen is not None:
        TaxSchedule(seen, np.zeros(k))  # type: ignore[arg-type]  # raises what is wrong with them
    _check_people(income, welfare_weights, weights)
    z = concrete(income)
    if z is not None:
        different = len(np.unique(z[z > 0]))
        if different < SMALLEST_SAMPLE:
            raise ValueError(f"income: {different} different positive values; a density needs at least {SMALLEST_SAMPLE}")
