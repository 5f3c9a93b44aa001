"""How many people it takes: gains by the size of the economy, and what a panel does that stands for
a share of the people.
"""

from typing import Any

import numpy as np

from experiments.suite.arms import Arms, arms_of, rows_of
from experiments.suite.figures import COLOURS, Figure, curve, finish, powers_of_two
from experiments.suite.panels import gains_in
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, spread_table
from jaxecon.config.read import load_config
from jaxecon.economy.first_schedule import first_brackets

QUESTION = (
    "From how many people on does a planner's gain no longer depend on their number? And where a "
    "small panel stands for a share "
    "of the people, as language-model workers do, what does that do to variance and bias of what "
    "the planner achieves?"
)
MIN_YEARS = 2  # a planner moves from the second on
SIZE, SHARE = "population.cohorts.0.size", "population.shares.panel"
COUNTRY = 20_000  # quantiles of the same distribution, who judge a schedule chosen elsewhere
WELFARE = ("gain_realised", "gain_equilibrium", "gain_true", "gain_bias")


def run(study: Study) -> list[Table | Figure]:
    """Gains by the number of people and by a panel's size and share.

    gain_true: of the last schedule in the whole country; gain_bias: by how much the gain in the
    economy that it was chosen in exceeds that.
    """
    people = arms_of(_judged(study, "people"), lambda row: row[SIZE], WELFARE)
    panels = arms_of(_judged(study, "panels"), lambda row: (row[SIZE], row[SHARE]), WELFARE)
    words = {label: f"{label[0]} for {label[1]:.0%}" for label in panels.labels}
    least = min(panels.labels, key=lambda label: (label[1], -label[0]))
    return [
        arms_table(
            "people", "By the number of people", people, WELFARE, max(people.labels), arm="people"
        ),
        spread_table(
            "people_spread",
            "How far populations lie apart, by their size (standard deviation, points)",
            people,
            WELFARE,
        ),
        arms_table(
            "panels",
            "By a panel's size and share of the people",
            panels,
            WELFARE,
            least,
            arm="panel",
            words=words,
            printed=False,
        ),
        spread_table(
            "panels_spread",
            "How far populations lie apart, by a panel's size and share (standard deviation, "
            "points)",
            panels,
            WELFARE,
            words,
        ),
        Figure(
            "people",
            "Gains by the number of people: mean and interval.",
            _draw_people(people),
            (9, 4),
        ),
        Figure(
            "panels",
            "Bias and spread by a panel's size; colours: its share of the people.",
            _draw_panels(panels),
            (9, 4),
        ),
    ]


def _judged(study: Study, name: str) -> list[dict[str, Any]]:
    """A sweep's rows with what their last schedules are worth in the whole country."""
    rows = rows_of(study.sweep(name))
    simulated = [row for row in rows if row["status"] == "ok"]
    base = study.designs["mechanical"][name]["run"]
    country = {
        "cohorts": [{"name": "country", "rule": "rational", "size": COUNTRY}],
        "shares": {},
        "sampling": "quantiles",
    }
    config = load_config({**base, "population": {**base["population"], **country}})
    rates = np.array(
        [[row[f"rate_{k}"] for k in range(len(first_brackets(config)[1]))] for row in simulated]
    )
    gains = gains_in(config, rates)
    for row, gain in zip(simulated, gains, strict=True):
        row |= {"gain_true": float(gain), "gain_bias": row["gain_equilibrium"] - float(gain)}
    return rows


def _draw_people(people: Arms) -> Any:
    sizes = sorted(people.labels)

    def draw(figure: Any) -> None:
        gains, spread = figure.subplots(1, 2)
        for i, name in enumerate(WELFARE[:3]):
            curve(gains, sizes, people, sizes, name, colour=i)
        finish(gains, title="gain over US federal", x="people", y="%")
        _spread(spread, sizes, people, sizes, "gain_true", "")
        finish(
            spread,
            title="standard deviation of the gain in the whole country",
            x="people",
            y="points",
            legend=False,
        )
        spread.set_yscale("log")
        for axes in (gains, spread):
            axes.set_xscale("log")

    return draw


def _draw_panels(panels: Arms) -> Any:
    sizes, shares = (sorted({label[i] for label in panels.labels}) for i in (0, 1))

    def draw(figure: Any) -> None:
        bias, spread = figure.subplots(1, 2)
        for i, share in enumerate(shares):
            labels = [(size, share) for size in sizes]
            curve(bias, sizes, panels, labels, "gain_bias", f"{share:.0%} of the people", i)
            _spread(spread, sizes, panels, labels, "gain_bias", f"{share:.0%} of the people", i)
        finish(
            bias, title="by how much the economy flatters its last schedule", x="panel", y="points"
        )
        finish(spread, title="standard deviation of that over populations", x="panel", y="points")
        for axes in (bias, spread):
            powers_of_two(axes, sizes)

    return draw


def _spread(
    axes: Any,
    x: list[int],
    arms: Arms,
    labels: list[Any],
    statistic: str,
    words: str,
    colour: int = 0,
) -> None:
    """Standard deviations over populations, in percentage points."""
    spread = [100 * np.std(arms.of(statistic, label), ddof=1) for label in labels]
    axes.plot(x, spread, color=COLOURS[colour], marker="o", markersize=4, label=words)
