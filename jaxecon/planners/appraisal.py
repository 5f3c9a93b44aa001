"""The effects of a schedule at equilibrium, where every worker responds exactly.

How much people work, who gains or loses, and the deadweight loss; for several schedules, as rows of
a table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.economy.choices import equilibrium_among_choices
from jaxecon.economy.equilibrium import equilibrium_outcome, leader_problem, welfare_gain
from jaxecon.economy.state import Economy, by_cohort
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.optimum.density import past_bunching
from jaxecon.kernels.preferences import isoelastic_utility
from jaxecon.kernels.roots import bisect
from jaxecon.kernels.taxation import TaxSchedule, marginal_rate, weighted_mean
from jaxecon.kernels.welfare import gini
from jaxecon.planners.announced import Convergence, Knowledge, announced
from jaxecon.workers.base import Cohort

DECILES = 10
_BISECTIONS = 60
_GAINED = 0.5  # $/year: smaller gains and losses count as neither


@dataclass(frozen=True)
class Appraisal:
    """The consequences of one schedule at equilibrium. k brackets.

    Deciles (10,) are of skill, by survey weight. Brackets (k,) are of income under this schedule.

    Attributes:
        welfare: in the unit of utility.
        gain: of welfare over US federal, a fraction.
        gain_choices: the same where workers take the best of the hours that they choose among
            (`economy.choices`); equal to `gain` where they take any hours.
        hours: mean, h/week.
        income, tax, rebate: means, $/year.
        unfunded: what the pool pays beyond its revenue, mean $/year; above 0 only where there is a
            floor of the rebate that taxes do not pay for.
        gini_consumption: Gini coefficient of consumption.
        deadweight_loss: $/year per person, what lump-sum taxes that leave everybody as well off
            would raise beyond this tax's revenue net of the rebate (the excess burden, Auerbach
            1985, by equivalent variation in the economy without taxes).
        decile_income: mean, $/year.
        decile_average_rate: tax over income.
        decile_marginal_rate: mean.
        decile_worth: money metric of utility, $/year: the lump sum that gives the same utility in
            an economy without taxes.
        decile_gain_share, decile_loss_share: shares of the people who are better or worse off than
            under US federal by more than 0.5 $/year.
        bracket_people: share of the people.
        bracket_weight: mean marginal welfare weight.
    """

    welfare: np.ndarray
    gain: np.ndarray
    gain_choices: np.ndarray
    hours: np.ndarray
    income: np.ndarray
    tax: np.ndarray
    rebate: np.ndarray
    unfunded: np.ndarray
    gini_consumption: np.ndarray
    deadweight_loss: np.ndarray
    decile_income: np.ndarray
    decile_average_rate: np.ndarray
    decile_marginal_rate: np.ndarray
    decile_worth: np.ndarray
    decile_gain_share: np.ndarray
    decile_loss_share: np.ndarray
    bracket_people: np.ndarray
    bracket_weight: np.ndarray


def appraise(economy: Economy, schedule: TaxSchedule) -> Appraisal:
    """Return the consequences of a schedule at equilibrium."""
    after = equilibrium_outcome(economy, schedule)
    judged = jax.tree.map(np.asarray, _judge(economy, schedule, after))
    worth, before = judged.worth, np.asarray(_untaxed_worth(economy, economy.reference))
    outcome = jax.tree.map(np.asarray, after)
    w = judged.weight / judged.weight.sum()
    decile = _deciles(judged.skill, w)
    k = schedule.brackets
    starts = past_bunching(np.asarray(schedule.thresholds))
    bracket = np.clip(np.searchsorted(starts, outcome.income, side="left") - 1, 0, k - 1)

    def mean_by(group: np.ndarray, groups: int, x: np.ndarray) -> np.ndarray:
        people = np.bincount(group, w, groups)
        return np.divide(
            np.bincount(group, w * x, groups), people, out=np.full(groups, np.nan), where=people > 0
        )

    def by_decile(x: np.ndarray) -> np.ndarray:
        return mean_by(decile, DECILES, x)

    incomes, taxes, change = by_decile(outcome.income), by_decile(outcome.tax), worth - before
    return Appraisal(
        welfare=judged.welfare,
        gain=judged.gain,
        gain_choices=judged.gain_choices,
        hours=w @ outcome.hours,
        income=w @ outcome.income,
        tax=w @ outcome.tax,
        rebate=outcome.rebate,
        unfunded=judged.unfunded,
        gini_consumption=judged.gini_consumption,
        deadweight_loss=outcome.rebate - w @ worth - w @ outcome.tax,
        decile_income=incomes,
        decile_average_rate=np.divide(taxes, incomes, out=np.zeros(DECILES), where=incomes > 0),
        decile_marginal_rate=by_decile(judged.marginal_rate),
        decile_worth=by_decile(worth),
        decile_gain_share=by_decile(change > _GAINED),
        decile_loss_share=by_decile(change < -_GAINED),
        bracket_people=np.bincount(bracket, w, k),
        bracket_weight=mean_by(bracket, k, judged.marginal_weight),
    )


class _Judged(NamedTuple):
    welfare: Array
    gain: Array
    gain_choices: Array
    unfunded: Array
    gini_consumption: Array
    skill: Array
    weight: Array
    worth: Array
    marginal_rate: Array
    marginal_weight: Array


@jax.jit
def _judge(economy: Economy, schedule: TaxSchedule, outcome: Outcome) -> _Judged:
    people = economy.population
    among_choices = equilibrium_among_choices(economy, schedule, outcome)
    welfare, welfare_among_choices = (
        economy.welfare(by_cohort(economy, x.utility)) for x in (outcome, among_choices)
    )
    return _Judged(
        welfare,
        welfare_gain(economy, welfare),
        welfare_gain(economy, welfare_among_choices),
        _unfunded(economy, outcome),
        gini(jnp.maximum(outcome.consumption, 0), people.weight),
        people.skill,
        people.weight,
        _untaxed_worth(economy, outcome),
        marginal_rate(schedule, outcome.income),
        leader_problem(economy).marginal_weights(outcome),
    )


def _unfunded(economy: Economy, outcome: Outcome) -> Array:
    """Return the money that the pool prints to pay the rebate's floor, $/year per person."""
    if economy.rebate_floor is None:
        return jnp.zeros_like(outcome.rebate)
    problem = leader_problem(economy)
    funded = weighted_mean(outcome.tax, problem.weights) - problem.public_spending
    # where the floor does not bind, a difference is rounding
    binds = outcome.rebate <= economy.rebate_floor
    return jnp.where(binds, jnp.maximum(outcome.rebate - funded, 0), 0)


@jax.jit
def _untaxed_worth(economy: Economy, outcome: Outcome) -> Array:
    worth = money_metric(economy.population, outcome)
    endowment = leader_problem(economy).endowment
    # the economy without taxes on work has the endowment, too
    return worth if endowment is None else worth - endowment.worth


def _deciles(skill: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Each agent's decile of skill, 0..9, by the middle of its share of the people."""
    order = np.argsort(skill, kind="stable")
    middle = np.cumsum(share[order]) - share[order] / 2
    place = np.empty(len(skill), np.int64)
    place[order] = np.clip(middle * DECILES, 0, DECILES - 1)
    return place


def money_metric(people: Cohort, outcome: Outcome) -> Array:
    """Return the lump sum that makes each agent as well off in an economy without taxes.

    (n,) $/year, usually negative. At curvature 0 it is utility less the utility of untaxed work;
    otherwise it is found by bisection.
    """
    preferences, skill = people.preferences, people.skill
    untaxed = TaxSchedule.flat(0.0).astype(skill.dtype)

    def utility_with(lump_sum: Array) -> Array:
        hours = best_response(untaxed, skill, preferences, lump_sum)
        return isoelastic_utility(preferences, skill * hours + lump_sum, hours)

    if preferences.consumption_curvature == 0:
        return outcome.utility - utility_with(jnp.zeros_like(skill))

    # the bounds: losing all the income one could earn leaves too little; today's consumption
    # without any work is too much
    low, high = bisect(
        lambda lump_sum: utility_with(lump_sum) < outcome.utility,
        -skill * preferences.max_hours,
        jnp.maximum(outcome.consumption, 0),
        _BISECTIONS,
    )
    return (low + high) / 2


def policy_row(
    economy: Economy, name: str, schedule: TaxSchedule, convergence: Convergence | None = None
) -> dict[str, Any]:
    """Return an `Appraisal` as plain numbers and lists, with the policy's name and schedule.

    `converged` and `last_change` are of the iteration that computed the rates, None if there was
    none.
    """
    statistics = {
        k: np.asarray(v, np.float64).tolist() for k, v in vars(appraise(economy, schedule)).items()
    }
    rates = [round(float(r), 6) for r in schedule.rates]
    ended = dict.fromkeys(Convergence._fields) if convergence is None else convergence._asdict()
    return {
        "policy": name,
        "thresholds": [float(t) for t in schedule.thresholds],
        "rates": rates,
        **ended,
        **statistics,
    }


def policy_rows(
    economy: Economy,
    planners: Sequence[str],
    knowledge: Knowledge,
    schedules: Mapping[str, TaxSchedule] | None = None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return a row for each planner's schedule and each of `schedules`, and why others are missing.

    A planner may have no schedule for an economy (too few incomes for a density, spending that no
    tax pays for). The second result gives the reason by planner.
    """
    rows, missing = [], {}
    for kind in planners:
        try:
            if kind == "us_federal":  # always with its own brackets
                rows.append(
                    policy_row(
                        economy, kind, TaxSchedule.us_federal().astype(knowledge.thresholds.dtype)
                    )
                )
            else:
                planner = announced(kind, economy, knowledge)
                rows.append(policy_row(economy, kind, planner.schedule, planner.convergence))
        except ValueError as error:
            missing[kind] = str(error)
    rows += [policy_row(economy, name, schedule) for name, schedule in (schedules or {}).items()]
    return rows, missing
