"""The beginning and end of a year: rules prepare, entrants start, skills and wealth change."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.core.draws import named_key
from jaxecon.economy.capital import capital_of_year
from jaxecon.economy.days import simulate_checked_days
from jaxecon.economy.equilibrium import equilibrium_outcome
from jaxecon.economy.impossible_hours import ImpossibleHours
from jaxecon.economy.state import (
    AgentSums,
    Economy,
    EconomyState,
    YearPlan,
    by_cohort,
    economy_in_year,
)
from jaxecon.economy.summary import AgentYear, YearStatistics, summarise_year
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.skills import DynamicState, new_careers, next_careers
from jaxecon.kernels.taxation import TaxSchedule


def initial_state(economy: Economy, schedule: TaxSchedule) -> EconomyState:
    """Return the state before the first day.

    Rules are initialised at the first schedule, whose equilibrium rebate counts as yesterday's.
    """
    outcome = equilibrium_outcome(economy, schedule)
    rules = {
        name: rule.init(economy.parameters[name], economy.cohorts[name], schedule, outcome.rebate)
        for name, rule in economy.rules
    }
    satisfied = {name: jnp.ones(cohort.size, bool) for name, cohort in economy.cohorts.items()}
    zero = jnp.zeros((), jnp.int32)
    return EconomyState(
        rules, satisfied, outcome.rebate, zero, zero, _initial_dynamics(economy, outcome)
    )


def _initial_dynamics(economy: Economy, outcome: Outcome) -> DynamicState:
    """Return the state of skills, hours and wealth before the first day.

    Everybody has just entered, yesterday's hours (h/week) were the exact response, and wealth ($)
    is what people want if its return is not taxed.
    """
    skills, inertia = economy.dynamics.skills, economy.dynamics.hours_inertia
    base = {name: cohort.skill for name, cohort in economy.cohorts.items()}
    careers = None if skills is None else new_careers(base)
    return DynamicState(
        careers,
        None if inertia is None else by_cohort(economy, outcome.hours),
        economy.untaxed_wealth,
    )


def start_year(
    economy: Economy, state: EconomyState, schedule: TaxSchedule, days: int | Array
) -> tuple[EconomyState, YearPlan, AgentSums]:
    """Return the state on a year's first day, the plan that its days share, and sums that are zero.

    schedule: the year's. days: how many the year has.
    """
    economy = economy_in_year(economy, state)
    state = _initialise_entrants(economy, state, schedule)
    states, plans = {}, {}
    for name, rule in economy.rules:
        states[name], plans[name] = rule.start_year(
            economy.parameters[name], economy.cohorts[name], state.rules[name], schedule
        )
    state = dataclasses.replace(state, rules=states, day=jnp.zeros((), jnp.int32))

    def zeros() -> dict[str, Array]:
        return {name: jnp.zeros_like(cohort.skill) for name, cohort in economy.cohorts.items()}

    zero = jnp.zeros_like(state.rebate)
    keys = {name: named_key(economy.seed, name, "labor") for name, _ in economy.rules}
    return (
        state,
        YearPlan(schedule, plans, keys, jnp.asarray(days, jnp.int32)),
        AgentSums(zeros(), zeros(), zeros(), zero, zero),
    )


def _initialise_entrants(
    economy: Economy, state: EconomyState, schedule: TaxSchedule
) -> EconomyState:
    """Return the state in which the entrants who replaced retired agents make a fresh start.

    They get the rule's initial state at this schedule and yesterday's rebate, are satisfied, and
    have the exact response as yesterday's hours.
    """
    careers, hours = state.dynamics.careers, state.dynamics.hours
    if careers is None:
        return state
    new = {name: years == 0 for name, years in careers.years.items()}
    rules = dict(state.rules)
    for name, rule in economy.rules:
        initial = rule.init(economy.parameters[name], economy.cohorts[name], schedule, state.rebate)
        rules[name] = jax.tree.map(partial(_replace_rows, new[name]), rules[name], initial)
    if hours is not None:
        cohorts = economy.cohorts.items()
        exact = {
            name: best_response(schedule, c.skill, c.preferences, state.rebate)
            for name, c in cohorts
        }
        hours = {name: _replace_rows(new[name], hours[name], exact[name]) for name in hours}
    satisfied = {name: s | new[name] for name, s in state.satisfied.items()}
    dynamics = dataclasses.replace(state.dynamics, hours=hours)
    return dataclasses.replace(state, rules=rules, satisfied=satisfied, dynamics=dynamics)


def _replace_rows(who: Array, old: Array, new: Array) -> Array:
    """Return `old` with the rows of `new` where `who`, (n,) bool, is true.

    An array without a row per agent, which the cohort shares, stays as it is.
    """
    if jnp.shape(old)[:1] != who.shape:
        return old
    return jnp.where(jnp.reshape(who, (-1, *[1] * (old.ndim - 1))), new, old)


def end_year(economy: Economy, state: EconomyState, sums: AgentSums) -> EconomyState:
    """Return the state before the next year's first day.

    Skills have changed with this year's hours, and wealth by what was saved.
    """
    dynamics = state.dynamics
    if (capital := capital_of_year(economy_in_year(economy, state), state)) is not None:
        dynamics = dataclasses.replace(
            dynamics, wealth=jax.tree.map(jnp.add, capital.wealth, capital.saved)
        )
    if economy.dynamics.skills is not None and dynamics.careers is not None:
        hours = {name: total / sums.days for name, total in sums.hours.items()}
        careers = next_careers(
            economy.dynamics.skills, dynamics.careers, hours, economy.seed, state.year
        )
        dynamics = dataclasses.replace(dynamics, careers=careers)
    return dataclasses.replace(
        state, year=state.year + 1, day=jnp.zeros((), jnp.int32), dynamics=dynamics
    )


def mechanical_year(
    economy: Economy,
    state: EconomyState,
    schedule: TaxSchedule,
    days: int,
    judged: tuple[int, ...] = (),
) -> tuple[EconomyState, YearStatistics, AgentYear, ImpossibleHours]:
    """Simulate a year of an economy whose cohorts are all mechanical, as part of a larger program.

    The loop of a single run (`jaxecon.simulation.loop`) does the same in several compiled calls, to
    handle signals, checkpoints and progress between them. Returns the state before the next year's
    first day, the year's statistics, its agents' means, and who worked impossible hours, (days,
    cohorts).

    schedule: in force all year. days: how many. judged: after which of them, counted from 1,
    everybody is asked whether they are satisfied. days and judged are static.
    """
    state, plan, sums = start_year(economy, state, schedule, days)
    state, sums, record, impossible = simulate_checked_days(
        economy, plan, state, sums, days, judged
    )
    statistics, agents = summarise_year(economy, schedule, state, sums, record)
    return end_year(economy, state, sums), statistics, agents, impossible
