"""An economy at equilibrium, where every worker responds exactly to the schedule.

`leader_problem` states it as a planner's problem: welfare as a function of the schedule.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.core.pytree import concrete
from jaxecon.economy.capital import capital_at_equilibrium
from jaxecon.economy.state import Economy, by_cohort
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.kernels.welfare import SocialWelfare, effective_sample_size, gain_over


def equilibrium_outcome(economy: Economy, schedule: TaxSchedule) -> Outcome:
    """Return the outcome of everybody's exact response to the schedule, (n,) in cohort order."""
    return leader_problem(economy).outcome(schedule, economy.rebate_floor)


def equilibrium_welfare(economy: Economy, schedule: TaxSchedule) -> Array:
    """Social welfare at the exact response to the schedule, in units of utility."""
    return economy.welfare(by_cohort(economy, equilibrium_outcome(economy, schedule).utility))


def welfare_gain(economy: Economy, welfare: Array) -> Array:
    """Gain over the exact response to the US federal schedule, a fraction (`welfare.gain_over`)."""
    reference = economy.reference
    return gain_over(
        lambda utility: economy.welfare(by_cohort(economy, utility)),
        economy.population.preferences,
        reference.consumption,
        reference.hours,
        economy.reference_welfare,
        welfare,
    )


def leader_problem(economy: Economy) -> LeaderProblem:
    """Return the problem of a leader (a planner) who knows everybody's exact response.

    Cohorts for which a language model decides count as if they responded exactly. Everybody has the
    wealth they want.
    """
    preferences = [cohort.preferences for cohort in economy.cohorts.values()]
    return _leader_problem(
        economy,
        _shared_scalar([p.disutility_exponent for p in preferences]),
        _shared_scalar([p.max_hours for p in preferences]),
    )


@jax.jit
def _leader_problem(economy: Economy, exponent: Array | None, cap: Array | None) -> LeaderProblem:
    people, welfare = economy.population, economy.welfare
    g = jnp.concatenate([welfare.weights[name] for name in economy.cohorts])
    social_welfare = SocialWelfare(
        {"": g}, {"": people.weight}, welfare.kind, welfare.epsilon, welfare.floor
    )
    rows = people.preferences
    preferences = Preferences(
        rows.disutility_weight,
        rows.disutility_exponent if exponent is None else exponent,
        rows.consumption_curvature,
        rows.max_hours if cap is None else cap,
    )
    problem = LeaderProblem.of(
        people.skill,
        preferences,
        social_welfare,
        people.weight,
        economy.public_spending,
        economy.rebate_floor,
    )
    if (capital := capital_at_equilibrium(economy)) is None:
        return problem
    endowment = jax.tree.map(lambda *parts: jnp.concatenate(parts), *capital.endowment.values())
    return dataclasses.replace(
        problem, public_spending=problem.public_spending - capital.revenue, endowment=endowment
    )


def _shared_scalar(by_cohort: list[Array]) -> Array | None:
    """Return the scalar that all cohorts share; None if they differ, or under a trace.

    Responses are much cheaper to compute with one value for everybody.
    """
    values = [concrete(x) for x in by_cohort]
    shared = all(x is not None and x.ndim == 0 and x == values[0] for x in values)
    return by_cohort[0] if shared else None


def effective_sample(economy: Economy) -> float:
    """Return the number of equally weighted people on whom welfare effectively depends."""
    parts = (jnp.concatenate(list(x.values())) for x in (economy.welfare.weights, economy.weights))
    return float(effective_sample_size(*parts))
