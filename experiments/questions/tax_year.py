"""How long a tax year must be: settling, oscillation and welfare over its days."""

from typing import Any

from experiments.suite.answers import described_rows
from experiments.suite.arms import Arms, arms_of, rows_of
from experiments.suite.figures import Figure, curve, finish, powers_of_two
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, described_table

QUESTION = (
    "How many days of a tax year do workers need to settle after the planner has moved, and what "
    "does a planner that moves "
    "before they have settled do to rates and welfare? (The paper takes 128 days.)"
)
MIN_YEARS = 3  # a change of a rate, and one that may reverse it
RESERVED = ("planner.kind",)
DAYS = "year.days"
SETTLING = ("settling", "settled_share", "reversals", "yearly_change")
WELFARE = ("gain_realised", "gain_equilibrium")


def run(study: Study) -> list[Table | Figure]:
    """Settling time (days until mean hours stay within 1 h/week of the year's closing mean),
    oscillation, final welfare.
    """
    rows = [row | _share(row) for row in rows_of(study.sweep("arms"))]
    arms = arms_of(rows, lambda row: row[DAYS], (*SETTLING, *WELFARE))
    longest = max(arms.labels)
    results: list[Table | Figure] = [
        arms_table(
            "settling",
            "Settling and oscillation by the days of a tax year",
            arms,
            SETTLING,
            longest,
            arm="days",
        ),
        arms_table(
            "welfare", "Gain over US federal in the last year", arms, WELFARE, longest, arm="days"
        ),
        Figure(
            "tax_year",
            "Settling time, oscillation and last year's welfare by the days of a tax year.",
            _draw(arms),
            (13, 4),
        ),
    ]
    described = study.described("workers")
    if described is not None:
        rows = described_rows(described, ("labor",), lambda row: f"{row[DAYS]} days")
        results.append(
            described_table(
                "llm_workers",
                "Language-model workers under the in-context planner",
                [row | _share(row) for row in rows],
                ("settling", "settled_share", "mean_hours", "yearly_change", *WELFARE),
                kinds=("labor",),
                about="the days that such workers need to settle",
            )
        )
    return results


def _share(row: dict[str, Any]) -> dict[str, float | None]:
    settling = row.get("settling")
    return {"settled_share": None if settling is None else settling / row[DAYS]}


def _draw(arms: Arms) -> Any:
    days = sorted(arms.labels)

    def draw(figure: Any) -> None:
        settling, moves, welfare = figure.subplots(1, 3)
        curve(settling, days, arms, days, "settling")
        settling.plot(days, days, color="#999999", linestyle=":", label="the whole year")
        settling.set_yscale("log")
        finish(settling, title="days until hours have settled", x="days of a tax year", y="days")
        curve(moves, days, arms, days, "reversals")
        finish(
            moves,
            title="changes of a rate that reverse the last",
            x="days of a tax year",
            y="%",
            legend=False,
        )
        for i, name in enumerate(WELFARE):
            curve(welfare, days, arms, days, name, colour=i)
        finish(welfare, title="gain over US federal, last year", x="days of a tax year", y="%")
        for axes in (settling, moves, welfare):
            powers_of_two(axes, days)

    return draw
