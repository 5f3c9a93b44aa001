"""Skills that change and hours that adjust with a lag: kernels beside NumPy, years beside accounts
made by hand.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow.compute as pc
import pytest
from scipy import stats
from support.runs import HYBRID, MECHANICAL, assert_same_run, run_killed

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.draws import draw, named_key, normal
from jaxecon.core.errors import UserError
from jaxecon.economy import days as economy_days
from jaxecon.economy.build import build_economy, skill_nodes
from jaxecon.economy.days import settle_and_learn, simulate_days
from jaxecon.economy.exact import equilibrium_outcome
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import by_cohort, economy_in_year, skill_of_year
from jaxecon.economy.summary import summarise_year
from jaxecon.kernels import skills as dyn
from jaxecon.kernels.quantal import choice_payoffs
from jaxecon.planners import changed_schedule
from jaxecon.simulation.batch import case, simulate_batch
from jaxecon.sweeps.rows import OF_WEALTH, STATISTICS

ROOT = Path(__file__).resolve().parents[2]
SKILLS = {"enabled": True, "shock": 0.3, "learning": 0.1, "working_years": 3.0}
SAVING = {"enabled": True, "tax": 0.4, "adjustment": 0.3}
ALL = {"skills": SKILLS, "hours_inertia": 0.4, "saving": SAVING}
COHORTS = [
    {"name": rule, "rule": rule, "size": size}
    for rule, size in (("rational", 40), ("quantal", 60), ("adaptive", 50), ("habit", 30))
]

FEW = {
    "cohorts": [
        {"name": "rational", "rule": "rational", "size": 120},
        {"name": "habit", "rule": "habit", "size": 60},
    ]
}


def of(persistence=0.95, learning=0.0, shock=0.2, retirement=0.0):
    return dyn.SkillDynamics(*(jnp.float32(x) for x in (persistence, learning, shock, retirement)))


def config_of(dynamics, **sections):
    few = {"schedule": {"brackets": "flat"}}  # brackets: less to compile
    return load_config({"population": {"cohorts": COHORTS}, "dynamics": dynamics} | few | sections)


def words(seed, cohort, purpose, year, day, n):
    """The two words of each agent's draws, and the uniform number in the first."""
    draws = draw(named_key(seed, cohort, purpose), year, day, n)
    first, second = (np.asarray(word, np.uint64) for word in (draws.first, draws.second))
    return first, second, (first >> np.uint64(8)) / 2.0**24


def numpy_normal(first, second):
    return np.sqrt(-2 * np.log((first + 0.5) / 2.0**32)) * np.cos(
        2 * np.pi * (second >> np.uint64(8)) / 2.0**24
    )


def variance_by_recursion(persistence, shock, years):
    variance = 0.0
    for _ in range(years):
        variance = persistence**2 * variance + shock**2
    return variance


# --- kernels --------------------------------------------------------------------------------------


def test_normal_draws():
    draws = draw(named_key(3, "workers", "skill shock"), 5, 0, 1_000_000)
    found = np.asarray(normal(draws, np.float32), float)
    apart = np.abs(
        found - numpy_normal(*(np.asarray(w, np.uint64) for w in (draws.first, draws.second)))
    )
    assert np.quantile(apart, 0.999) < 2e-6
    assert (
        apart.max() < 4e-4
    )  # near 0, where the first word is near its end and float32 has few digits
    assert stats.kstest(found[:200_000], "norm").pvalue > 1e-3
    assert abs(found.mean()) < 4e-3
    assert found.var() == pytest.approx(1, abs=6e-3)
    extremes = [jnp.asarray([0, 2**32 - 1], jnp.uint32)] * 2
    assert np.all(np.isfinite(normal(type(draws)(*extremes), np.float32)))


@pytest.mark.parametrize("persistence", [0.0, 0.5, 0.95, 0.999, 1.0])
@pytest.mark.parametrize("years", [0, 1, 2, 7, 40])
def test_variance_of_shocks(persistence, years):
    found = dyn.shock_variance(of(persistence), jnp.asarray([years]))
    assert float(found[0]) == pytest.approx(
        variance_by_recursion(persistence, 0.2, years), rel=1e-5
    )


@pytest.mark.parametrize("persistence", [0.0, 0.8, 1.0])
def test_a_year_beside_numpy(persistence):
    rng = np.random.default_rng(0)
    n, learning, shock = 500, 0.3, 0.2
    a, years = rng.normal(0, 1.5, n), rng.integers(0, 30, n)
    hours, innovation = rng.uniform(0, 100, n), rng.normal(size=n)
    expected = []
    for i in range(n):
        v = variance_by_recursion(persistence, shock, years[i])
        mean_now, mean_next = -v / 2, -variance_by_recursion(persistence, shock, years[i] + 1) / 2
        drift = (
            persistence * mean_now - mean_next
        )  # by what the mean must fall for exp to keep its own
        moved = persistence * a[i] + learning * (hours[i] / 40 - 1) + shock * innovation[i] - drift
        expected.append(min(max(moved, -3), 3))
    arguments = [jnp.asarray(x, jnp.float32) for x in (a, years, hours, innovation)]
    found = dyn.next_deviation(of(persistence, learning, shock), *arguments)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    if persistence:
        assert np.any(np.abs(expected) == 3)
    np.testing.assert_allclose(
        jax.jit(dyn.next_deviation)(of(persistence, learning, shock), *arguments), found, atol=1e-6
    )


@pytest.mark.parametrize("persistence", [0.5, 0.95, 1.0])
def test_shocks_keep_the_mean_of_skills_at_every_age(persistence):
    """Without learning, over all agents of an age; and so over all agents when some are replaced."""
    n = 400_000
    for retirement in (0.0, 0.1):
        given = of(persistence, 0.0, 0.15, retirement)
        careers = dyn.new_careers({"a": jnp.ones(n)})
        hours = {"a": jnp.full(n, 77.0)}
        for year in range(12):
            careers = dyn.next_careers(given, careers, hours, jnp.uint32(1), year)
            level = np.exp(np.asarray(careers.deviation["a"], float))
            assert abs(level.mean() - 1) < 4.5 * level.std() / np.sqrt(n), (year, level.mean())
        assert level.std() > 0.14
        spread = np.asarray(careers.deviation["a"])[np.asarray(careers.years["a"]) == 12].std()
        assert spread == pytest.approx(
            variance_by_recursion(persistence, 0.15, 12) ** 0.5, rel=0.02
        )


def test_learning_by_doing_without_shocks():
    """a settles at learning*(h/40 - 1)/(1 - persistence): hours 1 % longer for good,
    learning/(1-persistence) % more skill.
    """
    careers = dyn.new_careers({"a": jnp.ones(3)})
    for year in range(300):
        careers = dyn.next_careers(
            of(0.9, 0.02, 0.0), careers, {"a": jnp.asarray([36.0, 40.0, 44.0])}, jnp.uint32(0), year
        )
    np.testing.assert_allclose(careers.deviation["a"], [-0.02, 0, 0.02], atol=1e-6)
    np.testing.assert_array_equal(careers.years["a"], 300)


def test_retirement():
    n = 200_000
    careers = dyn.Careers({"a": jnp.full(n, 0.7)}, {"a": jnp.full(n, 9, jnp.int32)})
    hours = {"a": jnp.full(n, 40.0)}
    after = dyn.next_careers(of(1.0, 0.0, 0.0, 1 / 20), careers, hours, jnp.uint32(4), 3)
    gone = np.asarray(after.years["a"]) == 0
    assert gone.mean() == pytest.approx(1 / 20, abs=4 * (0.05 * 0.95 / n) ** 0.5)
    np.testing.assert_array_equal(
        gone, words(4, "a", "retirement", 3, 0, n)[2] < np.float32(1 / 20)
    )
    np.testing.assert_allclose(np.asarray(after.deviation["a"]), np.where(gone, 0, 0.7), atol=1e-6)
    np.testing.assert_array_equal(np.asarray(after.years["a"])[~gone], 10)
    for retirement, share in ((0.0, 0), (1.0, 1)):
        after = dyn.next_careers(of(1.0, 0.0, 0.1, retirement), careers, hours, jnp.uint32(4), 3)
        assert (np.asarray(after.years["a"]) == 0).mean() == share


def test_nothing_overflows():
    """The most of everything for centuries."""
    careers = dyn.new_careers({"a": jnp.ones(1000)})
    step = jax.jit(dyn.next_careers)
    for year in range(400):
        careers = step(
            of(1.0, 1.0, 0.5), careers, {"a": jnp.linspace(0, 168, 1000)}, jnp.uint32(0), year
        )
    assert np.all(np.abs(careers.deviation["a"]) <= dyn.MAX_DEVIATION)
    assert np.all(np.isfinite(dyn.shock_variance(of(1.0), jnp.asarray([2**31 - 1]))))


def test_adjusted_hours():
    n = 100_000
    draws = draw(named_key(0, "a", "inertia"), 2, 5, n)
    yesterday, chosen = jnp.full(n, 40.0), jnp.full(n, 50.0)
    found = np.asarray(dyn.adjusted_hours(jnp.float32(0.3), yesterday, chosen, draws))
    np.testing.assert_array_equal(
        found, np.where(words(0, "a", "inertia", 2, 5, n)[2] < np.float32(0.3), 40, 50)
    )
    assert (found == 40).mean() == pytest.approx(0.3, abs=0.006)
    np.testing.assert_array_equal(
        dyn.adjusted_hours(jnp.float32(0), yesterday, chosen, draws), chosen
    )


# --- years ----------------------------------------------------------------------------------------

initial_state, start_year, end_year = (
    jax.jit(economy_days.initial_state),
    jax.jit(economy_days.start_year),
    jax.jit(economy_days.end_year),
)
act, settle, summarise = (
    jax.jit(economy_days.act),
    jax.jit(settle_and_learn),
    jax.jit(summarise_year),
)
live_days = jax.jit(simulate_days, static_argnames=("days", "judged"))


def years_lived(config, years=3, days=4):
    """Year by year: the economy of that year, the schedule, the state after it, sums and agents."""
    economy, schedule = build_economy(config), first_schedule(config)
    state = initial_state(economy, schedule)
    for year in range(years):
        before = state
        state, plan, sums = start_year(economy, state, schedule, days)
        begun = state
        state, sums, record = live_days(economy, plan, state, sums, days=days)
        figures, agents = summarise(economy, schedule, state, sums, record)
        yield economy, schedule, before, begun, state, sums, figures, agents
        state = end_year(economy, state, sums)
        schedule = changed_schedule(schedule, [10 * (-1) ** year] * schedule.brackets)


def test_everything_is_computed_with_the_skills_of_the_year():
    config = config_of({"skills": SKILLS}, seed=5, precision="float64")
    with compute_context(config):
        deviation = {c["name"]: np.zeros(c["size"]) for c in COHORTS}
        age = {c["name"]: np.zeros(c["size"], int) for c in COHORTS}
        retired = 0
        for year, (economy, schedule, _, _, state, sums, figures, agents) in enumerate(
            years_lived(config)
        ):
            skill = {
                name: np.asarray(c.skill) * np.exp(deviation[name])
                for name, c in economy.cohorts.items()
            }
            now = skill_of_year(economy, state)
            for name, cohort in economy.cohorts.items():
                np.testing.assert_allclose(now[name], skill[name], rtol=1e-9)
                np.testing.assert_allclose(
                    agents.income[name], skill[name] * np.asarray(agents.hours[name]), rtol=1e-9
                )
                prefs = cohort.preferences  # of the base skills, always
                if name == "rational":
                    np.testing.assert_allclose(
                        agents.hours[name],
                        je.best_response(schedule, skill[name], prefs),
                        rtol=1e-9,
                    )
                    if year:
                        assert not np.allclose(
                            agents.hours[name],
                            je.best_response(schedule, cohort.skill, prefs),
                            rtol=1e-3,
                        )
            everyone = economy.population
            at_equilibrium = je.equilibrium(
                schedule,
                np.concatenate(list(skill.values())),
                everyone.preferences,
                everyone.weight,
            ).utility
            assert float(figures.swf_equilibrium) == pytest.approx(
                float(economy.welfare(by_cohort(economy, at_equilibrium))), rel=1e-9
            )
            for name in deviation:  # by hand, from the draws' words
                n, hours = len(deviation[name]), np.asarray(sums.hours[name]) / 4
                first, second, _ = words(5, name, "skill shock", year, 0, n)
                angle = second / 2.0**32  # as fine as float64 holds
                innovation = np.sqrt(-2 * np.log((first + 0.5) / 2.0**32)) * np.cos(
                    2 * np.pi * angle
                )
                v = np.array([variance_by_recursion(0.95, 0.3, t) for t in age[name]])
                drift = (0.09 - 0.95 * 0.05 * v) / 2
                moved = 0.95 * deviation[name] + 0.1 * (hours / 40 - 1) + 0.3 * innovation - drift
                gone = words(5, name, "retirement", year, 0, n)[0] / 2.0**32 < 1 / 3
                deviation[name], age[name] = (
                    np.where(gone, 0, moved),
                    np.where(gone, 0, age[name] + 1),
                )
                retired += gone.sum()
        assert 2 * 60 < retired < 4 * 60


def test_who_enters_begins_afresh_under_the_present_schedule():
    config = config_of(ALL)
    for year, (economy, schedule, before, begun, *_) in enumerate(years_lived(config)):
        new = {name: np.asarray(years) == 0 for name, years in begun.dynamics.careers.years.items()}
        assert new["adaptive"].all() if year == 0 else 0 < new["adaptive"].sum() < 50
        people = {
            name: (c, np.asarray(c.skill))
            for name, c in economy_in_year(economy, begun).cohorts.items()
        }
        for name, is_new in new.items():
            cohort, skill = people[name]
            np.testing.assert_array_equal(
                skill[is_new], np.asarray(economy.cohorts[name].skill)[is_new]
            )
            assert np.asarray(begun.satisfied[name])[is_new].all()
            exact = np.asarray(je.best_response(schedule, skill, cohort.preferences))
            yesterday, kept = (
                np.asarray(begun.dynamics.hours[name]),
                np.asarray(before.dynamics.hours[name]),
            )
            np.testing.assert_allclose(yesterday[is_new], exact[is_new], rtol=1e-6)
            np.testing.assert_array_equal(yesterday[~is_new], kept[~is_new])
        cohort, skill = people["adaptive"]
        payoffs = choice_payoffs(schedule, skill, cohort.preferences)
        found, is_new = np.asarray(begun.rules["adaptive"]), new["adaptive"]
        np.testing.assert_allclose(found[is_new], np.asarray(payoffs)[is_new], atol=1e-4)
        np.testing.assert_array_equal(found[~is_new], np.asarray(before.rules["adaptive"])[~is_new])
        cohort, skill = people["habit"]
        exact = np.asarray(je.best_response(schedule, skill, cohort.preferences))
        is_new = new["habit"]
        np.testing.assert_allclose(
            np.asarray(begun.rules["habit"])[is_new], exact[is_new], rtol=1e-6
        )
        np.testing.assert_array_equal(
            np.asarray(begun.rules["habit"])[~is_new], np.asarray(before.rules["habit"])[~is_new]
        )


def test_who_retired_was_dissatisfied_and_who_comes_is_not():
    config = config_of(
        {"skills": SKILLS},
        population=FEW,
        satisfaction={"judged": True, "tolerance": [-1e6, -1e6], "width": 0.01},
    )
    economy, schedule = build_economy(config), first_schedule(config)
    state = initial_state(economy, schedule)
    state, plan, sums = start_year(economy, state, schedule, 2)
    state, sums, _ = live_days(economy, plan, state, sums, days=2, judged=(2,))
    assert not any(np.asarray(s).any() for s in state.satisfied.values())
    state, *_ = start_year(economy, end_year(economy, state, sums), schedule, 2)
    for name, years in state.dynamics.careers.years.items():
        np.testing.assert_array_equal(state.satisfied[name], np.asarray(years) == 0)


def test_satisfaction_looks_back_on_the_income_of_the_year():
    """A tenfold skill lifts income, and with it the net tax that is a share of it."""
    config = config_of(
        {"skills": SKILLS},
        population=FEW,
        satisfaction={"judged": True, "tolerance": [0.1, 0.1], "width": 0.001},
    )
    economy, schedule = build_economy(config), first_schedule(config)
    state = initial_state(economy, schedule)
    far = {
        name: jnp.where(jnp.arange(a.shape[0]) % 2, 2.3, -2.3)
        for name, a in state.dynamics.careers.deviation.items()
    }
    old = {name: jnp.ones_like(t) for name, t in state.dynamics.careers.years.items()}
    state = dataclasses.replace(state, dynamics=dyn.DynamicState(dyn.Careers(far, old)))
    state, plan, sums = start_year(economy, state, schedule, 2)
    state, sums, _ = live_days(economy, plan, state, sums, days=2, judged=(2,))
    for name, skill in skill_of_year(economy, state).items():
        income = np.asarray(skill) * np.asarray(sums.hours[name]) / 2
        net = (np.asarray(sums.tax[name]) - float(sums.rebate)) / 2 / np.maximum(income, 1)
        clear = np.abs(net - 0.1) > 0.01
        np.testing.assert_array_equal(np.asarray(state.satisfied[name])[clear], net[clear] < 0.1)
        assert 0 < (net[clear] < 0.1).sum() < clear.sum()


def test_days_with_inertia_beside_hours_as_they_are_chosen():
    """Rules draw what they draw without inertia; who is stuck lives yesterday's hours, and rules
    learn from hours lived.
    """
    config = config_of({"hours_inertia": 0.4}, seed=2)
    economy, schedule = build_economy(config), first_schedule(config)
    state = initial_state(economy, schedule)
    for name, part in by_cohort(economy, equilibrium_outcome(economy, schedule).hours).items():
        np.testing.assert_allclose(state.dynamics.hours[name], part, rtol=1e-6)
    free = build_economy(config_of({}, seed=2))
    state, plan, sums = start_year(economy, state, schedule, 5)
    yesterday, total = {n: np.asarray(h) for n, h in state.dynamics.hours.items()}, 0.0
    for day in range(5):
        values = np.asarray(state.rules["adaptive"])
        chosen, state = act(economy, plan, state)
        alone, _ = act(free, plan, dataclasses.replace(state, dynamics=dyn.DynamicState()))
        state, sums, _, outcomes = settle(economy, plan, state, sums, chosen)
        for name, outcome in outcomes.items():
            n = len(yesterday[name])
            stuck = words(2, name, "inertia", 0, day, n)[2] < np.float32(0.4)
            expected = np.where(stuck, yesterday[name], np.asarray(chosen[name]))
            np.testing.assert_array_equal(outcome.hours, expected)
            np.testing.assert_array_equal(state.dynamics.hours[name], expected)
            yesterday[name] = expected
            if name in ("quantal", "rational"):
                np.testing.assert_array_equal(chosen[name], alone[name])
        learnt = np.asarray(state.rules["adaptive"]) != values
        lived = yesterday["adaptive"][:, None] == np.arange(0, 101, 10)
        assert not np.any(learnt & ~lived)
        np.testing.assert_array_equal(state.rules["habit"], yesterday["habit"])
        total += (
            sum(float((np.asarray(w) * yesterday[n]).sum()) for n, w in economy.weights.items())
            / 180
        )
    assert sum(
        float((np.asarray(w) * np.asarray(sums.hours[n])).sum()) for n, w in economy.weights.items()
    ) / 180 == (pytest.approx(total, rel=1e-5))


def test_a_changed_tax_is_answered_at_the_speed_of_adjustment():
    """Of rational workers a share inertia^t still works the old hours after t days (Calvo)."""
    cohorts = [{"name": "a", "rule": "rational", "size": 20_000}]
    config = config_of(
        {"hours_inertia": 0.8},
        population={"cohorts": cohorts},
        schedule={"brackets": "flat", "rates": 0.2},
    )
    economy, schedule = build_economy(config), first_schedule(config)
    state = initial_state(economy, schedule)
    state, plan, sums = start_year(
        economy, state, je.TaxSchedule(schedule.thresholds, [0.6] * schedule.brackets), 6
    )
    before = np.asarray(state.dynamics.hours["a"])
    for day in range(6):
        hours, state = act(economy, plan, state)
        state, sums, _, outcomes = settle(economy, plan, state, sums, hours)
        still = np.isclose(np.asarray(outcomes["a"].hours), before, rtol=1e-5).mean()
        assert still == pytest.approx(0.8 ** (day + 1), abs=0.012)


# --- runs -----------------------------------------------------------------------------------------


def test_off_leaves_nothing_behind():
    """No array in economy or state: programs, runs and checkpoints are as they were."""
    config = config_of({})
    economy, schedule = build_economy(config), first_schedule(config)
    state = economy_days.initial_state(economy, schedule)
    assert jax.tree.leaves((economy.dynamics, state.dynamics)) == []
    assert economy_in_year(economy, state) is economy
    assert config.dynamics.switches == (False, False, False)


def test_agents_and_years_on_disk(tmp_path):
    run = je.run({**MECHANICAL, "dynamics": ALL}, out=tmp_path / "run")
    plain = je.run(MECHANICAL, out=tmp_path / "plain")
    for table, more in (("years", OF_WEALTH), ("agents", ("wealth", "saving"))):
        assert set(getattr(run, table).column_names) - set(
            getattr(plain, table).column_names
        ) == set(more)
    skills = run.agents["skill"].to_numpy().reshape(3, 30)
    base = plain.agents["skill"].to_numpy().reshape(3, 30)
    np.testing.assert_array_equal(skills[0], base[0])
    same = skills[1:] == base[1:]
    assert 5 < same.sum() < 40  # who has just entered
    np.testing.assert_allclose(
        run.agents["income"].to_numpy(), skills.ravel() * run.agents["hours"].to_numpy(), rtol=1e-5
    )
    for row in run.years.to_pylist():
        these = run.agents.filter(pc.field("year") == row["year"])
        weighted = (these["weight"].to_numpy() * these["income"].to_numpy()).sum() / these[
            "weight"
        ].to_numpy().sum()
        assert row["mean_income"] == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("config", [MECHANICAL, HYBRID], ids=["mechanical", "hybrid"])
@pytest.mark.parametrize(("year", "day"), [(0, None), (1, 2)])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(config, tmp_path, year, day):
    config = {**config, "dynamics": ALL}
    whole = je.run(config, out=tmp_path / "whole")
    killed = run_killed(config, tmp_path / "run", year=year, day=day)
    je.resume(killed)
    assert_same_run(killed, whole.path)


def test_a_branch_is_another_future_of_the_same_people(tmp_path):
    run = je.run({**HYBRID, "dynamics": ALL}, out=tmp_path / "run")
    (same,) = je.branch(run.path, year=1, out=tmp_path / "same")
    ours = run.agents.filter(pc.field("year") >= 1)
    assert same.agents["skill"].equals(ours["skill"])
    assert same.agents["hours"].equals(ours["hours"])
    (other,) = je.branch(
        run.path, year=1, out=tmp_path / "other", overrides=["dynamics.skills.shock=0"]
    )
    first = [
        table.filter(pc.field("year") == 1)["skill"].to_numpy()
        for table in (other.agents, run.agents)
    ]
    np.testing.assert_array_equal(*first)
    for setting in ("dynamics.skills.enabled=false", "dynamics.hours_inertia=0"):
        with pytest.raises(
            UserError,
            match=r"dynamics\..*; a branch keeps its run's people .* and what changes of itself",
        ) as said:
            je.branch(run.path, year=1, out=tmp_path / "no", overrides=[setting])
        assert "\n" not in str(said.value)
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("planner", ["in_context", "fixed"])
def test_many_runs_at_once_are_the_runs(tmp_path, planner):
    """With numbers that differ from run to run in one program."""
    given = {
        **MECHANICAL,
        "population": {
            "cohorts": [{"name": "habit", "rule": "habit", "size": 20}]
        },  # less to compile
        "satisfaction": {"judged": True},
        "planner": {"kind": planner, "compared_with": []},
        "schedule": {"brackets": "flat"},
    }
    several = [
        {
            "skills": SKILLS | {"shock": shock, "working_years": years},
            "hours_inertia": inertia,
            "saving": SAVING | {"tax": tax},
        }
        for shock, years, inertia, tax in ((0.1, 3.0, 0.2, 0.0), (0.3, 20.0, 0.6, 0.7))
    ]
    configs = [
        load_config({**given, "dynamics": dynamics, "seed": i})
        for i, dynamics in enumerate(several)
    ]
    with compute_context(configs[0]):
        stacked = jax.tree.map(lambda *x: np.stack(x), *(case(config) for config in configs))
        outcomes = jax.device_get(simulate_batch(stacked, skill_nodes(configs[0])))
    for i, config in enumerate(configs):
        run = je.run(config, out=tmp_path / f"run-{i}")
        for name in (*STATISTICS, *OF_WEALTH):
            ours = run.years[name].to_numpy()
            np.testing.assert_allclose(
                getattr(outcomes.figures, name)[i], ours, rtol=3e-5, atol=1e-6, err_msg=name
            )


def test_llm_workers_are_told_their_pay_and_forget_when_they_retire(tmp_path):
    from llm.transcript.store import Transcript

    config = {**HYBRID, "dynamics": {"skills": SKILLS}, "population": {"mechanical": 4, "llm": 12}}
    run = je.run(config, out=tmp_path / "run")
    skill = run.agents.filter(pc.field("cohort") == "llm")["skill"].to_numpy().reshape(3, 12)
    transcript = Transcript(run.path / "transcript.sqlite", read_only=True)
    told = {
        (c["kind"], c["year"], c["day"], c["agent"]): c["messages"][1]["content"]
        for c in transcript.conversations()
    }
    transcript.close()
    for (kind, year, _, agent), text in told.items():
        if kind in ("labor", "satisfaction"):
            assert f"Your pay: {skill[year, agent]:,.0f} dollars a year per weekly hour" in text
    new = skill[1:] == skill[0]
    assert 0 < new.sum() < 24
    for year in (1, 2):
        for agent in range(12):
            text = told["labor", year, 0, agent]
            remembers = [f"Year {y} day" in text for y in range(1, year + 1)]
            assert any(remembers) != new[year - 1, agent]
            assert ("Over " in text) != new[year - 1, agent]
            persona = text.split("Your pay")[0]
            assert told["labor", 0, 0, agent].split("Your pay")[0] == persona
            if new[year - 1, agent]:
                later = told["labor", year, 3, agent]
                assert "Over 3 days" in later
                assert f"Year {year} day" not in later


def test_hours_of_llm_workers_adjust_with_a_lag_too(tmp_path):
    config = {**HYBRID, "years": 1, "dynamics": {"hours_inertia": 0.9}}
    stuck, free = (
        je.run(c, out=tmp_path / name)
        for name, c in (("a", config), ("b", {**config, "dynamics": {}}))
    )
    hours = [
        r.agents.filter(pc.field("cohort") == "llm")["hours"].to_numpy() for r in (stuck, free)
    ]
    assert not np.array_equal(*hours)
    economy = build_economy(load_config(config))
    exact = by_cohort(
        economy, equilibrium_outcome(economy, first_schedule(load_config(config))).hours
    )["llm"]
    draws = np.array(
        [words(0, "llm", "inertia", 0, day, 3)[2] < np.float32(0.9) for day in range(6)]
    )
    never = draws.all(axis=0)
    assert never.any()
    np.testing.assert_allclose(hours[0][never], np.asarray(exact)[never], rtol=1e-5)


TWO = """
    import json, sys
    import jaxecon as je

    given, folder = json.loads(sys.argv[1]), sys.argv[2]
    for devices in (1, 2):
        je.run(given, overrides=[f"devices={devices}"], out=f"{folder}/{devices}")
"""


def test_two_devices_live_the_life_of_one(tmp_path):
    import textwrap

    config = {
        **MECHANICAL,
        "dynamics": ALL,
        "schedule": {"brackets": "flat"},
        "planner": {"kind": "fixed", "compared_with": []},
    }
    config["population"] = {
        "cohorts": [
            {"name": "q", "rule": "quantal", "size": 30},
            {"name": "h", "rule": "habit", "size": 20},
        ]
    }
    flags = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", textwrap.dedent(TWO), json.dumps(config), str(tmp_path)]
    subprocess.run(command, env=environment, check=True, cwd=ROOT)
    one, two = (je.load(tmp_path / name) for name in ("1", "2"))
    assert two.manifest["hardware"]["economy_on"] == "2 devices"
    for name in ("skill", "hours", "income", "tax", "utility", "wealth", "saving"):
        a, b = (run.agents[name].to_numpy() for run in (one, two))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=0.02, err_msg=name)
    skills = one.agents["skill"].to_numpy().reshape(3, 50)
    assert (skills[1:] != skills[0]).sum() > 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hours_inertia=1", "dynamics.hours_inertia: 1; a number in [0, 1)"),
        ("hours_inertia=-0.1", "dynamics.hours_inertia: -0.1; a number in [0, 1)"),
        ("skills.persistence=1.1", "dynamics.skills.persistence: 1.1; a number in [0, 1]"),
        ("skills.shock=0.6", "dynamics.skills.shock: 0.6; a number in [0, 0.5]"),
        (
            "skills.working_years=0.5",
            "dynamics.skills.working_years: 0.5; a number or unset in [1, 1,000,000,000]",
        ),
        ("skills.learns=1", "dynamics.skills.learns: no such setting; did you mean 'learning'?"),
    ],
)
def test_mistakes_are_one_line(setting, message):
    with pytest.raises(UserError) as said:
        load_config({}, [f"dynamics.{setting}"])
    assert str(said.value).startswith(message)
    assert "\n" not in str(said.value)


def test_nobody_retires_without_working_years():
    config = config_of({"skills": {"enabled": True, "working_years": None}})
    assert float(build_economy(config).dynamics.skills.retirement) == 0
