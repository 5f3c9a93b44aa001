"""The rows of a run's tables."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from jaxecon.planners.elections.voting import Election


def years_schema(row: Mapping[str, Any]) -> pa.Schema:
    """The schema of a row of years.parquet; types do not depend on a year's values."""
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string()}
    return pa.schema([(name, kinds[type(value)]) for name, value in row.items()])


def agents_table(
    year: int, cohorts: Mapping[str, Mapping[str, np.ndarray]], rows: Mapping[str, np.ndarray]
) -> pa.Table:
    """Rows of agents.parquet.

    cohorts: columns (n,) of each cohort, by name. rows: indices of the agents to keep, by cohort.
    """
    names = list(cohorts)
    indices = [np.repeat(np.int32(i), len(rows[name])) for i, name in enumerate(names)]
    columns: dict[str, Any] = {
        "year": np.full(sum(len(rows[name]) for name in names), year, np.int64),
        "cohort": pa.DictionaryArray.from_arrays(np.concatenate(indices), names),
        "agent": np.concatenate([rows[name].astype(np.int64) for name in names]),
    }
    for column in next(iter(cohorts.values())):
        columns[column] = np.concatenate(
            [np.asarray(cohorts[name][column])[rows[name]] for name in names]
        )
    return pa.table(columns)


def elections_table(election: "Election", sizes: Mapping[str, int]) -> pa.Table:
    """Rows of elections.parquet, one per candidate.

    In a vote on a planner, cohort is "" and agent -1. sizes: numbers of agents, by cohort.
    """
    from jaxecon.planners.elections.voting import worker_at

    rows = []
    for place in range(len(election.candidates)):
        worker = int(election.candidates[place])
        if worker < 0 and not election.stood[place]:
            continue
        cohort, agent = worker_at(worker, sizes) if worker >= 0 else ("", -1)
        rows.append(
            {
                "year": int(election.year),
                "candidate": place,
                "cohort": cohort,
                "agent": agent,
                "stood": bool(election.stood[place]),
                "score": float(election.scores[place]),
                "elected": place == int(election.elected),
                "tied": bool(election.tied),
                **{
                    f"platform_{k}": round(float(rate), 7)
                    for k, rate in enumerate(election.platforms[place])
                },
            }
        )
    kinds = {
        "cohort": pa.string(),
        "stood": pa.bool_(),
        "elected": pa.bool_(),
        "tied": pa.bool_(),
        "score": pa.float64(),
    }
    brackets = [(f"platform_{k}", pa.float64()) for k in range(election.platforms.shape[1])]
    names = ("year", "candidate", "cohort", "agent", "stood", "score", "elected", "tied")
    return pa.Table.from_pylist(
        rows, schema=pa.schema([*((n, kinds.get(n, pa.int64())) for n in names), *brackets])
    )


def ballots_table(
    election: "Election", sizes: Mapping[str, int], kept: Mapping[str, np.ndarray]
) -> pa.Table:
    """Rows of ballots.parquet, one per voter and choice.

    The best choice has rank 1; where voters approve, all have. A voter who voted for nobody has
    candidate -1 and rank 0.

    sizes: numbers of agents, by cohort. kept: indices of the recorded voters, by cohort.
    """
    ballots, start = np.asarray(election.ballots), 0
    columns: dict[str, list[np.ndarray]] = {"cohort": [], "agent": [], "candidate": [], "rank": []}
    for number, (name, size) in enumerate(sizes.items()):
        mine = ballots[start : start + size][kept[name]]
        marked = np.column_stack([mine, ~mine.any(axis=1)])  # the last column: nobody
        voter, candidate = np.nonzero(marked)
        nobody = candidate == mine.shape[1]
        columns["cohort"].append(np.full(len(voter), number, np.int32))
        columns["agent"].append(kept[name][voter])
        columns["candidate"].append(np.where(nobody, -1, candidate))
        columns["rank"].append(np.where(nobody, 0, marked[voter, candidate]))
        start += size
    cohorts = pa.DictionaryArray.from_arrays(np.concatenate(columns.pop("cohort")), list(sizes))
    whole = {name: np.concatenate(parts).astype(np.int64) for name, parts in columns.items()}
    return pa.table(
        {"year": np.full(len(cohorts), int(election.year), np.int64), "cohort": cohorts, **whole}
    )
