"""Saez's formula with the elasticity that people's own incomes show.

It is beside the formula with the elasticity they have, and beside the optimum.
"""

from typing import Any

from experiments.suite.arms import Arms, arms_of, rows_of
from experiments.suite.figures import Figure, finish, forest
from experiments.suite.panels import elasticities
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table

QUESTION = (
    "A planner that knows Saez's formula but not the elasticity estimates it from incomes under "
    "reforms. How far off is the "
    "estimate, by how workers decide, and what does the schedule that comes of it lose against "
    "the optimum?"
)
MIN_YEARS = 2  # that a reform lies between
RESERVED = ("planner.kind", "planner.elasticity")
RULE = "population.cohorts.0.rule"
TRUE = "true"
WELFARE = ("gain_realised", "gain_equilibrium")


def run(study: Study) -> list[Table | Figure]:
    """Elasticities by population and rule (12 years, first differences, two-stage least squares);
    then schedules.
    """
    people = study.configurations("panel")
    rows = study.computed("elasticities", lambda: elasticities(people))
    exact = 1 / (people[0][1].preferences.disutility_exponent - 1)
    truth = [{"seed": seed, RULE: TRUE, "elasticity": exact} for seed in study.seeds("panel")]
    estimates = arms_of(
        [row | {"status": "ok"} for row in [*truth, *rows]], lambda row: row[RULE], ("elasticity",)
    )
    points, labels = _planners(estimates, exact)
    simulated = rows_of(study.sweep("planners", points))
    arms = arms_of(simulated, lambda row: labels[row["point"]], WELFARE)
    gains = arms_table(
        "gains", "Gain over US federal of each schedule", arms, WELFARE, "optimum", arm="planner"
    )
    return [
        arms_table(
            "elasticities",
            "Elasticity of income, estimated",
            estimates,
            ("elasticity",),
            TRUE,
            arm="workers",
        ),
        gains,
        Figure(
            "elasticities",
            "Estimates of the elasticity over populations; the line is the true one.",
            _draw(estimates, exact),
        ),
        Figure(
            "losses",
            "What each schedule loses against the optimum, percentage points of gain.",
            lambda figure: forest(figure, gains, "planner", "Gain less the optimum's"),
            (11, 3.5),
        ),
    ]


def _planners(estimates: Arms, exact: float) -> tuple[list[dict[str, Any]], list[str]]:
    """Each population's planners as points of a sweep, and their labels: the optimum, and Saez's
    formula with the true elasticity and with each estimate.
    """
    points: list[dict[str, Any]] = []
    labels: list[str] = []
    for i, seed in enumerate(estimates.seeds):
        # the formula has no solution at an elasticity of 0 or below
        estimate = {
            rule: max(float(estimates.of("elasticity", rule)[i]), 0.01)
            for rule in estimates.labels
            if rule != TRUE
        }
        planners = [
            ("optimum", "optimum", None),
            ("Saez, true elasticity", "saez", exact),
            *((f"Saez, elasticity of {rule} workers", "saez", e) for rule, e in estimate.items()),
            ("Saez, adaptive workers', fixed point", "saez_self_consistent", estimate["adaptive"]),
        ]
        for label, kind, elasticity in planners:
            labels.append(label)
            points.append({"planner.kind": kind, "planner.elasticity": elasticity, "seed": seed})
    return points, labels


def _draw(estimates: Arms, exact: float) -> Any:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        rules = [label for label in estimates.labels if label != TRUE]
        axes.boxplot([estimates.of("elasticity", rule) for rule in rules], tick_labels=rules)
        axes.axhline(exact, color="black", linewidth=0.8)
        finish(axes, title="elasticity of income to the net-of-tax rate", x="workers", legend=False)

    return draw
