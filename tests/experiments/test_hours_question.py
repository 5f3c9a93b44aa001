"""The experiment `hours`: bunching with and without an effect, and the best of all schedules."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from support.small_designs import row_of, small_designs, table_of

import jaxecon as je
from experiments.questions.hours import best_gains, bunching
from experiments.suite.conduct import conduct
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.economy.precision import compute_context
from jaxecon.kernels.taxation import US_FEDERAL_RATES, US_FEDERAL_THRESHOLDS

KINK, RATES = 70_000.0, (0.2, 0.5)


def incomes(elasticity, *, n=200_000, kinked=True):
    """Incomes of isoelastic workers of lognormal ability, (n,), in closed form (Saez 2010)."""
    untaxed = np.random.default_rng(1).lognormal(np.log(60_000), 0.7, n)
    below, above = (untaxed * (1 - rate) ** elasticity for rate in RATES)
    if not kinked:
        return below
    return np.where(below < KINK, below, np.maximum(above, KINK))


@pytest.mark.parametrize("elasticity", [0.1, 0.25, 0.4])
def test_bunching_at_a_kink_shows_the_elasticity(elasticity):
    z = incomes(elasticity)
    mass, found = bunching(z, np.ones_like(z), KINK, RATES)
    assert found == pytest.approx(elasticity, abs=0.05 * elasticity + 0.005)
    assert mass == pytest.approx(float(np.mean(z == KINK)), abs=0.004)


def test_without_a_kink_nobody_bunches():
    """Over populations of the experiment's size the mean is nothing, too."""
    z = incomes(0.4, kinked=False)
    mass, found = bunching(z, np.ones_like(z), KINK, RATES)
    assert abs(mass) < 0.002
    assert abs(found) < 0.01
    parts = [bunching(part, np.ones(2000), KINK, RATES)[0] for part in z.reshape(100, 2000)]
    assert abs(np.mean(parts)) < 3 * np.std(parts) / 10


def test_survey_weights_count_in_bunching():
    z = incomes(0.4, n=20_000)
    weights = np.random.default_rng(2).integers(1, 4, len(z))
    expected = bunching(np.repeat(z, weights), np.ones(weights.sum()), KINK, RATES)
    assert bunching(z, weights.astype(float), KINK, RATES) == pytest.approx(expected, rel=1e-9)


def test_without_anybody_beside_the_kink_no_elasticity_is_told():
    assert bunching(np.full(10, KINK), np.ones(10), KINK, RATES) == (1.0, None)


def test_the_best_schedules_in_any_hours_and_in_steps():
    """By a NumPy program of its own: the schedules of both grids, every worker's best choice."""
    thresholds = np.array([0.0, 90_000, 159_100])
    settings = {
        "population": {"cohorts": [{"name": "a", "rule": "adaptive", "size": 40}]},
        "precision": "float64",
        "schedule": {"brackets": "three"},
    }
    config = load_config(settings)
    with compute_context(config):
        economy = build_economy(config)
        any_hours, *in_steps = map(float, best_gains(economy, jnp.asarray(thresholds), (10, 5)))
        people, reference = economy.population, economy.reference
        g = je.welfare_weights("inverse_income", reference.income, people.weight)
        of_people = (people.skill, people.preferences, thresholds, g, people.weight)
        coarse, exact = (
            float(je.optimal_schedule(*of_people, **method).gain)
            for method in ({"method": "grid", "grid_step": 0.1}, {})
        )
        skill, c, g, w = (
            np.asarray(x)
            for x in (people.skill, people.preferences.disutility_weight, g, people.weight)
        )
    assert coarse < any_hours < exact + 1e-9
    assert any_hours == pytest.approx(exact, abs=0.003)

    def welfare(lows, rates, hours):
        income = skill[:, None] * hours
        edges = zip(lows, [*lows[1:], np.inf], strict=True)
        tax = sum(
            rate * np.clip(income - low, 0, high - low)
            for rate, (low, high) in zip(rates, edges, strict=True)
        )
        own = income - tax - c[:, None] * hours**3.5
        choice = own.argmax(axis=1)[:, None]
        paid, kept = (np.take_along_axis(x, choice, 1)[:, 0] for x in (tax, own))
        return np.average(g * (kept + np.average(paid, weights=w)), weights=w)

    for step, gain in zip((10, 5), in_steps, strict=True):
        hours = np.arange(0, 101, step)
        best = max(
            itertools.product(np.linspace(0, 1, 11), repeat=3),
            key=lambda rates: welfare(thresholds, rates, hours),
        )
        around = itertools.product(np.linspace(-0.1, 0.1, 11), repeat=3)
        found = max(
            welfare(thresholds, np.clip(np.add(best, moves), 0, 1), hours) for moves in around
        )
        before = welfare(US_FEDERAL_THRESHOLDS, US_FEDERAL_RATES, hours)
        assert gain == pytest.approx(found / before - 1, abs=1e-9)
    assert in_steps[0] > any_hours + 0.02


def test_it_runs_and_finds_what_steps_of_ten_hide(tmp_path):
    designs = small_designs("hours")
    mechanical = designs["mechanical"]
    for design in ("panel", "kink", "planners"):
        mechanical[design]["grid"]["labor.choices"] = [10, 1]
    mechanical["panel"]["run"] |= {"years": 8}
    mechanical["kink"]["run"]["population"]["cohorts"][0]["size"] = 1000
    mechanical["schedules"]["grid"] = {"preferences.set": ["calibrated"], "welfare.floor": [10_000]}
    report = conduct("hours", out=tmp_path / "out", designs=designs)
    assert report.failed == 0
    assert [path.name for path in report.figures] == ["steps.png"]
    for table in report.tables:
        assert all(len(row) == len(table.heads) for row in table.cells)
        assert all(row["n"] == 5 for row in table.rows)
    shown = {row["workers"]: row["mean"] for row in table_of(report, "elasticities").rows}
    assert shown["any hours"] == pytest.approx(0.4)
    assert shown["best choice, steps of 1"] == pytest.approx(0.4, abs=0.1)
    assert abs(shown["best choice, steps of 10"]) < 0.1
    mass, elasticity = (
        {
            row["hours"]: row["mean"]
            for row in table_of(report, "bunching").rows
            if row["statistic"] == name
        }
        for name in ("excess_mass", "elasticity_bunching")
    )
    assert elasticity["any hours"] == pytest.approx(0.4, abs=0.1)
    assert mass["best choice, steps of 1"] == pytest.approx(mass["any hours"], abs=0.02)
    assert mass["best choice, steps of 10"] < mass["any hours"] / 2
    gains = table_of(report, "gains")
    exact = [
        row_of(gains, statistic="gain_equilibrium", planner=f"optimum, steps of {step}")["mean"]
        for step in (10, 1)
    ]
    assert exact[0] == pytest.approx(exact[1], abs=1e-6)
    for statistic in ("gain_choices", "gain_realised"):
        row = row_of(gains, statistic=statistic, planner="optimum, steps of 10")
        assert row["reference"] == "optimum, steps of 1"
