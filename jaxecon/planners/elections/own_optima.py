"""The schedule that would be best for a candidate itself."""

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum.certificate import fill_idle_brackets
from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.pattern_search import polish
from jaxecon.kernels.optimum.population_search import evolve
from jaxecon.kernels.optimum.problem import LeaderProblem, thinned
from jaxecon.kernels.optimum.space import Effort, Limits, Space, schedule_at
from jaxecon.kernels.optimum.starts import starting_points
from jaxecon.planners.elections.voting import valuation_of

# In a larger population, a candidate's own optimum is found on this number of its quantiles.
MAX_FOLLOWERS = 1000

_EFFORT = Effort(population=48, generations=40)

_DIGITS = 3  # decimals of the rates that a candidate considers

_ELEMENTS = 2**20  # of (candidates, schedules, brackets, followers) evaluated at once


def own_optima(
    problem: LeaderProblem,
    agents: Array,
    thresholds: Array,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> tuple[Array, Array]:
    """Return, for each of some workers, the rates that are best for itself, and its utility.

    Each worker is a leader who maximises its own settled utility at everybody's exact response (the
    citizen-candidate of Osborne and Slivinski 1996, and Besley and Coate 1997), by differential
    evolution and pattern search (`kernels.optimum`), in tenths of a percentage point. With more
    than MAX_FOLLOWERS followers, the search takes the others' responses from that number of
    quantiles. With curvature, it leaves out schedules under which somebody would have nothing to
    consume. Brackets that hold nobody take a neighbour's rate.

    Args:
        problem: the leader's problem of the whole population.
        agents: (m,) the workers, as places in the population.
        thresholds: (k,) $/year.
        bounds: of every rate.

    Returns:
        The rates (m, k), and the utility (m,) that `valuations` gives each worker under its own
            rates; -inf if no schedule that the search tried pays for public spending and the
            rebate's floor.
    """
    n, k = problem.skill.shape[0], thresholds.shape[0]
    crowd = thinned(problem, MAX_FOLLOWERS) if n > MAX_FOLLOWERS else problem

    def optimum(agent: Array) -> tuple[Array, Array]:
        return _own_optimum(_own_problem(problem, crowd, agent), thresholds, bounds)

    rates, reached = jax.lax.map(
        optimum, agents, batch_size=_evaluated_at_once(agents.shape[0], k, n)
    )
    # utility in the whole population
    worth = jax.lax.map(
        lambda own: valuation_of(problem, thresholds, own[1])[own[0]], (agents, rates)
    )
    return rates, jnp.where(reached > -jnp.inf, worth, -jnp.inf)


def _own_optimum(
    own: LeaderProblem, thresholds: Array, bounds: tuple[float, float]
) -> tuple[Array, Array]:
    """Return the rates (k,) that maximise welfare in a worker's own problem, and their value.

    -inf if no schedule that was tried is feasible.
    """
    dtype = own.skill.dtype
    low, high = (jnp.asarray(x, dtype) for x in bounds)
    limits = Limits(low, high, thresholds.astype(dtype), jnp.ones((), dtype), jnp.ones((), dtype))
    space = Space(thresholds.shape[0], monotone=False, free_thresholds=False)
    table = ResponseTable.of(limits.thresholds, own.skill, own.preferences)
    objective = Objective(own, space, limits, table)
    judge = objective.feasible_welfare
    members, value, _ = evolve(
        objective,
        starting_points(objective, _EFFORT.population),
        judge,
        _EFFORT.generations,
        seed=jnp.zeros((), jnp.uint32),
        starts=_EFFORT.starts,
    )
    # the polish moves by whole multiples of this precision
    rounded = jnp.round(members[jnp.argmax(value)], _DIGITS)
    at_rounded = objective.evaluate(rounded[None], judge)[0]
    best = polish(objective, rounded, at_rounded, judge)
    income = own.outcome(schedule_at(space, limits, best.x), table=table).income
    rates, _ = fill_idle_brackets(objective, best.x, income)
    return jnp.round(rates, 6), best.value


def _evaluated_at_once(agents: int, brackets: int, followers: int) -> int:
    """Return for how many agents own optima are computed at once."""
    return min(agents, max(1, _ELEMENTS // _evaluated(brackets, followers)))


def _evaluated(brackets: int, followers: int) -> int:
    """Return schedules x brackets x followers that one agent's search evaluates at once."""
    return _EFFORT.population * brackets * min(followers, MAX_FOLLOWERS)


def elements_in_memory(agents: int, brackets: int, followers: int) -> int:
    """Return about how many numbers `own_optima` has in memory at most."""
    # hours, tax and worth in each bracket, and an intermediate result
    return 4 * _evaluated_at_once(agents, brackets, followers) * _evaluated(brackets, followers)


def _own_problem(problem: LeaderProblem, crowd: LeaderProblem, agent: Array) -> LeaderProblem:
    """Return the problem of a leader who counts only its own utility.

    It leaves out endowments, on which no choice depends.
    """
    own, weights, skill, preferences = agent, crowd.weights, crowd.skill, crowd.preferences
    if crowd is not problem:  # add it to the quantiles, with its weight in the whole population
        weight = problem.weights[agent] * (jnp.sum(crowd.weights) / jnp.sum(problem.weights))
        weights, skill = jnp.append(weights, weight), jnp.append(skill, problem.skill[agent])
        preferences = jax.tree.map(
            lambda some, every: jnp.append(some, every[agent]) if jnp.ndim(every) else some,
            preferences,
            problem.preferences,
        )
        own = jnp.asarray(skill.shape[0] - 1)
    g = jnp.zeros_like(skill).at[own].set(jnp.sum(weights) / weights[own])
    return LeaderProblem.of(
        skill, preferences, g, weights, problem.public_spending, problem.rebate_floor
    )
