"""The best schedule under the constraint that taxes pay for public spending and a rebate."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.pattern_search import polish
from jaxecon.kernels.optimum.search import SearchPlan, search
from jaxecon.kernels.optimum.space import Judge, SearchResult

_BISECTIONS = 24  # of the constraint's multiplier

_Bisection = tuple[Array, Array, Array, Array, Array]  # low, high, poor, rich, evaluations


def constrained(
    objective: Objective, plan: SearchPlan, free: SearchResult, worth: Array
) -> tuple[SearchResult, Array, Array]:
    """Return the best schedule that can pay the rebate's floor.

    Maximises (1-q)*welfare/worth + q*rebate and bisects on q, in which the rebate rises; then
    polishes the result, maximising welfare among feasible schedules.

    Args:
        objective: what is evaluated; its problem has a rebate_floor.
        plan: how to search for the schedule of the largest rebate.
        free: the best schedule without the constraint.
        worth: the welfare of a dollar of rebate for everybody, a scalar.

    Returns:
        The schedule's point and value, the constraint's multiplier q/(1-q)*worth (welfare per
            $/year per person), and whether any schedule satisfies the constraint.
    """
    problem = objective.problem

    def rebate_at(x: Array) -> Array:
        return problem.outcome(objective.schedule(x), table=objective.table).rebate

    assert problem.rebate_floor is not None
    floor = jnp.asarray(problem.rebate_floor, free.x.dtype)
    binds = objective.evaluate(free.x[None], objective.feasible_welfare)[0] == -jnp.inf
    richest, _, _ = search(objective, plan, _weighing(1.0, worth))
    feasible = objective.evaluate(richest.x[None], objective.feasible_welfare)[0] > -jnp.inf

    # Not `roots.bisect`: each step is itself a search, and each end carries its best point.
    def halve(carry: _Bisection) -> _Bisection:
        low, high, poor, rich, evaluations = carry
        q = (low + high) / 2
        judge = _weighing(q, worth)
        ends = jnp.stack([poor, rich])
        both = jax.lax.map(
            lambda end: polish(objective, end[0], end[1], judge),
            (ends, objective.evaluate(ends, judge)),
        )
        x = both.x[jnp.argmax(both.value)]
        pays = rebate_at(x) >= floor
        low, high = jnp.where(pays, low, q), jnp.where(pays, q, high)
        poor, rich = jnp.where(pays, poor, x), jnp.where(pays, x, rich)
        return low, high, poor, rich, evaluations + jnp.sum(both.evaluations, dtype=jnp.int32)

    one = jnp.ones((), free.x.dtype)
    start = (0 * one, one, free.x, richest.x, free.evaluations + richest.evaluations)
    low, high, _, rich, evaluations = jax.lax.fori_loop(
        0, _BISECTIONS, lambda _, carry: halve(carry), start
    )
    x = jnp.where(binds, rich, free.x)
    value = objective.evaluate(x[None], objective.feasible_welfare)[0]
    polished = polish(objective, x, value, objective.feasible_welfare)
    feasible = feasible | ~binds
    x = jnp.where(feasible, polished.x, richest.x)
    q = (low + high) / 2
    multiplier = jnp.where(binds, q / (1 - q) * worth, 0)
    result = SearchResult(x, polished.value, evaluations + polished.evaluations)
    return result, multiplier, feasible


def _weighing(q: ArrayLike, worth: Array) -> Judge:
    """Return a judge that weights welfare (in dollars of rebate) by 1-q and the rebate by q."""
    return lambda welfare, rebate: jnp.asarray((1 - q) * welfare / worth + q * rebate)
