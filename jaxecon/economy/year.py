"""A whole year of an economy whose cohorts are all mechanical, to be traced into a larger program.

The loop of a single run (`jaxecon.simulation.loop`) does the same in several compiled calls, so
that signals, checkpoints and progress have their turn between them.
"""

from jaxecon.economy.days import end_year, simulate_days, start_year
from jaxecon.economy.state import Economy, EconomyState
from jaxecon.economy.summary import AgentYear, YearStatistics, summarise_year
from jaxecon.kernels.taxation import TaxSchedule


def mechanical_year(
    economy: Economy,
    state: EconomyState,
    schedule: TaxSchedule,
    days: int,
    judged: tuple[int, ...] = (),
) -> tuple[EconomyState, YearStatistics, AgentYear]:
    """The state before the next year's first day, the year's statistics, and its agents' means.

    schedule: in force all year. days, judged: how many, and after which of them everybody is asked
    whether they are satisfied (both static).
    """
    state, plan, sums = start_year(economy, state, schedule, days)
    state, sums, record = simulate_days(economy, plan, state, sums, days, judged)
    statistics, agents = summarise_year(economy, schedule, state, sums, record)
    return end_year(economy, state, sums), statistics, agents
