"""The followers' equilibrium: everyone's exact best response under one schedule, with the pool balanced."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon._pytree import pytree
from jaxecon.labor import ResponseTable, best_choice, best_response
from jaxecon.preferences import Preferences, isoelastic_utility
from jaxecon.taxation import TaxSchedule, lump_sum_rebate, tax_due

Array = jax.Array
ArrayLike = jax.typing.ArrayLike

_SECANTS, _MOST_EVALUATIONS = 16, 80  # 64 bisections: beyond float64's resolution of any rebate


@pytree
class Outcome:
    """One economy at one schedule. Arrays (n,), $/year and h/week; `rebate` a scalar; `utility` is u~ (private).

    rebate_residual: scalar $/year, the difference between the rebate workers responded to and the one the pool pays.
    Zero at curvature 0; otherwise the fixed point's error (finite populations jump, so it need not be zero).
    """

    hours: Array
    income: Array
    tax: Array
    rebate: Array
    consumption: Array
    utility: Array
    rebate_residual: Array


def settle(
    schedule: TaxSchedule,
    hours: ArrayLike,
    skill: ArrayLike,
    preferences: Preferences,
    weights: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
    expected_rebate: ArrayLike | None = None,
) -> Outcome:
    """What follows from given hours (n,): incomes, taxes, the pool's rebate, consumption, utility."""
    income = jnp.asarray(skill) * hours
    tax = tax_due(schedule, income)
    rebate = lump_sum_rebate(tax, weights, public_spending, rebate_floor)
    consumption = income - tax + rebate
    utility = isoelastic_utility(preferences, consumption, hours)
    residual = jnp.zeros_like(rebate) if expected_rebate is None else jnp.abs(rebate - expected_rebate)
    return Outcome(jnp.asarray(hours), income, tax, rebate, consumption, utility, residual)


@jax.jit
def equilibrium(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    weights: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
    table: ResponseTable | None = None,
) -> Outcome:
    """Exact best responses with a balanced pool.

    skill: (n,) $/year per weekly hour; preferences scalar or (n,); weights: (n,) survey weights;
    public_spending: E, $/year per person; table: as in `best_response`. At curvature 0 the response does not depend on
    the rebate. Otherwise the rebate solves R = mean T(z(R)) - E: leisure is a normal good, so the right side falls in R
    and the root is unique.
    """
    if preferences.consumption_curvature == 0:
        hours, tax, worth = best_choice(schedule, skill, preferences, table=table)
        income, rebate = jnp.asarray(skill * hours), lump_sum_rebate(tax, weights, public_spending, rebate_floor)
        return Outcome(hours, income, tax, rebate, income - tax + rebate, worth + rebate, jnp.zeros_like(rebate))

    def paid_out(rebate: Array) -> Array:
        hours = best_response(schedule, skill, preferences, rebate, table)
        return lump_sum_rebate(tax_due(schedule, skill * hours), weights, public_spending, rebate_floor)

    rebate = balanced_rebate(paid_out, schedule, skill, preferences, weights, public_spending, rebate_floor)
    hours = best_response(schedule, skill, preferences, rebate, table)
    return settle(schedule, hours, skill, preferences, weights, public_spending, rebate_floor, rebate)


def balanced_rebate(
    paid_out: Callable[[Array], Array],
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    weights: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
) -> Array:
    """The rebate that the pool pays when workers expect it, a scalar in $/year.

    paid_out: from the rebate that workers expect to the one the pool can pay, falling. Differentiable by the implicit
    function theorem.
    """
    most = lump_sum_rebate(tax_due(schedule, skill * preferences.max_hours), weights, public_spending, rebate_floor)
    least = lump_sum_rebate(jnp.zeros_like(skill), weights, public_spending, rebate_floor).astype(most.dtype)
    return jax.lax.custom_root(
        lambda rebate: paid_out(rebate) - rebate,
        least,
        lambda excess, _: _falling_root(excess, jax.lax.stop_gradient(least), jax.lax.stop_gradient(most)),
        lambda slope, y: y / slope(jnp.ones_like(y)),
    )


def _falling_root(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where a falling scalar function crosses zero between low and high, f(low) >= 0 >= f(high); it may jump across.

    Illinois' regula falsi (Dowell and Jarratt 1971), a handful of evaluations where f is smooth; bisection after
    _SECANTS of them, for a function that jumps. Stops at the resolution of the dtype.
    """
    eps = np.finfo(low.dtype).eps

    def unfinished(carry: _Search) -> Array:
        width = jnp.abs(carry.high - carry.low)
        scale = jnp.maximum(jnp.abs(carry.low), jnp.abs(carry.high))
        return (carry.evaluations < _MOST_EVALUATIONS) & (width > 2 * eps * scale) & (jnp.abs(carry.f) > 2 * eps * scale)

    def evaluate(carry: _Search) -> _Search:
        secant = (carry.low * carry.f_high - carry.high * carry.f_low) / (carry.f_high - carry.f_low)
        inside = (secant > carry.low) & (secant < carry.high) & (carry.evaluations < _SECANTS)
        x = jnp.where(inside, secant, (carry.low + carry.high) / 2)
        value = f(x)
        up = value > 0
        # the end that stays a second time has its value halved, or one end would never move
        f_low = jnp.where(up, value, jnp.where(carry.moved_low, carry.f_low, carry.f_low / 2))
        f_high = jnp.where(up, jnp.where(carry.moved_low, carry.f_high / 2, carry.f_high), value)
        return _Search(
            jnp.where(up, x, carry.low), jnp.where(up, carry.high, x), f_low, f_high, x, value, up, carry.evaluations + 1
        )

    f_low, f_high = f(low), f(high)
    lower = jnp.abs(f_low) < jnp.abs(f_high)
    start = _Search(
        low, high, f_low, f_high, jnp.where(lower, low, high), jnp.where(lower, f_low, f_high), lower, jnp.zeros((), jnp.int32)
    )
    return jax.lax.while_loop(unfinished, evaluate, start).x


class _Search(NamedTuple):
    """A bracket, f at its ends (as weighted by the method), the point last evaluated, and whether it became the low end."""

    low: Array
    high: Array
    f_low: Array
    f_high: Array
    x: Array
    f: Array
    moved_low: Array
    evaluations: Array
