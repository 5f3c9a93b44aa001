"""The paper's parameters beside corrected ones: which of its effects are effects of its units and
weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.suite.arms import arms_of, rows_of
from experiments.suite.figures import Figure, forest
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table
from jaxecon.config.settings import Config
from jaxecon.economy.build import build_economy
from jaxecon.economy.equilibrium import leader_problem, welfare_gain
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import Economy
from jaxecon.kernels.equilibrium import settle
from jaxecon.kernels.labor import HOURS
from jaxecon.kernels.quantal import choice_payoffs
from jaxecon.kernels.taxation import TaxSchedule

QUESTION = (
    "The paper sets weekly disutility against annual income and divides utility by realised "
    "income, however small. Which of "
    "its effects (gains of about 100 %, the cost of leaving out exploitation and exploration) "
    "remain in annual units and with "
    "fixed, floored welfare weights? And what comes of its choices, hours in steps of ten?"
)
MIN_YEARS = 2  # a planner moves from the second on
RESERVED = ("planner.kind", "schedule")
SET, FLOOR = "preferences.set", "welfare.floor"
WELFARE = ("gain_realised", "gain_equilibrium")
STATISTICS = (*WELFARE, "gain_paper", "mean_hours", "hours_federal")
_POINTS = 11  # of the grid of rates: 0, 10, .., 100 %


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
    steps = _steps_table(study)
    figure = Figure(
        "cues",
        "What leaving out exploitation and exploration does to the last year's gain, percentage "
        "points, by parameters and floor.",
        lambda figure: _draw(figure, dict(zip(whole.labels, by_economy, strict=True))),
        (11, 5),
    )
    return [*results, steps, *by_economy, figure]


def _steps_table(study: Study) -> Table:
    """What the best schedule brings where people choose any hours, and where they choose among the
    paper's eleven.
    """
    people = [
        config
        for settings, config in study.configurations("learning")
        if _planner(settings) == "whole"
    ]
    best = [
        {
            "arm": f"{_economy(row)}: {hours}",
            "seed": row["seed"],
            "status": "ok",
            "gain_best": row[hours_kind],
        }
        for row in study.computed("steps", lambda: _best_gains(people))
        for hours, hours_kind in (("any hours", "any_hours"), ("steps of ten", "steps"))
    ]
    sides = arms_of(best, lambda row: row["arm"], ("gain_best",))
    yardsticks = {
        label: label.replace("steps of ten", "any hours")
        for label in sides.labels
        if label.endswith("ten")
    }
    title = (
        "Three brackets, the best of all rates in steps of ten points, everybody responding exactly"
    )
    return arms_table("steps", title, sides, ("gain_best",), yardsticks, arm="hours")


def _best_gains(people: Sequence[Config]) -> Iterator[dict[str, Any]]:
    """A row for each population."""
    for config in people:
        with compute_context(config):
            thresholds, _ = first_brackets(config)
            any_hours, steps = best_gains(build_economy(config), jnp.asarray(thresholds))
        named = {SET: config.preferences.set, FLOOR: int(config.welfare.floor), "seed": config.seed}
        yield named | {"any_hours": float(any_hours), "steps": float(steps)}


@jax.jit
def best_gains(economy: Economy, thresholds: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest gain over US federal on a grid of rates, where people work the hours that are
    best for them, and where they work the best of HOURS.

    (What they gain over is the exact response in both.) Curvature 0.
    """
    problem = leader_problem(economy)

    def welfare(rates: jax.Array) -> tuple[jax.Array, jax.Array]:
        schedule = TaxSchedule(thresholds, rates)
        payoff = choice_payoffs(schedule, problem.skill, problem.preferences)
        hours = jnp.asarray(HOURS, payoff.dtype)[jnp.argmax(payoff, axis=-1)]
        chosen = settle(schedule, hours, problem.skill, problem.preferences, problem.weights)
        return problem.welfare_of(problem.outcome(schedule).utility), problem.welfare_of(
            chosen.utility
        )

    levels = np.linspace(0, 1, _POINTS)
    grid = np.stack(np.meshgrid(*[levels] * thresholds.shape[0], indexing="ij"), axis=-1).reshape(
        -1, thresholds.shape[0]
    )
    best = jax.lax.map(welfare, jnp.asarray(grid, thresholds.dtype), batch_size=64)
    any_hours, steps = (welfare_gain(economy, jnp.max(x)) for x in best)
    return any_hours, steps


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
