"""What choices of hours in steps do to results: finer steps beside the paper's steps of ten."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.suite.arms import Arms, arms_of, rows_of
from experiments.suite.figures import Figure, finish
from experiments.suite.panels import best_choices_panel, elasticities, simulated_panel
from experiments.suite.study import Study
from experiments.suite.tables import Table, arms_table
from jaxecon.config.hours import choices_of
from jaxecon.config.settings import Config
from jaxecon.economy.blueprint import Blueprint
from jaxecon.economy.build import build_economy, skill_nodes
from jaxecon.economy.choices import equilibrium_among_choices
from jaxecon.economy.equilibrium import equilibrium_outcome, leader_problem
from jaxecon.economy.first_schedule import first_brackets, first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import Economy
from jaxecon.kernels.equilibrium import settle
from jaxecon.kernels.quantal import best_of_choices
from jaxecon.kernels.taxation import TaxSchedule

QUESTION = (
    "What do choices of hours in steps of ten do to results? Which elasticity do workers' incomes "
    "show, do they bunch at a kink, and what do planners gain, if hours have steps of 10, 5 or 1?"
)
MIN_YEARS = 2  # a planner moves from the second on, and a reform lies between
RESERVED = ("planner.kind", "schedule", "preferences.consumption_curvature")
RULE, CHOICES, PLANNER = "population.cohorts.0.rule", "labor.choices", "planner.kind"
SET, FLOOR = "preferences.set", "welfare.floor"
STEPS = (10, 5, 1)  # h/week
ANY, BEST = "any hours", "best choice"
WELFARE = ("gain_realised", "gain_choices", "gain_equilibrium")
BUNCHING = ("excess_mass", "elasticity_bunching")
WINDOW = 0.05  # relative distance from the kink within which incomes count as bunched
_COARSE = np.linspace(0, 1, 11)  # rates
_FINE = np.linspace(-0.1, 0.1, 11)  # changes of the best of these


def run(study: Study) -> list[Table | Figure]:
    """Elasticities, bunching, planners' gains, and the best of all schedules, by choices."""
    exact = 1 / (study.configurations("panel")[0][1].preferences.disutility_exponent - 1)
    estimates, bunching, gains = _elasticities(study, exact), _bunching(study), _gains(study)
    figure = Figure(
        "steps",
        "What steps of hours do to two estimates of the elasticity (the line is the true one) and "
        "to planners' gains.",
        lambda figure: _draw(figure, estimates, bunching, gains, exact),
        (12, 4),
    )
    return [
        arms_table(
            "elasticities",
            "Elasticity of income, estimated from incomes under reforms",
            estimates,
            ("elasticity",),
            ANY,
            arm="workers",
        ),
        arms_table(
            "bunching",
            "Bunching of incomes at the kink of a schedule",
            bunching,
            BUNCHING,
            ANY,
            arm="hours",
        ),
        arms_table(
            "gains",
            "Planners' gains over US federal",
            gains,
            WELFARE,
            {label: f"{label.partition(',')[0]}, {_steps(STEPS[-1])}" for label in gains.labels},
            arm="planner",
        ),
        _schedules_table(study),
        figure,
    ]


def _steps(step: float) -> str:
    return f"steps of {step:g}"


def _elasticities(study: Study, exact: float) -> Arms:
    """Estimates by step, by two-stage least squares, and the true elasticity.

    From incomes of workers by rule, and if the same people took the best of their choices.
    """
    people = study.configurations("panel")
    rows = study.computed("elasticities", lambda: elasticities(people))
    one_rule = [(row | {RULE: BEST}, config) for row, config in people if row[RULE] == "adaptive"]
    rows += study.computed("best_choices", lambda: elasticities(one_rule, best_choices_panel))
    truth = [
        {"seed": seed, "label": ANY, "elasticity": exact, "status": "ok"}
        for seed in study.seeds("panel")
    ]
    labelled = [
        row | {"label": f"{row[RULE]}, {_steps(row[CHOICES])}", "status": "ok"} for row in rows
    ]
    return arms_of([*truth, *labelled], lambda row: row["label"], ("elasticity",))


def _bunching(study: Study) -> Arms:
    """Bunching of exact responses, of the best choices, and of adaptive workers after some years.

    The latter two by step.
    """
    rows = study.computed("bunching", lambda: _bunching_rows(study.configurations("kink")))
    return arms_of([row | {"status": "ok"} for row in rows], lambda row: row["label"], BUNCHING)


def _bunching_rows(people: Sequence[tuple[dict[str, Any], Config]]) -> Iterator[dict[str, Any]]:
    for settings, config in people:
        thresholds, rates = first_brackets(config)
        with compute_context(config):
            every_year = np.tile(rates, (config.years, 1))
            made_of, nodes = Blueprint.from_config(config), skill_nodes(config)
            income, _, weights = simulated_panel(
                made_of, nodes, thresholds, every_year, config.year.days
            )
            exact, chosen = _incomes(build_economy(config), first_schedule(config))
        incomes = {
            f"adaptive, {_steps(settings[CHOICES])}": income[-1],
            f"{BEST}, {_steps(settings[CHOICES])}": chosen,
        }
        if settings[CHOICES] == STEPS[0]:  # exact responses are the same for all
            incomes[ANY] = exact
        kink, taxed = float(thresholds[1]), (float(rates[0]), float(rates[1]))
        for label, z in incomes.items():
            mass, elasticity = bunching(np.asarray(z), np.asarray(weights), kink, taxed)
            named = {"label": label, "seed": config.seed}
            yield named | {"excess_mass": mass, "elasticity_bunching": elasticity}


@jax.jit
def _incomes(economy: Economy, schedule: TaxSchedule) -> tuple[jax.Array, jax.Array]:
    """Incomes (n,), $/year, of exact responses and of the best choices."""
    exact = equilibrium_outcome(economy, schedule)
    return exact.income, equilibrium_among_choices(economy, schedule, exact).income


def bunching(
    income: np.ndarray, weights: np.ndarray, kink: float, rates: tuple[float, float]
) -> tuple[float, float | None]:
    """Return the excess mass of incomes around a kink, and the elasticity that it implies.

    The excess is the share of people within WINDOW of the kink less the share in two flanks, of
    half the window's width each, beside it. The elasticity e solves Saez (2010), eq. 5: with
    u = ((1 - rates[0]) / (1 - rates[1]))^e and densities f, f' below and above the kink z, the
    excess mass is z (u - 1) (f + f'/u) / 2 (a trapezoid: the kink should not be large). It is None
    where the lower flank is empty, or no e solves it.

    income, weights: (n,). rates: below and above the kink.
    """
    distance = income / kink - 1
    share = weights / weights.sum()

    def mass(low: float, high: float) -> float:
        return float(share[(distance >= low) & (distance < high)].sum())

    below, above = mass(-2 * WINDOW, -WINDOW), mass(WINDOW, 2 * WINDOW)
    excess = mass(-WINDOW, WINDOW) - below - above
    # densities times z: below/WINDOW, above/WINDOW; times u: f u^2 + (f' - f - 2 excess) u - f' = 0
    middle = (above - below) / WINDOW - 2 * excess
    root = np.sqrt(middle**2 + 4 * below * above / WINDOW**2)
    if not below > 0 or not root > middle:
        return excess, None
    u = (root - middle) / (2 * below / WINDOW)
    return excess, float(np.log(u) / np.log((1 - rates[0]) / (1 - rates[1])))


def _gains(study: Study) -> Arms:
    words = {"in_context": "in-context", "optimum": "optimum"}
    return arms_of(
        rows_of(study.sweep("planners")),
        lambda row: f"{words[row[PLANNER]]}, {_steps(row[CHOICES])}",
        WELFARE,
    )


def _schedules_table(study: Study) -> Table:
    """What the best schedule brings where people choose any hours, and where these have steps."""
    rows = study.computed("steps", lambda: _best_gains(study.configurations("schedules")))
    best = [
        {
            "arm": f"{row[SET]}, floor {row[FLOOR]:,}: {hours}",
            "seed": row["seed"],
            "status": "ok",
            "gain_best": row[hours],
        }
        for row in rows
        for hours in (ANY, *map(_steps, STEPS))
    ]
    sides = arms_of(best, lambda row: row["arm"], ("gain_best",))
    yardsticks = {label: f"{label.partition(':')[0]}: {ANY}" for label in sides.labels}
    title = (
        "Three brackets, the best of all rates (in steps of ten points, then of two around the "
        "best), everybody taking their best hours; over US federal with the same hours"
    )
    return arms_table("steps", title, sides, ("gain_best",), yardsticks, arm="hours")


def _best_gains(people: Sequence[tuple[dict[str, Any], Config]]) -> Iterator[dict[str, Any]]:
    """A row for each population."""
    for settings, config in people:
        with compute_context(config):
            thresholds, _ = first_brackets(config)
            gains = best_gains(build_economy(config), jnp.asarray(thresholds))
        named = {name: settings[name] for name in (SET, FLOOR)} | {"seed": config.seed}
        yield named | dict(zip((ANY, *map(_steps, STEPS)), map(float, gains), strict=True))


@partial(jax.jit, static_argnames="steps")
def best_gains(
    economy: Economy, thresholds: jax.Array, steps: tuple[float, ...] = STEPS
) -> tuple[jax.Array, ...]:
    """The largest gain over US federal, everybody taking their best hours under either schedule.

    First where any hours can be taken; then, for each of the steps (h/week), the hours 0 to 100 in
    such steps. Rates are searched on a coarse grid, then on a fine one around its best, since what
    finer hours let a planner gain needs finer rates. Curvature 0, one cohort.
    """
    problem = leader_problem(economy)
    (cohort,) = economy.cohorts.values()

    def with_any_hours(schedule: TaxSchedule) -> jax.Array:
        return problem.welfare_of(problem.outcome(schedule).utility)

    def with_steps(step: float, schedule: TaxSchedule) -> jax.Array:
        choices = np.asarray(choices_of(step))
        best = best_of_choices(schedule, cohort.skill, cohort.preferences, choices=choices)
        hours = jnp.asarray(choices, thresholds.dtype)[best]
        chosen = settle(schedule, hours, problem.skill, problem.preferences, problem.weights)
        return problem.welfare_of(chosen.utility)

    measures: list[Callable[[TaxSchedule], jax.Array]] = [with_any_hours]
    measures += [partial(with_steps, step) for step in steps]
    federal = TaxSchedule.us_federal()
    return tuple(_best_welfare(m, thresholds) / m(federal) - 1 for m in measures)


def _best_welfare(welfare: Callable[[TaxSchedule], jax.Array], thresholds: jax.Array) -> jax.Array:
    """The highest welfare on the coarse grid of rates and the fine one around its best."""
    brackets, dtype = thresholds.shape[0], thresholds.dtype

    def evaluated(rates: jax.Array) -> jax.Array:
        return jax.lax.map(lambda r: welfare(TaxSchedule(thresholds, r)), rates, batch_size=64)

    coarse, fine = (
        jnp.asarray(np.stack(np.meshgrid(*[x] * brackets, indexing="ij"), -1), dtype).reshape(
            -1, brackets
        )
        for x in (_COARSE, _FINE)
    )
    best = coarse[jnp.argmax(evaluated(coarse))]
    return jnp.max(evaluated(jnp.clip(best + fine, 0, 1)))


def _draw(figure: Any, estimates: Arms, bunching: Arms, gains: Arms, exact: float) -> None:
    left, middle, right = figure.subplots(1, 3)
    for axes, arms, statistic, title in (
        (left, estimates, "elasticity", "from reforms"),
        (middle, bunching, "elasticity_bunching", "from bunching"),
    ):
        labels = [label for label in arms.labels if label != ANY]
        _boxes(axes, arms, labels, statistic)
        axes.axhline(exact, color="black", linewidth=0.8)
        finish(axes, title=f"elasticity {title}", x="", legend=False)
    _boxes(right, gains, gains.labels, "gain_realised", 100)
    finish(right, title="gain as simulated, %", x="", legend=False)


def _boxes(axes: Any, arms: Arms, labels: Sequence[str], statistic: str, scale: float = 1) -> None:
    axes.boxplot([scale * arms.of(statistic, label) for label in labels], tick_labels=labels)
    axes.tick_params(axis="x", labelsize=8, rotation=90)
