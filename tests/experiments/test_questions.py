"""Every experiment's module on few and small economies, and what only one of them computes."""

import importlib
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from support.small_designs import row_of, small_designs, table_of

import jaxecon as je
from experiments.questions import units
from experiments.suite.conduct import conduct
from experiments.suite.study import Study
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.precision import compute_context


@pytest.mark.parametrize(
    "name", ["baselines", "scale", "population_mix", "satisfaction", "empirical_saez", "units"]
)
def test_every_experiment_runs(name, tmp_path, monkeypatch):
    designs, computed, swept = small_designs(name), set(), Study.sweep

    def sweep(study, design, points=None):
        computed.update(key for point in points or () for key in point)
        return swept(study, design, points)

    monkeypatch.setattr(Study, "sweep", sweep)
    mechanical = designs["mechanical"]
    match name:
        case "scale":
            mechanical["people"]["grid"]["population.cohorts.0.size"] = [10, 20]
            mechanical["panels"]["grid"] = {
                "population.cohorts.0.size": [4],
                "population.shares.panel": [0.05, 0.5],
            }
        case "empirical_saez":
            mechanical["panel"]["grid"]["population.cohorts.0.rule"] = ["rational", "adaptive"]
            mechanical["panel"]["run"] |= {"years": 8}
        case "baselines":
            mechanical["panel"]["run"] |= {"years": 8}
        case "units":
            mechanical["learning"]["grid"] = {
                "preferences.set": ["calibrated"],
                "welfare.floor": [10_000],
            }
            mechanical["federal"]["grid"] = {"preferences.set": ["calibrated"]}
    report = conduct(name, out=tmp_path / "out", designs=designs)
    assert report.failed == 0
    assert report.figures
    assert computed <= {
        "seed",
        *getattr(importlib.import_module(f"experiments.questions.{name}"), "RESERVED", ()),
    }
    for table in report.tables:
        assert table.rows
        assert all(len(row) == len(table.heads) for row in table.cells)
        assert all(row["n"] == 5 for row in table.rows)
    if name == "empirical_saez":  # who responds exactly shows the elasticity that there is
        found = row_of(table_of(report, "elasticities"), workers="rational")
        assert found["mean"] == pytest.approx(0.4, abs=0.02)
    if name == "baselines":  # nobody gains more than the optimum once all have learnt it
        gains = {
            row["planner"]: row["mean"]
            for row in table_of(report, "gains").rows
            if row["statistic"] == "gain_equilibrium"
        }
        assert gains["US federal"] == pytest.approx(0, abs=1e-4)
        assert max(gains, key=gains.get) == "optimum"


def test_the_best_schedules_in_any_hours_and_in_steps():
    """By a NumPy program of its own: every schedule of the grid, every worker's best of eleven
    choices.
    """
    rates, thresholds = np.linspace(0, 1, 11), np.array([0.0, 90_000, 159_100])
    settings = {
        "population": {"llm": 0, "mechanical": 40},
        "precision": "float64",
        "schedule": {"brackets": "three"},
    }
    config = load_config(settings)
    with compute_context(config):
        economy = build_economy(config)
        any_hours, steps = map(float, units.best_gains(economy, jnp.asarray(thresholds)))
        skill, c = (
            np.asarray(economy.population.skill),
            np.asarray(economy.population.preferences.disutility_weight),
        )
        weights = je.welfare_weights(
            "inverse_income", economy.reference.income, economy.population.weight
        )
        before = float(
            je.social_welfare(economy.reference.utility, weights, economy.population.weight)
        )
        g, w = np.asarray(weights), np.asarray(economy.population.weight)
        best = je.optimal_schedule(
            skill,
            economy.population.preferences,
            thresholds,
            weights,
            economy.population.weight,
            method="grid",
            grid_step=0.1,
        )
    assert any_hours == pytest.approx(float(best.gain), abs=1e-9)
    income = skill[:, None] * np.arange(0, 101, 10)
    slices = np.stack(
        [
            np.clip(income - low, 0, high - low)
            for low, high in zip(thresholds, [*thresholds[1:], np.inf])
        ]
    )
    cost = c[:, None] * np.arange(0, 101, 10) ** 3.5
    found = []
    for schedule in itertools.product(rates, repeat=3):
        tax = np.tensordot(schedule, slices, 1)
        own = income - tax - cost
        choice = own.argmax(axis=1)[:, None]
        paid, gained = (np.take_along_axis(x, choice, 1)[:, 0] for x in (tax, own))
        found.append(np.average(g * (gained + np.average(paid, weights=w)), weights=w))
    assert steps == pytest.approx(max(found) / before - 1, abs=1e-9)
    assert steps > any_hours + 0.02


def test_an_elasticity_that_incomes_do_not_tell_is_one_line(tmp_path):
    designs = small_designs("baselines", seeds=1, year={"days": 2})
    designs["mechanical"]["panel"]["run"]["population"]["cohorts"][0]["size"] = 1
    with pytest.raises(
        UserError, match=r"^the elasticity in 3 years of population 0: income: "
    ) as caught:
        conduct("baselines", out=tmp_path / "out", designs=designs)
    assert "\n" not in str(caught.value)
