"""What the planner sees of a year."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxecon.economy.devices import on_host
from jaxecon.economy.state import Economy
from jaxecon.economy.summary import AgentYear, YearStatistics
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import YearObservation

# Means of a year, per agent of the cohorts that a planner asks about.
COLUMNS = ("hours", "income", "tax", "rebate", "utility")


def observe_year(
    year: int,
    years: int,
    economy: Economy,
    schedule: TaxSchedule,
    statistics: YearStatistics,
    agents: AgentYear,
    asks: Sequence[str],
) -> YearObservation:
    """The observation of a year that has ended.

    years: of the whole run. asks: cohorts whose agents the planner wants to see one by one.
    """

    def everyone(x: Mapping[str, jax.Array]) -> np.ndarray:
        return np.concatenate([on_host(x[name]).astype(np.float64) for name in economy.cohorts])

    weight, income, utility = (
        everyone(x) for x in (economy.weights, agents.income, agents.utility)
    )
    bracket = np.searchsorted(np.asarray(schedule.thresholds), income, side="right") - 1
    people, incomes, utilities = (
        np.bincount(bracket, weight * x, minlength=schedule.brackets)
        for x in (np.ones_like(income), income, utility)
    )
    people_or_tiny = np.maximum(people, np.finfo(float).tiny)  # a bracket may be empty
    return YearObservation(
        year=year,
        years=years,
        schedule=schedule,
        welfare=float(statistics.swf_window),
        mean_hours=float(statistics.mean_hours),
        mean_income=float(statistics.mean_income),
        rebate=float(statistics.rebate),
        people=people / weight.sum(),
        income=incomes / people_or_tiny,
        utility=utilities / people_or_tiny,
        agent_means={
            name: _cohort_year(economy.cohorts[name].size, name, statistics, agents)
            for name in asks
        },
    )


def _cohort_year(
    size: int, name: str, statistics: YearStatistics, agents: AgentYear
) -> dict[str, np.ndarray]:
    """A cohort's means of the year, (n,) by column."""
    rebate = np.full(size, float(statistics.rebate))
    return {
        column: rebate if column == "rebate" else np.asarray(getattr(agents, column)[name], float)
        for column in COLUMNS
    }


def observation_form(
    economy: Economy, schedule: TaxSchedule, asks: Sequence[str]
) -> YearObservation:
    """An observation with this economy's types and shapes, and placeholder values.

    schedule: with shapes in place of its arrays.
    """
    by_bracket = np.zeros(schedule.brackets)
    cohorts = {
        name: {column: np.zeros(economy.cohorts[name].size) for column in COLUMNS} for name in asks
    }
    return YearObservation(
        0, 0, schedule, 0.0, 0.0, 0.0, 0.0, by_bracket, by_bracket, by_bracket, cohorts
    )
