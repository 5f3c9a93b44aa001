"""The experiment `voting`: a planted majority is found, and none where everybody is alike."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from oracles import leader

from experiments.questions import voting
from experiments.suite.conduct import conduct
from experiments.suite.registry import load_designs
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Five workers: nine in ten are poor, so that most populations have a poor majority (two
    classes); or all are alike.
    """
    folder = tmp_path_factory.mktemp("voting")
    alike = folder / "alike.csv"
    alike.write_text("skill\n1000\n1000.001\n")
    designs = load_designs("voting", "quick")
    designs["llm"] = {}
    for design in designs["mechanical"].values():
        design["run"] |= {"years": 6}
        design["run"]["schedule"] = {"brackets": "flat"}
        design["seeds"] = 30
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voting, "ECONOMIES", ((5, "two classes"), (5, "alike")))
        skills = {"two classes": voting.SKILLS["two classes"]}
        skills["alike"] = {"population.skills": "file", "population.file": str(alike)}
        patch.setattr(voting, "SKILLS", skills)
        yield conduct("voting", out=folder / "out", designs=designs)


def rows_of(report, table, **keys):
    (found,) = (t for t in report.tables if t.name == table)
    return [row for row in found.rows if all(row.get(key) == value for key, value in keys.items())]


def test_a_majority_with_a_common_interest_is_found(report):
    (planted,) = rows_of(report, "conflict", statistic="exploits", economy="5 workers, two classes")
    (none,) = rows_of(report, "conflict", statistic="exploits", economy="5 workers, alike")
    assert planted["n"] == none["n"] == 30
    assert planted["low"] > 0.1
    assert none["mean"] == none["high"] == 0


def test_elected_leaders_fall_short_of_the_optimum_only_where_interests_differ(report):
    (differ,) = rows_of(report, "welfare", economy="5 workers, two classes: elected")
    assert differ["difference_high"] < 0
    assert differ["p"] < 0.05
    (alike,) = rows_of(report, "welfare", economy="5 workers, alike: elected")
    assert abs(alike["difference"]) < 1e-4  # everybody's own optimum is that of all


@pytest.mark.parametrize(
    "override",
    [
        "population.cohorts.0.size=5",
        "population.skills=lognormal",
        "population.file=people.csv",
        "planner.kind=saez",
        "elections.candidates=3",
    ],
)
def test_what_the_economies_are_is_not_overridden_in_silence(override, tmp_path):
    with pytest.raises(UserError, match="the experiment fixes it") as caught:
        conduct("voting", out=tmp_path / "out", llm=False, overrides=[override])
    assert str(caught.value).startswith(f"--set {override}: ")
    assert not (tmp_path / "out").exists()


def test_every_setting_of_its_points_is_its_own():
    assert {key for skills in voting.SKILLS.values() for key in skills} | {
        "population.cohorts.0.size"
    } <= set(voting.RESERVED)


def test_the_least_years_that_it_takes_are_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(voting, "ECONOMIES", ((3, "two classes"),))
    designs = load_designs("voting", "quick")
    designs["llm"] = {}
    designs["mechanical"]["elections"]["run"] |= {
        "years": voting.MIN_YEARS,
        "schedule": {"brackets": "flat"},
    }
    designs["mechanical"]["elections"]["seeds"] = 4
    report = conduct("voting", out=tmp_path / "out", designs=designs)
    (row,) = rows_of(report, "conflict", statistic="turnover")
    assert row["n"] == 4
    with pytest.raises(UserError, match=r"years: 2; at least 3 in voting\.mechanical\.elections"):
        conduct("voting", out=tmp_path / "few", designs=designs, overrides=["years=2"])


def test_conflict_against_the_independent_program():
    """One population's figures from schedules by hand, responses and utilities by the oracle."""
    skill, rates = np.array([300.0, 320.0, 4000.0]), [0.5, 0.7, 0.65]
    config = {
        "population": {
            "cohorts": [{"name": "people", "rule": "rational", "size": 3}],
            "sampling": "quantiles",
        },
        "schedule": {"brackets": "flat"},
        "planner": {"kind": "elected"},
    }
    resolved = load_config(config)
    with pytest.MonkeyPatch.context() as patch:
        economy = economy_of(skill)
        patch.setattr(voting, "build_economy", lambda _: economy)
        years = [
            {"rate_0": rate, "leader": who, "gain_equilibrium": gain}
            for rate, who, gain in zip(
                rates, ("nobody", "people 0", "people 1"), (0.1, 0.2, 0.3), strict=True
            )
        ]
        found = voting.conflict(resolved, years)
    c = np.asarray(economy.cohorts["people"].preferences.disutility_weight, float)
    g = np.asarray(economy.welfare.weights["people"], float)
    problem = leader.Problem(skill, c, g, np.array([0.0]))
    line = np.linspace(0, 0.99, 9901)[:, None]
    best = line[
        np.argmax(
            np.concatenate([leader.outcome(problem, part).welfare for part in np.split(line, 9901)])
        )
    ]
    at_best = leader.outcome(problem, best).utility[0]
    change = leader.outcome(problem, np.array(rates[1:])[:, None]).utility - at_best
    better = (change > 0.5).mean(axis=1)
    loss = [(-change[y] / abs(at_best))[change[y] <= 0.5].mean() for y in range(2)]
    assert found["better_off"] == pytest.approx(better.mean())
    assert [b > 0.5 for b in better] == [False, True]
    assert found["minority_loss"] == pytest.approx(loss[1], rel=0.01)
    assert found["exploits"] == pytest.approx(np.mean((better > 0.5) & (np.array(loss) >= 0.05)))
    assert (found["turnover"], found["turnover_raised"], found["gain_elected"]) == (1.0, 1.0, 0.25)


def economy_of(skill):
    """Three people of these skills, built by the package from microdata."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.csv"
        path.write_text("skill\n" + "\n".join(map(str, skill)) + "\n")
        people = {
            "cohorts": [{"name": "people", "rule": "rational", "size": len(skill)}],
            "skills": "file",
            "file": str(path),
        }
        return build_economy(load_config({"population": people}))
