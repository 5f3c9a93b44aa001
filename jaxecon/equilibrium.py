"""The followers' equilibrium: everyone's exact best response under one schedule, with the pool balanced."""

import jax
import jax.numpy as jnp

from jaxecon._pytree import pytree
from jaxecon.labor import best_response
from jaxecon.preferences import Preferences, isoelastic_utility
from jaxecon.taxation import TaxSchedule, lump_sum_rebate, tax_due

Array = jax.Array
ArrayLike = jax.typing.ArrayLike

_REBATE_ITERATIONS = 60  # bisection: beyond float64's resolution of any rebate


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
) -> Outcome:
    """Exact best responses with a balanced pool.

    skill: (n,) $/year per weekly hour; preferences scalar or (n,); weights: (n,) survey weights;
    public_spending: E, $/year per person. At curvature 0 the response does not depend on the rebate. Otherwise the
    rebate solves R = mean T(z(R)) - E: leisure is a normal good, so the right side falls in R and the root is unique.
    """
    if preferences.consumption_curvature == 0:
        hours = best_response(schedule, skill, preferences)
        return settle(schedule, hours, skill, preferences, weights, public_spending, rebate_floor)
    rebate = _rebate_fixed_point(schedule, jnp.asarray(skill), preferences, weights, public_spending, rebate_floor)
    hours = best_response(schedule, skill, preferences, rebate)
    return settle(schedule, hours, skill, preferences, weights, public_spending, rebate_floor, rebate)


def _rebate_fixed_point(
    schedule: TaxSchedule,
    skill: Array,
    preferences: Preferences,
    weights: ArrayLike | None,
    public_spending: ArrayLike,
    rebate_floor: ArrayLike | None,
) -> Array:
    def paid_out(rebate: Array, *, schedule: TaxSchedule = schedule) -> Array:
        hours = best_response(schedule, skill, preferences, rebate)
        return lump_sum_rebate(tax_due(schedule, skill * hours), weights, public_spending, rebate_floor)

    most = lump_sum_rebate(tax_due(schedule, skill * preferences.max_hours), weights, public_spending, rebate_floor)
    least = lump_sum_rebate(jnp.zeros_like(skill), weights, public_spending, rebate_floor)

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        up = paid_out(middle) > middle
        return jnp.where(up, middle, low), jnp.where(up, high, middle)

    ends = jax.lax.stop_gradient((least.astype(most.dtype), most))
    low, high = jax.lax.fori_loop(0, _REBATE_ITERATIONS, halve, ends)
    root = jax.lax.stop_gradient((low + high) / 2)
    # One implicit step carries the derivatives: dR = d(paid_out) / (1 - slope); its value at the root is the root.
    value, slope = jax.jvp(paid_out, (root,), (jnp.ones_like(root),))
    step = (value - jax.lax.stop_gradient(value)) / (1 - jax.lax.stop_gradient(slope))
    return root + step
