"""The followers' equilibrium: exact best responses to one schedule, with the pool balanced."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import pytree
from jaxecon.kernels.labor import ResponseTable, best_choice, best_response
from jaxecon.kernels.preferences import Preferences, isoelastic_utility
from jaxecon.kernels.roots import falling_root
from jaxecon.kernels.taxation import TaxSchedule, lump_sum_rebate, tax_due


@pytree
class Outcome:
    """The outcome of an economy of n workers under one schedule.

    Attributes:
        hours: (n,) h/week.
        income: (n,) $/year before tax.
        tax: (n,) $/year.
        rebate: scalar $/year, what the pool pays to everyone.
        consumption: (n,) $/year.
        utility: (n,) u~, private utility; $/year at curvature 0.
        rebate_residual: scalar $/year, the difference between the rebate that workers responded to
            and the one that the pool pays. Zero at curvature 0; otherwise the fixed point's error
            (responses of a finite population jump, so it need not be zero).
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
    """The outcome of hours (n,): incomes, taxes, the pool's rebate, consumption, utility."""
    income = jnp.asarray(skill) * hours
    tax = tax_due(schedule, income)
    rebate = lump_sum_rebate(tax, weights, public_spending, rebate_floor)
    consumption = income - tax + rebate
    utility = isoelastic_utility(preferences, consumption, hours)
    residual = (
        jnp.zeros_like(rebate) if expected_rebate is None else jnp.abs(rebate - expected_rebate)
    )
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
    """Everyone's exact best response to a schedule, with the pool balanced.

    At curvature 0 the response does not depend on the rebate. Otherwise the rebate solves
    R = mean T(z(R)) - E: leisure is a normal good, so the right side falls in R and the root is
    unique.

    Args:
        schedule: the tax.
        skill: (n,) $/year per weekly hour.
        preferences: scalar or (n,) fields.
        weights: (n,) survey weights, equal by default.
        public_spending: E, $/year per person.
        rebate_floor: the least rebate, $/year; none by default.
        table: as in `best_response`.

    Returns:
        The outcome of everyone's best response, (n,) each.
    """
    if preferences.consumption_curvature == 0:
        hours, tax, worth = best_choice(schedule, skill, preferences, table=table)
        income, rebate = (
            jnp.asarray(skill * hours),
            lump_sum_rebate(tax, weights, public_spending, rebate_floor),
        )
        return Outcome(
            hours,
            income,
            tax,
            rebate,
            income - tax + rebate,
            worth + rebate,
            jnp.zeros_like(rebate),
        )

    def paid_out(rebate: Array) -> Array:
        hours = best_response(schedule, skill, preferences, rebate, table)
        return lump_sum_rebate(
            tax_due(schedule, skill * hours), weights, public_spending, rebate_floor
        )

    rebate = balanced_rebate(
        paid_out, schedule, skill, preferences, weights, public_spending, rebate_floor
    )
    hours = best_response(schedule, skill, preferences, rebate, table)
    return settle(
        schedule, hours, skill, preferences, weights, public_spending, rebate_floor, rebate
    )


def balanced_rebate(
    paid_out: Callable[[Array], Array],
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    weights: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
) -> Array:
    """Return the rebate that the pool pays when workers expect it, a scalar in $/year.

    paid_out: function from the rebate that workers expect to the one that the pool can pay;
    falling. The result is differentiable, by the implicit function theorem.
    """
    most = lump_sum_rebate(
        tax_due(schedule, skill * preferences.max_hours), weights, public_spending, rebate_floor
    )
    least = lump_sum_rebate(jnp.zeros_like(skill), weights, public_spending, rebate_floor).astype(
        most.dtype
    )
    return jax.lax.custom_root(
        lambda rebate: paid_out(rebate) - rebate,
        least,
        lambda excess, _: falling_root(
            excess, jax.lax.stop_gradient(least), jax.lax.stop_gradient(most)
        ),
        lambda slope, y: y / slope(jnp.ones_like(y)),
    )
