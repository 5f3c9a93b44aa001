"""A year in numbers."""

import dataclasses

import jax
import jax.numpy as jnp

from jaxecon.core.pytree import pytree
from jaxecon.economy.exact import equilibrium_welfare, welfare_gain
from jaxecon.economy.state import (
    AgentSums,
    Day,
    Economy,
    EconomyState,
    capital_of_year,
    economy_in_year,
)
from jaxecon.kernels.taxation import TaxSchedule, pooled_mean
from jaxecon.kernels.welfare import gini

Array = jax.Array


@pytree
class AgentYear:
    """Means over a year's days, by cohort, (n,) each: h/week, $/year, utility with the penalty in.

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

    Names and meanings: docs/run-folder.md. Defaults: where nobody saves.
    """

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
    """How many of a year's days pass before mean hours have settled: from then on every day's lie
    within SETTLED_WITHIN of their mean over the closing window, the last max(1, days//8) days.

    hours: (days,) h/week. 0 where they do from the first day, `days` where the last day's do not.
    """
    days = hours.shape[0]
    outside = jnp.abs(hours - jnp.mean(hours[-max(1, days // 8) :])) > SETTLED_WITHIN
    return jnp.max(jnp.where(outside, jnp.arange(1, days + 1, dtype=hours.dtype), 0))


def summarise_year(
    economy: Economy, schedule: TaxSchedule, state: EconomyState, sums: AgentSums, record: Day
) -> tuple[YearStatistics, AgentYear]:
    """record: the year's days, fields (days,).

    The window the planner judges by is the last max(1, days//8) of them.
    """
    economy = economy_in_year(economy, state)
    hours, tax, utility = (
        jax.tree.map(lambda x: x / sums.days, total)
        for total in (sums.hours, sums.tax, sums.utility)
    )
    rebate = sums.rebate / sums.days
    income = {name: cohort.skill * hours[name] for name, cohort in economy.cohorts.items()}
    consumption = {name: income[name] - tax[name] + rebate for name in income}
    capital = capital_of_year(economy, state)
    if capital is not None:
        consumption = {
            name: x + capital.adds[name].income - capital.saved[name]
            for name, x in consumption.items()
        }

    swf = record.swf_counted if economy.counts_satisfaction else record.swf_private
    window = jnp.mean(swf[-max(1, swf.shape[0] // 8) :])
    at_equilibrium = equilibrium_welfare(economy, schedule)
    everyone_weight = jnp.concatenate([c.weight for c in economy.cohorts.values()])

    def gini_of(x: dict[str, Array]) -> Array:
        return gini(jnp.concatenate([x[name] for name in economy.cohorts]), everyone_weight)

    figures = YearStatistics(
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
        satisfied_share=pooled_mean(
            {name: s.astype(rebate.dtype) for name, s in state.satisfied.items()}, economy.weights
        ),
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
    return figures, AgentYear(
        hours, income, tax, consumption, utility, capital.wealth, capital.saved
    )
