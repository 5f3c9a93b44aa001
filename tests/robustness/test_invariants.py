"""A run that computes what cannot be ends as failed, with one line that says what and where."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import InvariantError
from jaxecon.economy.build import build_economy
from jaxecon.economy.impossible_hours import impossible_hours
from jaxecon.simulation.invariants import (
    Budget,
    check_baseline,
    check_decisions,
    check_hours,
    check_weights,
    violations,
)
from jaxecon.storage.usage import LLMUsage

RULE = """
import jax.numpy as jnp
from jaxecon.workers.fixed import Fixed

class Odd(Fixed):
    def parameters(self, hours, first):
        return jnp.asarray(hours), jnp.asarray(first)
    def start_year(self, params, cohort, state, schedule):
        return state, jnp.full_like(cohort.skill, 40.0)
    def act(self, params, plan, state, draws, observation):
        hours, first = params
        return jnp.where(observation.progress >= first, hours, plan), state
"""
BRACKETS = {"schedule": {"brackets": "flat"}, "planner": {"kind": "fixed", "compared_with": []}}


def odd(hours, first=0.99, **more):
    parameters = {"hours": hours, "first": first}
    cohorts = [
        {"name": "good", "rule": "fixed", "size": 4},
        {"name": "odd", "rule": "odd_rule:Odd", "size": 5, "parameters": parameters},
    ]
    return {"years": 2, "year": {"days": 4}, "population": {"cohorts": cohorts}, **BRACKETS, **more}


@pytest.fixture
def rule(tmp_path, monkeypatch):
    (tmp_path / "odd_rule.py").write_text(RULE)
    monkeypatch.chdir(tmp_path)  # found beside the configuration
    return tmp_path


@pytest.fixture(scope="module")
def economy():
    cohorts = [{"name": n, "rule": "fixed", "size": size} for n, size in (("a", 7), ("b", 3))]
    return build_economy(load_config({"population": {"cohorts": cohorts}}))


LOOK = jax.jit(impossible_hours)


@settings(deadline=None)
@given(
    bad=st.sampled_from([-5.0, -1e-3, 100.1, 150.0, np.nan, np.inf, -np.inf, 1e30]),
    agents=st.sets(st.integers(0, 9), min_size=1, max_size=4),
)
def test_impossible_hours_are_found_whoever_works_them(economy, bad, agents):
    hours = np.full(10, 40.0, np.float32)
    hours[list(agents)] = bad
    found = jax.device_get(LOOK(economy, {"a": hours[:7], "b": hours[7:]}))
    first = min(agents)
    name, agent = ("a", first) if first < 7 else ("b", first - 7)
    with pytest.raises(
        InvariantError, match=rf"cohort {name}, agent {agent}, year 3, day 5: .*100"
    ):
        check_hours(3, 5, economy, found)


def test_hours_at_the_ends_are_possible(economy):
    hours = np.float32([0, 100, 40, 1e-6, 99.99, 0, 100])
    check_hours(0, 0, economy, jax.device_get(LOOK(economy, {"a": hours, "b": hours[:3]})))


@pytest.mark.parametrize("hours", [-5.0, 150.0])
def test_one_day_of_impossible_hours_ends_a_run(rule, hours):
    """Although the year's mean is possible; what was saved before stays."""
    out = rule / "run"
    config = odd(hours, checkpoint={"every_days": 2, "every_minutes": None})
    with pytest.raises(InvariantError, match=rf"cohort odd, agent 0, year 0, day 3: .*{hours:g}$"):
        je.run(config, out=out)
    manifest = je.load(out).manifest
    assert manifest["status"] == "failed"
    assert "cohort odd" in manifest["error"]
    assert list((out / "checkpoints").iterdir())
    assert je.load(out).years.num_rows == 0


def test_a_point_of_a_sweep_with_impossible_hours_is_not_ok(rule):
    """One point of two, in the program that simulates both together."""
    design = {"run": odd(40.0), "grid": {"population.cohorts.1.parameters.hours": [40.0, -5.0]}}
    points = je.sweep(design, out=rule / "sweep").points.to_pylist()
    assert [p["status"] for p in points] == ["ok", "failed"]
    assert "hours" in points[1]["error"]


# --- the checks of days and years -----------------------------------------------------------------

AMOUNTS = st.floats(-1e5, 1e5, width=32)


def statistics(revenue, rebate):
    revenue, rebate = np.float32(revenue), np.float32(rebate)
    ones = np.ones_like(revenue)
    shares = dict.fromkeys(("gini_income", "satisfied_share"), ones / 2)
    return {"swf": ones, "gain_realised": ones, "revenue": revenue, "rebate": rebate, **shares}


def broken(numbers, budget, *, are_means=False):
    found = violations(numbers, budget, are_means=are_means)
    return [v.say(tuple(np.argwhere(v.where)[0])) for v in found if np.any(v.where)]


@given(
    revenue=st.lists(AMOUNTS, min_size=1, max_size=5),
    spending=st.floats(0, 1e5, width=32),
    floor=st.none() | AMOUNTS,
    lost=st.floats(10, 1e5) | st.floats(-1e5, -10),
)
def test_money_adds_up_or_is_missed(revenue, spending, floor, lost):
    """With and without a floor; by what is missing, the day is named."""
    budget = Budget(np.float32(spending), floor, False)
    revenue = np.float32(revenue)
    rebate = revenue - np.float32(spending)
    if floor is not None:
        rebate = np.maximum(rebate, np.float32(floor))
    assert broken(statistics(revenue, rebate), budget) == []
    short = budget.unfunded(revenue, rebate)
    assert (short >= 0).all()
    assert floor is not None or (short == 0).all()
    assert (short[rebate > (-np.inf if floor is None else floor)] == 0).all()
    rebate[-1] += np.float32(lost)
    (line,) = broken(statistics(revenue, rebate), budget)
    assert "money is lost or made" in line


@given(st.data())
def test_a_number_that_is_none_is_named(data):
    curved = data.draw(st.booleans())
    numbers = statistics([5.0, 5.0], [5.0, 5.0])
    name = data.draw(st.sampled_from(sorted(numbers)))
    value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    numbers[name] = np.float32([numbers[name][0], value])
    lines = broken(numbers, Budget(np.float32(0), None, curved))
    nothing_to_consume = curved and name == "swf" and value == -np.inf
    unreachable = curved and name == "gain_realised" and np.isinf(value)
    assert bool(lines) != (nothing_to_consume or unreachable)
    assert not lines or name in lines[0]


@pytest.mark.parametrize("name", ["gini_income", "satisfied_share"])
@pytest.mark.parametrize("value", [-0.01, 1.01])
def test_a_share_beyond_one_is_named(name, value):
    numbers = statistics([5.0], [5.0]) | {name: np.float32([value])}
    (line,) = broken(numbers, Budget(np.float32(0), None, False))
    assert line.startswith(name)


def test_the_mean_of_days_on_some_of_which_the_floor_binds():
    """Revenue 0 and 10 with a floor of 5: the mean rebate is 7.5, of which 2.5 is unfunded."""
    budget = Budget(np.float32(0), 5.0, False)
    numbers = statistics([5.0], [7.5])
    assert broken(numbers, budget, are_means=True) == []
    assert budget.unfunded(np.float32(5), np.float32(7.5)) == 2.5
    assert broken(statistics([5.0], [4.0]), budget, are_means=True)


def test_the_baseline_must_not_gain_over_itself(economy):
    row = {"policy": "us_federal", "welfare": 3e4, "income": 6e4, "rebate": 1e4}
    check_baseline([row | {"gain": 1e-5}, row | {"policy": "flat", "gain": 0.3}], economy)
    for gain in (-0.004, 0.5, np.nan):
        with pytest.raises(InvariantError, match="the gain of US federal over itself"):
            check_baseline([row | {"gain": gain}], economy)


def test_survey_weights_have_mean_one(economy):
    check_weights(economy)
    doubled = jax.tree.map(lambda x: 2 * x, economy)
    with pytest.raises(InvariantError, match="the mean survey weight is 2; must be 1"):
        check_weights(doubled)


def test_every_decision_has_a_status():
    check_decisions(LLMUsage(statuses={"ok": 3, "repaired": 1, "fallback": 2}))
    for statuses in ({"ok": 3, "lost": 1}, {"ok": 3, "retried": -1}):
        with pytest.raises(InvariantError, match="decisions of language models"):
            check_decisions(LLMUsage(statuses=statuses))
