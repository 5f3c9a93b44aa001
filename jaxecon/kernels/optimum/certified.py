"""The leader's problem: the schedule that maximises welfare at the followers' exact response."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete, pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum.certificate import certify, fill_idle_brackets, slopes
from jaxecon.kernels.optimum.constraint import constrained
from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.optimum.search import SearchPlan, search
from jaxecon.kernels.optimum.search_checks import check_search, check_weights, grid_points
from jaxecon.kernels.optimum.space import (
    Effort,
    Limits,
    Method,
    SearchResult,
    Space,
    schedule_at,
)
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.kernels.welfare import SocialWelfare, gain_over

_EFFORT = Effort()
_EFFORT_WITH_CURVATURE = Effort(8, 60, 32, 30, 1)  # each response takes a hundred times longer


@pytree
class Optimum:
    """The best schedule of a search, and its certificate. k brackets, m neighbours.

    Attributes:
        schedule: the optimum, k brackets.
        welfare: at the followers' equilibrium, in the unit of utility.
        reference_welfare: the same under the reference schedule.
        gain: of welfare over the reference schedule, a fraction; with curvature the consumption
            equivalent (`welfare.gain_over`).
        rebate: $/year per person.
        residuals: (k,) derivatives of welfare in each rate, with the response smoothed over
            brackets; at curvature 0 as a share of the reference's welfare, else in units of
            utility. Near zero at an interior optimum, apart from the sawtooth that a finite
            population adds to welfare.
        neighbours: (m,) welfare of the certificate's neighbours less the optimum's. Neighbours
            change one rate, two rates, or a run of adjacent rates by 0.01 (free thresholds by 1 %),
            and are projected into the bounds.
        noise: the rounding of welfare at the optimum; smaller differences mean nothing.
        certified: whether no neighbour is better (except for rounding), and at least one is worse
            by more than the noise.
        multiplier: Lagrange multiplier of the constraint that taxes pay for public spending and the
            rebate's floor, welfare per $/year per person; 0 if it does not bind, -inf (unknown) for
            a grid search under it.
        feasible: False if no schedule satisfies the constraint.
        empty: (k,) bool, brackets in which nobody has income and whose rate changes nothing; they
            have the rate of the bracket below.
        reached: by search, the welfare it reached before the last polish (-inf for searches not
            used).
        found_by: index in SEARCHES of the search with the highest welfare before the last polish.
        evaluations: how often the searches evaluated welfare, exact or smoothed (a gradient counts
            once), without the certificate's evaluations.
    """

    schedule: TaxSchedule
    welfare: Array
    reference_welfare: Array
    gain: Array
    rebate: Array
    residuals: Array
    neighbours: Array
    noise: Array
    certified: Array
    multiplier: Array
    feasible: Array
    empty: Array
    reached: dict[str, Array]
    found_by: Array
    evaluations: Array


class _Options(NamedTuple):
    """The keyword arguments of `optimal_schedule` that say where and how to search."""

    bounds: tuple[float, float]
    monotone: bool
    free_thresholds: bool
    reference: TaxSchedule | None
    grid_step: float
    seed: int | Array
    effort: Effort | None


def optimal_schedule(
    skill: ArrayLike,
    preferences: Preferences,
    thresholds: ArrayLike,
    welfare_weights: SocialWelfare | ArrayLike,
    weights: ArrayLike | None = None,
    method: Method = "auto",
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    monotone: bool = False,
    free_thresholds: bool = False,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
    reference: TaxSchedule | None = None,
    grid_step: float = 0.1,
    seed: int | Array = 0,
    effort: Effort | None = None,
) -> Optimum:
    """The piecewise-linear schedule that maximises welfare at the followers' exact response.

    Pure: works under `jit` (all but the first five arguments and the numbers static) and `vmap`.

    Args:
        skill: (n,) $/year per weekly hour.
        preferences: scalar or (n,) fields.
        thresholds: (k,) $/year; where the search begins if they are free.
        welfare_weights: (n,) of mean 1, or a `SocialWelfare` over one cohort.
        weights: (n,) survey weights, equal by default.
        method: one of `Method`, which says what each does.
        bounds: of every rate, within [0, 1].
        monotone: whether rates may not fall from bracket to bracket.
        free_thresholds: whether to search thresholds too, between the lowest and highest taxed
            incomes.
        public_spending: E, $/year per person; the rebate is mean tax less E.
        rebate_floor: the least rebate, $/year.
        reference: the schedule over which gains are measured, whatever rebate it pays; US federal
            by default.
        grid_step: between the rates of method grid; must divide the bounds.
        seed: of the population search's draws.
        effort: how much work the searches do.

    Returns:
        The best schedule of the search, and its certificate.

    Raises:
        ValueError: for arguments out of range and, outside of a trace, if no schedule pays for the
            spending.
    """
    check_weights(skill, welfare_weights, weights)
    problem = LeaderProblem.of(
        skill, preferences, welfare_weights, weights, public_spending, rebate_floor
    )
    options = _Options(bounds, monotone, free_thresholds, reference, grid_step, seed, effort)
    return _checked_and_solved(problem, thresholds, method, options)


def solve(
    problem: LeaderProblem,
    thresholds: ArrayLike,
    method: Method = "auto",
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    monotone: bool = False,
    free_thresholds: bool = False,
    reference: TaxSchedule | None = None,
    grid_step: float = 0.1,
    seed: int | Array = 0,
    effort: Effort | None = None,
) -> Optimum:
    """Return the `optimal_schedule` of a leader's problem, with the same keyword arguments."""
    options = _Options(bounds, monotone, free_thresholds, reference, grid_step, seed, effort)
    return _checked_and_solved(problem, thresholds, method, options)


def _checked_and_solved(
    problem: LeaderProblem, thresholds: ArrayLike, method: Method, options: _Options
) -> Optimum:
    bounds, free_thresholds, step = options.bounds, options.free_thresholds, options.grid_step
    check_search(thresholds, method, bounds, free_thresholds, step)
    dtype = problem.skill.dtype
    start = jnp.asarray(thresholds, dtype)
    reference = TaxSchedule.us_federal() if options.reference is None else options.reference
    curved = problem.preferences.consumption_curvature != 0
    optimum = _solve(
        problem,
        start,
        problem.outcome(reference.astype(dtype)),
        jnp.asarray(bounds, dtype),
        jnp.asarray(options.seed, jnp.uint32),
        space=Space(start.shape[0], options.monotone, free_thresholds),
        method=method,
        points=grid_points(bounds, step) if method == "grid" else 0,
        effort=options.effort or (_EFFORT_WITH_CURVATURE if curved else _EFFORT),
    )
    _check_feasible(optimum, problem, method)
    return optimum


def _check_feasible(optimum: Optimum, problem: LeaderProblem, method: Method) -> None:
    """Raise ValueError, outside of a trace, if no schedule pays for the spending."""
    feasible, rebate = concrete(optimum.feasible), concrete(optimum.rebate)
    if feasible is None or rebate is None or np.all(feasible):
        return
    spending = float(np.asarray(problem.public_spending))
    if problem.rebate_floor is None:
        raise ValueError(
            f"public_spending: {spending:g}; every schedule within the bounds leaves somebody "
            "nothing to consume"
        )
    floor = float(np.asarray(problem.rebate_floor))
    if method == "grid":
        raise ValueError(
            f"public_spending: {spending:g}; no schedule of the grid pays for it with "
            f"rebate_floor {floor:g}"
        )
    raise ValueError(
        f"public_spending: {spending:g}; no schedule within the bounds pays for it with "
        f"rebate_floor {floor:g}: "
        f"the most falls {floor - float(rebate):,.0f} $/year per person short"
    )


@partial(jax.jit, static_argnames=("space", "method", "points", "effort"))
def _solve(
    problem: LeaderProblem,
    thresholds: Array,
    at_reference: Outcome,
    bounds: Array,
    seed: Array,
    *,
    space: Space,
    method: Method,
    points: int,
    effort: Effort,
) -> Optimum:
    reference_welfare = problem.welfare_of(problem.settled_utility(at_reference))
    limits = _limits(bounds, thresholds, at_reference)
    table = (
        None
        if space.free_thresholds
        else ResponseTable.of(thresholds, problem.skill, problem.preferences)
    )
    objective = Objective(problem, space, limits, table)
    plan = SearchPlan(method, points, effort, seed)
    free, reached, found_by = search(objective, plan, lambda welfare, rebate: welfare)
    best, multiplier, feasible = _that_pays(objective, plan, free, at_reference, reference_welfare)
    outcome = problem.outcome(schedule_at(space, limits, best.x), table=table)
    final, idle = fill_idle_brackets(objective, best.x, outcome.income)
    certificate = certify(objective, final)
    scale = jnp.abs(reference_welfare) if problem.preferences.consumption_curvature == 0 else 1.0
    gain = gain_over(
        problem.welfare_of,
        problem.preferences,
        at_reference.consumption,
        at_reference.hours,
        reference_welfare,
        certificate.welfare,
    )
    weight = jnp.where(jnp.isfinite(multiplier), multiplier, 0)
    residuals = slopes(objective, final, weight) / scale
    return Optimum(
        schedule=schedule_at(space, limits, final),
        welfare=certificate.welfare,
        reference_welfare=reference_welfare,
        gain=gain,
        rebate=certificate.rebate,
        residuals=residuals,
        neighbours=certificate.neighbours,
        noise=certificate.noise,
        certified=certificate.certified,
        multiplier=multiplier,
        feasible=feasible & jnp.isfinite(certificate.welfare),
        empty=idle,
        reached=reached,
        found_by=found_by,
        evaluations=best.evaluations,
    )


def _limits(bounds: Array, thresholds: Array, at_reference: Outcome) -> Limits:
    """The space's limits; free thresholds stay between the lowest and highest taxed incomes."""
    taxed = jnp.where(at_reference.income > 0, at_reference.income, jnp.max(at_reference.income))
    return Limits(bounds[0], bounds[1], thresholds, jnp.min(taxed), jnp.max(taxed))


def _that_pays(
    objective: Objective,
    plan: SearchPlan,
    free: SearchResult,
    at_reference: Outcome,
    reference_welfare: Array,
) -> tuple[SearchResult, Array, Array]:
    """The best schedule that pays the rebate's floor, the multiplier, and whether one is feasible.

    free: the best schedule without the floor.
    """
    problem = objective.problem
    multiplier, feasible = jnp.zeros_like(reference_welfare), jnp.ones((), bool)
    if problem.rebate_floor is None:
        return free, multiplier, feasible
    if plan.method == "grid":  # it has searched feasible points only
        return free, jnp.full_like(multiplier, -jnp.inf), free.value > -jnp.inf
    # the welfare of one more dollar of rebate, which converts welfare to dollars
    worth = jax.grad(
        lambda extra: problem.welfare_of(
            problem.utility(at_reference.consumption + extra, at_reference.hours)
        )
    )(jnp.zeros_like(reference_welfare))
    return constrained(objective, plan, free, worth)
