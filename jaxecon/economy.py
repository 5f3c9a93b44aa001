"""One day and one year of an economy of cohorts. Pure functions of arrays; everything here is traced by JAX."""

import dataclasses
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxecon._pytree import concrete, pytree, static
from jaxecon.dynamics import Dynamics, DynamicState, adjusted_hours, new_careers, next_careers
from jaxecon.equilibrium import Outcome
from jaxecon.labor import best_response
from jaxecon.leader import LeaderProblem
from jaxecon.population import Cohort
from jaxecon.preferences import Preferences, isoelastic_utility, satisfaction_adjusted
from jaxecon.random import draw, named_key
from jaxecon.satisfaction import Judgement, judged
from jaxecon.saving import Endowment, capital_revenue, desired_wealth, endowment, saved
from jaxecon.taxation import TaxSchedule, pooled_mean, tax_due
from jaxecon.welfare import SocialWelfare, gain_over, gini, paper_welfare
from jaxecon.workers.base import Observation, Turning, WorkerRule

Array = jax.Array
ByCohort = dict[str, Any]


@pytree
class Economy:
    """What does not change in a run.

    cohorts, parameters: by cohort name, in the order of the names (JAX keeps dictionaries sorted). Skills are the base ones;
    `present` gives an economy with those of a year. rules: of the
    mechanical cohorts; the others get their hours from outside. public_spending: $/year per person.
    penalty: what dissatisfaction leaves of utility. judgement: how mechanical workers judge, None where nobody is asked.
    reference: everybody's exact response to the US federal schedule, in cohort order; reference_welfare its welfare.
    untaxed_wealth: k0 of those who save, (n,) $ by cohort, at the skills that the cohorts have; None where nobody saves.
    """

    cohorts: dict[str, Cohort]
    parameters: ByCohort
    welfare: SocialWelfare
    public_spending: Array
    penalty: Array
    reference: Outcome
    reference_welfare: Array
    seed: Array  # uint32 scalar
    judgement: Judgement | None = None
    dynamics: Dynamics = Dynamics()
    untaxed_wealth: dict[str, Array] | None = None
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
    return Cohort(rows.skill, rows.weight, rows.preferences, rows.reference_consumption, rows.welfare_weight)


@pytree
class EconomyState:
    """What changes from day to day. rules: each rule's own state; satisfied: (n,) bool; by cohort.

    rebate: yesterday's R, $/year. year, day: int32 scalars, the next day to live. dynamics: without leaves where none are on.
    """

    rules: ByCohort
    satisfied: dict[str, Array]
    rebate: Array
    year: Array
    day: Array
    dynamics: DynamicState = DynamicState()


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
    outcome = equilibrium_outcome(economy, schedule)
    rules = {
        name: rule.init(economy.parameters[name], economy.cohorts[name], schedule, outcome.rebate) for name, rule in economy.rules
    }
    satisfied = {name: jnp.ones(cohort.size, bool) for name, cohort in economy.cohorts.items()}
    zero = jnp.zeros((), jnp.int32)
    return EconomyState(rules, satisfied, outcome.rebate, zero, zero, _initial_dynamics(economy, outcome))


def _initial_dynamics(economy: Economy, outcome: Outcome) -> DynamicState:
    """Everybody has just entered, yesterday's hours were the exact response, and the return to wealth has not been taxed."""
    skills, inertia = economy.dynamics.skills, economy.dynamics.hours_inertia
    base = {name: cohort.skill for name, cohort in economy.cohorts.items()}
    careers = None if skills is None else new_careers(base)
    return DynamicState(careers, None if inertia is None else by_cohort(economy, outcome.hours), economy.untaxed_wealth)


def skill_of_year(economy: Economy, state: EconomyState) -> dict[str, Array]:
    """By cohort, (n,) $/year per weekly hour: the base skill times exp(deviation)."""
    careers = state.dynamics.careers
    base = {name: cohort.skill for name, cohort in economy.cohorts.items()}
    return base if careers is None else {name: skill * jnp.exp(careers.deviation[name]) for name, skill in base.items()}


def present(economy: Economy, state: EconomyState) -> Economy:
    """The economy with the skills of the state's year, and the wealth that they make people want. Preferences and welfare
    weights stay those of the base skills."""
    if state.dynamics.careers is None:
        return economy
    skill = skill_of_year(economy, state)
    cohorts = {name: dataclasses.replace(cohort, skill=skill[name]) for name, cohort in economy.cohorts.items()}
    untaxed, saving = economy.untaxed_wealth, economy.dynamics.saving
    if untaxed is not None and saving is not None:
        moved = state.dynamics.careers.deviation
        untaxed = {name: k0 * jnp.exp(saving.concentration * moved[name]) for name, k0 in untaxed.items()}
    return dataclasses.replace(economy, cohorts=cohorts, untaxed_wealth=untaxed)


@pytree
class Capital:
    """Everybody's wealth in a year. by_cohort: wealth, (n,) $; saved, (n,) $/year; adds, what it adds to a year of work.
    revenue: of the tax on its return, $/year per person, scalar."""

    wealth: dict[str, Array]
    saved: dict[str, Array]
    adds: dict[str, Endowment]
    revenue: Array


def capital_of_year(economy: Economy, state: EconomyState) -> Capital | None:
    """Of the state's year, the economy being `present` in it; None where nobody saves."""
    return None if state.dynamics.wealth is None else _capital(economy, state.dynamics.wealth)


def settled_capital(economy: Economy) -> Capital | None:
    """Once everybody has the wealth they want; None where nobody saves."""
    saving, untaxed = economy.dynamics.saving, economy.untaxed_wealth
    if saving is None or untaxed is None:
        return None
    return _capital(economy, {name: desired_wealth(saving, k0) for name, k0 in untaxed.items()})


def _capital(economy: Economy, wealth: dict[str, Array]) -> Capital:
    saving, untaxed = economy.dynamics.saving, economy.untaxed_wealth
    assert saving is not None
    assert untaxed is not None
    return Capital(
        wealth,
        {name: saved(saving, k, untaxed[name]) for name, k in wealth.items()},
        {name: endowment(saving, k, untaxed[name]) for name, k in wealth.items()},
        capital_revenue(saving, pooled_mean(wealth, economy.weights)),
    )


def start_year(
    economy: Economy, state: EconomyState, schedule: TaxSchedule, days: int | Array
) -> tuple[EconomyState, YearPlan, AgentSums]:
    """Each rule's tables for a year under the schedule, and empty sums. Who has just entered begins here (`_with_entrants`)."""
    economy = present(economy, state)
    state = _with_entrants(economy, state, schedule)
    states, plans = {}, {}
    for name, rule in economy.rules:
        states[name], plans[name] = rule.start_year(economy.parameters[name], economy.cohorts[name], state.rules[name], schedule)
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
    """Who took a retired agent's place begins as everybody does before the first day, under this schedule and yesterday's rebate:
    with the rule's initial state, satisfied, and with yesterday's hours those of the exact response."""
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
        exact = {name: best_response(schedule, c.skill, c.preferences, state.rebate) for name, c in cohorts}
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
        if isinstance(rule, Turning):
            rules[name] = rule.enter(rules[name]) if live else rule.leave(rules[name])
    return dataclasses.replace(state, rules=rules)


def act(economy: Economy, plan: YearPlan, state: EconomyState) -> tuple[dict[str, Array], EconomyState]:
    """The hours of every mechanical cohort today, before anybody knows today's rebate."""
    hours, state = _act(economy, plan, _turned(economy, state, live=True))
    return hours, _turned(economy, state, live=False)


def _act(economy: Economy, plan: YearPlan, state: EconomyState) -> tuple[dict[str, Array], EconomyState]:
    progress = state.day / jnp.maximum(plan.days - 1, 1)
    observation = Observation(state.rebate, progress.astype(state.rebate.dtype))
    hours, states = {}, {}
    for name, rule in economy.rules:
        draws = draw(plan.keys[name], state.year, state.day, economy.cohorts[name].size)
        hours[name], states[name] = rule.act(economy.parameters[name], plan.rules[name], state.rules[name], draws, observation)
    return hours, dataclasses.replace(state, rules=states)


def settle_and_learn(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, hours: dict[str, Array]
) -> tuple[EconomyState, AgentSums, Day, dict[str, Outcome]]:
    """Everybody's hours (mechanical and external) in; taxes are pooled and returned, utilities follow, rules learn.

    hours: as chosen; who cannot adjust today lives yesterday's.
    Returns the state of the next day, the sums, the day's figures, and each cohort's outcome (u~ as utility), which is that of
    its work: what wealth adds is nothing that hours could change, and neither rules nor models hear of it.
    """
    live = _turned(economy, state, live=True)
    state, sums, day, outcomes = _settle_and_learn(present(economy, state), plan, live, sums, hours)
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
    rebate = revenue - economy.public_spending
    if economy.rebate_floor is not None:
        rebate = jnp.maximum(rebate, economy.rebate_floor)
    outcomes: dict[str, Outcome] = {}
    private: dict[str, Array] = {}
    felt: dict[str, Array] = {}
    for name, cohort in economy.cohorts.items():
        consumption = income[name] - tax[name] + rebate
        of_work = isoelastic_utility(cohort.preferences, consumption, hours[name])
        private[name] = of_work if capital is None else of_work + capital.adds[name].worth
        felt[name] = satisfaction_adjusted(
            private[name], state.satisfied[name], economy.penalty, cohort.preferences.consumption_curvature
        )
        outcomes[name] = Outcome(hours[name], income[name], tax[name], rebate, consumption, of_work, jnp.zeros_like(rebate))
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
    state = EconomyState(states, state.satisfied, rebate, state.year, state.day + 1, dynamics)
    return state, sums, day, outcomes


def _lived_hours(economy: Economy, state: EconomyState, chosen: dict[str, Array]) -> tuple[dict[str, Array], DynamicState]:
    """Today's hours of those who can adjust and of those who cannot; and the state that remembers them."""
    inertia, yesterday = economy.dynamics.hours_inertia, state.dynamics.hours
    if inertia is None or yesterday is None:
        return chosen, state.dynamics
    hours = {}
    for name, wanted in chosen.items():
        draws = draw(named_key(economy.seed, name, "inertia"), state.year, state.day, wanted.shape[0])
        hours[name] = adjusted_hours(inertia, yesterday[name], wanted, draws)
    return hours, dataclasses.replace(state.dynamics, hours=hours)


def live_days(
    economy: Economy, plan: YearPlan, state: EconomyState, sums: AgentSums, days: int, judged: tuple[int, ...] = ()
) -> tuple[EconomyState, AgentSums, Day]:
    """`days` days (static) of an economy whose cohorts are all mechanical, as one scan. Day's fields become (days,).

    judged: after how many of these days everybody is asked (`judge`).
    """
    economy = present(economy, state)

    def one_day(carry: tuple[EconomyState, AgentSums], ask: Array | None) -> tuple[tuple[EconomyState, AgentSums], Array]:
        state, sums = carry
        hours, state = _act(economy, plan, state)
        state, sums, day, _outcomes = _settle_and_learn(economy, plan, state, sums, hours)
        if ask is not None:
            state = jax.lax.cond(ask, lambda: _judge(economy, state, sums, {}), lambda: state)
        return (state, sums), jnp.stack(jax.tree.leaves(day))  # a day's figures leave the loop as one array

    asked = jnp.zeros(days, bool).at[jnp.asarray(judged) - 1].set(True) if judged else None
    (state, sums), record = jax.lax.scan(one_day, (_turned(economy, state, live=True), sums), asked, length=days)
    return _turned(economy, state, live=False), sums, Day(*record.T)


def judge(economy: Economy, state: EconomyState, sums: AgentSums, answered: dict[str, Array]) -> EconomyState:
    """Everybody looks back on the year so far and is satisfied from now on, or not. answered: (n,) bool, those who were asked."""
    return _judge(present(economy, state), state, sums, answered)


def _judge(economy: Economy, state: EconomyState, sums: AgentSums, answered: dict[str, Array]) -> EconomyState:
    satisfied = dict(answered)
    for name, cohort in economy.cohorts.items():
        if name not in answered and economy.judgement is not None:
            income, tax = cohort.skill * sums.hours[name] / sums.days, sums.tax[name] / sums.days
            rebate = sums.rebate / sums.days
            satisfied[name] = judged(economy.judgement, economy.seed, name, state.year, state.day, income, tax, rebate)
    return dataclasses.replace(state, satisfied=satisfied)


def end_year(economy: Economy, state: EconomyState, sums: AgentSums) -> EconomyState:
    """The state before the next year's first day: skills moved with the hours of this one, wealth with what was saved."""
    dynamics = state.dynamics
    if (capital := capital_of_year(present(economy, state), state)) is not None:
        dynamics = dataclasses.replace(dynamics, wealth=jax.tree.map(jnp.add, capital.wealth, capital.saved))
    if economy.dynamics.skills is not None and dynamics.careers is not None:
        hours = {name: total / sums.days for name, total in sums.hours.items()}
        careers = next_careers(economy.dynamics.skills, dynamics.careers, hours, economy.seed, state.year)
        dynamics = dataclasses.replace(dynamics, careers=careers)
    return dataclasses.replace(state, year=state.year + 1, day=jnp.zeros((), jnp.int32), dynamics=dynamics)


@pytree
class AgentYear:
    """Means over a year's days, by cohort, (n,) each: h/week, $/year, utility with the penalty in. wealth ($), saving ($/year):
    None where nobody saves."""

    hours: dict[str, Array]
    income: dict[str, Array]
    tax: dict[str, Array]
    consumption: dict[str, Array]
    utility: dict[str, Array]
    wealth: dict[str, Array] | None = None
    saving: dict[str, Array] | None = None


@pytree
class YearFigures:
    """A year of the whole economy; scalars. Names and meanings: docs/design.md, years.parquet. Defaults: where nobody saves."""

    swf: Array
    swf_window: Array
    swf_private: Array
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
    settling_days: Array
    mean_wealth: Array | None = None
    gini_wealth: Array | None = None
    mean_saving: Array | None = None
    capital_tax: Array | None = None
    capital_revenue: Array | None = None


SETTLED_WITHIN = 1.0  # h/week


def settling_days(hours: Array) -> Array:
    """How many of a year's days pass before mean hours have settled: from then on every day's lie within SETTLED_WITHIN
    of their mean over the closing window, the last max(1, days//8) days.

    hours: (days,) h/week. 0 where they do from the first day, `days` where the last day's do not.
    """
    days = hours.shape[0]
    outside = jnp.abs(hours - jnp.mean(hours[-max(1, days // 8) :])) > SETTLED_WITHIN
    return jnp.max(jnp.where(outside, jnp.arange(1, days + 1, dtype=hours.dtype), 0))


def summarise_year(
    economy: Economy, schedule: TaxSchedule, state: EconomyState, sums: AgentSums, record: Day
) -> tuple[YearFigures, AgentYear]:
    """record: the year's days, fields (days,). The window the planner judges by is the last max(1, days//8) of them."""
    economy = present(economy, state)
    hours, tax, utility = (jax.tree.map(lambda x: x / sums.days, total) for total in (sums.hours, sums.tax, sums.utility))
    rebate = sums.rebate / sums.days
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    consumption = {name: income[name] - tax[name] + rebate for name in income}
    capital = capital_of_year(economy, state)
    if capital is not None:
        consumption = {name: x + capital.adds[name].income - capital.saved[name] for name, x in consumption.items()}

    swf = record.swf_counted if economy.counts_satisfaction else record.swf_private
    window = jnp.mean(swf[-max(1, swf.shape[0] // 8) :])
    at_equilibrium = equilibrium_welfare(economy, schedule)
    everyone_weight = jnp.concatenate([c.weight for c in economy.cohorts.values()])

    def gini_of(x: dict[str, Array]) -> Array:
        return gini(jnp.concatenate([x[name] for name in economy.cohorts]), everyone_weight)

    figures = YearFigures(
        swf=jnp.mean(swf),
        swf_window=window,
        swf_private=jnp.mean(record.swf_private),
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
        settling_days=settling_days(record.mean_hours),
    )
    if capital is None or economy.dynamics.saving is None:
        return figures, AgentYear(hours, income, tax, consumption, utility)
    figures = dataclasses.replace(
        figures,
        mean_wealth=pooled_mean(capital.wealth, economy.weights),
        gini_wealth=gini_of(capital.wealth),
        mean_saving=pooled_mean(capital.saved, economy.weights),
        capital_tax=economy.dynamics.saving.tax,
        capital_revenue=capital.revenue,
    )
    return figures, AgentYear(hours, income, tax, consumption, utility, capital.wealth, capital.saved)


def by_cohort(economy: Economy, x: Array) -> dict[str, Array]:
    """An array over everyone, in cohort order, cut into cohorts."""
    parts, start = {}, 0
    for name, cohort in economy.cohorts.items():
        parts[name] = x[start : start + cohort.size]
        start += cohort.size
    return parts


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
        economy.everyone.preferences,
        reference.consumption,
        reference.hours,
        economy.reference_welfare,
        welfare,
    )


def leader_problem(economy: Economy) -> LeaderProblem:
    """What a leader who knows everybody's exact response maximises; LLM cohorts count as if they responded exactly. Wealth is
    what everybody wants to hold."""
    given = [cohort.preferences for cohort in economy.cohorts.values()]
    return _leader_problem(economy, _common([p.disutility_exponent for p in given]), _common([p.max_hours for p in given]))


@jax.jit
def _leader_problem(economy: Economy, exponent: Array | None, cap: Array | None) -> LeaderProblem:
    everyone, welfare = economy.everyone, economy.welfare
    g = jnp.concatenate([welfare.weights[name] for name in economy.cohorts])
    judged = SocialWelfare({"": g}, {"": everyone.weight}, welfare.kind, welfare.epsilon, welfare.floor)
    rows = everyone.preferences
    preferences = Preferences(
        rows.disutility_weight,
        rows.disutility_exponent if exponent is None else exponent,
        rows.consumption_curvature,
        rows.max_hours if cap is None else cap,
    )
    problem = LeaderProblem.of(
        everyone.skill, preferences, judged, everyone.weight, economy.public_spending, economy.rebate_floor
    )
    if (capital := settled_capital(economy)) is None:
        return problem
    adds = jax.tree.map(lambda *parts: jnp.concatenate(parts), *capital.adds.values())
    return dataclasses.replace(problem, public_spending=problem.public_spending - capital.revenue, endowment=adds)


def _common(by_cohort: list[Array]) -> Array | None:
    """The scalar that all cohorts share, where they do and it can be seen: responses are then much cheaper."""
    seen = [concrete(x) for x in by_cohort]
    return by_cohort[0] if all(x is not None and x.ndim == 0 and x == seen[0] for x in seen) else None
