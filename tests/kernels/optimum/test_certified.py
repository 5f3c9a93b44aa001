"""The leader's optimum against exhaustion, SciPy's optimisers, analytic first-order conditions and
finite differences.
"""

from functools import cache, partial

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle
from oracles import leader
from oracles.strictness import PROPERTY, strict
from scipy import optimize

import jaxecon as je
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.optimum import certified as stackelberg
from jaxecon.kernels.optimum.certified import optimal_schedule
from jaxecon.kernels.optimum.problem import LeaderProblem, thinned
from jaxecon.kernels.optimum.space import SEARCHES, Effort, isotonic

THREE = oracle.THREE_THRESHOLDS
SEARCH = Effort(
    starts=8, gradient_steps=40, population=64, generations=100, polished=4
)  # cheap to run, not to compile
N = 60


# One shape and one type, so that cases share compiled programs


def preferences_of(problem):
    return je.Preferences(problem.c.copy(), problem.d, problem.eta, problem.cap)


def solve(problem, welfare=None, **options):
    """NaN is the documented value of searches not used, so jax_debug_nans is off here."""
    options = {"effort": SEARCH, **options}
    with strict(True, nans=True):
        found = optimal_schedule(
            problem.skill, preferences_of(problem), problem.thresholds, problem.g if welfare is None else welfare, problem.w,
            **options,
        )  # fmt: skip
        return jax.tree.map(np.asarray, found)


def lognormal(seed, thresholds=(0.0, 30_000.0, 80_000.0)):
    """Skills, tastes, welfare and survey weights at random."""
    rng = np.random.default_rng(seed)
    skill = np.sort(np.exp(rng.normal(7, 0.9, N)))
    c = 0.03 * (skill / 1_000) ** rng.uniform(0, 0.9) * np.exp(rng.normal(0, 0.2, N))
    w = rng.integers(1, 5, N).astype(float)
    g = np.exp(rng.normal(0, 0.3, N)) / (skill + 300)
    return leader.Problem(skill, c, g / np.average(g, weights=w), np.array(thresholds), w=w)


CASES = {
    "calibrated": lambda: leader.standard("calibrated", N, THREE),
    "calibrated, no floor": lambda: leader.standard("calibrated", N, THREE, floor=1.0),
    "annualised": lambda: leader.standard("annualised", N, THREE),
    "paper": lambda: leader.standard("paper", N, THREE),
    "close thresholds": lambda: leader.standard("annualised", N, np.array([0.0, 5_000.0, 9_000.0])),
    "random 0": lambda: lognormal(0),
    "random 1": lambda: lognormal(1, (0.0, 10_000.0, 150_000.0)),
    "random 2": lambda: lognormal(2),
}


@cache
def case(name):
    return CASES[name]()


@cache
def best(name):
    return solve(case(name))


def assert_described(found, problem, bounds=(0.0, 1.0), rtol=1e-9):
    """What the optimum says of its schedule is what the oracle says of it."""
    rates = found.schedule.rates.astype(float)
    problem = problem.but(thresholds=found.schedule.thresholds.astype(float))
    exact, reference = leader.outcome(problem, rates), leader.reference_outcome(problem)
    assert np.all((rates >= bounds[0]) & (rates <= bounds[1]))
    assert found.welfare == pytest.approx(exact.welfare[0], rel=rtol)
    assert found.reference_welfare == pytest.approx(reference.welfare[0], rel=rtol)
    assert found.gain == pytest.approx(
        (exact.welfare[0] - reference.welfare[0]) / abs(reference.welfare[0]), rel=10 * rtol
    )
    assert found.rebate == pytest.approx(exact.rebate[0], rel=10 * rtol, abs=1e-6)


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


# Methods


@cache
def by_population(name="calibrated"):
    return solve(case(name), method="population")


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
    around = around[
        (np.diff(around, axis=1) >= -1e-9).all(1)
    ]  # the others are projected onto some order
    nothing_near = leader.welfare(problem=case(name), rates=around).max() <= welfare
    assert not found.certified or nothing_near


@pytest.mark.parametrize("spending", [0.0, 28_300.0])
def test_the_grid_with_a_floor_takes_the_best_point_that_pays(spending):
    problem = case("calibrated").but(spending=spending, floor=0.0)
    rates, welfare = leader.grid(problem, np.linspace(0, 1, 11))
    found = solve(problem, method="grid", public_spending=spending, rebate_floor=0.0)
    np.testing.assert_allclose(found.schedule.rates, rates, atol=1e-12)
    assert found.welfare == pytest.approx(welfare, rel=1e-9)


# Monotone schedules


@given(
    st.sampled_from([1, 2, 7]).flatmap(
        lambda k: st.lists(st.floats(-1, 2, width=32), min_size=k, max_size=k)
    )
)
@PROPERTY
def test_isotonic_projection_is_scipys(values):
    expected = optimize.isotonic_regression(values).x
    np.testing.assert_allclose(_isotonic(np.array(values)), expected, atol=1e-14)
    with strict(False):
        single = _isotonic(np.array(values, np.float32))
        assert single.dtype == np.float32
        np.testing.assert_allclose(single, expected, atol=2e-6)


_isotonic = jax.jit(isotonic)


def for_the_middle():
    """Weights on incomes about 40,000: free rates are nothing, much, less; in order, the upper two
    meet.
    """
    problem = case("annualised").but(thresholds=np.array([0.0, 40_000.0, 100_000.0]))
    g = np.exp(-((np.log(leader.reference_outcome(problem).income[0] / 40_000) / 0.6) ** 2))
    return problem.but(g=g / g.mean())


@pytest.mark.parametrize("name", ["calibrated", "annualised", "random 0", "random 2"])
def test_monotone_schedules(name):
    problem = case(name)
    found = solve(problem, monotone=True, method="population")
    assert_described(found, problem)
    assert np.all(np.diff(found.schedule.rates) >= 0)
    assert found.certified
    assert found.welfare <= best(name).welfare * (1 + 1e-5)
    assert found.welfare >= leader.grid(problem, np.linspace(0, 1, 21), monotone=True)[1]


def test_monotone_schedules_that_rise_where_they_may():
    problem = for_the_middle()
    found, freely = solve(problem, monotone=True, method="population"), solve(problem)
    assert_described(found, problem)
    assert found.certified
    assert freely.schedule.rates[1] > freely.schedule.rates[2] + 0.02
    assert freely.schedule.rates[0] + 0.3 < found.schedule.rates[1] == found.schedule.rates[2]
    assert (
        leader.grid(problem, np.linspace(0, 1, 21), monotone=True)[1]
        <= found.welfare
        < freely.welfare
    )


# Free thresholds


@pytest.mark.parametrize("name", ["calibrated", "annualised", "random 0"])
def test_free_thresholds(name):
    problem = case(name)
    found = solve(problem, free_thresholds=True, method="population")
    thresholds = found.schedule.thresholds
    assert thresholds[0] == 0
    income = leader.reference_outcome(problem).income[0]
    assert income[income > 0].min() * (1 - 1e-12) <= thresholds[1]
    assert thresholds[1] < thresholds[2] <= income.max() * (1 + 1e-12)
    assert_described(found, problem)
    assert found.certified
    assert found.welfare >= best(name).welfare
    rescued = solve(problem.but(thresholds=thresholds))
    assert found.welfare >= rescued.welfare * (
        1 - 1e-3
    )  # with its thresholds given, hardly better rates


# The condition that a best schedule satisfies


@cache
def dense(kind):
    problem = leader.standard(kind, 20_000, THREE)
    few = Effort(starts=4, gradient_steps=40, population=8, generations=1, polished=1)
    return problem, solve(problem, method="gradient", effort=few)


@pytest.mark.parametrize("kind", ["annualised", "calibrated"])
def test_first_order_condition_at_the_optimum(kind):
    """Mechanical gain, behavioural loss and jumps balance to 2 % of the mechanical gain in every
    bracket; without the jumps they miss by 10 % and more where rates fall.
    """
    problem, found = dense(kind)
    rates = found.schedule.rates
    assert rates[0] > rates[1]
    terms = leader.first_order_terms(problem, rates, partial(leader.weight_of_skill, kind))
    np.testing.assert_array_less(np.abs(terms.slope), 0.02 * terms.mechanical)
    assert terms.jumps[1] > 0.1 * terms.mechanical[1]
    assert len(terms.skills) >= 1
    np.testing.assert_array_less(np.abs(found.residuals), 0.01)
    assert np.all(np.abs(found.residuals) < 0.05 * terms.mechanical / found.reference_welfare)


@pytest.mark.parametrize("rates", [(0.7, 0.6, 0.5), (0.5, 0.4, 0.6), (0.9, 0.5, 0.2)])
@pytest.mark.parametrize(("kind", "within"), [("annualised", 0.015), ("calibrated", 0.08)])
def test_smoothed_gradient_sees_the_jumps(kind, within, rates):
    """Against finite differences of exact welfare, and the analytic terms against the same; in
    units of the mechanical term (calibrated tastes change at the federal thresholds, where a logit
    is off by a few percent of it).
    """
    problem, _ = dense(kind)
    rates, h = np.array(rates), 0.01
    exact = (
        leader.welfare(problem, rates + h * np.eye(3))
        - leader.welfare(problem, rates - h * np.eye(3))
    ) / (2 * h)
    terms = leader.first_order_terms(problem, rates, partial(leader.weight_of_skill, kind))
    np.testing.assert_array_less(np.abs(terms.slope - exact), 0.015 * terms.mechanical)
    assert terms.jumps.max() > 200
    gradient, welfare, rebate = smoothed(problem.but(spending=1_000.0), rates)
    np.testing.assert_array_less(np.abs(gradient - exact), within * terms.mechanical)
    outcome = leader.outcome(problem.but(spending=1_000.0), rates)
    assert welfare == pytest.approx(outcome.welfare[0], rel=1e-3)
    assert rebate == pytest.approx(outcome.rebate[0], rel=1e-3)


def smoothed(problem, rates):
    """(gradient in the rates, welfare, rebate) through the logit over brackets."""
    asked = LeaderProblem.of(
        problem.skill, preferences_of(problem), problem.g, public_spending=problem.spending
    )
    gradient, (welfare, rebate) = _smoothed(asked, problem.thresholds, rates)
    return np.asarray(gradient), float(welfare), float(rebate)


@jax.jit
def _smoothed(problem, thresholds, rates):
    def welfare(rates):
        both = problem.smoothed(je.TaxSchedule(thresholds, rates))
        return both[0], both

    return jax.grad(welfare, has_aux=True)(rates)


# Public spending that taxes have to pay for

BINDING = (28_600.0, 28_700.0, 28_800.0)


@cache
def paying(spending):
    problem = leader.standard("calibrated", 1_000, THREE)
    return solve(problem, method="population", public_spending=spending, rebate_floor=0.0)


def test_spending_within_reach_costs_what_it_costs():
    """Not binding: the optimum of FACTS in double precision, multiplier 0; each dollar of spending
    takes a dollar.
    """
    none, some = paying(0.0), paying(12_345.0)
    assert_described(none, leader.standard("calibrated", 1_000, THREE))
    assert none.gain * 100 >= 28.750 - 0.005
    for found in (none, some):
        assert found.multiplier == 0
        assert found.feasible
        assert found.certified
    np.testing.assert_allclose(some.schedule.rates, none.schedule.rates, atol=0.005)
    assert none.welfare - some.welfare == pytest.approx(12_345, abs=1)
    assert none.rebate - some.rebate == pytest.approx(12_345, abs=40)


@pytest.mark.parametrize("spending", BINDING)
def test_spending_that_binds(spending):
    found = paying(spending)
    problem = leader.standard("calibrated", 1_000, THREE, spending=spending)
    rates = found.schedule.rates
    exact = leader.outcome(problem, rates)
    assert found.welfare == pytest.approx(exact.welfare[0], rel=1e-8)
    assert -1e-3 <= found.rebate <= 15
    assert found.rebate == pytest.approx(exact.rebate[0], abs=1e-5)
    assert found.feasible
    assert found.certified
    assert rates[0] > paying(0.0).schedule.rates[0] + 0.01
    assert found.welfare < paying(0.0).welfare - spending
    around = leader.welfare(problem.but(floor=-1e-3), leader.neighbours(rates))
    assert around.max() <= found.welfare + 1e-6
    _, on_grid = leader.grid(problem.but(floor=0.0), np.linspace(0, 1, 11))
    assert found.welfare > on_grid


def test_the_multiplier_is_what_spending_costs_beyond_itself():
    low, middle, high = (paying(spending) for spending in BINDING)
    slope = (high.welfare - low.welfare) / (BINDING[2] - BINDING[0])
    assert middle.multiplier > 0
    assert middle.multiplier == pytest.approx(-slope - 1, rel=0.15)
    assert low.multiplier < middle.multiplier < high.multiplier


def test_spending_out_of_reach_is_refused():
    with pytest.raises(
        ValueError,
        match=r"^public_spending: 50000; .* rebate_floor 0: the most falls 2\d,\d{3} \$/year",
    ):
        paying(50_000.0)


MANY = ["calibrated", "annualised", "calibrated, no floor"]


@cache
def many_at_once():
    """Three populations; then one whose taxes just pay, and one whose taxes cannot.

    One compiled call.
    """
    problems = [case(name) for name in (*MANY, "calibrated", "calibrated")]
    spending = np.array([0.0, 0.0, 0.0, 28_000.0, 1e5])

    def one(skill, c, g, spending):
        preferences = je.Preferences(c, oracle.D, 0.0, 100.0)
        return optimal_schedule(
            skill,
            preferences,
            THREE,
            g,
            method="population",
            public_spending=spending,
            rebate_floor=0.0,
            effort=SEARCH,
        )

    stacked = (np.stack([getattr(p, field) for p in problems]) for field in ("skill", "c", "g"))
    with strict(True, nans=True):
        found = jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*stacked, spending))
    return [jax.tree.map(lambda x, i=i: x[i], found) for i in range(len(problems))]


@pytest.mark.parametrize("number", range(3))
def test_populations_at_once_are_one_after_the_other(number):
    """And a floor that does not bind changes nothing."""
    found, alone = many_at_once()[number], by_population(MANY[number])
    assert found.welfare == pytest.approx(alone.welfare, rel=1e-9)
    np.testing.assert_allclose(found.schedule.rates, alone.schedule.rates, atol=1e-6)
    assert found.multiplier == 0
    assert found.feasible
    assert found.certified


def test_a_floor_that_binds_in_a_batch():
    found = many_at_once()[3]
    problem = case("calibrated").but(spending=28_000.0, floor=0.0)
    assert found.feasible
    assert found.multiplier > 0
    assert 0 <= found.rebate + 1e-6 <= 30
    assert found.welfare == pytest.approx(
        leader.welfare(problem, found.schedule.rates)[0], rel=1e-9
    )
    welfare = leader.by_differential_evolution(problem)[1]
    assert found.welfare + 28_000 >= (welfare + 28_000) * (1 - 1e-4)


def test_what_cannot_be_paid_is_said_element_by_element():
    """Nothing is raised for the batch; the element says so, comes nearest to paying, and certifies
    nothing.
    """
    found = many_at_once()[4]
    assert not found.feasible
    problem = case("calibrated").but(spending=1e5)
    every = np.array(np.meshgrid(*[np.linspace(0.4, 1, 13)] * 3)).reshape(3, -1).T
    most = leader.outcome(problem, every).rebate.max()
    assert most <= found.rebate + 1
    assert found.rebate < 0
    assert not found.certified


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


# Curvature


@cache
def curved(eta=1.0):
    base = leader.standard("calibrated", N, np.array([0.0, 60_000.0]))
    x_ref = leader.reference_outcome(base).consumption[0]
    problem = base.but(c=base.c * x_ref**-eta, eta=eta)
    few = Effort(starts=4, gradient_steps=20, population=16, generations=20, polished=1)
    return problem, solve(problem, method="population", effort=few)


def test_gain_is_the_consumption_equivalent():
    problem, found = curved()
    reference = leader.reference_outcome(problem)
    assert found.reference_welfare == pytest.approx(reference.welfare[0], rel=1e-9)
    assert found.gain == pytest.approx(
        leader.consumption_equivalent_gain(problem, reference, float(found.welfare)), rel=1e-6
    )
    assert found.gain > 0.2


def test_the_optimum_with_curvature_beats_a_grid_and_its_neighbours():
    problem, found = curved()
    assert found.certified
    assert found.welfare >= leader.grid(problem, np.linspace(0, 1, 6))[1]
    low, _, high = leader.welfare_around_the_rebate(problem, found.schedule.rates)
    assert low - 1e-6 <= found.welfare <= high + 1e-6
    assert found.schedule.rates.min() > 0
    assert found.schedule.rates.max() < 1


def test_the_optimum_with_curvature_is_an_equilibrium():
    """Workers respond to the rebate that is paid.

    Where one of them jumps at it, a leader that picks the side with the larger pool hands out more
    than anybody expected: by a hundredth of a percent of consumption at most.
    """
    problem, found = curved()
    _, mixed, _ = leader.welfare_around_the_rebate(problem, found.schedule.rates)
    assert found.welfare <= mixed + 1e-4
    assert found.rebate == pytest.approx(
        leader.equilibrium_rebate(problem, found.schedule.rates[None]), abs=5
    )


def test_smoothed_gradient_with_curvature():
    """Through the rebate that workers respond to, by the implicit function theorem; against
    differences of itself.
    """
    problem, _ = curved()
    rates, h = np.array([0.6, 0.7]), 1e-6
    gradient, welfare, rebate = smoothed(problem, rates)
    for k, up in enumerate(h * np.eye(2)):
        slope = (smoothed(problem, rates + up)[1] - smoothed(problem, rates - up)[1]) / (2 * h)
        assert gradient[k] == pytest.approx(slope, rel=1e-4)
    low, _, high = leader.welfare_around_the_rebate(problem, rates)
    assert low - 0.002 <= welfare <= high + 0.002
    assert rebate == pytest.approx(leader.equilibrium_rebate(problem, rates[None]), rel=0.01)


# Brackets without people


def test_a_bracket_above_everybody_takes_the_rate_below():
    problem = case("calibrated").but(thresholds=np.array([0.0, 30_000.0, 1e8]))
    found = solve(problem)
    assert_described(found, problem)
    assert found.empty.tolist() == [False, False, True]
    assert found.schedule.rates[2] == found.schedule.rates[1] != found.schedule.rates[0]
    assert not any(best("calibrated").empty)


def test_brackets_below_everybody_take_the_rate_above():
    problem = case("calibrated").but(thresholds=np.array([0.0, 20.0, 30.0]))
    found = solve(problem)
    assert found.empty.tolist() == [True, True, False]
    assert found.schedule.rates[0] == found.schedule.rates[1] == found.schedule.rates[2]
    assert_described(found, problem)


def test_a_lump_sum_below_everybody_is_an_empty_bracket():
    """Its rate is the same tax for all and comes back to all."""
    problem = case("calibrated").but(thresholds=np.array([0.0, 100.0, 60_000.0]))
    found = solve(problem)
    assert leader.outcome(problem, found.schedule.rates).income.min() > 100
    assert found.empty.tolist() == [True, False, False]
    assert found.schedule.rates[0] == found.schedule.rates[1]


def test_an_empty_bracket_that_matters_hides_none_that_does_not():
    """A gap between poor and rich: the rate in it taxes the rich.

    Nobody is above the last threshold.
    """
    skill = (
        np.concatenate(
            [np.geomspace(5_000, 20_000, N // 2), np.geomspace(120_000, 200_000, N // 2)]
        )
        / 40
    )
    g = oracle.welfare_weights("inverse_income", 40 * skill)
    problem = leader.Problem(
        skill, oracle.calibrated_weight(skill), g, np.array([0.0, 30_000.0, 60_000.0, 5e8])
    )
    found = solve(problem, method="grid", grid_step=0.25)
    assert_described(found, problem)
    rates = found.schedule.rates
    np.testing.assert_allclose(rates[:3], leader.grid(problem, np.linspace(0, 1, 5))[0][:3])
    income = leader.outcome(problem, rates).income[0]
    assert not np.any((income > 30_000) & (income <= 60_000))
    assert rates[1] != rates[0]
    assert found.empty.tolist() == [False, False, False, True]
    assert rates[3] == rates[2]


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
        found.append(solve(
            problem, method="grid", bounds=bounds, grid_step=step, seed=seed, public_spending=100.0 * seed, reference=reference
        ))  # fmt: skip
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
