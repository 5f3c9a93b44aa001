"""What each ingredient of a planner's prompt is worth: a full factorial, and single ablations of a
language model's planner.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any

from experiments.suite.answers import described_rows
from experiments.suite.arms import Arms, arms_of, rows_of
from experiments.suite.figures import Figure, forest
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, described_table, effects_table

QUESTION = (
    "What do exploration, exploitation, the direction hint and the bound on a year's change each "
    "bring a planner that learns "
    "from its own history, and how do they work together? (The paper reports that removing "
    "exploitation costs about 22 points, "
    "more than removing exploration.)"
)
MIN_YEARS = 2  # a planner moves from the second on
RESERVED = ("planner.kind",)
# all that in_context makes of its history but the best
FACTORS = (
    "exploration",
    "exploitation",
    "direction hint",
    "bound",
)
WELFARE = ("gain_realised", "gain_equilibrium")
# of described runs: statistics, kinds of decisions, and what they are to say something about
DESCRIBED = (*WELFARE, "yearly_change", "reversals")
KINDS, ABOUT = ("plan",), "what an ingredient of the prompt is worth"
FULL = (True,) * len(FACTORS)


def run(study: Study) -> list[Table | Figure]:
    """All 2^4 planners on the same populations; the bound is 20 points a year, or none."""
    rows = rows_of(study.sweep("factorial"))
    arms = arms_of(rows, levels, WELFARE)
    effects = _effects_table(arms)
    title = "All planners of the factorial"
    results: list[Table | Figure] = [
        *_ablation_tables(rows, arms.labels),
        effects,
        arms_table(
            "cells", title, arms, WELFARE, arm="planner", words=_all_words(arms), printed=False
        ),
        Figure(
            "effects",
            "Main effects and interactions on the last year's gain over US federal, percentage "
            "points.",
            lambda figure: forest(figure, effects, "effect", "What an ingredient brings"),
            (10, 4.5),
        ),
    ]
    described = study.described("planner")
    if described is not None:
        results.append(
            described_table(
                "llm_planner",
                "A language model's planner",
                described_rows(described, KINDS, lambda row: _words(levels(row))),
                DESCRIBED,
                kinds=KINDS,
                about=ABOUT,
            )
        )
    return results


def _effects_table(arms: Arms) -> Table:
    cells = {
        statistic: {
            cell: arms.of(statistic, cell) for cell in product((True, False), repeat=len(FACTORS))
        }
        for statistic in WELFARE
    }
    title = "Main effects and two-way interactions on the last year's gain"
    return effects_table("effects", title, cells, FACTORS)


def _ablation_tables(rows: list[dict[str, Any]], cells: list[tuple[bool, ...]]) -> list[Table]:
    """Each single ingredient left out, beside the whole planner; and the two cues left out, beside
    each other.
    """
    single = [FULL, *(cell for cell in cells if sum(cell) == len(FACTORS) - 1)]
    ablated = arms_of([row for row in rows if levels(row) in single], levels, WELFARE)
    cell_of = {_words(cell): cell for cell in single}
    exploits = cell_of["without exploration"]
    pair = (exploits, cell_of["without exploitation"])
    cues = arms_of([row for row in rows if levels(row) in pair], levels, WELFARE)
    title = "Without exploitation beside without exploration"
    return [
        arms_table(
            "ablations",
            "One ingredient left out",
            ablated,
            WELFARE,
            FULL,
            arm="planner",
            words=_all_words(ablated),
        ),
        arms_table(
            "cues",
            title,
            cues,
            WELFARE,
            exploits,
            arm="planner",
            words=_all_words(cues),
            printed=False,
        ),
    ]


def levels(row: Mapping[str, Any]) -> tuple[bool, ...]:
    """Which ingredients a point's planner has."""
    memory = "planner.memory."
    return (
        bool(row[f"{memory}exploration"]),
        bool(row[f"{memory}exploitation"]),
        bool(row[f"{memory}direction_hint"]),
        row["planner.max_change"] <= 20,
    )


def _words(cell: tuple[bool, ...]) -> str:
    missing = [factor for factor, there in zip(FACTORS, cell, strict=True) if not there]
    return f"without {', '.join(missing)}" if missing else "all four"


def _all_words(arms: Arms) -> dict[Any, str]:
    return {cell: _words(cell) for cell in arms.labels}
