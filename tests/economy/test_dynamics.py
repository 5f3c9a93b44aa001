"""Years of an economy whose skills, hours and wealth change by themselves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.dynamics import (
    ALL,
    COHORTS,
    FEW,
    SKILLS,
    config_of,
    variance_by_recursion,
    words,
)

import jaxecon as je
from jaxecon.economy import days as economy_days
from jaxecon.economy import year as economy_year
from jaxecon.economy.build import build_economy
from jaxecon.economy.days import settle_and_learn, simulate_days
from jaxecon.economy.equilibrium import equilibrium_outcome
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import by_cohort, economy_in_year, skill_of_year
from jaxecon.economy.summary import summarise_year
from jaxecon.kernels import skills as dyn
from jaxecon.kernels.quantal import choice_payoffs
from jaxecon.planners import changed_schedule

initial_state, start_year, end_year = (
    jax.jit(economy_year.initial_state),
    jax.jit(economy_year.start_year),
    jax.jit(economy_year.end_year),
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


def test_entrants_start_with_initial_states_under_the_current_schedule():
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


def test_entrants_are_satisfied_even_if_the_retired_were_not():
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


def test_inertia_keeps_some_of_yesterdays_hours():
    """Rules draw what they draw without inertia; who is stuck lives yesterday's hours, and rules
    learn from hours worked.
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
        worked = yesterday["adaptive"][:, None] == np.arange(0, 101, 10)
        assert not np.any(learnt & ~worked)
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


def test_without_dynamics_the_state_has_no_leaves_for_them():
    """No array in economy or state: programs, runs and checkpoints are as they were."""
    config = config_of({})
    economy, schedule = build_economy(config), first_schedule(config)
    state = economy_year.initial_state(economy, schedule)
    assert jax.tree.leaves((economy.dynamics, state.dynamics)) == []
    assert economy_in_year(economy, state) is economy
    assert config.dynamics.switches == (False, False, False)
