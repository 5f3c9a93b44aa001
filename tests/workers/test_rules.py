"""Decision rules: one contract for the whole registry, then what each is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxecon as je
from jaxecon.config import names
from jaxecon.core.draws import draw, named_key
from jaxecon.kernels.equilibrium import settle
from jaxecon.kernels.taxation import tax_due
from jaxecon.workers import RULES, rule_named
from jaxecon.workers.base import Cohort, HasDayLayout, Observation

N = 64


def cohort(n=N, curvature=0.0, max_hours=100.0):
    skill = je.gb2_skill(n)
    preferences = je.Preferences.calibrated(skill, max_hours=max_hours)
    x_ref = 40 * skill - tax_due(je.TaxSchedule.us_federal(), 40 * skill) + 10_000.0
    if curvature:
        preferences = je.Preferences(
            preferences.disutility_weight * x_ref**-curvature, 3.5, curvature, max_hours
        )
    return Cohort(
        skill,
        jnp.ones(n),
        preferences,
        x_ref,
        je.welfare_weights("inverse_income", 40 * skill),
        "workers",
    )


def simulate(rule, params, people, schedules, days, seed=0, rebate=10_000.0):
    """Hours (years, days, n) of one cohort alone in its economy."""
    state = rule.init(params, people, schedules[0], jnp.float32(rebate))
    rebate = jnp.float32(rebate)
    key = named_key(seed, people.name, "labor")
    every_day = []
    for year, schedule in enumerate(schedules):
        state, plan = rule.start_year(params, people, state, schedule)

        @jax.jit
        def one_day(plan, state, rebate, year, day, schedule):
            seen = Observation(rebate, day / max(days - 1, 1))
            turns = isinstance(rule, HasDayLayout)
            state = rule.enter(state) if turns else state
            hours, state = rule.act(params, plan, state, draw(key, year, day, people.size), seen)
            outcome = settle(schedule, hours, people.skill, people.preferences, people.weight)
            state = rule.learn(params, plan, state, hours, outcome)
            return hours, rule.leave(state) if turns else state, outcome.rebate

        for day in range(days):
            hours, state, rebate = one_day(plan, state, rebate, year, day, schedule)
            every_day.append(np.asarray(hours))
    return np.stack(every_day).reshape(len(schedules), days, people.size)


US, FLAT = (
    je.TaxSchedule.us_federal(),
    je.TaxSchedule(je.TaxSchedule.us_federal().thresholds, [0.6] * 7),
)


def test_the_registry_has_the_names_of_the_settings():
    assert list(RULES) == list(names.RULES)
    assert all(rule_named(name) is rule for name, rule in RULES.items())


@pytest.mark.parametrize("curvature", [0.0, 1.0])
@pytest.mark.parametrize("name", RULES)
def test_contract(name, curvature):
    """Hours are finite, in range and of the economy's dtype; state keeps its structure; the same
    draws, the same hours.
    """
    rule, people = RULES[name], cohort(curvature=curvature, max_hours=60.0)
    params = rule.parameters()
    once = simulate(rule, params, people, [US, FLAT], 12)
    assert once.dtype == np.float32
    assert np.all((once >= 0) & (once <= 60 + 1e-4))
    np.testing.assert_array_equal(once, simulate(rule, params, people, [US, FLAT], 12))
    state = rule.init(params, people, US, jnp.float32(0))
    assert all(leaf.shape[0] == N for leaf in jax.tree.leaves(state))
    if isinstance(rule, HasDayLayout):
        jax.tree.map(np.testing.assert_array_equal, rule.leave(rule.enter(state)), state)


@pytest.mark.parametrize("name", RULES)
def test_unknown_parameters_are_refused(name):
    with pytest.raises(ValueError, match=rf"parameters.speeed: {name} has no such parameter"):
        RULES[name].parameters(speeed=0.5)


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        ("quantal", "precision", -1),
        ("habit", "speed", 1.5),
        ("fixed", "hours", 200),
        ("adaptive", "recency", 0),
    ],
)
def test_parameters_have_ranges(name, parameter, value):
    with pytest.raises(ValueError, match=rf"parameters.{parameter}: {value}; {name} accepts \["):
        RULES[name].parameters(**{parameter: value})


def test_rational_is_the_best_response():
    people = cohort()
    hours = simulate(RULES["rational"], (), people, [US, FLAT], 2)
    for year, schedule in enumerate((US, FLAT)):
        np.testing.assert_array_equal(
            hours[year, 1], je.best_response(schedule, people.skill, people.preferences)
        )


def test_rational_with_income_effects_follows_the_rebate():
    people = cohort(curvature=1.0)
    poor = simulate(RULES["rational"], (), people, [US], 1, rebate=0.0)
    rich = simulate(RULES["rational"], (), people, [US], 1, rebate=50_000.0)
    assert np.all(rich < poor)


def test_habit_closes_its_share_of_the_distance():
    people = cohort()
    hours = simulate(RULES["habit"], RULES["habit"].parameters(speed=0.25), people, [US, FLAT], 3)
    start, target = (
        np.asarray(je.best_response(s, people.skill, people.preferences)) for s in (US, FLAT)
    )
    np.testing.assert_allclose(hours[0], np.broadcast_to(start, hours[0].shape), rtol=1e-5)
    np.testing.assert_allclose(hours[1, 2], target + 0.75**3 * (start - target), rtol=1e-5)


def test_fixed_stays():
    assert np.all(
        simulate(RULES["fixed"], RULES["fixed"].parameters(hours=35), cohort(), [US, FLAT], 2) == 35
    )


def test_quantal_frequencies_are_the_quantal_response():
    people = cohort(n=8)
    hours = simulate(
        RULES["quantal"], RULES["quantal"].parameters(precision=20), people, [US], 4000
    )[0]
    expected = np.asarray(je.quantal_response(US, people.skill, people.preferences, 20.0))
    seen = np.stack([(hours == h).mean(0) for h in je.HOURS], axis=1)
    # five standard errors of a frequency
    assert np.all(np.abs(seen - expected) < 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3)


def test_quantal_never_takes_an_impossible_choice():
    hours = simulate(
        RULES["quantal"],
        RULES["quantal"].parameters(precision=0),
        cohort(max_hours=50.0),
        [US],
        500,
    )
    assert hours.max() == 50
    assert set(np.unique(hours)) == {0, 10, 20, 30, 40, 50}


def test_adaptive_starts_at_the_best_choice_and_explores_its_neighbours():
    people = cohort(n=2000)
    hours = simulate(RULES["adaptive"], RULES["adaptive"].parameters(), people, [US], 64)[0]
    assert set(np.unique(hours[0])) == {30, 40, 50}
    exploring = (hours != 40).mean(1)
    assert abs(exploring[0] - 0.4) < 0.05
    assert exploring[-8:].mean() < 0.06


def test_adaptive_learns_a_new_schedule():
    """After years under a schedule it has never seen, most workers sit at the best of the eleven
    choices.
    """
    people = cohort(n=500)
    hours = simulate(
        RULES["adaptive"], RULES["adaptive"].parameters(), people, [US, FLAT, FLAT, FLAT], 64
    )
    z = np.asarray(people.skill)[:, None] * je.HOURS
    payoff = 0.4 * z - np.asarray(people.preferences.disutility_weight)[:, None] * je.HOURS**3.5
    best = je.HOURS[payoff.argmax(1)]
    settled = np.sort(hours[-1, -9:], axis=0)[4]  # the median of the last days
    assert (settled == best).mean() > 0.95


def test_learning_is_not_moved_by_the_rebate():
    """A rebate is nobody's own doing: learnt values, and so hours, are the same whatever it is."""
    people = cohort(n=50)
    rule = RULES["adaptive"]
    params = rule.parameters()
    states = []
    for rebate in (0.0, 30_000.0):
        state = rule.init(params, people, US, jnp.float32(rebate))
        hours = jnp.full(50, 40.0)
        spending = settle(US, hours, people.skill, people.preferences).rebate - rebate
        outcome = settle(US, hours, people.skill, people.preferences, public_spending=spending)
        states.append(rule.learn(params, people, rule.enter(state), hours, outcome))
    np.testing.assert_allclose(states[0], states[1], atol=2e-5)


def test_user_defined_rule(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from jaxecon.workers.fixed import Fixed\nclass Lazy(Fixed):\n    pass\nclass NotARule:\n "
        "   pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert rule_named("mine:Lazy") is rule_named("mine:Lazy")
    with pytest.raises(
        ValueError,
        match=r"needs a class with .* \(missing: parameters, init, start_year, act, learn\)",
    ):
        rule_named("mine:NotARule")
    with pytest.raises(ValueError, match="cannot be imported"):
        rule_named("not_there:Rule")
    with pytest.raises(ValueError, match="one of rational, quantal"):
        rule_named("nothing")
