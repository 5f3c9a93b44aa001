"""What altruists and adversaries among the people do to welfare and to the schedule that a planner
arrives at.
"""

from collections.abc import Mapping
from typing import Any

from experiments.suite.answers import described_rows
from experiments.suite.arms import arms_of, rows_of
from experiments.suite.figures import Figure, forest
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, described_table

QUESTION = (
    "What does it do to welfare, and to the planner's schedule, that some people work for "
    "everybody's welfare, or against it, "
    "in the place of their own?"
)
MIN_YEARS = 2  # a planner moves from the second on
RESERVED = tuple(f"population.cohorts.{i}.rule" for i in range(3))
ALTRUISTS, ADVERSARIES = "population.shares.altruists", "population.shares.adversaries"
STATISTICS = ("gain_realised", "gain_equilibrium", "mean_hours", "rebate", "rate_0", "rate_2")
NONE = 1e-3
EGOTISTS = "egotists alone"


def run(study: Study) -> list[Table | Figure]:
    """Shares of the people by kind.

    The gain at equilibrium counts everybody as if they worked for themselves.
    """
    arms = arms_of(rows_of(study.sweep("mixes")), _mix, STATISTICS)
    mixes = arms_table(
        "mixes", "The last year by who the people are", arms, STATISTICS, EGOTISTS, arm="people"
    )
    results: list[Table | Figure] = [
        mixes,
        Figure(
            "mixes",
            "The last year less that of egotists alone.",
            lambda figure: forest(
                figure,
                _only(mixes, ("gain_realised", "gain_equilibrium", "mean_hours")),
                "people",
                "Mixtures",
            ),
            (12, 4),
        ),
    ]
    described = study.described("objectives")
    if described is not None:
        results.append(
            described_table(
                "llm_objectives",
                "Language-model workers (half of the people) with an objective",
                described_rows(
                    described, ("labor",), lambda row: str(row["population.cohorts.1.objective"])
                ),
                ("gain_realised", "gain_equilibrium", "mean_hours"),
                kinds=("labor",),
                about="what an objective does to such workers",
            )
        )
    return results


def _mix(row: Mapping[str, Any]) -> str:
    shares = {"altruists": row[ALTRUISTS], "adversaries": row[ADVERSARIES]}
    return (
        ", ".join(f"{share:.0%} {name}" for name, share in shares.items() if share > NONE)
        or EGOTISTS
    )


def _only(table: Table, statistics: tuple[str, ...]) -> Table:
    return Table(
        table.name,
        table.title,
        [row for row in table.rows if row["statistic"] in statistics],
        [],
        [],
    )
