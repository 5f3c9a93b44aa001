"""Planners side by side: those that know the economy, those that learn, and a language model."""

from typing import Any

from experiments.suite.answers import described_rows
from experiments.suite.arms import arms_of, rows_of
from experiments.suite.figures import Figure, forest
from experiments.suite.panels import elasticities
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, described_table
from jaxecon.sweeps.results import Sweep

QUESTION = (
    "How much do the US federal schedule, the best flat tax, Saez's formula, the optimum and a "
    "planner that learns from its own "
    "history gain over one another, among workers who learn? (The paper reports 93 to 114 % over "
    "US federal.)"
)
MIN_YEARS = 2  # that a reform lies between
RESERVED = ("planner.kind", "planner.elasticity")
FIXED = 0.4  # Saez 2002
WELFARE = ("gain_realised", "gain_equilibrium")


def run(study: Study) -> list[Table | Figure]:
    """Every planner on the same populations and draws.

    The announced ones work out their schedule for each population.
    """
    formula = f"Saez, {FIXED}"
    estimated = study.computed("elasticities", lambda: elasticities(study.configurations("panel")))
    points: list[dict[str, Any]] = []
    labels: list[str] = []
    for row in estimated:
        for label, kind, elasticity in (
            ("optimum", "optimum", None),
            ("US federal", "us_federal", None),
            ("best flat", "flat", None),
            (formula, "saez", FIXED),
            ("Saez, estimated", "saez", max(row["elasticity"], 0.01)),
            ("Saez, fixed point", "saez_self_consistent", FIXED),
        ):
            labels.append(label)
            points.append(
                {"planner.kind": kind, "planner.elasticity": elasticity, "seed": row["seed"]}
            )
    announced = [
        row | {"arm": labels[row["point"]]} for row in rows_of(study.sweep("announced", points))
    ]
    learning = [row | {"arm": "in-context"} for row in rows_of(study.sweep("in_context"))]
    arms = arms_of([*announced, *learning], lambda row: row["arm"], WELFARE)
    title = "Gain over US federal in the last year"
    gains = arms_table("gains", title, arms, WELFARE, "optimum", arm="planner")
    beside = arms_of(
        [row for row in [*announced, *learning] if row["arm"] in (formula, "in-context")],
        lambda row: row["arm"],
        WELFARE,
    )
    results: list[Table | Figure] = [
        gains,
        arms_table(
            "beside_saez",
            f"The planner that learns beside {formula}",
            beside,
            WELFARE,
            formula,
            arm="planner",
            printed=False,
        ),
        Figure(
            "baselines",
            "Gain over US federal less the optimum's, percentage points.",
            lambda figure: forest(figure, gains, "planner", "Gain less the optimum's"),
            (11, 4),
        ),
    ]
    described = study.described("planner")
    if described is not None:
        results.append(_language_models_table(described))
    return results


def _language_models_table(described: Sweep) -> Table:
    """A language model's planner, a column for each population."""
    kinds = ("plan",)
    return described_table(
        "llm_planner",
        "A language model's planner",
        described_rows(described, kinds, lambda row: f"population {row['seed']}"),
        (*WELFARE, "mean_hours", "yearly_change", "reversals"),
        kinds=kinds,
        about="how this planner responds to an economy",
    )
