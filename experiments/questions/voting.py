"""Leaders that the workers elect: how often turnover raises welfare, and how often a majority
exploits the others.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.suite.answers import described_rows
from experiments.suite.arms import Arms, arms_of
from experiments.suite.figures import COLOURS, Figure, finish
from experiments.suite.statistics import estimate
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table, described_table
from jaxecon.config.settings import Config
from jaxecon.economy.build import build_economy
from jaxecon.economy.equilibrium import leader_problem, welfare_gain
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.economy.precision import compute_context
from jaxecon.planners.announced import announced_planner
from jaxecon.planners.elections.voting import valuations
from jaxecon.sweeps.results import Sweep

QUESTION = (
    "Workers elect one of themselves, who sets the rates for its own utility. How far from the "
    "optimum do they end, how often "
    "does another leader raise welfare, and how often does a majority live at the cost of the "
    "others?"
)
MIN_YEARS = 3  # one before any election, and two leaders
RESERVED = (
    "planner.kind",
    "elections.candidates",
    "population.cohorts.0.size",
    "population.skills",
    "population.file",
)
# Of skills: income at full time fitted to ACS 2023; the paper's uniform wages; nine poor for one
# who earns ten times as much.
SKILLS: dict[str, dict[str, Any]] = {
    "GB2": {"population.skills": "gb2", "population.file": None},
    "uniform": {"population.skills": "uniform", "population.file": None},
    "two classes": {
        "population.skills": "file",
        "population.file": str(Path(__file__).with_name("two_classes.csv")),
    },
}
ECONOMIES = tuple(product((3, 10, 50), SKILLS))
EXPLOITED = 0.05  # of its utility at the optimum, that a minority loses where it is exploited
_NOTICED = 0.5  # $/year: who gains or loses less has stayed where they were

WELFARE = ("gain_elected", "gain_optimum")
CONFLICT = ("exploits", "better_off", "minority_loss", "turnover")


def run(study: Study) -> list[Table | Figure]:
    """Elected leaders against each population's exact optimum; conflicts of interest; ways of
    counting.
    """
    points = [
        {"population.cohorts.0.size": size, **SKILLS[skills], "seed": seed}
        for size, skills in ECONOMIES
        for seed in study.seeds("elections")
    ]
    rows = _rows(study, "elections", points)
    arms = arms_of(rows, _economy, (*WELFARE, *CONFLICT))
    title = "Majorities and minorities, beside the optimum"
    results: list[Table | Figure] = [
        _welfare_table(rows),
        arms_table("conflict", title, arms, CONFLICT, arm="economy"),
        *_turnovers([row for row in rows if row.get("turnover_raised") is not None]),
        Figure(
            "voting",
            "Elected leaders beside the exact optimum, and majorities at the others' cost.",
            _draw(arms),
            (12, 4),
        ),
    ]
    if "methods" in study.designs["mechanical"]:
        results.append(_methods_table(study))
    described = study.described("electorate")
    if described is not None:
        results.append(_electorate_table(described))
    return results


def _welfare_table(rows: list[dict[str, Any]]) -> Table:
    """Gains of elected leaders and of the optimum, each economy's pair compared."""
    pairs = [
        row | {"arm": f"{_economy(row)}: {who}", "gain_once_learnt": row[statistic]}
        for row in rows
        for who, statistic in (("elected", "gain_elected"), ("optimum", "gain_optimum"))
    ]
    sides = arms_of(pairs, lambda row: row["arm"], ("gain_once_learnt",))
    yardsticks = {
        label: label.replace(": elected", ": optimum")
        for label in sides.labels
        if label.endswith("elected")
    }
    title = "Gain in elected leaders' years"
    return arms_table("welfare", title, sides, ("gain_once_learnt",), yardsticks, arm="economy")


def _methods_table(study: Study) -> Table:
    """Ways of counting the ballots."""
    statistics = ("gain_elected", *CONFLICT)
    arms = arms_of(
        _rows(study, "methods"), lambda row: row["elections.method"], (*WELFARE, *CONFLICT)
    )
    title = "Ways of counting, ten workers who all may stand"
    return arms_table("methods", title, arms, statistics, "plurality", arm="method")


def _electorate_table(described: Sweep) -> Table:
    """Language models that elect one of themselves, with platforms and without."""
    kinds = ("vote", "plan")
    rows = described_rows(
        described,
        kinds,
        lambda row: "with platforms" if row["elections.platforms"] else "no platforms",
    )
    return described_table(
        "llm_electorate",
        "Language models that elect one of themselves",
        [row | {"turnover": _turnover(described, row["point"])} for row in rows],
        ("turnover", "gain_realised", "gain_equilibrium", "mean_hours"),
        kinds=kinds,
        about="what platforms do",
    )


def _economy(row: Mapping[str, Any]) -> str:
    return f"{row['population.cohorts.0.size']} workers, {row['skills']}"


def _turnovers(rows: list[dict[str, Any]]) -> list[Table]:
    """Each economy's own populations with a turnover: no two economies need have them in common.

    Nothing where there is none.
    """
    if not rows:
        return []
    economies = dict.fromkeys(_economy(row) for row in rows)
    parts = [
        arms_table(
            "turnover",
            "Turnovers that raise welfare",
            arms_of(rows, only, ("turnover_raised",)),
            ("turnover_raised",),
            arm="economy",
        )
        for only in (
            (lambda row, economy=economy: economy if _economy(row) == economy else None)
            for economy in economies
        )
    ]
    first = parts[0]
    cells = [first.cells[0], *(line for part in parts for line in part.cells[1:])]
    note = "Of populations in which the leader changed at least once."
    return [
        Table(
            first.name,
            first.title,
            [row for part in parts for row in part.rows],
            first.heads,
            cells,
            note,
        )
    ]


def _rows(
    study: Study, name: str, points: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """A row for each point: settings, and what its leaders did."""
    swept = study.sweep(name, points)
    judged = {
        row["point"]: row
        for row in study.computed(name, lambda: _judged(study, name, swept, points))
    }
    rows = []
    for row in swept.points.to_pylist():
        # from the design: the sweep's folder names no place of this machine
        settings = row if points is None else points[row["point"]]
        skills = next(
            (
                n
                for n, s in SKILLS.items()
                if all(settings.get(key) == value for key, value in s.items())
            ),
            "GB2",
        )
        rows.append(row | {"skills": skills} | judged.get(row["point"], {}))
    return rows


def _judged(
    study: Study, name: str, swept: Sweep, points: list[dict[str, Any]] | None
) -> Iterator[dict[str, Any]]:
    years: dict[int, list[dict[str, Any]]] = {}
    for year in swept.years.to_pylist():
        years.setdefault(year["point"], []).append(year)
    for point, (_, config) in enumerate(study.configurations(name, points)):
        if point in years:
            yield {"point": point, **conflict(config, years[point])}


def conflict(config: Config, years: list[dict[str, Any]]) -> dict[str, float | None]:
    """What elected leaders did to a population, beside the schedule that maximises its welfare;
    at equilibrium (every worker responds exactly).

    years: rows of years.parquet, the first before any election. gain_elected: mean gain of the
    years after, gain_optimum: the optimum's; fractions over US federal. better_off: share of the
    people who gain over the optimum. exploits: share of years in which more than half do, and the
    others lose at least EXPLOITED of their utility there, in the mean. minority_loss: that loss,
    mean over the years in which more than half gain; 0 without any. turnover: share of elections
    but the first that bring another leader. turnover_raised: share of those with a higher welfare
    than the year before. None where there are none.
    """
    thresholds, _ = first_brackets(config)
    elected = years[1:]
    rates = np.array([[year[f"rate_{k}"] for k in range(len(thresholds))] for year in elected])
    with compute_context(config):
        economy = build_economy(config)
        problem = leader_problem(economy)
        best = announced_planner(
            config.model_copy(
                update={"planner": config.planner.model_copy(update={"kind": "optimum"})}
            ),
            economy,
        ).schedule
        every = jnp.concatenate([best.rates[None], jnp.asarray(rates, best.rates.dtype)])
        utility = np.asarray(_valuations(problem, best.thresholds, every), np.float64)
        optimum = float(
            welfare_gain(
                economy, problem.welfare_of(problem.settled_utility(problem.outcome(best)))
            )
        )
        weights = np.asarray(problem.weights, np.float64)
    change, at_optimum = utility[1:] - utility[0], np.abs(utility[0])
    better, share = change > _NOTICED, weights / weights.sum()
    others = np.maximum(~better @ share, np.finfo(float).tiny)
    loss = (np.where(better, 0, -change / at_optimum) @ share) / others
    majority = better @ share > 0.5
    leaders = [year["leader"] for year in elected]
    turned = [i for i in range(1, len(elected)) if leaders[i] != leaders[i - 1]]
    raised = [elected[i]["gain_equilibrium"] > elected[i - 1]["gain_equilibrium"] for i in turned]
    return {
        "gain_elected": float(np.mean([year["gain_equilibrium"] for year in elected])),
        "gain_optimum": optimum,
        "better_off": float(np.mean(better @ share)),
        "minority_loss": float(np.mean(loss[majority])) if majority.any() else 0.0,
        "exploits": float(np.mean(majority & (loss >= EXPLOITED))),
        "turnover": len(turned) / (len(elected) - 1) if len(elected) > 1 else None,
        "turnover_raised": float(np.mean(raised)) if raised else None,
    }


_valuations = jax.jit(valuations)


def _turnover(swept: Sweep, point: int) -> float | None:
    """The share of elections but the first that bring another leader; None where the run failed."""
    years = [year for year in swept.years.to_pylist() if year["point"] == point]
    if not years:
        return None
    leaders = [year["leader"] for year in years[1:]]
    return sum(a != b for a, b in pairwise(leaders)) / max(len(leaders) - 1, 1)


def _draw(arms: Arms) -> Any:
    def draw(figure: Any) -> None:
        gains, conflicts = figure.subplots(1, 2)
        places = np.arange(len(arms.labels))
        for axes, name, words, i, aside in (
            (gains, "gain_optimum", "the population's optimum", 2, 0.12),
            (gains, "gain_elected", "elected leaders", 0, -0.12),
            (conflicts, "exploits", "", 1, 0.0),
        ):
            estimates = [estimate(100 * arms.of(name, label)) for label in arms.labels]
            mean = np.array([e.mean for e in estimates])
            reach = np.nan_to_num(np.abs([[e.mean - e.low, e.high - e.mean] for e in estimates])).T
            axes.errorbar(
                places + aside,
                mean,
                reach,
                label=words,
                color=COLOURS[i],
                fmt="o",
                markersize=5,
                capsize=3,
            )
        for axes in (gains, conflicts):
            axes.set_xticks(
                places,
                [str(label).replace(" workers,", "").replace(" ", "\n") for label in arms.labels],
            )
        finish(gains, title="gain over US federal, at equilibrium", x="workers", y="%")
        finish(
            conflicts,
            title="years in which a majority exploits the others",
            x="workers",
            y="%",
            legend=False,
        )

    return draw
