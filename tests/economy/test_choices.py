"""An economy at equilibrium among the workers' choices of hours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy as oracle

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.economy.choices import equilibrium_among_choices
from jaxecon.economy.equilibrium import equilibrium_outcome, welfare_gain
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import by_cohort
from jaxecon.kernels.quantal import best_of_choices, choice_payoffs

TENS = tuple(range(0, 101, 10))
MIXED = {
    "a": ("adaptive", 40, (0.0, 20.0, 35.0, 41.5, 60.0)),
    "b": ("quantal", 30, TENS),
    "c": ("llm", 20, tuple(range(0, 101, 5))),
    "d": ("rational", 25, None),
    "e": ("habit", 15, None),
    "f": ("altruistic", 5, None),
}
THRESHOLDS, RATES = [0.0, 30_000.0, 90_000.0], [0.5, 0.2, 0.6]
SCHEDULE = je.TaxSchedule(np.array(THRESHOLDS), np.array(RATES))
SPENDING = 2_000.0


def config_of(curvature, cohorts=MIXED, **sections):
    rows = [
        {"name": name, "rule": rule, "size": size, **({"choices": own} if own else {})}
        for name, (rule, size, own) in cohorts.items()
    ]
    people = {"sampling": "random", "cohorts": rows}
    if len(rows) > 1:
        people["shares"] = {"a": 0.4, "d": 0.3}
    return load_config(
        {
            "population": people,
            "precision": "float64",
            "preferences": {"consumption_curvature": curvature},
            "budget": {"public_spending": SPENDING},
            "llm": {"engine": "simulated"},
            **sections,
        }
    )


def among_choices(economy, schedule=SCHEDULE):
    exact = jax.jit(equilibrium_outcome)(economy, schedule)
    return jax.jit(equilibrium_among_choices)(economy, schedule, exact), exact


def gain(economy, outcome):
    return float(welfare_gain(economy, economy.welfare(by_cohort(economy, outcome.utility))))


def oracle_hours(economy, rebate):
    """Everybody's hours at an expected rebate, by enumeration or, without choices, brute force."""
    parts = []
    for name, cohort in economy.cohorts.items():
        skill, c = (np.asarray(x) for x in (cohort.skill, cohort.preferences.disutility_weight))
        eta = cohort.preferences.consumption_curvature
        own = MIXED[name][2]
        if own is None:
            hours, _ = oracle.best_response(THRESHOLDS, RATES, skill, c, eta=eta, rebate=rebate)
        else:
            every = [own] * len(skill)
            hours = oracle.hours_of_choices(
                THRESHOLDS, RATES, skill, c, every, eta=eta, rebate=rebate
            )
        parts.append(hours)
    return np.concatenate(parts)


def oracle_outcome(economy, expected):
    everyone = economy.population
    skill, c, w = (
        np.asarray(x)
        for x in (everyone.skill, everyone.preferences.disutility_weight, everyone.weight)
    )
    eta = everyone.preferences.consumption_curvature
    hours = oracle_hours(economy, expected)
    return oracle.settle(THRESHOLDS, RATES, hours, skill, c, oracle.D, eta, w, SPENDING)


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_it_is_the_oracles(curvature):
    """Cohorts with choices of their own, without any, and of other survey weights."""
    config = config_of(curvature)
    with compute_context(config):
        economy = build_economy(config)
        found, _ = among_choices(economy)
        w, g = (
            np.concatenate([np.asarray(x[name]) for name in economy.cohorts])
            for x in (economy.weights, economy.welfare.weights)
        )
        assert len(set(w)) > 2
        expected = oracle_outcome(economy, float(found.rebate))
        if curvature:
            # a fixed point up to one step of one worker from a choice to the next
            low, high = -SPENDING, 200_000.0
            for _ in range(60):
                middle = (low + high) / 2
                above = oracle_outcome(economy, middle).rebate > middle
                low, high = (middle, high) if above else (low, middle)
            sides = [oracle_outcome(economy, r) for r in (low - 0.01, high + 0.01)]
            at_root = [float(np.abs(np.asarray(found.hours) - o.hours).max()) for o in sides]
            expected = sides[int(np.argmin(at_root))]
            assert float(found.rebate_residual) <= abs(sides[0].rebate - sides[1].rebate) + 0.1
        np.testing.assert_allclose(found.hours, expected.hours, atol=2e-4)
        assert float(found.rebate) == pytest.approx(expected.rebate, rel=1e-6)
        assert float(economy.welfare(by_cohort(economy, found.utility))) == pytest.approx(
            oracle.social_welfare(expected.utility, g, w), rel=1e-6
        )


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_finer_choices_tend_to_any_hours(curvature):
    """Calibrated workers of a bracket all want the same hours, so that their steps do not cancel.

    A step of h changes nobody's hours by more than h where rates rise, so it changes the rebate by
    less than the tax on h hours' income; workers' own losses are of second order.
    """
    schedule = je.TaxSchedule(np.array(THRESHOLDS), np.array([0.2, 0.4, 0.6]))
    fine = np.linspace(20.0, 40.0, 201).tolist()
    differences = []
    for step, choices in ((10, 10), (2.5, 2.5), (0.5, 0.5), (0.1, fine)):
        config = config_of(curvature, {"a": ("adaptive", 300, None)}, labor={"choices": choices})
        with compute_context(config):
            economy = build_economy(config)
            found, exact = among_choices(economy, schedule)
            assert float(jnp.abs(found.hours - exact.hours).max()) <= step
            differences.append(abs(gain(economy, found) - gain(economy, exact)))
            taxed = 0.6 * step * float(jnp.mean(economy.cohorts["a"].skill))
            consumed = float(jnp.mean(economy.reference.consumption))
            assert differences[-1] < 2 * taxed / consumed
    assert differences[0] > 0.01
    assert differences[-1] < 1e-3


def test_everybody_takes_the_only_choice_that_suits_them():
    """Under US federal, calibrated workers want 40 hours: a grid with 40 costs them nothing, and of
    20 and 30 they take 30, whose welfare is known.
    """
    for choices, hours in (((0.0, 40.0), 40.0), ((20.0, 30.0), 30.0)):
        config = config_of(0.0, {"a": ("quantal", 200, choices)})
        with compute_context(config):
            economy = build_economy(config)
            found, _ = among_choices(economy, je.TaxSchedule.us_federal())
            np.testing.assert_array_equal(found.hours, hours)
            cohort = economy.cohorts["a"]
            income = np.asarray(cohort.skill) * hours
            tax = oracle.tax(oracle.US_THRESHOLDS, oracle.US_RATES, income)
            cost = np.asarray(cohort.preferences.disutility_weight) * hours**3.5
            utility = income - tax + tax.mean() - SPENDING - cost
            welfare = float(economy.welfare({"a": found.utility}))
            g = np.asarray(economy.welfare.weights["a"])
            assert welfare == pytest.approx((g * utility).mean(), rel=1e-9)
            assert (abs(gain(economy, found)) < 1e-9) == (hours == 40)


def test_without_choices_it_is_the_exact_response():
    economy = build_economy(config_of(0.0, {"d": ("rational", 30, None)}, precision="float32"))
    exact = equilibrium_outcome(economy, SCHEDULE.astype(jnp.float32))
    assert equilibrium_among_choices(economy, SCHEDULE, exact) is exact


def test_a_rule_of_ones_own_has_choices_where_its_cohort_names_them():
    own = "jaxecon.workers.rational:Rational"
    for choices, bound in ((None, False), (TENS, True)):
        config = config_of(0.0, {"a": (own, 10, choices)})
        assert config.cohorts[0].has_choices == bound
        assert build_economy(config).cohorts["a"].takes_any_hours != bound


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_many_schedules_at_once_are_each_by_itself(curvature):
    config = config_of(curvature)
    with compute_context(config):
        economy = build_economy(config)
        many = [je.TaxSchedule.flat(t).astype(jnp.float64) for t in (0.1, 0.4, 0.7)]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *many)

        def rebate(schedule):
            exact = equilibrium_outcome(economy, schedule)
            return equilibrium_among_choices(economy, schedule, exact).rebate

        alone = [float(jax.jit(rebate)(schedule)) for schedule in many]
        np.testing.assert_allclose(jax.jit(jax.vmap(rebate))(stacked), alone, rtol=1e-6)


@pytest.mark.parametrize("curvature", [0.0, 0.5, 2.0])
def test_the_best_choice_has_the_highest_payoff(curvature):
    """Some comparing with part of the choices; ties and ruin as documented."""
    rng = np.random.default_rng(0)
    skill = rng.uniform(50, 4_000, 500)
    c = 0.02 * (30 * skill) ** -curvature if curvature else 0.02
    preferences = je.Preferences(c, 3.5, curvature, 85.0)
    choices = np.array([0.0, 7.0, 30.0, 44.0, 45.0, 80.0, 90.0])
    with jax.enable_x64(True):
        rebate = -4_500.0  # more than the poorest can earn
        arguments = (SCHEDULE, skill, preferences, rebate, None, choices)
        payoffs = np.asarray(choice_payoffs(*arguments))
        found = np.asarray(best_of_choices(*arguments))
        ruined = np.isneginf(payoffs).all(axis=1)
        np.testing.assert_array_equal(found[~ruined], payoffs.argmax(axis=1)[~ruined])
        assert (found[ruined] == 5).all()  # 80 hours
        assert ruined.any() == (curvature > 0)
        first, last = np.full(500, 1, np.int32), rng.integers(1, 6, 500).astype(np.int32)
        some = np.asarray(best_of_choices(*arguments, between=(first, last)))
        masked = np.where(np.arange(7) > last[:, None], -np.inf, payoffs)
        masked[:, 0] = -np.inf
        known = ~np.isneginf(masked).all(axis=1)
        np.testing.assert_array_equal(some[known], masked.argmax(axis=1)[known])
        np.testing.assert_array_equal(some[~known], last[~known])
    tied = je.Preferences(1e-30, 3.5)
    nothing_kept = je.TaxSchedule.flat(1.0)
    assert (np.asarray(best_of_choices(nothing_kept, skill, tied, choices=choices)) == 0).all()
