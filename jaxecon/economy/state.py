"""The parts of an economy: those fixed during a run, and those that change from day to day."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxecon.core.pytree import marked, pytree, static
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.satisfaction import Judgement
from jaxecon.kernels.skills import Dynamics, DynamicState
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.kernels.welfare import SocialWelfare
from jaxecon.workers.base import Cohort, WorkerRule

ByCohort = dict[str, Any]

OVER_EVERYBODY = "over everybody"  # marks a field whose arrays (n,) are over all cohorts


@pytree
class Economy:
    """The part of an economy that does not change during a run.

    Attributes:
        cohorts, parameters: by cohort name, in the order of the names (JAX keeps dictionaries
            sorted). The skills are the base skills; `economy_in_year` returns an economy with those
            of a year.
        rules: of the mechanical cohorts; the hours of other cohorts come from outside.
        public_spending: $/year per person.
        penalty: the share of utility that is left to somebody who is dissatisfied.
        judgement: how mechanical workers judge; None if nobody is asked.
        reference: everybody's exact response to the US federal schedule, (n,) in cohort order.
        reference_welfare: welfare of that response.
        untaxed_wealth: wealth k0 that savers at the cohorts' skills would want if its return were
            not taxed, (n,) $ by cohort; None if nobody saves.
    """

    cohorts: dict[str, Cohort]
    parameters: ByCohort
    welfare: SocialWelfare
    public_spending: Array
    penalty: Array
    reference: Outcome = marked(OVER_EVERYBODY)
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
        """All cohorts joined into one, in cohort order."""
        return jax.tree.map(
            lambda *parts: jnp.concatenate(parts), *(_with_rows(c) for c in self.cohorts.values())
        )

    def judged_welfare(self, days: "Day") -> Array:
        """Social welfare as the planner sees it, of a day or of several, as the fields of `days`.

        The settings say whether it counts the penalty of the dissatisfied.
        """
        return days.swf_counted if self.counts_satisfaction else days.swf_private


def _with_rows(cohort: Cohort) -> Cohort:
    """The cohort with one value per agent in every field, without a name: ready to be joined."""
    rows = jax.tree.map(
        lambda x: jnp.broadcast_to(jnp.asarray(x, cohort.skill.dtype), cohort.skill.shape), cohort
    )
    return Cohort(
        rows.skill, rows.weight, rows.preferences, rows.reference_consumption, rows.welfare_weight
    )


@pytree
class EconomyState:
    """The part of an economy that changes from day to day.

    Attributes:
        rules: each rule's own state, by cohort.
        satisfied: (n,) bool by cohort.
        rebate: yesterday's, $/year.
        year, day: of the next day to simulate, int32 scalars, both from 0.
        dynamics: skills, hours and wealth, as far as their dynamics are switched on.
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

    rules: each rule's tables, by cohort. keys: of each rule's random draws, by cohort. days: how
    many the year has, int32 scalar.
    """

    schedule: TaxSchedule
    rules: ByCohort
    keys: dict[str, Array]
    days: Array


@pytree
class Day:
    """Statistics of one day of the whole economy.

    Scalars, or (days,) each for several days; $/year and h/week; welfare in units of utility. The
    names are explained in docs/run-folder.md (years.parquet).
    """

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
    """Sums over the days of a year that have been simulated so far.

    By cohort, (n,) each: hours (h/week), tax ($/year) and utility (with the penalty for
    dissatisfaction). Scalars: rebate ($/year) and the number of days.
    """

    hours: dict[str, Array]
    tax: dict[str, Array]
    utility: dict[str, Array]
    rebate: Array
    days: Array


def skill_of_year(economy: Economy, state: EconomyState) -> dict[str, Array]:
    """Skills in the state's year, (n,) $/year per weekly hour by cohort.

    The base skill times exp(deviation), where careers change skills.
    """
    careers = state.dynamics.careers
    base = {name: cohort.skill for name, cohort in economy.cohorts.items()}
    return (
        base
        if careers is None
        else {name: skill * jnp.exp(careers.deviation[name]) for name, skill in base.items()}
    )


def economy_in_year(economy: Economy, state: EconomyState) -> Economy:
    """The economy with the skills of the state's year, and the wealth wanted at these skills.

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


def by_cohort(economy: Economy, x: Array) -> dict[str, Array]:
    """An array (n,) over everybody, in cohort order, split into one part per cohort."""
    parts, start = {}, 0
    for name, cohort in economy.cohorts.items():
        parts[name] = x[start : start + cohort.size]
        start += cohort.size
    return parts
