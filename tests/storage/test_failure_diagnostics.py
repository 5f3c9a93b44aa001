"""Diagnostics by their definitions, read independently."""

from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import economy as oracle
from support.runs import ONE_DAY_YEARS, as_earlier_run

import jaxecon as je
from jaxecon.config.names import DIAGNOSTICS
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.hours_spread import MAX_AGENTS, HoursSpread
from jaxecon.economy.precision import compute_context
from jaxecon.storage import recorder
from jaxecon.storage.failure_diagnostics import DETECTORS, Diagnostic, DiagnosticsMonitor

QUIET = {"gain_realised": 0.0, "rate_0": 0.3, "llm_decisions": 0, "llm_fallbacks": 0}


def seen(rows, overrides=(), config=None):
    """Years in which each diagnostic is seen, by name."""
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
        {"spread_a": observed, "exact_spread_a": exact, "spread_q": 0.0, "exact_spread_q": 9.0}
        for observed, exact in spreads
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


def test_detectors_have_the_names_that_people_see():
    assert list(DETECTORS) == list(DIAGNOSTICS)


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
    # 18 of 400 is less than 5 %
    assert (found.years, found.seen) == (
        ((1, 2), (7, 7)),
        seen_first.seen,
    )


def test_a_year_that_an_older_jaxecon_recorded():
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
        **ONE_DAY_YEARS,
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
    as_earlier_run(run.path)
    for part in (run.path / "years.parquet").iterdir():
        pq.write_table(
            pq.read_table(part).drop_columns(
                ["spread_adaptive", "exact_spread_adaptive", "llm_decisions"]
            ),
            part,
        )
    assert je.digest(run.path) == counted


def test_years_of_an_older_jaxecon_and_of_this_one_in_a_file(tmp_path, monkeypatch):
    """A run that was forced to continue: the years before have fewer columns."""
    monkeypatch.setattr(recorder, "_MANY_PARTS", 4)
    run = je.run({**ONE_DAY_YEARS, "years": 2}, out=tmp_path / "run")
    as_earlier_run(run.path)
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
    assert je.load(run.path).diagnostics == ()
