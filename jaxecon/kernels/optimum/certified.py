"""The leader's problem: the schedule that maximises welfare at the followers' exact response."""

from functools import partial
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.core.pytree import concrete, pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum.certificate import certify, fill_idle_brackets, slopes
from jaxecon.kernels.optimum.constraint import constrained
from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.optimum.search import SearchPlan, search
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
from jaxecon.kernels.welfare import SocialWelfare, check_mean_one, gain_over

Array = jax.Array
ArrayLike = jax.typing.ArrayLike

MAX_GRID_POINTS = 50_000_000

_EFFORT = Effort()
_EFFORT_WITH_CURVATURE = Effort(8, 60, 32, 30, 1)  # each response takes a hundred times longer


@pytree
class Optimum:
    """The best schedule found, and what speaks for it.

    k brackets.

    welfare: at the followers' equilibrium, unit of utility; gain: over the reference schedule, a
    fraction, with curvature the consumption equivalent (`welfare.gain_over`). residuals: (k,)
    derivative of welfare in each rate (per unit of the rate, as a share of the reference's welfare
    at curvature 0, else in units of utility) with the response smoothed over brackets; near zero at
    an interior optimum, but for the sawtooth of a finite population. neighbours: (m,) welfare of
    the certificate's neighbours less the optimum's; certified: none is positive (but for rounding).
    They are all changes of one rate, of two, or of a run of neighbouring ones, by 0.01 (free
    thresholds by 1 %), brought back into the bounds. multiplier: of the constraint that taxes pay
    for public spending and the rebate's floor: welfare per $/year per person; 0 where it does not
    bind, NaN for a grid under it. feasible: False where no schedule satisfies it. empty: (k,) bool,
    nobody has income there and the rate changes nothing: it is the lower neighbour's. reached: by
    search, welfare before the last polish (NaN for searches not used); found_by: index into
    SEARCHES of the one that had come furthest by then. evaluations: of welfare by the searches,
    exact and smoothed together (a gradient counts once), without the certificate's.
    """

    schedule: TaxSchedule
    welfare: Array
    reference_welfare: Array
    gain: Array
    rebate: Array
    residuals: Array
    neighbours: Array
    certified: Array
    multiplier: Array
    feasible: Array
    empty: Array
    reached: dict[str, Array]
    found_by: Array
    evaluations: Array


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

    skill: (n,) $/year per weekly hour; preferences scalar or (n,); weights: (n,) survey weights.
    thresholds: (k,) $/year. With free_thresholds they are where the search begins, and the
    optimum's stay between the
    lowest and the highest reference income that is taxed.
    welfare_weights: (n,) fixed weights g of mean 1, or a `SocialWelfare` over one cohort for any
    other welfare function.
    method: grid: every combination of rates `grid_step` apart in the bounds, the best taken as it
    is.
        gradient: Adam from many starts, through the response smoothed over brackets, then polished
        on the exact one.
        population: differential evolution (Storn and Price 1997) on the exact response, then
        polished.
        auto: both, the best candidates of either polished; nested grids where there is one bracket.
    bounds: of every rate, within [0, 1]. monotone: rates may not fall from bracket to bracket.
    public_spending: E; rebate: mean tax - E, at least `rebate_floor` where that is given.
    reference: gains are over this schedule, with whatever rebate it pays (be it below the floor);
    US federal by default.

    The polish is a pattern search down to steps of 0.001 that ends with no neighbour better at 0.01
    (`Optimum.neighbours`): welfare of a finite population is a fine sawtooth, on which gradients
    vanish nowhere. Pure: works under `jit` (all but the first five arguments and the numbers
    static) and `vmap`, over populations of one size.

    Raises ValueError for arguments out of range and, outside of a trace, where no schedule pays for
    the spending.
    """
    if not isinstance(welfare_weights, SocialWelfare):
        for name, x in (("welfare_weights", welfare_weights), ("weights", weights)):
            if x is not None and np.shape(x) != np.shape(skill):
                raise ValueError(
                    f"{name}: shape {np.shape(x)} for {np.shape(skill)} skills; one each"
                )
        check_mean_one(welfare_weights, weights)
    return solve(
        LeaderProblem.of(
            skill, preferences, welfare_weights, weights, public_spending, rebate_floor
        ),
        thresholds,
        method,
        bounds=bounds,
        monotone=monotone,
        free_thresholds=free_thresholds,
        reference=reference,
        grid_step=grid_step,
        seed=seed,
        effort=effort,
    )


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
    """`optimal_schedule` of a problem."""
    check_search(thresholds, method, bounds, free_thresholds, grid_step)
    dtype = problem.skill.dtype
    given = jnp.asarray(thresholds, dtype)
    reference = TaxSchedule.us_federal() if reference is None else reference
    optimum = _solve(
        problem,
        given,
        problem.outcome(reference.astype(dtype)),
        jnp.asarray(bounds, dtype),
        jnp.asarray(seed, jnp.uint32),
        space=Space(given.shape[0], monotone, free_thresholds),
        method=method,
        points=_grid_points(bounds, grid_step) if method == "grid" else 0,
        effort=effort
        or (_EFFORT if problem.preferences.consumption_curvature == 0 else _EFFORT_WITH_CURVATURE),
    )
    _check_feasible(optimum, problem, method)
    return optimum


def _check_feasible(optimum: Optimum, problem: LeaderProblem, method: Method) -> None:
    """Raise ValueError, outside of a trace, where no schedule pays for the spending."""
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


def _grid_points(bounds: tuple[float, float], step: float) -> int:
    return round((bounds[1] - bounds[0]) / step) + 1


def check_search(
    thresholds: ArrayLike,
    method: str = "auto",
    bounds: tuple[float, float] = (0.0, 1.0),
    free_thresholds: bool = False,
    grid_step: float = 0.1,
) -> None:
    """Raise ValueError, naming the argument, where `optimal_schedule` could not search."""
    if method not in get_args(Method):
        raise ValueError(f"method: {method!r}; one of {', '.join(get_args(Method))}")
    low, high = bounds
    if not 0 <= low < high <= 1:
        raise ValueError(f"bounds: {bounds}; two fractions, the first smaller, in [0, 1]")
    if np.ndim(thresholds) != 1:
        raise ValueError(f"thresholds: {thresholds}; a list that begins with 0 ($/year)")
    given = concrete(thresholds)
    if given is not None:
        TaxSchedule(given, np.zeros_like(given, np.float64))  # type: ignore[arg-type]
    brackets = np.shape(thresholds)[0]
    if method == "grid":
        if free_thresholds:
            raise ValueError(
                "free_thresholds: True; the grid has rates alone (take method auto, gradient or "
                "population)"
            )
        if not 0 < grid_step <= high - low:
            raise ValueError(
                f"grid_step: {grid_step}; above 0 and at most {high - low:g}, the width of the "
                "bounds"
            )
        points = _grid_points(bounds, grid_step) ** brackets
        if abs(low + (_grid_points(bounds, grid_step) - 1) * grid_step - high) > 1e-9:
            raise ValueError(f"grid_step: {grid_step}; must divide the bounds {bounds} evenly")
        if points > MAX_GRID_POINTS:
            raise ValueError(
                f"grid_step: {grid_step}; {points:,} schedules, at most {MAX_GRID_POINTS:,} (or "
                "method auto)"
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
    found, multiplier, feasible = _that_pays(objective, plan, free, at_reference, reference_welfare)
    outcome = problem.outcome(schedule_at(space, limits, found.x), table=table)
    final, idle = fill_idle_brackets(objective, found.x, outcome.income)
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
    residuals = slopes(objective, final, jnp.where(jnp.isnan(multiplier), 0, multiplier)) / scale
    return Optimum(
        schedule=schedule_at(space, limits, final),
        welfare=certificate.welfare,
        reference_welfare=reference_welfare,
        gain=gain,
        rebate=certificate.rebate,
        residuals=residuals,
        neighbours=certificate.neighbours,
        certified=certificate.certified,
        multiplier=multiplier,
        feasible=feasible & jnp.isfinite(certificate.welfare),
        empty=idle,
        reached=reached,
        found_by=found_by,
        evaluations=found.evaluations,
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
    if plan.method == "grid":  # it has looked at feasible points only
        return free, jnp.full_like(multiplier, jnp.nan), free.value > -jnp.inf
    # the unit that welfare and revenue are weighed in: welfare of a dollar of rebate
    worth = jax.grad(
        lambda extra: problem.welfare_of(
            problem.utility(at_reference.consumption + extra, at_reference.hours)
        )
    )(jnp.zeros_like(reference_welfare))
    return constrained(objective, plan, free, worth)
