"""What is recorded of a year: its row, and the rows of its agents, elections and ballots."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from jaxecon.config.recording import Record
from jaxecon.economy.devices import on_host
from jaxecon.economy.state import Economy
from jaxecon.economy.summary import AgentYear, YearStatistics
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.elections.voting import Election
from jaxecon.simulation.people import People
from jaxecon.storage.paths import AGENTS, BALLOTS, ELECTIONS, SURVEY
from jaxecon.storage.survey import SurveyAnswer, survey_table
from jaxecon.storage.tables import agents_table, ballots_table, elections_table
from jaxecon.storage.usage import LLMUsage


def year_row(
    year: int,
    schedule: TaxSchedule,
    statistics: YearStatistics,
    leader: str,
    usage: LLMUsage,
    answers: Sequence[SurveyAnswer],
    seconds: float,
    further: Mapping[str, float],
) -> dict[str, Any]:
    """A row of years.parquet.

    usage: of language models in this year. answers: of its survey, which are no decisions. seconds:
    how long the year took. further: columns that only some runs have.
    """
    return {
        "year": year,
        **{name: float(value) for name, value in vars(statistics).items() if value is not None},
        **{f"rate_{k}": round(float(rate), 7) for k, rate in enumerate(schedule.rates)},
        "leader": leader,
        "llm_calls": usage.calls,
        "llm_fallbacks": usage.fallbacks - sum(a.status == "fallback" for a in answers),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "seconds": seconds,
        "llm_decisions": usage.decisions - len(answers),
        **further,
    }


def year_tables(
    year: int,
    economy: Economy,
    record: Record,
    people: People,
    agents: AgentYear,
    satisfied: Mapping[str, jax.Array],
    election: Election | None,
    answers: Sequence[SurveyAnswer],
) -> dict[str, pa.Table]:
    """The year's rows of the other tables, by file name, as far as `record` asks for them.

    election: the planner's last one, which may be an earlier year's. answers: of this year's
    survey.
    """
    tables = {}
    sizes = {name: cohort.size for name, cohort in economy.cohorts.items()}
    rows = {name: _recorded_agents(record, size) for name, size in sizes.items()}
    if record.agents != "none":
        cohorts = {}
        for name in economy.cohorts:
            means = {
                column: on_host(values[name])
                for column, values in vars(agents).items()
                if values is not None
            }
            cohorts[name] = people.columns[name] | means | {"satisfied": on_host(satisfied[name])}
        tables[AGENTS] = agents_table(year, cohorts, rows)
    if election is not None and int(election.year) == year:
        tables[ELECTIONS] = elections_table(election, sizes)
        tables[BALLOTS] = ballots_table(election, sizes, rows)
    if answers:
        weights = {name: columns["weight"] for name, columns in people.columns.items()}
        tables[SURVEY] = survey_table(year, answers, weights)
    return tables


def _recorded_agents(record: Record, size: int) -> np.ndarray:
    """Indices of the agents of a cohort that are recorded, evenly spaced."""
    count = {"every": size, "sample": min(record.sample, size), "none": 0}[record.agents]
    return np.linspace(0, size - 1, count).round().astype(np.int64)
