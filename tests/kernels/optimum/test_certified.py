"""The leader's optimum against exhaustion and SciPy's optimisers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy as oracle
from oracles import leader
from oracles.strictness import strict
from support.certified_cases import (
    CASES,
    SEARCH,
    THREE,
    N,
    assert_described,
    best,
    by_population,
    case,
    dense,
    lognormal,
    preferences_of,
    solve,
)

import jaxecon as je
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum import certified as stackelberg
from jaxecon.kernels.optimum.certified import optimal_schedule
from jaxecon.kernels.optimum.problem import LeaderProblem, thinned
from jaxecon.kernels.optimum.space import SEARCHES


@pytest.mark.parametrize("name", CASES)
def test_the_optimum_is_what_it_says(name):
    assert_described(best(name), case(name))
    assert best(name).feasible
    assert best(name).multiplier == 0
    assert best(name).evaluations > SEARCH.population * SEARCH.generations


@pytest.mark.parametrize("name", CASES)
def test_neighbours_are_the_oracles_and_none_is_better(name):
    found, problem = best(name), case(name)
    expected = leader.welfare(problem, leader.neighbours(found.schedule.rates)) - found.welfare
    np.testing.assert_allclose(
        np.sort(found.neighbours), np.sort(expected), atol=1e-7 * abs(found.welfare)
    )
    assert found.certified
    assert expected.max() <= 1e-12 * abs(found.welfare)


@pytest.mark.parametrize("name", CASES)
def test_scipy_finds_nothing_better(name):
    _, welfare = leader.by_differential_evolution(case(name))
    assert best(name).welfare >= welfare * (1 - 1e-4)
    _, on_grid = leader.grid(case(name), np.linspace(0, 1, 11))
    assert best(name).welfare >= on_grid


def test_seeds_repeat_and_agree():
    again, other = (solve(case("calibrated"), seed=seed) for seed in (0, 1))
    chex.assert_trees_all_equal(again, best("calibrated"))
    assert np.any(other.schedule.rates != again.schedule.rates)
    assert other.welfare == pytest.approx(again.welfare, rel=1e-4)


@pytest.mark.parametrize("bounds", [(0.2, 0.5), (0.6, 1.0), (0.62, 0.65)])
def test_bounds_are_respected(bounds):
    problem = case("calibrated")
    found = solve(problem, bounds=bounds)
    assert_described(found, problem, bounds)
    around = leader.neighbours(found.schedule.rates, bounds=bounds)
    np.testing.assert_allclose(
        np.sort(found.neighbours),
        np.sort(leader.welfare(problem, around) - found.welfare),
        atol=1e-7 * found.welfare,
    )
    assert found.certified
    assert found.welfare >= leader.by_differential_evolution(problem, bounds)[1] * (1 - 1e-4)
    assert found.welfare < best("calibrated").welfare


def test_a_reference_of_ones_own():
    problem, flat = case("calibrated"), np.array([0.3, 0.3, 0.3])
    found = solve(problem, reference=je.TaxSchedule(THREE, flat))
    base = leader.welfare(problem, flat)[0]
    assert found.reference_welfare == pytest.approx(base, rel=1e-9)
    assert found.gain == pytest.approx(found.welfare / base - 1, rel=1e-9)


def test_the_population_search_alone():
    found = by_population()
    assert_described(found, case("calibrated"))
    assert_found_by("population", found)
    assert found.welfare == pytest.approx(best("calibrated").welfare, rel=1e-4)


def test_the_gradient_search_alone():
    problem, found = dense("calibrated")
    assert_described(found, problem)
    assert_found_by("gradient", found)
    start = leader.welfare(problem, np.full((1, 3), 0.6))[0]
    assert found.reached["gradient"] > start
    assert (
        found.welfare
        > leader.grid(problem.but(thresholds=THREE[:1]), np.linspace(0.55, 0.65, 11))[1]
    )


def assert_found_by(method, found):
    assert found.certified
    assert SEARCHES[found.found_by] == method
    assert {name for name in SEARCHES if np.isfinite(found.reached[name])} == {method}
    assert found.reached[method] <= found.welfare * (1 + 1e-12)


def test_auto_names_the_search_that_came_further():
    found = best("calibrated")
    assert {name for name in SEARCHES if np.isfinite(found.reached[name])} == {
        "gradient",
        "population",
    }
    # evolution starts from where the gradients came to
    assert found.reached["gradient"] <= found.reached["population"] <= found.welfare * (1 + 1e-12)
    further = found.reached["population"] > found.reached["gradient"]
    assert SEARCHES[found.found_by] == ("population" if further else "gradient")


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (0.3, 0.7)])
@pytest.mark.parametrize("name", ["calibrated", "annualised", "random 0", "random 2"])
def test_the_monotone_grid_is_exhaustive(name, bounds):
    """The same eleven points a rate for both bounds: one program."""
    step = (bounds[1] - bounds[0]) / 10
    found = solve(case(name), method="grid", monotone=True, bounds=bounds, grid_step=step)
    rates, welfare = leader.grid(case(name), np.linspace(*bounds, 11), monotone=True)
    np.testing.assert_allclose(found.schedule.rates, rates, atol=1e-12)
    assert found.welfare == pytest.approx(welfare, rel=1e-9)
    assert SEARCHES[found.found_by] == "grid"
    assert found.evaluations >= 11**3
    around = leader.neighbours(rates, bounds=bounds)
    # the others are projected onto some order
    around = around[(np.diff(around, axis=1) >= -1e-9).all(1)]
    nothing_near = leader.welfare(problem=case(name), rates=around).max() <= welfare
    assert not found.certified or nothing_near


# Welfare functions


def test_utilitarians_without_curvature_do_not_tax():
    """Every tax distorts and a dollar is a dollar: no tax, or what a jump makes of it."""
    problem = case("annualised").but(g=np.ones(N))
    found = solve(problem)
    assert found.schedule.rates.max() <= 0.01
    assert found.welfare >= leader.welfare(problem, np.zeros(3))[0] * (1 - 1e-12)
    assert found.welfare == pytest.approx(leader.welfare(problem, np.zeros(3))[0], rel=1e-5)


@pytest.mark.parametrize("survey", [False, True])
@pytest.mark.parametrize(("kind", "method"), [("rawlsian", "auto"), ("atkinson", "population")])
def test_other_welfare_functions(kind, method, survey):
    problem = case("annualised").but(
        welfare="rawlsian" if kind == "rawlsian" else ("atkinson", 1.5)
    )
    if survey:
        problem = problem.but(w=np.random.default_rng(3).uniform(0.2, 3, N))
    welfare = je.SocialWelfare({"all": problem.g}, {"all": problem.w}, kind, 1.5)
    found = solve(problem, welfare, method=method)
    assert_described(found, problem)
    assert found.certified
    assert found.welfare >= leader.grid(problem, np.linspace(0, 1, 11))[1]
    assert found.welfare >= leader.by_differential_evolution(problem, generations=30)[1] * (
        1 - 1e-4
    )


def test_a_social_welfare_of_fixed_weights_is_the_weights():
    problem = case("random 0")
    found = solve(problem, je.SocialWelfare({"mechanical": problem.g}, {"mechanical": problem.w}))
    chex.assert_trees_all_close(found, best("random 0"), rtol=1e-12)


def test_survey_weights_are_people_repeated():
    """Thirty kinds of people, one or three of each; or two of each that stand for half a person or
    one and a half.
    """
    skill = oracle.skills(30)
    c, kinds = oracle.calibrated_weight(skill), np.arange(30)
    people = np.where(kinds % 2 == 0, 1, 3)
    repeated, pairs = np.repeat(kinds, people), np.repeat(kinds, 2)
    weights = people[pairs] / 2
    g = 1 / np.maximum(40 * skill, 10_000)
    thresholds = np.array([0.0, 40_000.0, 90_000.0])
    unweighted = leader.Problem(
        skill[repeated], c[repeated], (g / np.average(g, weights=people))[repeated], thresholds
    )
    weighted = leader.Problem(
        skill[pairs], c[pairs], (g / np.average(g, weights=people))[pairs], thresholds, w=weights
    )
    one, other = solve(unweighted), solve(weighted)
    for problem, found in ((unweighted, one), (weighted, other)):
        assert_described(found, problem)
    assert one.welfare == pytest.approx(other.welfare, rel=1e-7)
    assert one.gain == pytest.approx(other.gain, rel=1e-6)
    assert one.rebate == pytest.approx(other.rebate, rel=1e-4)
    ignored = solve(weighted.but(w=np.ones(N), g=weighted.g / weighted.g.mean()))
    assert abs(ignored.welfare - one.welfare) > 10


def test_thinned_problems_are_the_people_themselves():
    """Whole numbers of people: as many followers as there are people are the people, repeated."""
    problem = case("random 0")
    people = int(problem.w.sum())
    asked = LeaderProblem.of(
        problem.skill[::-1].copy(),
        je.Preferences(problem.c[::-1].copy()),
        problem.g[::-1],
        problem.w[::-1],
    )
    with strict(True):
        few = jax.jit(thinned, static_argnums=1)(asked, people)
    each = np.repeat(np.arange(N), problem.w.astype(int))
    np.testing.assert_allclose(few.skill, problem.skill[each])
    np.testing.assert_allclose(few.preferences.disutility_weight, problem.c[each])
    (g,) = few.welfare.weights.values()
    np.testing.assert_allclose(g, problem.g[each])
    assert float(
        few.outcome(je.TaxSchedule(problem.thresholds, [0.5, 0.4, 0.3])).rebate
    ) == pytest.approx(leader.outcome(problem, [0.5, 0.4, 0.3]).rebate[0], rel=1e-12)


# Tables, traces, names


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_responses_with_a_table_are_those_without(precision, eta):
    problem, tight = case("annualised"), 1e-12 if precision.x64 else 1e-5
    skill, c = (precision.array(a) for a in (problem.skill, problem.c * 30_000.0**-eta))
    preferences = je.Preferences(c, 3.5, eta, 60.0)
    table = ResponseTable.of(precision.array(THREE), skill, preferences)
    assert {leaf.dtype for leaf in jax.tree.leaves(table)} == {np.dtype(precision.dtype)}
    for rates in ((0.7, 0.5, 0.2), (0.1, 0.3, 1.0), (0.0, 0.0, 0.0)):
        schedule = je.TaxSchedule(precision.array(THREE), precision.array(rates))
        hours = je.best_response(schedule, skill, preferences, 5_000.0, table)
        np.testing.assert_allclose(
            hours, je.best_response(schedule, skill, preferences, 5_000.0), rtol=tight
        )
        if precision.x64:
            expected = leader.responses(
                problem.but(cap=60.0, c=problem.c * 30_000.0**-eta, eta=eta), rates, 5_000.0
            )[0]
            np.testing.assert_allclose(hours, expected, rtol=1e-8, atol=1e-8)


def test_equilibrium_with_a_table_is_that_without():
    problem = case("random 0")
    table = ResponseTable.of(
        jnp.asarray(problem.thresholds), problem.skill, preferences_of(problem)
    )
    schedule = je.TaxSchedule(problem.thresholds, [0.7, 0.5, 0.2])
    one, other = (
        je.equilibrium(schedule, problem.skill, preferences_of(problem), problem.w, table=t)
        for t in (table, None)
    )
    assert float(one.rebate) == pytest.approx(float(other.rebate), rel=1e-12)
    np.testing.assert_allclose(one.utility, other.utility, rtol=1e-12)
    np.testing.assert_allclose(
        one.utility, leader.outcome(problem, schedule.rates).utility[0], rtol=1e-9
    )


def test_new_numbers_of_the_same_shape_do_not_compile_again(monkeypatch):
    inner = chex.assert_max_traces(stackelberg._solve.__wrapped__, n=1)
    monkeypatch.setattr(
        stackelberg,
        "_solve",
        jax.jit(inner, static_argnames=("space", "method", "points", "effort")),
    )
    found = []
    for seed, bounds, g in ((0, (0.0, 1.0), "given"), (1, (0.1, 0.6), "equal")):
        problem = lognormal(seed, (0.0,))
        problem = problem if g == "given" else problem.but(g=np.ones(N))
        step = (bounds[1] - bounds[0]) / 5
        reference = je.TaxSchedule(np.array([0.0, 1e4 + seed]), np.array([0.1, 0.2]))
        found.append(
            solve(
                problem,
                method="grid",
                bounds=bounds,
                grid_step=step,
                seed=seed,
                public_spending=100.0 * seed,
                reference=reference,
            )
        )
        assert found[-1].welfare == pytest.approx(
            leader.grid(problem.but(spending=100.0 * seed), np.linspace(*bounds, 6))[1]
        )
    assert found[0].reference_welfare != found[1].reference_welfare
    assert found[1].schedule.rates == pytest.approx(0.1)  # utilitarians tax as little as they may


def test_the_public_name():
    assert je.optimal_schedule is optimal_schedule


# Bad inputs


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"method": "simplex"}, "method: 'simplex'"),
        ({"bounds": (0.5, 0.5)}, "bounds"),
        ({"bounds": (0.6, 0.5)}, "bounds"),
        ({"bounds": (-0.1, 0.5)}, "bounds"),
        ({"bounds": (0.0, 1.1)}, "bounds"),
        ({"bounds": (float("nan"), 1.0)}, "bounds"),
        ({"method": "grid", "grid_step": 0.3}, "grid_step: 0.3"),
        ({"method": "grid", "grid_step": 0.0}, "grid_step: 0.0"),
        ({"method": "grid", "grid_step": -0.1}, "grid_step: -0.1"),
        ({"method": "grid", "grid_step": 2.0}, "grid_step: 2.0"),
        ({"method": "grid", "grid_step": 0.1, "bounds": (0.0, 0.95)}, "grid_step: 0.1"),
        ({"method": "grid", "grid_step": 0.001}, "grid_step: 0.001; 1,003,003,001 schedules"),
        ({"method": "grid", "free_thresholds": True}, "free_thresholds"),
        ({"welfare_weights": np.full(N, 2.0)}, "welfare_weights: mean 2"),
        ({"welfare_weights": np.linspace(-1, 3, N)}, "welfare_weights"),
        ({"welfare_weights": np.full(N, np.nan)}, "welfare_weights"),
        ({"thresholds": [0.0, 5.0, 5.0]}, "thresholds"),
        ({"thresholds": [0.0, 9.0, 5.0]}, "thresholds"),
        ({"thresholds": [1.0, 9.0, 50.0]}, "thresholds"),
        ({"thresholds": []}, "thresholds"),
        ({"thresholds": 0.0}, "thresholds"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_named(options, says):
    problem = case("calibrated")
    arguments = {"thresholds": THREE, "welfare_weights": problem.g, **options}
    with pytest.raises(ValueError, match="^" + says.replace("(", r"\(")):
        optimal_schedule(problem.skill, preferences_of(problem), **arguments)


def test_welfare_weights_of_mean_one_under_the_survey_weights():
    problem = case("random 0")
    assert abs(problem.g.mean() - 1) > 0.01
    with pytest.raises(ValueError, match=r"^welfare_weights: mean"):
        optimal_schedule(problem.skill, preferences_of(problem), THREE, problem.g)
