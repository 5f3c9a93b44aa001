"""One day and one year of an economy of cohorts. Pure functions of arrays; everything here is traced by JAX."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxecon._pytree import pytree, static
from jaxecon.equilibrium import Outcome, equilibrium
from jaxecon.population import Cohort
from jaxecon.preferences import consumption_utility, disutility, isoelastic_utility, satisfaction_adjusted
from jaxecon.random import draw, named_key
from jaxecon.taxation import TaxSchedule, pooled_mean, tax_due
from jaxecon.welfare import SocialWelfare, gini, paper_welfare
from jaxecon.workers.base import Observation, WorkerRule

Array = jax.Array
ByCohort = dict[str, Any]


@pytree
class Economy:
    """What does not change in a run.

    cohorts, parameters: by cohort name, in the order of the names (JAX keeps dictionaries sorted). rules: of the
    mechanical cohorts; the others get their hours from outside. public_spending: $/year per person.
    penalty: what dissatisfaction leaves of utility.
    reference: everybody's exact response to the US federal schedule, in cohort order; reference_welfare its welfare.
    """

    cohorts: dict[str, Cohort]
    parameters: ByCohort
    welfare: SocialWelfare
    public_spending: Array
    penalty: Array
    reference: Outcome
    reference_welfare: Array
    seed: Array  # uint32 scalar
    rules: tuple[tuple[str, WorkerRule], ...] = static(default=())
    rebate_floor: float | None = static(default=None)
    counts_satisfaction: bool = static(default=False)

    @property
    def weights(self) -> dict[str, Array]:
        return {name: cohort.weight for name, cohort in self.cohorts.items()}

    @property
    def everyone(self) -> Cohort:
        """All cohorts as one, in cohort order."""
        return jax.tree.map(lambda *parts: jnp.concatenate(parts), *(_with_rows(c) for c in self.cohorts.values()))


def _with_rows(cohort: Cohort) -> Cohort:
    """The cohort with every scalar of its preferences given to each agent, and nameless, so that cohorts can be joined."""
    rows = jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x, cohort.skill.dtype), cohort.skill.shape), cohort)
    return Cohort(rows.skill, rows.weight, rows.preferences, rows.reference_consumption)


@pytree
class EconomyState:
    """What changes from day to day. rules: each rule's own state; satisfied: (n,) bool; by cohort.

    rebate: yesterday's R, $/year. year, day: int32 scalars, the next day to live.
    """

    rules: ByCohort
    satisfied: dict[str, Array]
    rebate: Array
    year: Array
    day: Array


@pytree
class YearPlan:
    """What the days of one year share. rules: each rule's tables; keys: of each rule's draws. days: int32 scalar."""

    schedule: TaxSchedule
    rules: ByCohort
    keys: dict[str, Array]
    days: Array


@pytree
class Day:
    """One day of the whole economy: scalars, $/year and h/week; welfare in units of utility."""

    swf_private: Array
    swf_counted: Array
    swf_paper: Array
    utilitarian: Array
    revenue: Array
    rebate: Array
    mean_hours: Array
    mean_income: Array


@pytree
class AgentSums:
    """Sums over the days lived so far, by cohort, (n,) each. tax $/year; hours h/week; utility with the penalty in."""

    hours: dict[str, Array]
    tax: dict[str, Array]
    utility: dict[str, Array]
    rebate: Array
    days: Array


def initial_state(economy: Economy, schedule: TaxSchedule) -> EconomyState:
    """Before the first day: rules initialised at the first schedule, whose equilibrium rebate counts as yesterday's."""
    everyone = economy.everyone
    outcome = equilibrium(
        schedule, everyone.skill, everyone.preferences, everyone.weight, economy.public_spending, economy.rebate_floor
    )
    rules = {
        name: rule.init(economy.parameters[name], economy.cohorts[name], schedule, outcome.rebate) for name, rule in economy.rules
    }
    satisfied = {name: jnp.ones(cohort.size, bool) for name, cohort in economy.cohorts.items()}
    zero = jnp.zeros((), jnp.int32)
    return EconomyState(rules, satisfied, outcome.rebate, zero, zero)


def start_year(
    economy: Economy, state: EconomyState, schedule: TaxSchedule, days: int | Array
) -> tuple[EconomyState, YearPlan, AgentSums]:
    """Each rule's tables for a year under the schedule, and empty sums."""
    states, plans = {}, {}
    for name, rule in economy.rules:
        states[name], plans[name] = rule.start_year(economy.parameters[name], economy.cohorts[name], state.rules[name], schedule)
    state = EconomyState(states, state.satisfied, state.rebate, state.year, jnp.zeros((), jnp.int32))

    def zeros() -> dict[str, Array]:
        return {name: jnp.zeros_like(cohort.skill) for name, cohort in economy.cohorts.items()}

    nothing = jnp.zeros_like(state.rebate)
    keys = {name: named_key(economy.seed, name, "labor") for name, _ in economy.rules}
    return (
        state,
        YearPlan(schedule, plans, keys, jnp.asarray(days, jnp.int32)),
        AgentSums(zeros(), zeros(), zeros(), nothing, nothing),
    )


def act(economy: Economy, plan: YearPlan, state: EconomyState) -> tuple[dict[str, Array], EconomyState]:
    """The hours of every mechanical cohort today, before anybody knows today's rebate."""
    progress = state.day / jnp.maximum(plan.days - 1, 1)
    observation = Observation(state.rebate, progress.astype(state.rebate.dtype))
    hours, states = {}, {}
    for name, rule in economy.rules:
        draws = draw(plan.keys[name], state.year, state.day, economy.cohorts[name].size)
        hours[name], states[name] = rule.act(economy.parameters[name], plan.rules[name], state.rules[name], draws, observation)
    return hours, EconomyState(states, state.satisfied, state.rebate, state.year, state.day)


def settle_and_learn(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, hours: dict[str, Array]
) -> tuple[EconomyState, AgentSums, Day, dict[str, Outcome]]:
    """Everybody's hours (mechanical and external) in; taxes are pooled and returned, utilities follow, rules learn.

    Returns the state of the next day, the sums, the day's figures, and each cohort's outcome (u~ as utility).
    """
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    tax = {name: tax_due(plan.schedule, z) for name, z in income.items()}
    revenue = pooled_mean(tax, economy.weights)
    rebate = revenue - economy.public_spending
    if economy.rebate_floor is not None:
        rebate = jnp.maximum(rebate, economy.rebate_floor)
    outcomes: dict[str, Outcome] = {}
    private: dict[str, Array] = {}
    felt: dict[str, Array] = {}
    for name, cohort in economy.cohorts.items():
        consumption = income[name] - tax[name] + rebate
        private[name] = isoelastic_utility(cohort.preferences, consumption, hours[name])
        felt[name] = satisfaction_adjusted(
            private[name], state.satisfied[name], economy.penalty, cohort.preferences.consumption_curvature
        )
        outcomes[name] = Outcome(hours[name], income[name], tax[name], rebate, consumption, private[name], jnp.zeros_like(rebate))
    states = {
        name: rule.learn(economy.parameters[name], plan.rules[name], state.rules[name], hours[name], outcomes[name])
        for name, rule in economy.rules
    }
    counted = felt if economy.counts_satisfaction else private
    day = Day(
        swf_private=economy.welfare(private),
        swf_counted=economy.welfare(felt),
        swf_paper=jnp.asarray(sum(paper_welfare(counted[name], income[name], c.weight) for name, c in economy.cohorts.items())),
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
    state = EconomyState(states, state.satisfied, rebate, state.year, state.day + 1)
    return state, sums, day, outcomes


def live_days(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, days: int
) -> tuple[EconomyState, AgentSums, Day]:
    """`days` days (static) of an economy whose cohorts are all mechanical, as one scan. Day's fields become (days,)."""

    def one_day(carry: tuple[EconomyState, AgentSums], _: None) -> tuple[tuple[EconomyState, AgentSums], Day]:
        state, sums = carry
        hours, state = act(economy, plan, state)
        state, sums, day, _outcomes = settle_and_learn(economy, plan, state, sums, hours)
        return (state, sums), day

    (state, sums), record = jax.lax.scan(one_day, (state, sums), None, length=days)
    return state, sums, record


def end_year(state: EconomyState) -> EconomyState:
    return EconomyState(state.rules, state.satisfied, state.rebate, state.year + 1, jnp.zeros((), jnp.int32))


@pytree
class AgentYear:
    """Means over a year's days, by cohort, (n,) each: h/week, $/year, utility with the penalty in."""

    hours: dict[str, Array]
    income: dict[str, Array]
    tax: dict[str, Array]
    consumption: dict[str, Array]
    utility: dict[str, Array]


@pytree
class YearFigures:
    """A year of the whole economy; scalars. Names and meanings: docs/design.md, years.parquet."""

    swf: Array
    swf_window: Array
    swf_counted: Array
    swf_equilibrium: Array
    swf_paper: Array
    gain_realised: Array
    gain_equilibrium: Array
    utilitarian: Array
    gini_income: Array
    gini_consumption: Array
    revenue: Array
    rebate: Array
    mean_hours: Array
    mean_income: Array
    satisfied_share: Array


def summarise_year(
    economy: Economy, schedule: TaxSchedule, state: EconomyState, sums: AgentSums, record: Day
) -> tuple[YearFigures, AgentYear]:
    """record: the year's days, fields (days,). The window the planner judges by is the last max(1, days//8) of them."""
    hours, tax, utility = (jax.tree.map(lambda x: x / sums.days, total) for total in (sums.hours, sums.tax, sums.utility))
    rebate = sums.rebate / sums.days
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    consumption = {name: income[name] - tax[name] + rebate for name in income}

    swf = record.swf_counted if economy.counts_satisfaction else record.swf_private
    window = jnp.mean(swf[-max(1, swf.shape[0] // 8) :])
    at_equilibrium = equilibrium_welfare(economy, schedule)
    everyone_weight = jnp.concatenate([c.weight for c in economy.cohorts.values()])

    def gini_of(x: dict[str, Array]) -> Array:
        return gini(jnp.concatenate([x[name] for name in economy.cohorts]), everyone_weight)

    figures = YearFigures(
        swf=jnp.mean(swf),
        swf_window=window,
        swf_counted=jnp.mean(record.swf_counted),
        swf_equilibrium=at_equilibrium,
        swf_paper=jnp.mean(record.swf_paper),
        gain_realised=welfare_gain(economy, window),
        gain_equilibrium=welfare_gain(economy, at_equilibrium),
        utilitarian=jnp.mean(record.utilitarian),
        gini_income=gini_of(income),
        gini_consumption=gini_of(jax.tree.map(lambda x: jnp.maximum(x, 0), consumption)),
        revenue=jnp.mean(record.revenue),
        rebate=rebate,
        mean_hours=jnp.mean(record.mean_hours),
        mean_income=jnp.mean(record.mean_income),
        satisfied_share=pooled_mean({name: s.astype(rebate.dtype) for name, s in state.satisfied.items()}, economy.weights),
    )
    return figures, AgentYear(hours, income, tax, consumption, utility)


def by_cohort(economy: Economy, x: Array) -> dict[str, Array]:
    """An array over everyone, in cohort order, cut into cohorts."""
    parts, start = {}, 0
    for name, cohort in economy.cohorts.items():
        parts[name] = x[start : start + cohort.size]
        start += cohort.size
    return parts


def equilibrium_outcome(economy: Economy, schedule: TaxSchedule) -> Outcome:
    """Everybody's exact response, in cohort order: what the schedule is worth once all have learnt."""
    everyone = economy.everyone
    return equilibrium(
        schedule, everyone.skill, everyone.preferences, everyone.weight, economy.public_spending, economy.rebate_floor
    )


def equilibrium_welfare(economy: Economy, schedule: TaxSchedule) -> Array:
    """Social welfare of u~ at the exact response to the schedule."""
    return economy.welfare(by_cohort(economy, equilibrium_outcome(economy, schedule).utility))


_GAIN_BISECTIONS = 60


def welfare_gain(economy: Economy, welfare: Array) -> Array:
    """Gain over the exact response to the US federal schedule, a fraction.

    At curvature 0 the difference over the reference's size (where that is positive, the ratio minus 1). Otherwise the
    consumption equivalent: by what fraction everybody's consumption under the US federal schedule would have to rise, hours
    unchanged, to make its welfare equal to this (Lucas 1987); by bisection between -99.9 % and +99,900 %, NaN beyond.
    """
    everyone = economy.everyone
    eta = everyone.preferences.consumption_curvature
    if eta == 0:
        return (welfare - economy.reference_welfare) / jnp.abs(economy.reference_welfare)
    cost = disutility(everyone.preferences, economy.reference.hours)

    def welfare_with(log_factor: Array) -> Array:
        utility = consumption_utility(jnp.exp(log_factor) * economy.reference.consumption, eta) - cost
        return economy.welfare(by_cohort(economy, utility))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        up = welfare_with(middle) < welfare
        return jnp.where(up, middle, low), jnp.where(up, high, middle)

    limit = jnp.log(jnp.asarray(1000.0, welfare.dtype))
    low, high = jax.lax.fori_loop(0, _GAIN_BISECTIONS, halve, (-limit, limit))
    within = (welfare_with(-limit) <= welfare) & (welfare <= welfare_with(limit))
    return jnp.where(within, jnp.expm1((low + high) / 2), jnp.nan)
