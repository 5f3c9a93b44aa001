"""The paper's parameters beside corrected ones: which of its effects are effects of its units and
weights.
"""

from collections.abc import Mapping
from typing import Any

from experiments.suite.arms import arms_of, rows_of
from experiments.suite.figures import Figure, forest
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table

QUESTION = (
    "The paper sets weekly disutility against annual income and divides utility by realised "
    "income, however small. Which of "
    "its effects (gains of about 100 %, the cost of leaving out exploitation and exploration) "
    "remain in annual units and with "
    "fixed, floored welfare weights?"
)
MIN_YEARS = 2  # a planner moves from the second on
RESERVED = ("planner.kind", "schedule")
SET, FLOOR = "preferences.set", "welfare.floor"
WELFARE = ("gain_realised", "gain_equilibrium")
STATISTICS = (*WELFARE, "gain_paper", "mean_hours", "hours_federal")


def run(study: Study) -> list[Table | Figure]:
    """Three sets of parameters by two floors of the weights; the in-context planner whole and
    without either cue.

    The paper's own measure, the sum of utility over realised income, is compared with the same
    people's under today's schedule; no planner here sees it.
    """
    learning = rows_of(study.sweep("learning"))
    federal = {(row[SET], row["seed"]): row for row in rows_of(study.sweep("federal"))}
    for row in learning:
        before = federal[row[SET], row["seed"]]
        known = row["status"] == before["status"] == "ok"
        row["gain_paper"] = row["swf_paper"] / before["swf_paper"] - 1 if known else None
        row["hours_federal"] = before["mean_hours"]
    whole = arms_of([row for row in learning if _planner(row) == "whole"], _economy, STATISTICS)
    reference = "calibrated, floor 10,000"
    results: list[Table | Figure] = [
        arms_table(
            "economies",
            "The in-context planner in each economy; gains over US federal",
            whole,
            STATISTICS,
            reference,
            arm="parameters",
        )
    ]
    by_economy: list[Table] = []
    for economy in whole.labels:
        arms = arms_of([row for row in learning if _economy(row) == economy], _planner, WELFARE)
        title = f"Leaving out a cue, {economy}"
        by_economy.append(
            arms_table(f"cues_{len(by_economy)}", title, arms, WELFARE, "whole", arm="planner")
        )
    figure = Figure(
        "cues",
        "What leaving out exploitation and exploration does to the last year's gain, percentage "
        "points, by parameters and floor.",
        lambda figure: _draw(figure, dict(zip(whole.labels, by_economy, strict=True))),
        (11, 5),
    )
    return [*results, *by_economy, figure]


def _economy(row: Mapping[str, Any]) -> str:
    return f"{row[SET]}, floor {row[FLOOR]:,}"


def _planner(row: Mapping[str, Any]) -> str:
    memory = "planner.memory."
    if not row[f"{memory}exploitation"]:
        return "without exploitation"
    return "whole" if row[f"{memory}exploration"] else "without exploration"


def _draw(figure: Any, tables: Mapping[str, Table]) -> None:
    rows = [
        row | {"planner": f"{economy}: {row['planner']}"}
        for economy, table in tables.items()
        for row in table.rows
        if "difference" in row
    ]
    together = Table("", "", rows, [], [])
    forest(figure, together, "planner", "Less the whole planner's gain")
