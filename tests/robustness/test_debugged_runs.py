"""A run that is right produces no NaN in a compiled program, so that JAX_DEBUG_NANS=1 lets it end.

And what such a run says at its end: an iteration that found no fixed point, money without cover.
"""

import contextlib
import io

import jax
import numpy as np
import pytest

import jaxecon as je
from jaxecon.cli.output import run as run_output
from jaxecon.planners.base import PlannerContext, YearObservation
from jaxecon.planners.in_context import InContext

BASE = {
    "years": 2,
    "year": {"days": 2},
    "population": {"mechanical": 60, "llm": 0},
    "schedule": {"brackets": "three"},
}


@pytest.fixture(scope="module")
def debugged(tmp_path_factory):
    """A run under JAX's search for NaN, whose planner iterates and cannot fund the rebate."""
    config = {
        **BASE,
        "planner": {
            "kind": "saez_self_consistent",
            "compared_with": ["us_federal", "flat", "saez_self_consistent"],
        },
        "budget": {"public_spending": 100_000.0, "rebate_floor": 0.0},
        "satisfaction": {"judged": True},
    }
    with jax.debug_nans(True):
        return je.run(config, out=tmp_path_factory.mktemp("nans") / "run")


def printed(run, monkeypatch):
    text = io.StringIO()
    monkeypatch.setenv("COLUMNS", "200")
    with contextlib.redirect_stdout(text):
        run_output.print_summary(run)
    return text.getvalue()


def test_jax_finds_no_nan_in_a_run_that_is_right(debugged):
    assert debugged.manifest["status"] == "complete"


def test_a_planner_that_learns_is_debugged_too():
    """Its memory has no revenue, which is NaN there, and says so still when it has learnt."""
    planner, key = InContext(), jax.random.key(0)
    schedule = je.TaxSchedule.flat(np.float32([0.3]))
    with jax.debug_nans(True):
        state = planner.init(PlannerContext(schedule, years=5), key)
        for year in range(3):
            unseen = np.zeros(1, np.float32)
            seen = YearObservation(year, 5, schedule, 1e4 + year, 40.0, 6e4, 1e4, *[unseen] * 3)
            schedule, state = planner.propose(state, seen, key)
    assert np.isnan(np.asarray(state.memory.revenue)).all()
    assert int(state.memory.count) == 3


def test_the_closing_rows_say_how_the_planners_own_iteration_ended(debugged):
    rows = {row["policy"]: row for row in debugged.summary["policies"]}
    alone = {"converged", "last_change"}
    assert {k: rows["final"][k] for k in alone} == {
        k: rows["saez_self_consistent"][k] for k in alone
    }


def test_a_schedule_that_is_no_fixed_point_is_named(debugged, monkeypatch):
    for row in debugged.summary["policies"]:
        row["converged"] = False if row["policy"] == "final" else row["converged"]
    assert "planner: not a fixed point in 1 of 1 population" in printed(debugged, monkeypatch)


def test_money_without_cover_is_said_and_recorded(debugged, monkeypatch):
    """The money adds up in every row: what is paid out came in, or is named as unfunded."""
    for year in debugged.years.to_pylist():
        paid = year["rebate"] + 100_000.0
        assert paid == pytest.approx(year["revenue"] + year["unfunded"], rel=1e-5)
        assert year["unfunded"] > 50_000
    for row in debugged.summary["policies"]:
        assert row["rebate"] + 100_000.0 == pytest.approx(row["tax"] + row["unfunded"], rel=1e-5)
    text = printed(debugged, monkeypatch)
    assert "US federal: taxes fall" in text
    assert "As simulated, taxes fell" in text
