"""A day and a year of an economy: workers act, taxes are pooled and returned, rules learn."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp

from jaxecon.config.settings import Config
from jaxecon.core.draws import draw, named_key
from jaxecon.economy.exact import equilibrium_outcome
from jaxecon.economy.state import (
    AgentSums,
    Day,
    Economy,
    EconomyState,
    YearPlan,
    by_cohort,
    capital_of_year,
    economy_in_year,
)
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.preferences import isoelastic_utility, satisfaction_adjusted
from jaxecon.kernels.satisfaction import judged
from jaxecon.kernels.skills import DynamicState, adjusted_hours, new_careers, next_careers
from jaxecon.kernels.taxation import TaxSchedule, pooled_mean, rebate_from, tax_due
from jaxecon.kernels.welfare import paper_welfare
from jaxecon.workers.base import HasDayLayout, Observation

Array = jax.Array


def initial_state(economy: Economy, schedule: TaxSchedule) -> EconomyState:
    """Before the first day: rules initialised at the first schedule, whose equilibrium rebate
    counts as yesterday's.
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
    """Everybody has just entered, yesterday's hours were the exact response, and the return to
    wealth has not been taxed.
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
    """Each rule's tables for a year under the schedule, and empty sums.

    Who has just entered begins here (`_with_entrants`).
    """
    economy = economy_in_year(economy, state)
    state = _with_entrants(economy, state, schedule)
    states, plans = {}, {}
    for name, rule in economy.rules:
        states[name], plans[name] = rule.start_year(
            economy.parameters[name], economy.cohorts[name], state.rules[name], schedule
        )
    state = dataclasses.replace(state, rules=states, day=jnp.zeros((), jnp.int32))

    def zeros() -> dict[str, Array]:
        return {name: jnp.zeros_like(cohort.skill) for name, cohort in economy.cohorts.items()}

    nothing = jnp.zeros_like(state.rebate)
    keys = {name: named_key(economy.seed, name, "labor") for name, _ in economy.rules}
    return (
        state,
        YearPlan(schedule, plans, keys, jnp.asarray(days, jnp.int32)),
        AgentSums(zeros(), zeros(), zeros(), nothing, nothing),
    )


def _with_entrants(economy: Economy, state: EconomyState, schedule: TaxSchedule) -> EconomyState:
    """Who took a retired agent's place begins as everybody does before the first day, under this
    schedule and yesterday's rebate: with the rule's initial state, satisfied, and with yesterday's
    hours those of the exact response.
    """
    careers, hours = state.dynamics.careers, state.dynamics.hours
    if careers is None:
        return state
    new = {name: years == 0 for name, years in careers.years.items()}
    rules = dict(state.rules)
    for name, rule in economy.rules:
        afresh = rule.init(economy.parameters[name], economy.cohorts[name], schedule, state.rebate)
        rules[name] = jax.tree.map(partial(_replaced, new[name]), rules[name], afresh)
    if hours is not None:
        cohorts = economy.cohorts.items()
        exact = {
            name: best_response(schedule, c.skill, c.preferences, state.rebate)
            for name, c in cohorts
        }
        hours = {name: _replaced(new[name], hours[name], exact[name]) for name in hours}
    satisfied = {name: s | new[name] for name, s in state.satisfied.items()}
    dynamics = dataclasses.replace(state.dynamics, hours=hours)
    return dataclasses.replace(state, rules=rules, satisfied=satisfied, dynamics=dynamics)


def _replaced(who: Array, old: Array, new: Array) -> Array:
    """Rows of `new` for some, who: (n,) bool; what a cohort shares stays."""
    if jnp.shape(old)[:1] != who.shape:
        return old
    return jnp.where(jnp.reshape(who, (-1, *[1] * (old.ndim - 1))), new, old)


def _turned(economy: Economy, state: EconomyState, *, live: bool) -> EconomyState:
    """Each rule's state as the rule's days take it (live), or as it is kept between them."""
    rules = dict(state.rules)
    for name, rule in economy.rules:
        if isinstance(rule, HasDayLayout):
            rules[name] = rule.enter(rules[name]) if live else rule.leave(rules[name])
    return dataclasses.replace(state, rules=rules)


def act(
    economy: Economy, plan: YearPlan, state: EconomyState
) -> tuple[dict[str, Array], EconomyState]:
    """The hours of every mechanical cohort today, before anybody knows today's rebate."""
    hours, state = act_present(economy, plan, _turned(economy, state, live=True))
    return hours, _turned(economy, state, live=False)


def act_present(
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


def settle_and_learn(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, hours: dict[str, Array]
) -> tuple[EconomyState, AgentSums, Day, dict[str, Outcome]]:
    """Everybody's hours (mechanical and external) in; taxes are pooled and returned, utilities
    follow, rules learn.

    hours: as chosen; who cannot adjust today lives yesterday's. Returns the state of the next day,
    the sums, the day's figures, and each cohort's outcome (u~ as utility), which is that of its
    work: what wealth adds is nothing that hours could change, and neither rules nor models hear of
    it.
    """
    live = _turned(economy, state, live=True)
    state, sums, day, outcomes = _settle_and_learn(
        economy_in_year(economy, state), plan, live, sums, hours
    )
    return _turned(economy, state, live=False), sums, day, outcomes


def _settle_and_learn(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, hours: dict[str, Array]
) -> tuple[EconomyState, AgentSums, Day, dict[str, Outcome]]:
    hours, dynamics = _lived_hours(economy, state, hours)
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    tax = {name: tax_due(plan.schedule, z) for name, z in income.items()}
    revenue = pooled_mean(tax, economy.weights)
    if (capital := capital_of_year(economy, state)) is not None:
        revenue = revenue + capital.revenue
    rebate = rebate_from(revenue, economy.public_spending, economy.rebate_floor)
    outcomes: dict[str, Outcome] = {}
    private: dict[str, Array] = {}
    felt: dict[str, Array] = {}
    for name, cohort in economy.cohorts.items():
        consumption = income[name] - tax[name] + rebate
        of_work = isoelastic_utility(cohort.preferences, consumption, hours[name])
        private[name] = of_work if capital is None else of_work + capital.adds[name].worth
        felt[name] = satisfaction_adjusted(
            private[name],
            state.satisfied[name],
            economy.penalty,
            cohort.preferences.consumption_curvature,
        )
        outcomes[name] = Outcome(
            hours[name],
            income[name],
            tax[name],
            rebate,
            consumption,
            of_work,
            jnp.zeros_like(rebate),
        )
    states = {
        name: rule.learn(
            economy.parameters[name],
            plan.rules[name],
            state.rules[name],
            hours[name],
            outcomes[name],
        )
        for name, rule in economy.rules
    }
    counted = felt if economy.counts_satisfaction else private
    day = Day(
        swf_private=economy.welfare(private),
        swf_counted=economy.welfare(felt),
        swf_paper=jnp.asarray(
            sum(
                paper_welfare(counted[name], income[name], c.weight)
                for name, c in economy.cohorts.items()
            )
        ),
        utilitarian=pooled_mean(counted, economy.weights),
        revenue=revenue,
        rebate=rebate,
        mean_hours=pooled_mean(hours, economy.weights),
        mean_income=pooled_mean(income, economy.weights),
    )
    sums = AgentSums(
        jax.tree.map(jnp.add, sums.hours, hours),
        jax.tree.map(jnp.add, sums.tax, tax),
        jax.tree.map(jnp.add, sums.utility, felt),
        sums.rebate + rebate,
        sums.days + 1,
    )
    state = EconomyState(states, state.satisfied, rebate, state.year, state.day + 1, dynamics)
    return state, sums, day, outcomes


def _lived_hours(
    economy: Economy, state: EconomyState, chosen: dict[str, Array]
) -> tuple[dict[str, Array], DynamicState]:
    """Today's hours of those who can adjust and of those who cannot; and the state that remembers
    them.
    """
    inertia, yesterday = economy.dynamics.hours_inertia, state.dynamics.hours
    if inertia is None or yesterday is None:
        return chosen, state.dynamics
    hours = {}
    for name, wanted in chosen.items():
        draws = draw(
            named_key(economy.seed, name, "inertia"), state.year, state.day, wanted.shape[0]
        )
        hours[name] = adjusted_hours(inertia, yesterday[name], wanted, draws)
    return hours, dataclasses.replace(state.dynamics, hours=hours)


def simulate_days(
    economy: Economy,
    plan: YearPlan,
    state: EconomyState,
    sums: AgentSums,
    days: int,
    judged: tuple[int, ...] = (),
) -> tuple[EconomyState, AgentSums, Day]:
    """`days` days (static) of an economy whose cohorts are all mechanical, as one scan.

    Day's fields become (days,).

    judged: after how many of these days everybody is asked (`judge`).
    """
    economy = economy_in_year(economy, state)

    def one_day(
        carry: tuple[EconomyState, AgentSums], ask: Array | None
    ) -> tuple[tuple[EconomyState, AgentSums], Array]:
        state, sums = carry
        hours, state = act_present(economy, plan, state)
        state, sums, day, _outcomes = _settle_and_learn(economy, plan, state, sums, hours)
        if ask is not None:
            state = jax.lax.cond(
                ask, lambda: judge_present(economy, state, sums, {}), lambda: state
            )
        return (state, sums), jnp.stack(
            jax.tree.leaves(day)
        )  # a day's figures leave the loop as one array

    asked = jnp.zeros(days, bool).at[jnp.asarray(judged) - 1].set(True) if judged else None
    (state, sums), record = jax.lax.scan(
        one_day, (_turned(economy, state, live=True), sums), asked, length=days
    )
    return _turned(economy, state, live=False), sums, Day(*record.T)


def judge(
    economy: Economy, state: EconomyState, sums: AgentSums, answered: dict[str, Array]
) -> EconomyState:
    """Everybody looks back on the year so far and is satisfied from now on, or not.

    answered: (n,) bool, those who were asked.
    """
    return judge_present(economy_in_year(economy, state), state, sums, answered)


def judge_present(
    economy: Economy, state: EconomyState, sums: AgentSums, answered: dict[str, Array]
) -> EconomyState:
    satisfied = dict(answered)
    for name, cohort in economy.cohorts.items():
        if name not in answered and economy.judgement is not None:
            income, tax = cohort.skill * sums.hours[name] / sums.days, sums.tax[name] / sums.days
            rebate = sums.rebate / sums.days
            satisfied[name] = judged(
                economy.judgement, economy.seed, name, state.year, state.day, income, tax, rebate
            )
    return dataclasses.replace(state, satisfied=satisfied)


def end_year(economy: Economy, state: EconomyState, sums: AgentSums) -> EconomyState:
    """The state before the next year's first day: skills moved with the hours of this one, wealth
    with what was saved.
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


def judged_after(config: Config) -> range:
    """After how many days of a year everybody is asked."""
    satisfaction, days = config.satisfaction, config.year.days
    if not satisfaction.judged:
        return range(0)
    if satisfaction.every_days:
        return range(satisfaction.every_days, days + 1, satisfaction.every_days)
    once = max(
        1, days - max(1, days // 8)
    )  # before the window that the planner sees: a schedule bears its own penalty
    return range(once, once + 1)
