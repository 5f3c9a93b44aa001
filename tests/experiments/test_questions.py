"""Every experiment's module on few and small economies, and what only one of them computes."""

import importlib

import pytest
from support.small_designs import row_of, small_designs, table_of

from experiments.suite.conduct import conduct
from experiments.suite.study import Study
from jaxecon.core.errors import UserError


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


def test_an_elasticity_that_incomes_do_not_tell_is_one_line(tmp_path):
    designs = small_designs("baselines", seeds=1, year={"days": 2})
    designs["mechanical"]["panel"]["run"]["population"]["cohorts"][0]["size"] = 1
    with pytest.raises(
        UserError, match=r"^the elasticity in 3 years of population 0: income: "
    ) as caught:
        conduct("baselines", out=tmp_path / "out", designs=designs)
    assert "\n" not in str(caught.value)
