"""Planners that work out one schedule and announce it."""

from functools import partial
from importlib import import_module

import numpy as np
import pytest

import jaxecon as je
from jaxecon.cli.output.run import print_summary
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.equilibrium import equilibrium_welfare, leader_problem
from jaxecon.kernels.optimum.certified import solve
from jaxecon.kernels.optimum.problem import thinned
from jaxecon.kernels.optimum.space import Effort
from jaxecon.planners import SCHEDULES, announced
from jaxecon.planners.announced import Knowledge, followers

CONFIG = {
    "years": 2,
    "year": {"days": 2},
    "population": {
        "cohorts": [
            {"name": "a", "rule": "rational", "size": 200},
            {"name": "b", "rule": "rational", "size": 100},
        ],
        "shares": {"a": 0.9, "b": 0.1},
    },
    "schedule": {"brackets": "three"},
    "planner": {"compared_with": []},
}


@pytest.fixture(scope="module")
def economy():
    return build_economy(load_config(CONFIG))


@pytest.fixture(scope="module")
def welfare(economy):
    """By planner, what its schedule is worth at everybody's exact response."""
    told = Knowledge.from_config(load_config(CONFIG))
    found = {}
    for kind in SCHEDULES:
        if kind != "us_federal":
            schedule = announced(kind, economy, told).schedule
            np.testing.assert_array_equal(schedule.thresholds, told.thresholds)
            found[kind] = float(equilibrium_welfare(economy, schedule))
    return found


def test_nobody_beats_the_optimum(welfare):
    assert welfare["optimum"] == max(welfare.values())
    assert welfare["uniform_50"] == min(welfare.values())
    assert welfare["flat"] < welfare["optimum"]
    assert welfare["saez"] != welfare["saez_self_consistent"]


def test_an_iterated_schedule_says_whether_it_converged(economy, monkeypatch):
    told = Knowledge.from_config(load_config(CONFIG))
    assert announced("saez", economy, told).convergence is None
    ended = announced("saez_self_consistent", economy, told).convergence
    assert ended.converged
    assert 0 < ended.last_change <= 1e-3
    monkeypatch.setattr(
        import_module("jaxecon.planners.announced"),
        "saez_self_consistent",
        partial(je.saez_self_consistent, iterations=2),
    )
    ended = announced("saez_self_consistent", economy, told).convergence
    assert not ended.converged
    assert 1e-3 < ended.last_change < 0.5


def test_a_run_warns_where_a_compared_schedule_has_not_converged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        import_module("jaxecon.planners.announced"),
        "saez_self_consistent",
        partial(je.saez_self_consistent, iterations=2),
    )
    run = je.run(
        CONFIG,
        overrides=["planner.compared_with=[saez_self_consistent]", "planner.kind=fixed"],
        out=tmp_path / "run",
    )
    fixed, final = run.manifest["summary"]["policies"]
    assert (fixed["converged"], final["converged"], final["last_change"]) == (False, None, None)
    print_summary(run)
    assert "Saez, fixed point: not a fixed point in 1 of 1 population (" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.mark.parametrize("kind", ["uniform_50", "saez"])
def test_a_run_uses_the_announced_schedule(tmp_path, economy, kind):
    run = je.run(CONFIG, overrides=[f"planner.kind={kind}"], out=tmp_path / "run")
    schedule = announced(kind, economy, Knowledge.from_config(run.config)).schedule
    for row in run.years.to_pylist():
        assert [row[f"rate_{k}"] for k in range(3)] == pytest.approx(
            schedule.rates.tolist(), abs=1e-6
        )
        assert row["leader"] == kind


def test_given_rates_govern_the_first_year(tmp_path):
    run = je.run(
        CONFIG, overrides=["planner.kind=uniform_50", "schedule.rates=0.2"], out=tmp_path / "run"
    )
    assert run.years["rate_1"].to_pylist() == pytest.approx([0.2, 0.5])


def test_us_federal_needs_its_brackets(tmp_path, economy):
    with pytest.raises(
        UserError, match=r"planner.kind: 'us_federal'; us_federal has the US federal brackets"
    ):
        je.run(CONFIG, overrides=["planner.kind=us_federal"], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    told = Knowledge.from_config(load_config(CONFIG, ["schedule.brackets=us_federal"]))
    assert announced("us_federal", economy, told).schedule.rates.tolist() == pytest.approx(
        [0.1, 0.12, 0.22, 0.24, 0.32, 0.35, 0.37]
    )


def test_elasticities_of_the_configuration_are_used(economy):
    low, high = (
        announced(
            "saez", economy, Knowledge.from_config(load_config(CONFIG, [f"planner.elasticity={e}"]))
        ).schedule.rates
        for e in ("0.2", "[0.8, 0.8, 0.8]")
    )
    assert np.all(np.asarray(low) > np.asarray(high))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("planner.elasticity=0", "planner.elasticity: 0"),
        ("planner.elasticity=[0.4, 0.4]", "planner.elasticity: 2 for 3 brackets"),
        ("planner.rate_bounds=[0.5, 0.5]", r"planner.rate_bounds: \[0.5, 0.5\]"),
    ],
)
def test_mistakes(override, message):
    with pytest.raises(UserError, match=message):
        load_config(CONFIG, [override])


def test_the_leaders_problem_is_the_economys(economy):
    problem = leader_problem(economy)
    assert np.ndim(problem.preferences.disutility_exponent) == 0
    for rates in ([0.1, 0.2, 0.3], [0.7, 0.5, 0.6]):
        schedule = je.TaxSchedule.three_bracket(rates)
        ours = float(problem.welfare_of(problem.outcome(schedule).utility))
        assert ours == pytest.approx(float(equilibrium_welfare(economy, schedule)), rel=1e-6)
    g = np.concatenate([economy.welfare.weights[name] for name in economy.cohorts])
    np.testing.assert_allclose(problem.marginal_weights(economy.reference), g, rtol=1e-4)


def test_few_quantiles_give_the_schedule_of_many_people(economy):
    """The optimum of 100 quantiles loses next to nothing of the welfare that all could have."""
    problem, effort = followers(economy), Effort(4, 30, 32, 40, 1)
    assert problem.skill.shape == (300,)
    few = thinned(problem, 100)
    assert float(few.weights.sum()) == 100
    assert float(few.skill.mean()) == pytest.approx(
        float((problem.skill * problem.weights).sum() / problem.weights.sum()), rel=0.1
    )
    best = solve(problem, (0.0, 90_000.0, 159_100.0), effort=effort)
    of_few = solve(few, (0.0, 90_000.0, 159_100.0), effort=effort)
    lost = float(best.welfare) - float(problem.welfare_of(problem.outcome(of_few.schedule).utility))
    assert 0 <= lost < 0.002 * float(best.welfare)
