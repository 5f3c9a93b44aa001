"""What the penalty of dissatisfaction does to the schedule that a planner arrives at."""

from typing import Any

from experiments.suite.answers import described_rows
from experiments.suite.arms import Arms, arms_of, rows_of
from experiments.suite.figures import Figure, curve, finish
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, described_table

QUESTION = (
    "Where the welfare that the planner sees counts that the dissatisfied enjoy less of what they "
    "have, which schedule does it "
    "arrive at, and what does that cost in private welfare?"
)
MIN_YEARS = 2  # a planner moves from the second on
RESERVED = ("satisfaction.judged",)
RATES = ("rate_0", "rate_1", "rate_2")
STATISTICS = ("gain_equilibrium", "satisfied_share", *RATES, "rebate", "mean_hours")
PRIVATE = "not counted"


def run(study: Study) -> list[Table | Figure]:
    """penalty: the share of utility that dissatisfaction leaves.

    Mechanical workers judge by their net tax.

    The gain at equilibrium is of private welfare in all arms; the gain as simulated is not
    compared, since arms count differently.
    """
    rows = [row | {"arm": PRIVATE} for row in rows_of(study.sweep("private"))]
    rows += [row | {"arm": row["welfare.penalty"]} for row in rows_of(study.sweep("counted"))]
    arms = arms_of(rows, lambda row: row["arm"], STATISTICS)
    words = {label: f"leaves {label:.0%}" for label in arms.labels if label != PRIVATE}
    results: list[Table | Figure] = [
        arms_table(
            "penalties",
            "The last year's schedule by the penalty",
            arms,
            STATISTICS,
            PRIVATE,
            arm="penalty",
            words=words,
        ),
        Figure(
            "penalties",
            "Rates, satisfaction and private welfare by what dissatisfaction leaves of utility.",
            _draw(arms),
            (13, 4),
        ),
    ]
    described = study.described("voices")
    if described is not None:
        kinds = ("satisfaction",)
        results.append(
            described_table(
                "llm_voices",
                "Judged by language-model workers and mechanical ones",
                described_rows(
                    described, kinds, lambda row: f"penalty {row['welfare.satisfaction']}"
                ),
                ("satisfied_share", "gain_equilibrium", *RATES),
                kinds=kinds,
                about="how such workers judge a planner that counts the penalty",
            )
        )
    return results


def _draw(arms: Arms) -> Any:
    labels = [PRIVATE, *sorted((label for label in arms.labels if label != PRIVATE), reverse=True)]
    x = list(range(len(labels)))
    names = [label if label == PRIVATE else f"{100 * label:.0f} %" for label in labels]

    def draw(figure: Any) -> None:
        rates, satisfied, gain = figure.subplots(1, 3)
        for i, name in enumerate(RATES):
            curve(rates, x, arms, labels, name, colour=i)
        finish(rates, title="rates of the last year", x="what dissatisfaction leaves", y="%")
        curve(satisfied, x, arms, labels, "satisfied_share")
        finish(
            satisfied,
            title="satisfied at the end",
            x="what dissatisfaction leaves",
            y="%",
            legend=False,
        )
        curve(gain, x, arms, labels, "gain_equilibrium")
        finish(
            gain,
            title="gain over US federal at equilibrium",
            x="what dissatisfaction leaves",
            y="%",
            legend=False,
        )
        for axes in (rates, satisfied, gain):
            axes.set_xticks(x, names, fontsize=8)

    return draw
