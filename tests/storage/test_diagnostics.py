"""Failure signatures: each is seen where it was planted, by its definition, and healthy runs show
none.
"""

import json
import shutil
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import economy as oracle
from test_continuing import At, copied
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.dispersion import MAX_AGENTS, HoursSpread
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.simulation.ports import SilentListener
from jaxecon.storage import run as records
from jaxecon.storage.diagnostics import Diagnostic, DiagnosticsMonitor
from jaxecon.sweeps.sweep import sweep
from llm.decisions.labor import LaborObservation
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion

QUIET = {"gain_realised": 0.0, "rate_0": 0.3, "llm_decisions": 0, "llm_fallbacks": 0}
SMALL = {
    "year": {"days": 1},
    "planner": {"compared_with": ["us_federal"]},
    "schedule": {"brackets": "three"},
}
SMALL |= {
    "population": {"mechanical": 20, "llm": 0},
    "checkpoint": {"every_years": 1, "every_minutes": None, "keep_last": 100},
}


def seen(rows, overrides=(), config=None):
    """Years in which each signature is seen, by name."""
    watch = DiagnosticsMonitor(load_config(config, overrides))
    for year, row in enumerate(rows):
        watch.see(QUIET | {"year": year} | row)
    return {found.name: years_of(found) for found in watch.found}


def years_of(found):
    return [year for first, last in found.years for year in range(first, last + 1)]


# --- definitions ----------------------------------------------------------------------------------

STEPS = st.lists(
    st.lists(st.sampled_from([-0.2, -0.1, -0.05, 0.0, 0.1, 0.2]), min_size=2, max_size=2),
    max_size=30,
)


@settings(deadline=None)
@given(moves=STEPS, years=st.integers(2, 9), share=st.sampled_from([0.4, 0.5, 0.75, 1.0]))
def test_rates_oscillate_by_the_definition(moves, years, share):
    """An independent reading of it: in `share` of the last years one rate turned back on its last
    large change.
    """
    rates = np.round(np.clip(0.5 + np.cumsum(np.array([[0, 0], *moves]), axis=0), 0, 1), 7)
    expected = []
    for year in range(len(rates)):
        turned = [0, 0]
        for k in (0, 1):
            large = [
                (t, rates[t, k] - rates[t - 1, k])
                for t in range(1, year + 1)
                if abs(rates[t, k] - rates[t - 1, k]) > 0.0999
            ]
            turned[k] = sum(
                before * now < 0 and t > year - years for (_, before), (t, now) in pairwise(large)
            )
        if max(turned) >= share * years:
            expected.append(year)
    settings_ = [
        f"diagnostics.oscillating_rates.{name}={value}"
        for name, value in (("years", years), ("share", share), ("points", 10))
    ]
    assert (
        seen([{"rate_0": a, "rate_1": b} for a, b in rates], settings_).get("oscillating_rates", [])
        == expected
    )


@settings(deadline=None)
@given(
    gains=st.lists(st.sampled_from([-1.5, -0.5, -0.2, 0.0, 0.1, 0.3, 0.8, np.nan]), max_size=20),
    years=st.integers(1, 4),
    drop=st.sampled_from([0.15, 0.25, 0.4]),
)
def test_welfare_collapses_by_the_definition(gains, years, drop):
    low = []
    for t, gain in enumerate(gains):
        best = max([1.0, *(1 + g for g in gains[:t] if not np.isnan(g))])
        low.append(np.isnan(gain) or 1 + gain <= (1 - drop) * best)
    expected = [t for t in range(len(gains)) if t + 1 >= years and all(low[t + 1 - years : t + 1])]
    given_ = [
        f"diagnostics.welfare_collapse.{name}={value}"
        for name, value in (("years", years), ("drop", drop))
    ]
    assert (
        seen([{"gain_realised": gain} for gain in gains], given_).get("welfare_collapse", [])
        == expected
    )


LEARNERS = {
    "population": {
        "cohorts": [
            {"name": "a", "rule": "adaptive", "size": 9},
            {"name": "q", "rule": "quantal", "size": 9},
        ]
    }
}


@pytest.mark.parametrize(
    ("spreads", "years"),
    [
        ([(0, 5), (0, 5), (0, 5), (2, 5), (0, 5), (0, 5)], [1, 2, 5]),
        ([(0, 2.9)] * 4, []),  # nothing to be different about
        ([(1.26, 5)] * 4, []),
        ([(1.24, 5)] * 4, [1, 2, 3]),
    ],
)
def test_hours_are_alike_by_the_definition(spreads, years):
    rows = [
        {"spread_a": lived, "exact_spread_a": exact, "spread_q": 0.0, "exact_spread_q": 9.0}
        for lived, exact in spreads
    ]
    assert seen(rows, config=LEARNERS).get("homogeneous_labor", []) == years


@pytest.mark.parametrize(
    ("counts", "years"),
    [
        ([(0, 100), (6, 100), (0, 100)], [1]),
        ([(5, 100)], []),
        ([(3, 19)], []),  # too few to judge
        ([(1, 1)] * 21, [19, 20]),  # a planner's decisions, one a year: all so far
        ([(0, 50), (5, 50), (0, 50)], [1]),
    ],
)
def test_fallbacks_are_many_by_the_definition(counts, years):
    rows = [
        {"llm_fallbacks": fallbacks, "llm_decisions": decisions} for fallbacks, decisions in counts
    ]
    assert seen(rows).get("fallback_rate", []) == years


def test_spans_and_the_first_time():
    watch = DiagnosticsMonitor(load_config())
    new = [
        watch.see(QUIET | {"year": t, "llm_decisions": 100, "llm_fallbacks": n})
        for t, n in enumerate([0, 9, 9, 0, 0, 0, 0, 9])
    ]
    seen_first = Diagnostic(
        "fallback_rate", ((1, 1),), "9 of the year's 100 decisions were fallbacks (9 %)"
    )
    assert new == [[], [seen_first], [], [], [], [], [], []]
    (found,) = watch.found
    assert (found.years, found.seen) == (
        ((1, 2), (7, 7)),
        seen_first.seen,
    )  # 18 of 400 is less than 5 %


def test_a_year_that_an_older_jaxecon_lived():
    row = {name: value for name, value in QUIET.items() if name != "llm_decisions"} | {
        "llm_fallbacks": 9
    }
    watch = DiagnosticsMonitor(load_config(LEARNERS))
    assert [watch.see(row | {"year": year}) for year in range(3)] == [[], [], []]


def test_other_brackets_are_other_rates():
    flat = [{"rate_0": 0.3 + 0.2 * (t % 2)} for t in range(5)]
    watch = DiagnosticsMonitor(load_config(None, ["diagnostics.oscillating_rates.years=4"]))
    for year, row in enumerate(flat):
        watch.recall(QUIET | {"year": year} | row)
    found = [
        watch.see(QUIET | {"year": year, "rate_1": 0.5, "rate_0": 0.5 - 0.2 * (year % 2)})
        for year in (5, 6, 7)
    ]
    assert found == [[], [], []]  # one turn so far, of the three that it takes


def test_mistakes_in_the_settings_are_one_line():
    with pytest.raises(
        UserError, match=r"diagnostics.fallback_rate.limit: 2; a number in \[0, 1\]"
    ):
        load_config(None, ["diagnostics.fallback_rate.limit=2"])


# --- the spread of hours --------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "curvature"), [(7, 0.0), (7, 1.0), (MAX_AGENTS + 500, 0.0)])
def test_the_spread_of_exact_responses(size, curvature):
    config = load_config(
        {
            "population": {"cohorts": [{"name": "a", "rule": "adaptive", "size": size}]},
            "preferences": {"set": "annualised", "consumption_curvature": curvature},
            "schedule": {"brackets": "three", "rates": [0.3, 0.5, 0.4]},
        }
    )
    with compute_context(config):
        economy, schedule = build_economy(config), first_schedule(config)
        cohort = economy.cohorts["a"]
        hours = 40 + 10 * np.random.default_rng(0).standard_normal(size)
        found = HoursSpread(economy, ["a"]).of_year(
            schedule, 9000.0, {"a": np.asarray(cohort.skill)}, {"a": hours}
        )
    some = np.linspace(0, size - 1, min(size, 60)).round().astype(int)
    skill, c = (
        np.asarray(x, float)[some]
        for x in (cohort.skill, np.broadcast_to(cohort.preferences.disutility_weight, size))
    )
    exact, _ = oracle.best_response(
        [0, 90_000, 159_100], [0.3, 0.5, 0.4], skill, c, eta=curvature, rebate=9000.0
    )
    assert found["exact_spread_a"] == pytest.approx(exact.std(), rel=2e-3 if size < 60 else 0.1)
    assert found["spread_a"] == pytest.approx(hours.std(), rel=1e-6 if size < 60 else 0.05)


def test_the_columns_of_a_year(tmp_path):
    """Whatever is recorded of agents; the digest is that of a run without them."""
    config = {
        **SMALL,
        "years": 2,
        "preferences": {"set": "annualised"},
        "population": {"mechanical": 30, "llm": 0},
    }
    run = je.run(config, out=tmp_path / "a")
    agents = run.agents.to_pylist()
    for row in run.years.to_pylist():
        hours = [
            a["hours"] for a in agents if (a["year"], a["cohort"]) == (row["year"], "adaptive")
        ]
        assert row["spread_adaptive"] == pytest.approx(np.std(hours), rel=1e-6)
        assert row["exact_spread_adaptive"] > 5
        assert "spread_quantal" not in row
    without = je.run(config, overrides=["record.agents=none"], out=tmp_path / "b")
    assert without.years["spread_adaptive"].equals(run.years["spread_adaptive"])
    counted = je.digest(run.path)
    for part in (run.path / "years.parquet").iterdir():
        pq.write_table(
            pq.read_table(part).drop_columns(
                ["spread_adaptive", "exact_spread_adaptive", "llm_decisions"]
            ),
            part,
        )
    assert je.digest(run.path) == counted


def test_years_of_an_older_jaxecon_and_of_this_one_in_a_file(tmp_path, monkeypatch):
    """A run that was forced to go on: the years before have fewer columns."""
    monkeypatch.setattr(records, "_MANY_PARTS", 4)
    run = je.run({**SMALL, "years": 2}, out=tmp_path / "run")
    for part in (run.path / "years.parquet").iterdir():
        pq.write_table(
            pq.read_table(part).drop_columns(
                ["spread_adaptive", "exact_spread_adaptive", "llm_decisions"]
            ),
            part,
        )
    je.resume(run.path, force=True, overrides=["years=5"])
    assert [path.name for path in (run.path / "years.parquet").glob("part-*-*")] == [
        "part-00000000-00000003.parquet"
    ]
    decisions = je.load(run.path).years["llm_decisions"].to_pylist()
    assert decisions == [None, None, 0, 0, 0]
    assert je.load(run.path).signatures == ()


# --- planted --------------------------------------------------------------------------------------


def planner(changes):
    """An engine that answers for a planner: a year to its changes of all rates."""
    return ScriptedEngine(
        lambda request: Completion(json.dumps({"changes": changes(request.draw.year)}))
    )


def zigzag():
    return planner(lambda year: [0, 20 if year % 2 else -20, 0])


OSCILLATING = {**SMALL, "years": 14, "planner": {"kind": "llm", "compared_with": ["us_federal"]}}


class Heard(SilentListener):
    def __init__(self):
        self.said = []

    def on_year(self, row, usage):
        self.said.append(row["year"])

    def on_signature(self, found):
        self.said.append(found)


@pytest.fixture(scope="module")
def oscillating(tmp_path_factory):
    heard = Heard()
    return je.run(
        OSCILLATING, out=tmp_path_factory.mktemp("a") / "run", engine=zigzag(), listener=heard
    ), heard


def test_a_planner_that_oscillates(oscillating):
    run, heard = oscillating
    assert run.years["rate_1"].to_pylist()[:4] == [0.5, 0.7, 0.5, 0.7]
    (found,) = run.signatures
    assert found == Diagnostic(
        "oscillating_rates",
        ((10, 13),),
        "rate 2 of 3 turned back in 9 of 10 years, between 50 % and 70 %",
    )
    assert run.manifest["signatures"] == [
        {"name": found.name, "years": [[10, 13]], "seen": found.seen}
    ]
    assert heard.said == [
        *range(11),
        Diagnostic(found.name, ((10, 10),), found.seen),
        *range(11, 14),
    ]  # told as soon as it is seen


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
            json.loads((copy / "manifest.json").read_text())["signatures"][0]["name"]
            == "oscillating_rates"
        )
    resumed = je.resume(copy, engine=zigzag())
    assert resumed.signatures == run.signatures
    assert resumed.manifest["signatures"] == run.manifest["signatures"]


def test_a_branch_is_judged_by_what_came_before(oscillating, tmp_path):
    run, _ = oscillating
    (same,) = je.branch(run.path, year=6, out=tmp_path / "same", engine=zigzag())
    assert same.signatures == run.signatures
    (later,) = je.branch(
        same.path, year=12, out=tmp_path / "later", engine=zigzag()
    )  # which inherits from both
    assert [found.years for found in later.signatures] == [((12, 13),)]
    assert later.past["year"].to_pylist() == list(range(12))
    (calm,) = je.branch(
        run.path, year=6, out=tmp_path / "calm", overrides=["planner.kind=fixed"], engine=zigzag()
    )
    assert calm.signatures == ()
    shutil.rmtree(tmp_path / "same")
    assert je.load(later.path).signatures == later.signatures  # also when its run is gone


def test_other_thresholds_may_be_given_when_a_run_goes_on(oscillating, tmp_path):
    copy = tmp_path / "killed"
    out = tmp_path / "run"
    je.run(OSCILLATING, out=out, engine=zigzag(), listener=At(lambda: copied(out, copy), year=12))
    resumed = je.resume(
        copy, engine=zigzag(), overrides=["diagnostics.oscillating_rates.enabled=false"]
    )
    assert (resumed.signatures, resumed.manifest["signatures"]) == ((), [])
    assert resumed.manifest["resumed"][0]["given"] == [
        "diagnostics.oscillating_rates.enabled: True -> False"
    ]
    assert not je.load(copy).config.diagnostics.oscillating_rates.enabled  # kept for the next time


def test_a_planner_that_taxes_everything_away(tmp_path):
    config = {**SMALL, "years": 8, "planner": {"kind": "llm", "compared_with": ["us_federal"]}}
    config["population"] = {"cohorts": [{"name": "r", "rule": "rational", "size": 20}]}
    run = je.run(
        config,
        out=tmp_path / "run",
        engine=planner(lambda year: [20, 20, 20] if year > 1 else [0, 0, 0]),
    )
    gains = run.years["gain_realised"].to_pylist()
    assert gains[-1] == pytest.approx(-1)
    (found,) = run.signatures
    assert found.name == "welfare_collapse"
    assert years_of(found) == [6, 7]
    assert "below the best before it, which was" in found.seen


LABOUR = {**SMALL, "years": 3, "planner": {"kind": "fixed", "compared_with": ["us_federal"]}}
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
    (found,) = run.signatures
    assert (found.name, found.years) == ("homogeneous_labor", ((1, 2),))
    last = run.years.to_pylist()[1]
    assert found.seen.startswith(
        f"llm's hours are 0.0 h/week apart, {last['exact_spread_llm']:.1f} if its people"
    )
    assert je.run(LABOUR, out=tmp_path / "right", engine=worker(right)).signatures == ()


def test_where_all_should_do_the_same_it_is_no_failure(tmp_path):
    """Under US federal everybody of the calibrated set works 40 hours; adversaries and fixed rules
    have their own reasons.
    """
    federal = LABOUR | {
        "preferences": {"set": "calibrated"},
        "schedule": {"brackets": "us_federal"},
    }
    assert je.run(federal, out=tmp_path / "federal", engine=worker(lambda o: 40)).signatures == ()
    cohorts = [
        {"name": "bad", "rule": "llm", "size": 8, "objective": "adversarial"},
        {"name": "f", "rule": "fixed", "size": 9},
    ]
    other = LABOUR | {"population": {"cohorts": cohorts}}
    assert je.run(other, out=tmp_path / "other", engine=worker(lambda o: 40)).signatures == ()


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
    (found,) = run.signatures
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
    assert run.manifest["signatures"] == []


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
    assert json.loads(quiet.stdout)["signatures"] == []
    assert "SIGN" not in quiet.output
