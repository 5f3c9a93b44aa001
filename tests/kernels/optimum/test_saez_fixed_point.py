"""The schedule at which Saez's formula and the incomes under it agree."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy
from oracles import saez as oracle
from oracles.strictness import strict
from support.saez_cases import COST, ONES, SKILL, G, N, T

import jaxecon as je

# The fixed point

TOLERANCE = 1e-3


# one elasticity per bracket and survey weights everywhere: one compiled program
ALIKE = np.full(3, 0.4)


@cache
def solved(**options):
    """On the calibrated economy of 1,000 with three brackets.

    Unused `changes` are NaN, so NaN cannot be an error here.
    """
    arrays = {k: np.array(v) if isinstance(v, tuple) else v for k, v in options.items()}
    with strict(True, nans=True):
        return je.saez_self_consistent(
            SKILL, je.Preferences(COST, 3.5), T, ALIKE, G, ONES, **arrays
        )


def asked_by_the_oracle(rates, e=lambda _: 0.4, weights=None, spending=0.0):
    """The NumPy economy's incomes under these rates, and the rates that the independent formula
    asks for there.
    """
    outcome = economy.equilibrium(T, rates, SKILL, COST, weights=weights, spending=spending)
    w = np.ones(N) if weights is None else weights
    g = G / np.average(G, weights=w)
    return outcome, oracle.SampleFormula(outcome.income, g, w, e, (T, rates)).bracket_rates(T)


def test_the_fixed_point_of_the_calibrated_economy():
    got = solved()
    rates = np.asarray(got.schedule.rates)
    assert bool(got.converged)
    np.testing.assert_allclose(rates, [0.643, 0.531, 0.510], atol=1.5e-3)
    outcome, asked = asked_by_the_oracle(rates)
    np.testing.assert_allclose(got.outcome.income, outcome.income, rtol=1e-5)
    np.testing.assert_allclose(got.outcome.rebate, outcome.rebate, rtol=1e-6)
    np.testing.assert_allclose(asked, rates, atol=2 * TOLERANCE)
    np.testing.assert_allclose(got.formula.schedule.rates, asked, atol=TOLERANCE / 2)
    assert np.abs(np.asarray(got.formula.schedule.rates) - rates).max() <= TOLERANCE
    # and not everything is one
    assert np.abs(asked_by_the_oracle(np.array([0.5, 0.5, 0.5]))[1] - 0.5).max() > 0.1


def test_its_gain_over_us_federal_is_just_below_the_optimum():
    federal = economy.equilibrium(economy.US_THRESHOLDS, economy.US_RATES, SKILL, COST)
    outcome, _ = asked_by_the_oracle(np.asarray(solved().schedule.rates))
    gain = 100 * (
        economy.social_welfare(outcome.utility, G) / economy.social_welfare(federal.utility, G) - 1
    )
    assert 28.5 < gain < 28.750


def test_iterations_are_recorded():
    got = solved()
    count, changes = int(got.iterations), np.asarray(got.changes)
    assert changes.shape == (300,)
    assert 3 < count < 50
    assert np.isfinite(changes[:count]).all()
    assert np.isinf(changes[count:]).all()
    assert changes[count - 1] <= TOLERANCE < changes[count - 2]
    _, first = asked_by_the_oracle(np.array([0.5, 0.5, 0.5]))
    assert changes[0] == pytest.approx(np.abs(first - 0.5).max(), abs=1e-3)
    if (np.diff(changes[:count]) < 0).all():
        assert float(got.damping) == 0.5


@pytest.mark.parametrize(
    "start", [(0.0, 0.0, 0.0), (0.9, 0.9, 0.9), (0.1, 0.5, 0.8), (0.9, 0.5, 0.1)]
)
def test_every_start_leads_to_the_same_point(start):
    got = solved(start=start)
    assert bool(got.converged)
    np.testing.assert_allclose(got.schedule.rates, solved().schedule.rates, atol=5 * TOLERANCE)
    fine, other = solved(tolerance=1e-5), solved(tolerance=1e-5, start=start)
    assert bool(fine.converged)
    if bool(other.converged):
        np.testing.assert_allclose(other.schedule.rates, fine.schedule.rates, atol=1e-3)


def test_a_start_where_nobody_works_is_refused_or_left_behind():
    """At rates of one all incomes are zero, and the formula has no distribution to look at."""
    found, message = None, None
    try:
        found = solved(start=(1.0, 1.0, 1.0))
    except ValueError as error:
        message = str(error)
    if found is None:
        assert message.startswith("start: ")
    else:
        assert np.isfinite(np.asarray(found.schedule.rates)).all()


def test_uniform_weights_lead_to_no_tax():
    with strict(True, nans=True):
        got = je.saez_self_consistent(SKILL, je.Preferences(COST, 3.5), T, ALIKE, ONES, ONES)
    assert bool(got.converged)
    assert np.asarray(got.schedule.rates).max() <= TOLERANCE
    assert not np.asarray(got.formula.schedule.rates).any()


def test_damping_shrinks_where_changes_do_not():
    whole = solved(damping=1.0)
    changes = np.asarray(whole.changes)[: int(whole.iterations)]
    rose = (np.diff(changes) > 0).any()
    assert (float(whole.damping) < 1) == rose
    assert 0 < float(whole.damping) <= 1
    np.testing.assert_allclose(whole.schedule.rates, solved().schedule.rates, atol=5 * TOLERANCE)


@pytest.mark.parametrize("damping", [0.1, 0.01])
def test_a_small_damping_stays_while_changes_shrink(damping):
    """A tenth of the way leaves nine tenths of the change: that is progress.

    Nor may the step become larger than asked for.
    """
    got = solved(damping=damping)
    changes = np.asarray(got.changes)[: int(got.iterations)]
    assert float(got.damping) <= damping
    if (np.diff(changes) < 0).all():
        assert float(got.damping) == pytest.approx(damping)


def test_a_population_that_jumps_is_not_called_converged():
    """Twenty-five kinds of people, forty of each: rates at which one kind jumps have no fixed point
    to a hundred-millionth.
    """
    skill = np.repeat(economy.skills(25), 40)
    g = economy.welfare_weights("inverse_income", 40 * skill)
    with strict(True, nans=True):
        preferences = je.Preferences(economy.calibrated_weight(skill), 3.5)
        got = je.saez_self_consistent(skill, preferences, T, ALIKE, g, ONES, tolerance=1e-8)
    assert not bool(got.converged)
    assert int(got.iterations) == 300
    changes = np.asarray(got.changes)
    assert np.isfinite(changes).all()
    assert changes[0] > 0.1
    assert 1e-8 < changes[-1] < 1e-3
    asked = np.abs(np.asarray(got.formula.schedule.rates - got.schedule.rates)).max()
    assert asked == pytest.approx(changes[-1], rel=1e-6)
    assert float(got.damping) < 0.5


def test_elasticities_by_bracket_survey_weights_and_spending():
    w = np.random.default_rng(21).uniform(0.3, 3.0, N)
    g = G / np.average(G, weights=w)
    e = np.array([0.4, 0.4, 0.8])
    with strict(True, nans=True):
        same, got = (
            je.saez_self_consistent(
                SKILL, je.Preferences(COST, 3.5), T, x, g, w, public_spending=2_000.0
            )
            for x in (ALIKE, e)
        )
    assert bool(got.converged)
    assert bool(same.converged)
    rates = np.asarray(got.schedule.rates)
    assert rates[2] < float(same.schedule.rates[2]) - 0.1
    outcome, asked = asked_by_the_oracle(
        rates, lambda z: e[np.searchsorted(T, z, side="right") - 1], w, 2_000.0
    )
    np.testing.assert_allclose(got.outcome.rebate, outcome.rebate, rtol=1e-6)
    np.testing.assert_allclose(asked, rates, atol=2 * TOLERANCE)
    assert (
        np.abs(np.asarray(same.schedule.rates) - np.asarray(solved().schedule.rates)).max() > 1e-3
    )


def test_several_populations_at_once_compiled():
    def solve(skill, cost, g):
        return je.saez_self_consistent(skill, je.Preferences(cost, 3.5), T, ALIKE, g, ONES)

    skills = [SKILL, 1.3 * SKILL, 1_000 * (SKILL / 1_000) ** 0.5]
    inputs = [
        (s, economy.calibrated_weight(s), economy.welfare_weights("inverse_income", 40 * s))
        for s in skills
    ]
    with strict(True, nans=True):
        mapped = jax.jit(jax.vmap(solve))(*(np.stack(x) for x in zip(*inputs, strict=True)))
        loop = [solve(*x) for x in inputs]
    assert len({int(x.iterations) for x in loop}) > 1  # some wait for others
    rates, changes, iterations = (
        np.asarray(x) for x in (mapped.schedule.rates, mapped.changes, mapped.iterations)
    )
    for i, one in enumerate(loop):
        # the solver's own tolerance is 1e-3; the two programs round differently
        np.testing.assert_allclose(rates[i], one.schedule.rates, atol=1e-5)
        np.testing.assert_allclose(changes[i], one.changes, atol=1e-5)
        assert iterations[i] == int(one.iterations)
    assert np.asarray(mapped.converged).all()
    assert np.abs(np.diff(rates, axis=0)).max(axis=1).min() > 0.005


def test_in_single_precision_without_the_virtual_density():
    """Another fixed point: the gaps of its own falling rates are taken for the distribution.

    A scalar elasticity, no weights.
    """
    with strict(False, nans=True):
        preferences = je.Preferences(np.float32(COST), np.float32(3.5))
        single = je.saez_self_consistent(
            np.float32(SKILL), preferences, T, 0.4, np.float32(G), virtual=False
        )
        floats = {x.dtype for x in jax.tree.leaves(single) if jnp.issubdtype(x.dtype, jnp.floating)}
    assert floats == {np.dtype(np.float32)}
    assert bool(single.converged)
    rates = np.asarray(single.schedule.rates, float)
    outcome = economy.equilibrium(T, rates, SKILL, COST)
    asked = oracle.SampleFormula(outcome.income, G, ONES, lambda _: 0.4).bracket_rates(T)
    np.testing.assert_allclose(asked, rates, atol=2 * TOLERANCE)
    assert np.abs(rates - np.asarray(solved().schedule.rates)).max() > 0.01


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"damping": 0.0}, "damping"),
        ({"damping": -0.5}, "damping"),
        ({"damping": 1.01}, "damping"),
        ({"damping": float("nan")}, "damping"),
        ({"iterations": 0}, "iterations"),
        ({"tolerance": 0.0}, "iterations|tolerance"),
        ({"elasticity": 0.0}, "elasticity"),
        ({"welfare_weights": 2 * ONES}, "welfare_weights"),
        ({"skill": np.full(N, 1_000.0)}, "skill|income"),
        ({"start": np.array([0.5, 0.5])}, "start|rates"),
        ({"start": np.array([0.5, 0.5, 1.5])}, "start|rates"),
    ],
)
def test_a_bad_fixed_point_is_refused(arguments, says):
    given = {
        "skill": SKILL,
        "preferences": je.Preferences(COST),
        "thresholds": T,
        "elasticity": 0.4,
        "welfare_weights": G,
    }
    with pytest.raises(ValueError, match=f"^({says}): "):
        je.saez_self_consistent(**{**given, **arguments})
