"""A day of an economy: workers act, taxes are pooled and returned, rules learn."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.core.draws import draw, named_key
from jaxecon.economy.capital import Capital, capital_of_year
from jaxecon.economy.impossible_hours import ImpossibleHours, impossible_hours
from jaxecon.economy.satisfaction import judge_in_year
from jaxecon.economy.state import (
    AgentSums,
    ByCohort,
    Day,
    Economy,
    EconomyState,
    YearPlan,
    economy_in_year,
)
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.preferences import isoelastic_utility, satisfaction_adjusted
from jaxecon.kernels.skills import DynamicState, adjusted_hours
from jaxecon.kernels.taxation import TaxSchedule, pooled_mean, rebate_from, tax_due
from jaxecon.kernels.welfare import paper_welfare
from jaxecon.workers.base import HasDayLayout, Observation


def simulate_days(
    economy: Economy,
    plan: YearPlan,
    state: EconomyState,
    sums: AgentSums,
    days: int,
    judged: tuple[int, ...] = (),
) -> tuple[EconomyState, AgentSums, Day]:
    """Simulate days of an economy whose cohorts are all mechanical, as one scan.

    days: how many, static. judged: after which of these days, counted from 1, everybody judges
    (`judge`). Returns the state of the next day, the sums, and the days' statistics, fields
    (days,).
    """
    return simulate_checked_days(economy, plan, state, sums, days, judged)[:3]


def simulate_checked_days(
    economy: Economy,
    plan: YearPlan,
    state: EconomyState,
    sums: AgentSums,
    days: int,
    judged: tuple[int, ...] = (),
) -> tuple[EconomyState, AgentSums, Day, ImpossibleHours]:
    """The same as `simulate_days`, and who worked impossible hours, (days, cohorts)."""
    economy = economy_in_year(economy, state)

    def one_day(
        carry: tuple[EconomyState, AgentSums], ask: Array | None
    ) -> tuple[tuple[EconomyState, AgentSums], tuple[Array, ImpossibleHours]]:
        state, sums = carry
        hours, state = _act(economy, plan, state)
        state, sums, day, outcomes = _settle_and_learn(economy, plan, state, sums, hours)
        impossible = impossible_hours(
            economy, {n: outcome.hours for n, outcome in outcomes.items()}
        )
        if ask is not None:
            state = jax.lax.cond(
                ask, lambda: judge_in_year(economy, state, sums, {}), lambda: state
            )
        # a day's statistics leave the loop as one array, which is faster than eight
        return (state, sums), (jnp.stack(jax.tree.leaves(day)), impossible)

    asked = jnp.zeros(days, bool).at[jnp.asarray(judged) - 1].set(True) if judged else None
    start = _enter_day_layout(economy, state), sums
    (state, sums), (record, impossible) = jax.lax.scan(one_day, start, asked, length=days)
    return _leave_day_layout(economy, state), sums, Day(*record.T), impossible


def act(
    economy: Economy, plan: YearPlan, state: EconomyState
) -> tuple[dict[str, Array], EconomyState]:
    """Return the hours that mechanical cohorts choose today, before today's rebate is known.

    Returns (n,) h/week by cohort, and the state after the choice.
    """
    hours, state = _act(economy, plan, _enter_day_layout(economy, state))
    return hours, _leave_day_layout(economy, state)


def settle_and_learn(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, hours: dict[str, Array]
) -> tuple[EconomyState, AgentSums, Day, dict[str, Outcome]]:
    """Compute the rest of a day: taxes are pooled and returned, utilities follow, rules learn.

    hours: (n,) h/week as chosen, by cohort, mechanical or not; agents who cannot adjust today work
    yesterday's hours. Returns the state of the next day, the sums, the day's statistics, and each
    cohort's outcome. Outcomes leave out wealth: what it adds does not depend on hours, so neither
    rules nor language models see it.
    """
    entered = _enter_day_layout(economy, state)
    economy_now = economy_in_year(economy, state)
    state, sums, day, outcomes = _settle_and_learn(economy_now, plan, entered, sums, hours)
    return _leave_day_layout(economy, state), sums, day, outcomes


def _enter_day_layout(economy: Economy, state: EconomyState) -> EconomyState:
    """Return the state with each rule's state in its day layout (`HasDayLayout`)."""
    rules = dict(state.rules)
    for name, rule in economy.rules:
        if isinstance(rule, HasDayLayout):
            rules[name] = rule.enter(rules[name])
    return dataclasses.replace(state, rules=rules)


def _leave_day_layout(economy: Economy, state: EconomyState) -> EconomyState:
    """Return the state with each rule's state in the layout in which it is stored."""
    rules = dict(state.rules)
    for name, rule in economy.rules:
        if isinstance(rule, HasDayLayout):
            rules[name] = rule.leave(rules[name])
    return dataclasses.replace(state, rules=rules)


# The steps of a day. Each takes the economy with the skills of the year, and the rules' states in
# their day layout.


def _act(
    economy: Economy, plan: YearPlan, state: EconomyState
) -> tuple[dict[str, Array], EconomyState]:
    progress = state.day / jnp.maximum(plan.days - 1, 1)
    observation = Observation(state.rebate, progress.astype(state.rebate.dtype))
    hours, states = {}, {}
    for name, rule in economy.rules:
        draws = draw(plan.keys[name], state.year, state.day, economy.cohorts[name].size)
        hours[name], states[name] = rule.act(
            economy.parameters[name], plan.rules[name], state.rules[name], draws, observation
        )
    return hours, dataclasses.replace(state, rules=states)


def _settle_and_learn(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, hours: dict[str, Array]
) -> tuple[EconomyState, AgentSums, Day, dict[str, Outcome]]:
    hours, dynamics = _apply_inertia(economy, state, hours)
    capital = capital_of_year(economy, state)
    pool = _pool_taxes(economy, plan.schedule, hours, capital)
    outcomes = _outcomes_of_work(economy, hours, pool)
    private, adjusted = _utilities(economy, state, outcomes, capital)
    rules = _learn(economy, plan, state, outcomes)
    day = _day_statistics(economy, pool, hours, private, adjusted)
    sums = AgentSums(
        jax.tree.map(jnp.add, sums.hours, hours),
        jax.tree.map(jnp.add, sums.tax, pool.tax),
        jax.tree.map(jnp.add, sums.utility, adjusted),
        sums.rebate + pool.rebate,
        sums.days + 1,
    )
    state = EconomyState(rules, state.satisfied, pool.rebate, state.year, state.day + 1, dynamics)
    return state, sums, day, outcomes


def _apply_inertia(
    economy: Economy, state: EconomyState, chosen: dict[str, Array]
) -> tuple[dict[str, Array], DynamicState]:
    """Return the hours worked today, (n,) h/week by cohort, and the dynamic state that stores them.

    Agents who cannot adjust work yesterday's hours, all others the hours they chose.
    """
    inertia, yesterday = economy.dynamics.hours_inertia, state.dynamics.hours
    if inertia is None or yesterday is None:
        return chosen, state.dynamics
    hours = {}
    for name, wanted in chosen.items():
        key = named_key(economy.seed, name, "inertia")
        draws = draw(key, state.year, state.day, wanted.shape[0])
        hours[name] = adjusted_hours(inertia, yesterday[name], wanted, draws)
    return hours, dataclasses.replace(state.dynamics, hours=hours)


class _Pool(NamedTuple):
    """Incomes and taxes, (n,) $/year by cohort; the pool's revenue and rebate, $/year a person."""

    income: dict[str, Array]
    tax: dict[str, Array]
    revenue: Array
    rebate: Array


def _pool_taxes(
    economy: Economy, schedule: TaxSchedule, hours: dict[str, Array], capital: Capital | None
) -> _Pool:
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    tax = {name: tax_due(schedule, z) for name, z in income.items()}
    revenue = pooled_mean(tax, economy.weights)
    if capital is not None:
        revenue = revenue + capital.revenue
    rebate = rebate_from(revenue, economy.public_spending, economy.rebate_floor)
    return _Pool(income, tax, revenue, rebate)


def _outcomes_of_work(economy: Economy, hours: dict[str, Array], pool: _Pool) -> dict[str, Outcome]:
    """Return each cohort's outcome, without the effects of wealth and satisfaction."""
    outcomes = {}
    for name, cohort in economy.cohorts.items():
        consumption = pool.income[name] - pool.tax[name] + pool.rebate
        outcomes[name] = Outcome(
            hours[name],
            pool.income[name],
            pool.tax[name],
            pool.rebate,
            consumption,
            isoelastic_utility(cohort.preferences, consumption, hours[name]),
            jnp.zeros_like(pool.rebate),
        )
    return outcomes


def _utilities(
    economy: Economy, state: EconomyState, outcomes: dict[str, Outcome], capital: Capital | None
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return private utility, (n,) by cohort, before and after the dissatisfaction penalty."""
    private: dict[str, Array] = {}
    adjusted: dict[str, Array] = {}
    for name, cohort in economy.cohorts.items():
        of_work = outcomes[name].utility
        private[name] = of_work if capital is None else of_work + capital.endowment[name].worth
        adjusted[name] = satisfaction_adjusted(
            private[name],
            state.satisfied[name],
            economy.penalty,
            cohort.preferences.consumption_curvature,
        )
    return private, adjusted


def _learn(
    economy: Economy, plan: YearPlan, state: EconomyState, outcomes: dict[str, Outcome]
) -> ByCohort:
    """The rules' states after the day's outcomes."""
    return {
        name: rule.learn(
            economy.parameters[name],
            plan.rules[name],
            state.rules[name],
            outcomes[name].hours,
            outcomes[name],
        )
        for name, rule in economy.rules
    }


def _day_statistics(
    economy: Economy,
    pool: _Pool,
    hours: dict[str, Array],
    private: dict[str, Array],
    adjusted: dict[str, Array],
) -> Day:
    counted = adjusted if economy.counts_satisfaction else private
    return Day(
        swf_private=economy.welfare(private),
        swf_counted=economy.welfare(adjusted),
        swf_paper=jnp.asarray(
            sum(
                paper_welfare(counted[name], pool.income[name], c.weight)
                for name, c in economy.cohorts.items()
            )
        ),
        utilitarian=pooled_mean(counted, economy.weights),
        revenue=pool.revenue,
        rebate=pool.rebate,
        mean_hours=pooled_mean(hours, economy.weights),
        mean_income=pooled_mean(pool.income, economy.weights),
    )
