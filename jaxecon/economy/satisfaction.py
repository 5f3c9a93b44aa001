"""When workers are asked whether they are satisfied, and what mechanical workers answer."""

import dataclasses

from jax import Array

from jaxecon.config.settings import Config
from jaxecon.economy.state import AgentSums, Economy, EconomyState, economy_in_year
from jaxecon.economy.summary import planner_window
from jaxecon.kernels.satisfaction import judged


def judge(
    economy: Economy, state: EconomyState, sums: AgentSums, answers: dict[str, Array]
) -> EconomyState:
    """Return the state after everybody has judged whether they are satisfied with the year so far.

    answers: (n,) bool by cohort, of cohorts that were asked elsewhere; mechanical workers judge
    here.
    """
    return judge_in_year(economy_in_year(economy, state), state, sums, answers)


def judge_in_year(
    economy: Economy, state: EconomyState, sums: AgentSums, answers: dict[str, Array]
) -> EconomyState:
    """As `judge`, for an economy that has the skills of the state's year already."""
    satisfied = dict(answers)
    for name, cohort in economy.cohorts.items():
        if name not in answers and economy.judgement is not None:
            income, tax = cohort.skill * sums.hours[name] / sums.days, sums.tax[name] / sums.days
            rebate = sums.rebate / sums.days
            satisfied[name] = judged(
                economy.judgement, economy.seed, name, state.year, state.day, income, tax, rebate
            )
    return dataclasses.replace(state, satisfied=satisfied)


def judged_after(config: Config) -> range:
    """Return the days of a year, counted from 1, after which everybody is asked."""
    satisfaction, days = config.satisfaction, config.year.days
    if not satisfaction.judged:
        return range(0)
    if satisfaction.every_days:
        return range(satisfaction.every_days, days + 1, satisfaction.every_days)
    # before the days that the planner sees, so that they include the penalty a schedule causes
    once = max(1, days - planner_window(days))
    return range(once, once + 1)
