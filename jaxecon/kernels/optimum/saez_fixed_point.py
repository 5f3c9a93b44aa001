"""The fixed point of Saez's formula: the schedule it gives for the incomes under that schedule."""

from collections.abc import Callable
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating, pytree
from jaxecon.kernels.equilibrium import Outcome, equilibrium
from jaxecon.kernels.optimum.saez import SaezSchedule, saez_schedule
from jaxecon.kernels.optimum.saez_checks import Elasticity, check_sample, require
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import TaxSchedule

_MIN_DAMPING = 0.02  # below which the iteration does not reduce the damping


@pytree
class SaezFixedPoint:
    """A schedule, its equilibrium, and Saez's formula at the equilibrium's incomes.

    Attributes:
        schedule: the schedule at the end, k brackets.
        outcome: the followers' equilibrium under it.
        formula: the formula's result for these incomes.
        converged: whether the last change is within the tolerance.
        iterations: how many iterations there were, a scalar.
        changes: (iterations,) the largest change of a rate that the formula asked for in each
            iteration, infinite beyond the last.
        damping: the damping at the end (see `saez_self_consistent`).
    """

    schedule: TaxSchedule
    outcome: Outcome
    formula: SaezSchedule
    converged: Array
    iterations: Array
    changes: Array
    damping: Array


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
    """Return the schedule that Saez's formula gives for the incomes under that same schedule.

    Iterates formula -> followers' equilibrium -> incomes -> formula until no rate moves by more
    than `tolerance`. Each person keeps their welfare weight. Pure; works under `jit` and `vmap`.
    Responses of a finite population jump, so `converged` may be False at a small tolerance.

    Args:
        skill: (n,) $/year per weekly hour.
        preferences: scalar or (n,) fields.
        thresholds: (k,) $/year.
        elasticity: e > 0, a scalar, (k,) by bracket, or a function of income.
        welfare_weights: (n,) g of mean 1.
        weights: (n,) survey weights, equal by default.
        start: (k,) rates to begin at, 0.5 everywhere by default.
        public_spending: E, $/year per person.
        damping: in (0, 1], the share of the way to the formula's rates that an iteration goes; it
            is reduced while the changes do not shrink.
        tolerance: > 0, of the largest change of a rate.
        iterations: how many at most.
        virtual: take alpha from the virtual density (`saez_schedule`); without it, bunching at the
            schedule's own kinks distorts alpha.

    Returns:
        The schedule, its equilibrium, and how the iteration went.

    Raises:
        ValueError: as `saez_schedule`.
    """
    skill = floating(skill)
    _check_iteration(damping, tolerance, iterations, start)
    check_sample(skill, thresholds, elasticity, welfare_weights, weights)
    return _fixed_point(
        skill,
        preferences,
        _first_schedule(thresholds, start, skill.dtype),
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


def _check_iteration(
    damping: float, tolerance: float, iterations: int, start: ArrayLike | None
) -> None:
    if not 0 < damping <= 1:
        raise ValueError(f"damping: {damping}; must be in (0, 1]")
    if iterations < 1 or not tolerance > 0:
        raise ValueError(
            f"iterations: {iterations}, tolerance: {tolerance}; at least 1, and above 0"
        )
    if start is not None:
        require(
            "start",
            start,
            lambda t: (t >= 0) & (t <= 1) & np.any(t < 1),
            "fractions in [0, 1], not all 1: nobody would work",
        )


def _first_schedule(
    thresholds: ArrayLike, start: ArrayLike | None, dtype: jnp.dtype
) -> TaxSchedule:
    first = jnp.asarray(thresholds, dtype)
    if start is None:
        return TaxSchedule(first, jnp.full(first.shape, 0.5, dtype))
    return TaxSchedule(first, jnp.asarray(start, dtype))


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
    e = cast(Elasticity, elasticity if elasticity_function is None else elasticity_function)

    def formula(schedule: TaxSchedule) -> tuple[Outcome, SaezSchedule]:
        outcome = equilibrium(schedule, skill, preferences, weights, public_spending)
        under = schedule if virtual else None
        return outcome, saez_schedule(
            outcome.income, schedule.thresholds, e, g, weights, schedule=under
        )

    def unfinished(carry: SaezFixedPoint) -> Array:
        return ~carry.converged & (carry.iterations < iterations)

    def iterate(carry: SaezFixedPoint) -> SaezFixedPoint:
        """Move towards the last formula's rates (at first, not at all), and apply it again."""
        count, last = carry.iterations, carry.changes[jnp.maximum(carry.iterations - 1, 0)]
        step = jnp.where(count > 0, carry.damping, 0)
        rates = carry.schedule.rates + step * (carry.formula.schedule.rates - carry.schedule.rates)
        schedule = TaxSchedule(start.thresholds, rates)
        outcome, asked = formula(schedule)
        change = jnp.max(jnp.abs(asked.schedule.rates - rates))
        # a step should reduce the change by about the damping
        slow = (count > 0) & (change > (1 - 0.2 * carry.damping) * last)
        damping = jnp.where(
            slow,
            jnp.maximum(0.8 * carry.damping, jnp.minimum(carry.damping, _MIN_DAMPING)),
            carry.damping,
        )
        changes = carry.changes.at[count].set(change)
        return SaezFixedPoint(
            schedule, outcome, asked, change <= tolerance, count + 1, changes, damping
        )

    shapes = jax.eval_shape(formula, start)
    outcome, asked = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    nothing = jnp.full(iterations, jnp.inf, skill.dtype)
    unstarted = SaezFixedPoint(
        start, outcome, asked, jnp.zeros((), bool), jnp.zeros((), jnp.int32), nothing, damping
    )
    return jax.lax.while_loop(unfinished, iterate, unstarted)
