"""Planners that know the economy: each computes one schedule and announces it every year."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.economy.equilibrium import leader_problem
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.state import Economy
from jaxecon.kernels.optimum.certified import solve
from jaxecon.kernels.optimum.problem import LeaderProblem, thinned
from jaxecon.kernels.optimum.saez import saez_schedule
from jaxecon.kernels.optimum.saez_fixed_point import SaezFixedPoint, saez_self_consistent
from jaxecon.kernels.taxation import US_FEDERAL_THRESHOLDS, TaxSchedule
from jaxecon.planners.base import Planner, PlannerContext, YearObservation


@dataclass(frozen=True)
class Knowledge:
    """What these planners know besides the economy.

    Attributes:
        thresholds: (k,) $/year.
        elasticity: of income to the net-of-tax rate, one or by bracket. By default the economy's
            own, 1/(d-1); with curvature the compensated 1/(d-1+eta) of a worker whose only income
            is net wages.
        bounds: of the rates of flat and optimum.
        monotone: whether the rates of optimum may not fall from bracket to bracket.
    """

    thresholds: jax.Array
    elasticity: float | tuple[float, ...] | None = None
    bounds: tuple[float, float] = (0.0, 1.0)
    monotone: bool = False

    @classmethod
    def from_config(cls, config: Config) -> "Knowledge":
        """Return what the settings say, with the thresholds of the first schedule."""
        planner = config.planner
        return cls(
            thresholds=first_schedule(config).thresholds,
            elasticity=planner.elasticity,
            bounds=planner.rate_bounds,
            monotone=planner.monotone,
        )


class Convergence(NamedTuple):
    """How an iteration towards a schedule ended.

    converged: whether it ended within its tolerance. last_change: the largest change of a rate in
    its last step.
    """

    converged: bool
    last_change: float


class Announced(Planner):
    """Announces the same schedule every year.

    convergence: of the iteration that computed the schedule; None if none was needed.
    """

    def __init__(
        self, name: str, schedule: TaxSchedule, convergence: Convergence | None = None
    ) -> None:
        self.name, self.schedule, self.convergence = name, schedule, convergence

    def init(self, context: PlannerContext, key: jax.Array) -> tuple[()]:
        return ()

    def propose(
        self, state: tuple[()], observation: YearObservation, key: jax.Array
    ) -> tuple[TaxSchedule, tuple[()]]:
        return self.schedule, state


def announced(kind: str, economy: Economy, knowledge: Knowledge) -> Announced:
    """Return the planner named `kind`.

    Raises ValueError if it has no schedule for this economy or these brackets.
    """
    result = SCHEDULES[kind](economy, knowledge)
    if isinstance(result, TaxSchedule):
        return Announced(kind, result)
    last_change = float(result.changes[result.iterations - 1])
    return Announced(kind, result.schedule, Convergence(bool(result.converged), last_change))


def announced_planner(config: Config, economy: Economy) -> Announced:
    """Return the configuration's planner, which announces one schedule.

    Raises UserError if it has none for this economy or these brackets.
    """
    try:
        return announced(config.planner_kind, economy, Knowledge.from_config(config))
    except ValueError as error:
        raise UserError(f"planner.kind: {config.planner_kind!r}; {error}") from error


# Schedules of a larger population are computed on this number of its quantiles. With curvature a
# response takes a hundred times longer.
MAX_FOLLOWERS = 5000
MAX_WITH_CURVATURE = 400


def _us_federal(economy: Economy, knowledge: Knowledge) -> TaxSchedule:
    if knowledge.thresholds.tolist() != list(US_FEDERAL_THRESHOLDS):
        raise ValueError("us_federal has the US federal brackets")
    return TaxSchedule.us_federal().astype(knowledge.thresholds.dtype)


def _uniform_50(economy: Economy, knowledge: Knowledge) -> TaxSchedule:
    return TaxSchedule(knowledge.thresholds, jnp.full_like(knowledge.thresholds, 0.5))


def _flat(economy: Economy, knowledge: Knowledge) -> TaxSchedule:
    """Return the schedule with the optimal flat rate in all brackets."""
    best = solve(followers(economy), knowledge.thresholds[:1], bounds=knowledge.bounds)
    return TaxSchedule(
        knowledge.thresholds, jnp.broadcast_to(best.schedule.rates, knowledge.thresholds.shape)
    )


def _saez(economy: Economy, knowledge: Knowledge) -> TaxSchedule:
    """Apply Saez's formula to incomes under the US federal schedule."""
    problem = leader_problem(economy)
    g = _marginal_weights(problem, economy.reference)
    return saez_schedule(
        economy.reference.income,
        knowledge.thresholds,
        _elasticity(economy, knowledge),
        g,
        problem.weights,
    ).schedule


def _saez_self_consistent(economy: Economy, knowledge: Knowledge) -> SaezFixedPoint:
    """Return the fixed point of Saez's formula."""
    problem = followers(economy)
    at_reference = problem.outcome(TaxSchedule.us_federal().astype(problem.skill.dtype))
    g = _marginal_weights(problem, at_reference)
    return saez_self_consistent(
        problem.skill,
        problem.preferences,
        knowledge.thresholds,
        _elasticity(economy, knowledge),
        g,
        problem.weights,
        public_spending=problem.public_spending,
    )


_marginal_weights = jax.jit(LeaderProblem.marginal_weights)


def _optimum(economy: Economy, knowledge: Knowledge) -> TaxSchedule:
    return solve(
        followers(economy),
        knowledge.thresholds,
        bounds=knowledge.bounds,
        monotone=knowledge.monotone,
    ).schedule


def followers(economy: Economy) -> LeaderProblem:
    """Return the leader's problem, on quantiles of the people if there are very many."""
    problem = leader_problem(economy)
    most = MAX_FOLLOWERS if problem.preferences.consumption_curvature == 0 else MAX_WITH_CURVATURE
    return problem if problem.skill.shape[0] <= most else thinned(problem, most)


def _elasticity(economy: Economy, knowledge: Knowledge) -> np.ndarray:
    if knowledge.elasticity is not None:
        return np.asarray(knowledge.elasticity)
    preferences = next(iter(economy.cohorts.values())).preferences
    return np.asarray(
        1 / (np.ravel(preferences.disutility_exponent)[0] - 1 + preferences.consumption_curvature)
    )


SCHEDULES: dict[str, Callable[[Economy, Knowledge], TaxSchedule | SaezFixedPoint]] = {
    "us_federal": _us_federal,
    "flat": _flat,
    "saez": _saez,
    "saez_self_consistent": _saez_self_consistent,
    "optimum": _optimum,
    "uniform_50": _uniform_50,
}
