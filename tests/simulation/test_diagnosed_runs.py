"""Diagnostics of whole runs: failures that were planted are seen, and healthy runs show nothing."""

import json
import shutil

import pytest
from oracles import economy as oracle
from support.runs import ONE_DAY_YEARS, At, copied
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.config.read import load_config
from jaxecon.simulation.ports import SilentListener
from jaxecon.storage.failure_diagnostics import Diagnostic, DiagnosticsMonitor
from jaxecon.sweeps.sweep import sweep
from llm.decisions.labor import LaborObservation
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion


def years_of(found):
    return [year for first, last in found.years for year in range(first, last + 1)]


# --- planted --------------------------------------------------------------------------------------


def planner(changes):
    """An engine that answers for a planner: a year to its changes of all rates."""
    return ScriptedEngine(
        lambda request: Completion(json.dumps({"changes": changes(request.draw.year)}))
    )


def zigzag():
    return planner(lambda year: [0, 20 if year % 2 else -20, 0])


OSCILLATING = {
    **ONE_DAY_YEARS,
    "years": 14,
    "planner": {"kind": "llm", "compared_with": ["us_federal"]},
}


class RecordingListener(SilentListener):
    def __init__(self):
        self.said = []

    def on_year(self, row, usage):
        self.said.append(row["year"])

    def on_diagnostic(self, found):
        self.said.append(found)


@pytest.fixture(scope="module")
def oscillating(tmp_path_factory):
    heard = RecordingListener()
    return je.run(
        OSCILLATING, out=tmp_path_factory.mktemp("a") / "run", engine=zigzag(), listener=heard
    ), heard


def test_a_planner_that_oscillates(oscillating):
    run, heard = oscillating
    assert run.years["rate_1"].to_pylist()[:4] == [0.5, 0.7, 0.5, 0.7]
    (found,) = run.diagnostics
    assert found == Diagnostic(
        "oscillating_rates",
        ((10, 13),),
        "rate 2 of 3 turned back in 9 of 10 years, between 50 % and 70 %",
    )
    assert run.manifest["diagnostics"] == [
        {"name": found.name, "years": [[10, 13]], "seen": found.seen}
    ]
    # told as soon as it is seen
    assert heard.said == [
        *range(11),
        Diagnostic(found.name, ((10, 10),), found.seen),
        *range(11, 14),
    ]


@pytest.mark.parametrize("year", [4, 11])
def test_a_resumed_run_shows_what_an_uninterrupted_one_does(oscillating, tmp_path, year):
    run, _ = oscillating
    copy = tmp_path / "killed"
    je.run(
        OSCILLATING,
        out=tmp_path / "run",
        engine=zigzag(),
        listener=At(lambda: copied(tmp_path / "run", copy), year=year),
    )
    if year == 11:  # it was on record when the run was killed
        assert (
            json.loads((copy / "manifest.json").read_text())["diagnostics"][0]["name"]
            == "oscillating_rates"
        )
    resumed = je.resume(copy, engine=zigzag())
    assert resumed.diagnostics == run.diagnostics
    assert resumed.manifest["diagnostics"] == run.manifest["diagnostics"]


def test_a_branch_is_judged_by_what_came_before(oscillating, tmp_path):
    run, _ = oscillating
    (same,) = je.branch(run.path, year=6, out=tmp_path / "same", engine=zigzag())
    assert same.diagnostics == run.diagnostics
    # which inherits from both
    (later,) = je.branch(same.path, year=12, out=tmp_path / "later", engine=zigzag())
    assert [found.years for found in later.diagnostics] == [((12, 13),)]
    assert later.past["year"].to_pylist() == list(range(12))
    (calm,) = je.branch(
        run.path, year=6, out=tmp_path / "calm", overrides=["planner.kind=fixed"], engine=zigzag()
    )
    assert calm.diagnostics == ()
    shutil.rmtree(tmp_path / "same")
    assert je.load(later.path).diagnostics == later.diagnostics  # also when its run is gone


def test_a_resumed_run_may_have_other_thresholds(oscillating, tmp_path):
    copy = tmp_path / "killed"
    out = tmp_path / "run"
    je.run(OSCILLATING, out=out, engine=zigzag(), listener=At(lambda: copied(out, copy), year=12))
    resumed = je.resume(
        copy, engine=zigzag(), overrides=["diagnostics.oscillating_rates.enabled=false"]
    )
    assert (resumed.diagnostics, resumed.manifest["diagnostics"]) == ((), [])
    assert resumed.manifest["resumed"][0]["harmless"] == [
        "diagnostics.oscillating_rates.enabled: True -> False"
    ]
    assert not je.load(copy).config.diagnostics.oscillating_rates.enabled  # kept for the next time


def test_a_planner_that_taxes_everything_away(tmp_path):
    config = {
        **ONE_DAY_YEARS,
        "years": 8,
        "planner": {"kind": "llm", "compared_with": ["us_federal"]},
    }
    config["population"] = {"cohorts": [{"name": "r", "rule": "rational", "size": 20}]}
    run = je.run(
        config,
        out=tmp_path / "run",
        engine=planner(lambda year: [20, 20, 20] if year > 1 else [0, 0, 0]),
    )
    gains = run.years["gain_realised"].to_pylist()
    assert gains[-1] == pytest.approx(-1)
    (found,) = run.diagnostics
    assert found.name == "welfare_collapse"
    assert years_of(found) == [6, 7]
    assert "below the best before it, which was" in found.seen


LABOUR = {
    **ONE_DAY_YEARS,
    "years": 3,
    "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
}
LABOUR |= {"population": {"mechanical": 10, "llm": 8}, "preferences": {"set": "annualised"}}


def worker(hours):
    return ScriptedEngine(
        lambda request: Completion(json.dumps({"hours": hours(request.observation)}))
    )


def right(o: LaborObservation):
    """The best response, as near as the choices come."""
    thresholds, rates = zip(*((b.threshold, b.rate) for b in o.brackets), strict=True)
    hours, _ = oracle.best_response(thresholds, rates, o.skill, 0.026)
    return min(o.choices, key=lambda choice: abs(choice - hours[0]))


def test_workers_who_all_do_the_same(tmp_path):
    run = je.run(LABOUR, out=tmp_path / "alike", engine=worker(lambda o: 40))
    (found,) = run.diagnostics
    assert (found.name, found.years) == ("homogeneous_labor", ((1, 2),))
    last = run.years.to_pylist()[1]
    assert found.seen.startswith(
        f"llm's hours are 0.0 h/week apart, {last['exact_spread_llm']:.1f} if its people"
    )
    assert je.run(LABOUR, out=tmp_path / "right", engine=worker(right)).diagnostics == ()


def test_where_all_should_do_the_same_it_is_no_failure(tmp_path):
    """Under US federal everybody of the calibrated set works 40 hours; adversaries and fixed rules
    have their own reasons.
    """
    federal = LABOUR | {
        "preferences": {"set": "calibrated"},
        "schedule": {"brackets": "us_federal"},
    }
    assert je.run(federal, out=tmp_path / "federal", engine=worker(lambda o: 40)).diagnostics == ()
    cohorts = [
        {"name": "bad", "rule": "llm", "size": 8, "objective": "adversarial"},
        {"name": "f", "rule": "fixed", "size": 9},
    ]
    other = LABOUR | {"population": {"cohorts": cohorts}}
    assert je.run(other, out=tmp_path / "other", engine=worker(lambda o: 40)).diagnostics == ()


def test_answers_that_cannot_be_used(tmp_path):
    engine = ScriptedEngine(
        lambda request: Completion(
            "no idea"
            if request.draw.agent == 0
            else json.dumps({"hours": right(request.observation)})
        )
    )
    run = je.run(LABOUR, overrides=["year.days=4"], out=tmp_path / "run", engine=engine)
    assert run.years["llm_decisions"].to_pylist() == [32] * 3
    assert run.years["llm_fallbacks"].to_pylist() == [4] * 3
    (found,) = run.diagnostics
    assert found == Diagnostic(
        "fallback_rate", ((0, 2),), "4 of the year's 32 decisions were fallbacks (12.5 %)"
    )


# --- healthy --------------------------------------------------------------------------------------


def test_healthy_planners_show_nothing(tmp_path):
    """The default economy under the planner that learns by trial, over many populations."""
    run = {
        "years": 24,
        "population": {"mechanical": 60, "llm": 0, "sampling": "random"},
        "planner": {"compared_with": []},
    }
    years = sweep({"run": run, "seeds": 40}, out=tmp_path / "sweep").years.to_pylist()
    watches = [DiagnosticsMonitor(load_config(run)) for _ in range(40)]
    for row in years:
        watches[row["point"]].see(row)
    assert sum(bool(watch.found) for watch in watches) == 0


def test_the_default_run_shows_nothing(tmp_path):
    """With rules in the model's place."""
    overrides = ["llm.engine=simulated", "population.mechanical=200", "planner.compared_with=[]"]
    run = je.run(None, overrides=overrides, out=tmp_path / "run")
    assert run.years.num_rows == load_config().years
    assert run.manifest["diagnostics"] == []


# --- shown ----------------------------------------------------------------------------------------


def test_what_a_user_sees(tmp_path):
    arguments = [
        "--set",
        "population.llm=0",
        "--set",
        "population.mechanical=20",
        "--set",
        "planner.kind=fixed",
    ]
    arguments += [
        "--set",
        "schedule.rates=1",
        "--set",
        "planner.compared_with=[]",
        "--set",
        "years=4",
        "--set",
        "year.days=2",
    ]
    result = CliRunner().invoke(app, ["run", *arguments, "--out", str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    told = [line for line in result.stderr.splitlines() if "SIGN OF FAILURE" in line]
    shown = [line for line in result.stdout.splitlines() if "SIGN OF FAILURE" in line]
    assert len(told) == len(shown) == 1
    assert told[0].startswith("SIGN OF FAILURE: welfare collapse in year 3: welfare ")
    assert shown[0].startswith("SIGN OF FAILURE: welfare collapse in years 3 to 4: welfare ")
    off = ["--set", "diagnostics.welfare_collapse.enabled=false", "--json"]
    quiet = CliRunner().invoke(app, ["run", *arguments, *off, "--out", str(tmp_path / "b")])
    assert json.loads(quiet.stdout)["diagnostics"] == []
    assert "SIGN" not in quiet.output
