"""What an economy is made of, and what changes in it from day to day."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from jaxecon.core.pytree import pytree, static
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.satisfaction import Judgement
from jaxecon.kernels.saving import Endowment, capital_revenue, desired_wealth, endowment, saved
from jaxecon.kernels.skills import Dynamics, DynamicState
from jaxecon.kernels.taxation import TaxSchedule, pooled_mean
from jaxecon.kernels.welfare import SocialWelfare
from jaxecon.workers.base import Cohort, WorkerRule

Array = jax.Array

ByCohort = dict[str, Any]


@pytree
class Economy:
    """What does not change in a run.

    cohorts, parameters: by cohort name, in the order of the names (JAX keeps dictionaries sorted).
    Skills are the base ones; `present` gives an economy with those of a year. rules: of the
    mechanical cohorts; the others get their hours from outside. public_spending: $/year per person.
    penalty: what dissatisfaction leaves of utility. judgement: how mechanical workers judge, None
    where nobody is asked. reference: everybody's exact response to the US federal schedule, in
    cohort order; reference_welfare its welfare. untaxed_wealth: k0 of those who save, (n,) $ by
    cohort, at the skills that the cohorts have; None where nobody saves.
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
    def population(self) -> Cohort:
        """All cohorts as one, in cohort order."""
        return jax.tree.map(
            lambda *parts: jnp.concatenate(parts), *(_with_rows(c) for c in self.cohorts.values())
        )


def _with_rows(cohort: Cohort) -> Cohort:
    """The cohort with every scalar of its preferences given to each agent, and nameless, so that
    cohorts can be joined.
    """
    rows = jax.tree.map(
        lambda x: jnp.broadcast_to(jnp.asarray(x, cohort.skill.dtype), cohort.skill.shape), cohort
    )
    return Cohort(
        rows.skill, rows.weight, rows.preferences, rows.reference_consumption, rows.welfare_weight
    )


@pytree
class EconomyState:
    """What changes from day to day.

    rules: each rule's own state; satisfied: (n,) bool; by cohort.

    rebate: yesterday's R, $/year. year, day: int32 scalars, the next day to live. dynamics: without
    leaves where none are on.
    """

    rules: ByCohort
    satisfied: dict[str, Array]
    rebate: Array
    year: Array
    day: Array
    dynamics: DynamicState = DynamicState()


@pytree
class YearPlan:
    """What the days of one year share.

    rules: each rule's tables; keys: of each rule's draws. days: int32 scalar.
    """

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
    """Sums over the days lived so far, by cohort, (n,) each.

    tax $/year; hours h/week; utility with the penalty in.
    """

    hours: dict[str, Array]
    tax: dict[str, Array]
    utility: dict[str, Array]
    rebate: Array
    days: Array


def skill_of_year(economy: Economy, state: EconomyState) -> dict[str, Array]:
    """By cohort, (n,) $/year per weekly hour: the base skill times exp(deviation)."""
    careers = state.dynamics.careers
    base = {name: cohort.skill for name, cohort in economy.cohorts.items()}
    return (
        base
        if careers is None
        else {name: skill * jnp.exp(careers.deviation[name]) for name, skill in base.items()}
    )


def economy_in_year(economy: Economy, state: EconomyState) -> Economy:
    """The economy with the skills of the state's year, and the wealth that they make people want.

    Preferences and welfare weights stay those of the base skills.
    """
    if state.dynamics.careers is None:
        return economy
    skill = skill_of_year(economy, state)
    cohorts = {
        name: dataclasses.replace(cohort, skill=skill[name])
        for name, cohort in economy.cohorts.items()
    }
    untaxed, saving = economy.untaxed_wealth, economy.dynamics.saving
    if untaxed is not None and saving is not None:
        moved = state.dynamics.careers.deviation
        untaxed = {
            name: k0 * jnp.exp(saving.concentration * moved[name]) for name, k0 in untaxed.items()
        }
    return dataclasses.replace(economy, cohorts=cohorts, untaxed_wealth=untaxed)


@pytree
class Capital:
    """Everybody's wealth in a year.

    by_cohort: wealth, (n,) $; saved, (n,) $/year; adds, what it adds to a year of work. revenue: of
    the tax on its return, $/year per person, scalar.
    """

    wealth: dict[str, Array]
    saved: dict[str, Array]
    adds: dict[str, Endowment]
    revenue: Array


def capital_of_year(economy: Economy, state: EconomyState) -> Capital | None:
    """Of the state's year, the economy being `present` in it; None where nobody saves."""
    return None if state.dynamics.wealth is None else _capital(economy, state.dynamics.wealth)


def capital_at_equilibrium(economy: Economy) -> Capital | None:
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


def by_cohort(economy: Economy, x: Array) -> dict[str, Array]:
    """An array over everyone, in cohort order, cut into cohorts."""
    parts, start = {}, 0
    for name, cohort in economy.cohorts.items():
        parts[name] = x[start : start + cohort.size]
        start += cohort.size
    return parts
