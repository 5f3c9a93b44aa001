"""How many hours a worker wants: the exact best response to a piecewise-linear budget."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating, pytree
from jaxecon.kernels.preferences import (
    REFERENCE_HOURS,
    Preferences,
    curved_utility,
    disutility,
    power,
)
from jaxecon.kernels.taxation import TaxSchedule, tax_due

# (11,) 0, 10, .., 100 h/week: the paper's choices, where no others are given. Read-only.
HOURS = np.arange(0.0, 101.0, 10.0)
HOURS.setflags(write=False)

# of `_interior_with_income_effect`: its worst start is within 2*log(2) of the root, and each step
# squares the error
_NEWTON_STEPS = 6


@pytree
class ResponseTable:
    """The parts of best responses that depend on a schedule's k thresholds but not on its rates.

    Attributes:
        ends: (k+1, ..., n) h/week at the brackets' ends; the last is max_hours.
        cost_at_ends: (k+1, ..., n) disutility there; zero, and not used, with curvature > 0.
        untaxed_hours: (..., n) h/week, the interior optimum without a tax; zero, and not used, with
            curvature > 0.
    """

    ends: Array
    cost_at_ends: Array
    untaxed_hours: Array

    @classmethod
    def of(cls, thresholds: Array, skill: ArrayLike, preferences: Preferences) -> "ResponseTable":
        """Make the table; thresholds: (k,) $/year, skill: (..., n) against the preferences."""
        skill = _skill_for_each(skill, preferences)
        cap = jnp.broadcast_to(preferences.max_hours, skill.shape).astype(skill.dtype)
        ends = jnp.stack([*(jnp.minimum(t / skill, cap) for t in thresholds), cap])
        if preferences.consumption_curvature > 0:
            return cls(ends, jnp.zeros_like(ends), jnp.zeros_like(skill))
        return cls(
            ends,
            jax.vmap(partial(disutility, preferences))(ends),
            _untaxed_hours(skill, preferences),
        )


def _skill_for_each(skill: ArrayLike, preferences: Preferences) -> Array:
    """Broadcast skill against the preferences."""
    skill, p = floating(skill), preferences
    return jnp.broadcast_to(
        skill,
        jnp.broadcast_shapes(
            *map(jnp.shape, (skill, p.disutility_weight, p.disutility_exponent, p.max_hours))
        ),
    )


def _untaxed_hours(skill: Array, preferences: Preferences) -> Array:
    """The interior optimum without a tax at curvature 0, h/week."""
    c, d = preferences.disutility_weight, preferences.disutility_exponent
    return power(skill / (c * d), 1 / (d - 1))


@jax.jit
def best_response(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    rebate: ArrayLike = 0.0,
    table: ResponseTable | None = None,
) -> Array:
    """Hours that maximise utility on the piecewise-linear budget, exactly.

    Utility is concave within a bracket, so its best point is the interior optimum clipped to the
    bracket's ends. The best of these points is the best of all, for any rates, kinks and falling
    rates included. Ties go to fewer hours. At curvature 0 the interior optimum is l = (s(1-t)/(c
    d))^(1/(d-1)) (Saez 2010, eq. 2).

    Args:
        schedule: the tax.
        skill: (..., n) $/year per weekly hour, > 0.
        preferences: scalar fields, or fields that broadcast against skill.
        rebate: scalar $/year; matters only with consumption_curvature > 0.
        table: computed once for many schedules with the same thresholds; makes this five times
            faster.

    Returns:
        Hours, (..., n) h/week.
    """
    return best_choice(schedule, skill, preferences, rebate, table)[0]


def best_choice(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    rebate: ArrayLike = 0.0,
    table: ResponseTable | None = None,
) -> tuple[Array, Array, Array]:
    """Return the best response with its tax and its worth, (..., n) each.

    Hours (h/week) are those of `best_response`; the tax on their income is in $/year.

    worth: utility before the rebate at curvature 0 ($/year); otherwise an increasing affine
    transform of utility, with its own constant and scale for each worker.
    """
    if table is None:
        return _one_bracket_after_another(
            schedule, _skill_for_each(skill, preferences), preferences, rebate
        )
    hours, tax, worth = _bracket_candidates(schedule, floating(skill), preferences, rebate, table)
    best = hours[0], tax[0], worth[0]
    for k in range(1, schedule.brackets):  # unrolled: one fused pass
        best = _better(best, (hours[k], tax[k], worth[k]))
    return best


_Choice = tuple[Array, Array, Array]  # hours, tax, worth, as `best_choice`


def _better(old: _Choice, new: _Choice, whatever: ArrayLike = False) -> _Choice:
    """Return the better of two choices, or the old one if they are equal.

    whatever: where to take the new one regardless of its worth.
    """
    better = (new[2] > old[2]) | whatever
    return jax.tree.map(lambda x, y: jnp.where(better, y, x), old, new)


def smoothed_response(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    temperature: ArrayLike,
    rebate: ArrayLike = 0.0,
    table: ResponseTable | None = None,
) -> tuple[Array, Array]:
    """Return the best hours of each bracket and logit probabilities of choosing them.

    Both are (k, ..., n). Arguments are those of `best_response`; temperature: > 0, in full-time
    incomes (with curvature, in typical consumption). The best response jumps from bracket to
    bracket as rates change. These probabilities change smoothly, so that gradients account for the
    jumps.
    """
    skill = floating(skill)
    hours, _, value = _bracket_candidates(schedule, skill, preferences, rebate, table)
    unit = REFERENCE_HOURS * skill[None] if preferences.consumption_curvature == 0 else 1.0
    possible = value > -jnp.inf
    logits = jnp.where(possible, jnp.where(possible, value, 0) / unit / temperature, -jnp.inf)
    return hours, jax.nn.softmax(logits, axis=0)


def _bracket_candidates(
    schedule: TaxSchedule,
    skill: Array,
    preferences: Preferences,
    rebate: ArrayLike,
    table: ResponseTable | None,
) -> _Choice:
    """Return the best choice within each bracket, (k, ..., n).

    All brackets are computed side by side, which suits many schedules.
    """
    table = ResponseTable.of(schedule.thresholds, skill, preferences) if table is None else table
    ends, costs = table.ends, table.cost_at_ends
    within = partial(
        _best_within,
        preferences,
        skill,
        rebate,
        _typical(schedule, skill, rebate),
        table.untaxed_hours,
    )
    return jax.vmap(within)(
        _brackets(schedule, preferences), ends[:-1], ends[1:], costs[:-1], costs[1:]
    )


def _one_bracket_after_another(
    schedule: TaxSchedule, skill: Array, preferences: Preferences, rebate: ArrayLike
) -> _Choice:
    """Return the best choice of all brackets, (..., n), computed one bracket after another.

    This suits many workers: it needs the memory of a few arrays, whatever the number of brackets.
    """
    curved = preferences.consumption_curvature > 0
    untaxed = jnp.zeros_like(skill) if curved else _untaxed_hours(skill, preferences)
    cap = jnp.asarray(preferences.max_hours, skill.dtype)
    within = partial(
        _best_within, preferences, skill, rebate, _typical(schedule, skill, rebate), untaxed
    )

    def best_of(bracket: tuple[_Bracket, Array, Array]) -> _Choice:
        here, above, k = bracket
        low = jnp.minimum(here.threshold / skill, cap)
        high = jnp.where(k == schedule.brackets - 1, cap, jnp.minimum(above / skill, cap))
        costs = (
            (0.0, 0.0) if curved else (disutility(preferences, low), disutility(preferences, high))
        )
        return within(here, low, high, *costs)

    def consider(best: _Choice, bracket: tuple[_Bracket, Array, Array]) -> tuple[_Choice, None]:
        *_, k = bracket
        return _better(best, best_of(bracket), whatever=k == 0), None

    every = (
        _brackets(schedule, preferences),
        jnp.append(schedule.thresholds[1:], 0),
        jnp.arange(schedule.brackets),
    )
    # zeros of the right types, which the first bracket replaces
    nothing = jax.eval_shape(best_of, jax.tree.map(lambda x: x[0], every))
    best, _ = jax.lax.scan(
        consider, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), nothing), every
    )
    return best


class _Bracket(NamedTuple):
    """One bracket: its rate, and its threshold in $/year.

    kept: the factor by which the rate reduces untaxed hours. tax_below: the tax on all income below
    the threshold, $/year.
    """

    rate: Array
    threshold: Array
    kept: Array
    tax_below: Array


def _brackets(schedule: TaxSchedule, preferences: Preferences) -> _Bracket:
    """All brackets of a schedule, (k,) each; kept is (k, ...), with the shape of the exponent."""
    full_brackets = jnp.cumsum(schedule.rates[:-1] * jnp.diff(schedule.thresholds))
    tax_below = jnp.concatenate([jnp.zeros_like(schedule.rates[:1]), full_brackets])
    # apart from the powers of skills, only k powers of rates are needed; the loop keeps XLA from
    # computing them anew for every worker
    d = preferences.disutility_exponent
    return _Bracket(
        schedule.rates,
        schedule.thresholds,
        jax.lax.map(lambda rate: power(1 - rate, 1 / (d - 1)), schedule.rates),
        tax_below,
    )


def _typical(schedule: TaxSchedule, skill: Array, rebate: ArrayLike) -> Array:
    """Return roughly the consumption from full-time work, $/year.

    It is the unit in which curved utilities are compared.
    """
    full_time = REFERENCE_HOURS * skill
    return jnp.maximum(full_time - tax_due(schedule, full_time) + jnp.maximum(rebate, 0), skill)


def _best_within(
    preferences: Preferences,
    skill: Array,
    rebate: ArrayLike,
    typical: Array,
    untaxed_hours: Array,
    bracket: _Bracket,
    low: Array,
    high: Array,
    cost_low: ArrayLike,
    cost_high: ArrayLike,
) -> _Choice:
    """Return the best choice within a bracket, (..., n).

    low, high: h/week at its ends. cost_low, cost_high: their disutility, at curvature 0.
    """
    rate, threshold, kept, tax_below = bracket
    net_wage = skill * (1 - rate)
    virtual_income = rate * threshold - tax_below  # consumption is net_wage*hours + virtual_income
    if preferences.consumption_curvature == 0:
        interior = untaxed_hours * kept
        hours = jnp.clip(interior, low, high)
        cost = jnp.minimum(net_wage * interior / preferences.disutility_exponent, cost_high)
        value = net_wage * hours + virtual_income - jnp.where(interior < low, cost_low, cost)
    else:
        hours = _interior_with_income_effect(
            preferences, net_wage, virtual_income + rebate, low, high
        )
        value = _scaled_utility(
            preferences, typical, net_wage * hours + virtual_income + rebate, hours
        )
    tax = tax_below + rate * (skill * hours - threshold)
    return hours, tax, jnp.where(threshold <= preferences.max_hours * skill, value, -jnp.inf)


def _scaled_utility(
    preferences: Preferences, typical: Array, consumption: Array, hours: Array
) -> Array:
    """Return (u~ - U(m)) / (m*U'(m)), an increasing affine transform of u~ that float32 resolves.

    m is the worker's own typical consumption (`_typical`).
    """
    eta = preferences.consumption_curvature
    positive = consumption > 0
    utility = curved_utility(jnp.log(jnp.where(positive, consumption, 1) / typical), eta)
    return jnp.where(
        positive, utility - disutility(preferences, hours) * typical ** (eta - 1), -jnp.inf
    )


def _interior_with_income_effect(
    preferences: Preferences, net_wage: Array, virtual_income: ArrayLike, low: Array, high: Array
) -> Array:
    """The best hours in [low, high] on a budget line of slope net_wage, at curvature eta > 0.

    The first-order condition w * x^-eta = c*d*l^(d-1), x = w*l + v, reads in logarithms B = p*y +
    q*log(e^y + m) with B = d*log(w) - log(c*d), and (y, p, q, m) = (log(w*l), d-1, eta, v) where v
    >= 0, (log(x), eta, d-1, -v) where v < 0. The right side is convex and rises. Newton's method
    starts from the smaller root of its two asymptotes, which lies at or right of the root, and
    falls monotonically to the root. One last step from there carries the implicit derivatives.
    """
    eta, d = preferences.consumption_curvature, preferences.disutility_exponent
    takes_home = net_wage > 0
    wage = jnp.where(takes_home, net_wage, 1)
    owing = jnp.asarray(virtual_income) < 0
    m = jnp.abs(virtual_income)
    p, q = jnp.where(owing, eta, d - 1), jnp.where(owing, d - 1, eta)
    target = d * jnp.log(wage) - jnp.log(preferences.disutility_weight * d)

    def newton_step(y: Array) -> Array:
        total = jnp.exp(y) + m
        slope = p + q * jax.lax.stop_gradient(jnp.exp(y) / total)
        return y - (p * y + q * jnp.log(total) - target) / jax.lax.stop_gradient(slope)

    without_m = target / (p + q)
    y = jnp.where(
        m > 0, jnp.minimum(without_m, (target - q * jnp.log(jnp.where(m > 0, m, 1))) / p), without_m
    )
    for _ in range(_NEWTON_STEPS):  # unrolled: one fused pass
        y = newton_step(y)
    y = newton_step(jax.lax.stop_gradient(y))
    hours = (jnp.exp(y) + jnp.where(owing, m, 0)) / wage
    return jnp.where(takes_home, jnp.clip(hours, low, high), low)
