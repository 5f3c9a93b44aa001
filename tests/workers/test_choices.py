"""Other hours to choose among than the paper's."""

import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy as oracle

import jaxecon as je
from jaxecon.config.hours import choices_of
from jaxecon.config.names import WITHOUT_CHOICES
from jaxecon.config.read import load_config
from jaxecon.core.draws import draw, named_key
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy
from jaxecon.kernels.quantal import cumulated_response
from jaxecon.workers import RULES
from jaxecon.workers.base import Observation

LISTS = [
    choices_of(5),
    choices_of(1),
    choices_of(2.5),
    choices_of(30),
    (20.0, 40.0),
    (0.0, 20.0, 35.0, 36.5, 40.0, 41.0, 60.0, 120.0),
]
FLAT = je.TaxSchedule.flat(0.6)
US = je.TaxSchedule.us_federal()


def people(choices, rule, size=400, **settings):
    """A cohort whose workers choose among these hours, and its rule."""
    config = load_config(
        {
            "population": {
                "sampling": "random",
                "cohorts": [{"name": "workers", "rule": rule, "size": size, "choices": choices}],
            },
            "preferences": {"set": "annualised", "max_hours": 168.0} | settings,
        }
    )
    return build_economy(config).cohorts["workers"], RULES[rule]


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        (10, je.HOURS),
        (1, np.arange(101.0)),
        (30, [0, 30, 60, 90]),
        (12.5, np.arange(0, 101, 12.5)),
        ([35, 40], [35, 40]),
    ],
)
def test_a_step_begins_at_0_and_ends_at_100(setting, expected):
    np.testing.assert_array_equal(choices_of(setting), expected)


def test_the_papers_choices_are_the_default():
    for cohort in build_economy(load_config({})).cohorts.values():
        np.testing.assert_array_equal(cohort.choices, je.HOURS)


@pytest.mark.parametrize("choices", LISTS)
@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_quantal_probabilities_match_the_oracle(choices, curvature, monkeypatch):
    monkeypatch.setattr(oracle, "CHOICES", np.array(choices))
    skill, cap = np.array([80.0, 400.0, 3000.0]), 90.0
    c = np.array([0.01, 0.02, 0.03]) * (skill**-curvature if curvature else 1)
    x_ref = 40 * skill
    expected = oracle.quantal_response(
        [0, 20_000], [0.1, 0.5], skill, c, 20.0, eta=curvature, rebate=9_000.0, x_ref=x_ref, cap=cap
    )
    schedule = je.TaxSchedule([0.0, 20_000.0], [0.1, 0.5])
    preferences = je.Preferences(jnp.asarray(c), 3.5, curvature, cap)
    arguments = (schedule, skill, preferences, 20.0, 9_000.0, x_ref, np.array(choices))
    found = je.quantal_response(*arguments)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    np.testing.assert_allclose(
        cumulated_response(*arguments).T, np.cumsum(expected, axis=1)[:, :-1], atol=2e-4
    )


@pytest.mark.parametrize("choices", LISTS)
@pytest.mark.parametrize("rule", ["quantal", "adaptive"])
def test_workers_take_their_choices_alone_and_none_above_the_longest(choices, rule):
    cohort, worker = people(choices, rule, max_hours=60.0)
    hours = np.concatenate(list(days(cohort, worker, 12)))
    assert set(np.unique(hours)) <= {h for h in np.float32(choices) if h <= 60}
    assert len(np.unique(hours)) > 1


def days(cohort, worker, count, progress=0.0):
    """The hours of each of some days, without learning."""
    params = worker.parameters()
    state = worker.init(params, cohort, US, jnp.float32(9_000.0))
    state, plan = worker.start_year(params, cohort, state, US)
    if hasattr(worker, "enter"):
        state = worker.enter(state)
    key = named_key(0, "workers", "labor")
    seen = Observation(jnp.float32(9_000.0), jnp.float32(progress))
    for day in range(count):
        hours, _ = worker.act(params, plan, state, draw(key, 0, day, cohort.size), seen)
        yield np.asarray(hours)


@pytest.mark.parametrize("choices", LISTS)
def test_adaptive_workers_explore_every_choice_within_ten_hours(choices):
    """And the next one, above or below, where none is near."""
    cohort, worker = people(choices, "adaptive", size=300)
    all_days = np.stack(list(days(cohort, worker, 400)))
    grid = np.float32(choices)
    for agent in range(0, 300, 30):
        values, counts = np.unique(all_days[:, agent], return_counts=True)
        best = values[counts.argmax()]
        near = set(grid[(np.abs(grid - best) <= 10) & (grid != best)])
        place = int(np.flatnonzero(grid == best)[0])
        if not any(h > best for h in near) and place + 1 < len(grid):
            near.add(grid[place + 1])
        if not any(h < best for h in near) and place:
            near.add(grid[place - 1])
        assert set(values) - {best} <= near
        if len(near) <= 4:  # 400 days of 0.4 explorations reach each of a few for certain
            assert set(values) - {best} == near


@pytest.mark.parametrize("choices", [choices_of(5), choices_of(1), (0.0, 20.0, 36.0, 44.0, 70.0)])
def test_adaptive_workers_learn_the_best_of_their_choices(tmp_path, choices):
    """Under a schedule that none has seen, most end within 2 % of what the best choice brings."""
    run = je.run(
        {
            "years": 4,
            "year": {"days": 64},
            "preferences": {"set": "annualised"},
            "population": {
                "sampling": "random",
                "cohorts": [
                    {"name": "workers", "rule": "adaptive", "size": 200, "choices": choices}
                ],
            },
            "schedule": {"brackets": "flat", "rates": 0.6},
            "planner": {"kind": "fixed", "compared_with": []},
            "record": {"agents": "every"},
        },
        out=tmp_path / "run",
    )
    cohort = build_economy(run.config).cohorts["workers"]
    grid, skill = np.asarray(choices), np.asarray(cohort.skill, float)[:, None]
    cost = np.broadcast_to(np.asarray(cohort.preferences.disutility_weight, float), 200)[:, None]
    worth = 0.4 * skill * grid - cost * grid**3.5
    settled = np.asarray(run.agents["hours"])[-200:]  # means over the year
    nearest = worth[np.arange(200), np.abs(settled[:, None] - grid).argmin(axis=1)]
    assert (nearest >= worth.max(axis=1) - 0.02 * np.abs(worth.max(axis=1))).mean() > 0.9


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("labor.choices=0.1", "labor.choices: 0.1; a step is in [0.5, 50]"),
        ("labor.choices=60", "labor.choices: 60; a step is in [0.5, 50]"),
        ("labor.choices=-10", "labor.choices: -10; a number or a list of numbers in [0, 168]"),
        ("labor.choices=[40]", "labor.choices: 1 hours; a list has 2 to 201 rising ones"),
        ("labor.choices=[0,40,40]", "labor.choices: 3 hours; a list has 2 to 201 rising ones"),
        ("labor.choices=[0,200]", "labor.choices.1: 200; a number in [0, 168]"),
        ("labor.choices=tens", "labor.choices: 'tens'; a number or a list of numbers in [0, 168]"),
        (
            "labor.choices=2.5",
            "labor.choices: 2.5; language models choose whole hours (cohort llm; "
            "population.cohorts.N.choices is for one cohort)",
        ),
        (
            "preferences.max_hours=10,labor.choices=20",
            "labor.choices: 20 is the second; at least two must be within preferences.max_hours "
            "(10)",
        ),
    ],
)
def test_choices_that_cannot_be_are_refused(override, message):
    with pytest.raises(UserError) as caught:
        load_config({}, override.split(",") if "max_hours" in override else [override])
    assert str(caught.value) == message


def test_a_language_models_own_choices_are_named_where_they_are_not_whole_hours():
    workers = {"name": "workers", "rule": "adaptive", "size": 3, "choices": 2.5}
    voices = {"name": "voices", "rule": "llm", "size": 3, "choices": [0, 37.5, 40]}
    with pytest.raises(UserError) as caught:
        load_config({"population": {"cohorts": [workers, voices]}})
    assert str(caught.value) == (
        "population.cohorts.1.choices: 37.5; language models choose whole hours (cohort voices)"
    )


@pytest.mark.parametrize("rule", WITHOUT_CHOICES)
def test_rules_without_choices_have_none(rule):
    cohort = {"name": "a", "rule": rule, "size": 3, "choices": 5}
    with pytest.raises(UserError, match=f"population.cohorts.0.choices: {rule} workers do not"):
        load_config({"population": {"cohorts": [cohort]}})


def test_a_branch_keeps_the_choices(tmp_path):
    settings = {"years": 2, "year": {"days": 2}, "population": {"mechanical": 6, "llm": 0}}
    je.run(settings, out=tmp_path / "run")
    with pytest.raises(UserError, match=r"labor.choices: 10.0 -> 5.0; a branch keeps"):
        je.branch(tmp_path / "run", year=1, out=tmp_path / "b", overrides=["labor.choices=5"])


def test_a_sweep_over_choices_is_each_run_by_itself(tmp_path):
    shared = {
        "years": 2,
        "year": {"days": 4},
        "population": {"mechanical": 20, "llm": 0},
        "planner": {"kind": "fixed", "compared_with": []},
    }
    design = {"run": shared, "grid": {"labor.choices": [10, 1, [0, 35, 45]]}}
    swept = je.sweep(design, out=tmp_path / "sweep").years.to_pydict()
    for point, choices in enumerate([10, 1, [0, 35, 45]]):
        run = je.run({**shared, "labor": {"choices": choices}}, out=tmp_path / str(point))
        rows = [i for i, number in enumerate(swept["point"]) if number == point]
        for name in ("swf", "mean_hours", "swf_choices"):
            np.testing.assert_allclose(
                [swept[name][i] for i in rows], run.years[name].to_pylist(), rtol=1e-6
            )
