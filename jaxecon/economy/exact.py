"""What would happen if every worker responded exactly."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxecon.core.pytree import concrete
from jaxecon.economy.state import Economy, by_cohort, capital_at_equilibrium
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.kernels.welfare import SocialWelfare, effective_sample_size, gain_over

Array = jax.Array


def equilibrium_outcome(economy: Economy, schedule: TaxSchedule) -> Outcome:
    """Everybody's exact response, in cohort order: what the schedule is worth once all have learnt."""
    return leader_problem(economy).outcome(schedule, economy.rebate_floor)


def equilibrium_welfare(economy: Economy, schedule: TaxSchedule) -> Array:
    """Social welfare of u~ at the exact response to the schedule."""
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
    """What a leader who knows everybody's exact response maximises; LLM cohorts count as if they
    responded exactly.

    Wealth is what everybody wants to hold.
    """
    given = [cohort.preferences for cohort in economy.cohorts.values()]
    return _leader_problem(
        economy,
        _common([p.disutility_exponent for p in given]),
        _common([p.max_hours for p in given]),
    )


@jax.jit
def _leader_problem(economy: Economy, exponent: Array | None, cap: Array | None) -> LeaderProblem:
    everyone, welfare = economy.population, economy.welfare
    g = jnp.concatenate([welfare.weights[name] for name in economy.cohorts])
    judged = SocialWelfare(
        {"": g}, {"": everyone.weight}, welfare.kind, welfare.epsilon, welfare.floor
    )
    rows = everyone.preferences
    preferences = Preferences(
        rows.disutility_weight,
        rows.disutility_exponent if exponent is None else exponent,
        rows.consumption_curvature,
        rows.max_hours if cap is None else cap,
    )
    problem = LeaderProblem.of(
        everyone.skill,
        preferences,
        judged,
        everyone.weight,
        economy.public_spending,
        economy.rebate_floor,
    )
    if (capital := capital_at_equilibrium(economy)) is None:
        return problem
    adds = jax.tree.map(lambda *parts: jnp.concatenate(parts), *capital.adds.values())
    return dataclasses.replace(
        problem, public_spending=problem.public_spending - capital.revenue, endowment=adds
    )


def _common(by_cohort: list[Array]) -> Array | None:
    """The scalar that all cohorts share, where they do and it can be seen: responses are then much
    cheaper.
    """
    seen = [concrete(x) for x in by_cohort]
    return (
        by_cohort[0] if all(x is not None and x.ndim == 0 and x == seen[0] for x in seen) else None
    )


def effective_sample(economy: Economy) -> float:
    """Effective sample size of the welfare weights: how many people welfare really hears."""
    parts = (jnp.concatenate(list(x.values())) for x in (economy.welfare.weights, economy.weights))
    return float(effective_sample_size(*parts))
