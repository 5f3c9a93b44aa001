"""The search over schedules: which searches run, one after the other, for each method."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.kernels.optimum.gradient_search import climb
from jaxecon.kernels.optimum.grid_search import search_grid, search_line
from jaxecon.kernels.optimum.objective import Objective
from jaxecon.kernels.optimum.pattern_search import polish
from jaxecon.kernels.optimum.population_search import evolve
from jaxecon.kernels.optimum.space import SEARCHES, Effort, Judge, Method, SearchResult
from jaxecon.kernels.optimum.starts import starting_points


@dataclass(frozen=True, eq=False)
class SearchPlan:
    """How to search.

    points: rates along each axis of the grid. seed: uint32, of the population's draws.
    """

    method: Method
    points: int
    effort: Effort
    seed: Array


def search(
    objective: Objective, plan: SearchPlan, judge: Judge
) -> tuple[SearchResult, dict[str, Array], Array]:
    """Return the best point, the value that each search reached, and the best search's index.

    The index is one in SEARCHES.
    """
    if plan.method == "grid":
        return _by_grid(objective, search_grid(objective, plan.points, judge))
    if objective.space.size == 1 and plan.method == "auto":
        return _by_grid(objective, search_line(objective, judge))
    effort = plan.effort
    members = starting_points(objective, effort.population)
    evaluations = 0
    if plan.method != "population":
        climbed = climb(objective, members[: effort.starts], effort.gradient_steps, judge)
        members = members.at[: effort.starts].set(climbed)
        evaluations += effort.starts * effort.gradient_steps
    generations = 1 if plan.method == "gradient" else effort.generations
    members, value, first = evolve(objective, members, judge, generations, plan.seed, effort.starts)
    evaluations += effort.population * generations
    reached = {"gradient": first} if plan.method != "population" else {}
    if plan.method != "gradient":
        reached["population"] = jnp.max(value)
    best = jnp.argsort(-value)[: effort.polished]
    polished = jax.lax.map(lambda i: polish(objective, members[i], value[i], judge), best)
    top = jnp.argmax(polished.value)
    evolved = reached.get("population", -jnp.inf) > reached.get("gradient", -jnp.inf)
    result = SearchResult(
        polished.x[top],
        polished.value[top],
        evaluations + jnp.sum(polished.evaluations, dtype=jnp.int32),
    )
    by = jnp.where(evolved, SEARCHES.index("population"), SEARCHES.index("gradient"))
    return result, _reached(objective, **reached), by


def _by_grid(
    objective: Objective, result: SearchResult
) -> tuple[SearchResult, dict[str, Array], Array]:
    """Return the result of `search` for a grid alone."""
    by = jnp.asarray(SEARCHES.index("grid"), jnp.int32)
    return result, _reached(objective, grid=result.value), by


def _reached(objective: Objective, **reached: Array) -> dict[str, Array]:
    """The value that each of SEARCHES reached, -inf for those not used."""
    nothing = jnp.full((), -jnp.inf, objective.problem.skill.dtype)
    return {name: reached.get(name, nothing) for name in SEARCHES}
