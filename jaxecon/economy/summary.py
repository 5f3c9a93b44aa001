"""A year in numbers: of the whole economy, and of each agent."""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.core.pytree import pytree
from jaxecon.economy.capital import Capital, capital_of_year
from jaxecon.economy.choices import equilibrium_among_choices
from jaxecon.economy.equilibrium import equilibrium_outcome, welfare_gain
from jaxecon.economy.state import (
    AgentSums,
    Day,
    Economy,
    EconomyState,
    by_cohort,
    economy_in_year,
)
from jaxecon.kernels.taxation import TaxSchedule, pooled_mean
from jaxecon.kernels.welfare import gini


@pytree
class AgentYear:
    """Means over a year's days, by cohort, (n,) each.

    hours: h/week. income, tax, consumption: $/year. utility: with the penalty for dissatisfaction.
    wealth ($), saving ($/year): None where nobody saves.
    """

    hours: dict[str, Array]
    income: dict[str, Array]
    tax: dict[str, Array]
    consumption: dict[str, Array]
    utility: dict[str, Array]
    wealth: dict[str, Array] | None = None
    saving: dict[str, Array] | None = None


@pytree
class YearStatistics:
    """A year of the whole economy; scalars.

    Names and meanings: docs/run-folder.md, years.parquet. Fields with a default are None if nobody
    saves.
    """

    swf: Array
    swf_window: Array
    swf_private: Array
    swf_counted: Array
    swf_equilibrium: Array
    swf_choices: Array
    swf_paper: Array
    gain_realised: Array
    gain_equilibrium: Array
    gain_choices: Array
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


def planner_window(days: int) -> int:
    """Return how many of a year's last days the planner judges a schedule by.

    It is an eighth of the year, at least one day. Workers have mostly settled by then.
    """
    return max(1, days // 8)


def settling_days(hours: Array) -> Array:
    """Return how many of a year's days pass before mean hours have settled, a scalar.

    They have settled when, from then on, each day's mean lies within SETTLED_WITHIN of the mean
    over the `planner_window`. The result is 0 if this holds from the first day, and `days` if it
    does not hold on the last.

    hours: (days,) h/week.
    """
    days = hours.shape[0]
    outside = jnp.abs(hours - jnp.mean(hours[-planner_window(days) :])) > SETTLED_WITHIN
    return jnp.max(jnp.where(outside, jnp.arange(1, days + 1, dtype=hours.dtype), 0))


def summarise_year(
    economy: Economy, schedule: TaxSchedule, state: EconomyState, sums: AgentSums, record: Day
) -> tuple[YearStatistics, AgentYear]:
    """Return the year's statistics and each agent's means, after its last day.

    schedule: the year's. sums: over its days. record: statistics of its days, fields (days,).
    """
    economy = economy_in_year(economy, state)
    capital = capital_of_year(economy, state)
    agents = _agent_year(economy, sums, capital)
    statistics = _year_statistics(economy, schedule, state, sums.rebate / sums.days, agents, record)
    saving = economy.dynamics.saving
    if capital is None or saving is None:
        return statistics, agents
    statistics = dataclasses.replace(
        statistics,
        mean_wealth=pooled_mean(capital.wealth, economy.weights),
        gini_wealth=_gini(economy, capital.wealth),
        mean_saving=pooled_mean(capital.saved, economy.weights),
        capital_tax=saving.tax,
        capital_revenue=capital.revenue,
    )
    return statistics, dataclasses.replace(agents, wealth=capital.wealth, saving=capital.saved)


def _agent_year(economy: Economy, sums: AgentSums, capital: Capital | None) -> AgentYear:
    """Return means of the year, except wealth and saving; consumption is net of what was saved."""
    hours, tax, utility = (
        jax.tree.map(lambda x: x / sums.days, total)
        for total in (sums.hours, sums.tax, sums.utility)
    )
    rebate = sums.rebate / sums.days
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    consumption = {name: income[name] - tax[name] + rebate for name in income}
    if capital is not None:
        consumption = {
            name: x + capital.endowment[name].income - capital.saved[name]
            for name, x in consumption.items()
        }
    return AgentYear(hours, income, tax, consumption, utility)


def _year_statistics(
    economy: Economy,
    schedule: TaxSchedule,
    state: EconomyState,
    rebate: Array,
    agents: AgentYear,
    record: Day,
) -> YearStatistics:
    swf = economy.judged_welfare(record)
    window = jnp.mean(swf[-planner_window(swf.shape[0]) :])
    exact = equilibrium_outcome(economy, schedule)
    at_equilibrium, among_choices = (
        economy.welfare(by_cohort(economy, outcome.utility))
        for outcome in (exact, equilibrium_among_choices(economy, schedule, exact))
    )
    satisfied = {name: s.astype(rebate.dtype) for name, s in state.satisfied.items()}
    return YearStatistics(
        swf=jnp.mean(swf),
        swf_window=window,
        swf_private=jnp.mean(record.swf_private),
        swf_counted=jnp.mean(record.swf_counted),
        swf_equilibrium=at_equilibrium,
        swf_choices=among_choices,
        swf_paper=jnp.mean(record.swf_paper),
        gain_realised=welfare_gain(economy, window),
        gain_equilibrium=welfare_gain(economy, at_equilibrium),
        gain_choices=welfare_gain(economy, among_choices),
        utilitarian=jnp.mean(record.utilitarian),
        gini_income=_gini(economy, agents.income),
        gini_consumption=_gini(
            economy, jax.tree.map(lambda x: jnp.maximum(x, 0), agents.consumption)
        ),
        revenue=jnp.mean(record.revenue),
        rebate=rebate,
        mean_hours=jnp.mean(record.mean_hours),
        mean_income=jnp.mean(record.mean_income),
        satisfied_share=pooled_mean(satisfied, economy.weights),
        settling_days=settling_days(record.mean_hours),
    )


def _gini(economy: Economy, x: dict[str, Array]) -> Array:
    """The Gini coefficient of x, (n,) by cohort, over everybody, under the survey weights."""
    weights = jnp.concatenate([cohort.weight for cohort in economy.cohorts.values()])
    return gini(jnp.concatenate([x[name] for name in economy.cohorts]), weights)
