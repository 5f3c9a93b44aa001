"""The followers' equilibrium: budget balance, the rebate's fixed point and its derivatives."""

import chex
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle
from oracles.strictness import PROPERTY, strict

from jaxecon import Preferences, TaxSchedule, paper_welfare
from jaxecon.economy.population import federal_reference, with_curvature
from jaxecon.kernels.equilibrium import equilibrium, settle
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.preferences import isoelastic_utility

ETAS = [0.0, 1.0, 2.0]
SKILL = oracle.skills(40)
WEIGHTS = np.random.default_rng(5).uniform(0.2, 3.0, 40)
SCHEDULES = {
    "us_federal": (oracle.US_THRESHOLDS, oracle.US_RATES),
    "flat": ([0.0, 20_000.0, 60_000.0], [0.45, 0.45, 0.45]),
    "progressive": ([0.0, 20_000.0, 60_000.0], [0.05, 0.3, 0.6]),
}
jit_equilibrium = jax.jit(equilibrium)


def common_weight(eta):
    return 0.026 * 30_000.0**-eta


def assert_pool_balances(outcome, weights=None, spending=0.0, rtol=1e-12):
    w = np.ones(len(outcome.tax)) if weights is None else np.asarray(weights, float)
    taken = (w * np.asarray(outcome.tax, float)).sum()
    paid = w.sum() * (float(outcome.rebate) + spending)
    np.testing.assert_allclose(taken, paid, rtol=rtol, atol=rtol * w.sum() * max(spending, 1))


@pytest.mark.parametrize(
    ("name", "eta"),
    [
        ("us_federal", 0.0),
        ("us_federal", 1.0),
        *((n, e) for n in ("flat", "progressive") for e in ETAS),
    ],
)
@pytest.mark.parametrize(
    ("weights", "spending"), [(np.ones(40), 0.0), (WEIGHTS, 200.0)], ids=["plain", "weighted"]
)
def test_equilibrium_is_the_oracles(name, eta, weights, spending):
    thresholds, rates = SCHEDULES[name]
    c = common_weight(eta)
    got = jit_equilibrium(
        TaxSchedule(thresholds, rates), SKILL, Preferences(c, 3.5, eta), weights, spending
    )
    expected = oracle.equilibrium(
        thresholds, rates, SKILL, c, eta=eta, weights=weights, spending=spending
    )
    np.testing.assert_allclose(got.rebate, expected.rebate, rtol=1e-6)
    for field in ("hours", "income", "tax", "consumption"):
        np.testing.assert_allclose(
            getattr(got, field), getattr(expected, field), rtol=2e-5, atol=1e-4
        )
    measure = np.asarray(expected.consumption) ** eta  # utility in dollars at the margin
    np.testing.assert_allclose(
        np.asarray(got.utility) * measure, expected.utility * measure, rtol=1e-6, atol=0.1
    )
    assert_pool_balances(got, weights, spending)
    assert float(got.rebate_residual) <= 1e-6


@pytest.mark.parametrize("eta", [0.0, 1.0, 2.0])
def test_single_precision_agrees_with_double(eta):
    def schedule():
        return TaxSchedule(*SCHEDULES["progressive"])

    double = jit_equilibrium(
        schedule(), SKILL, Preferences(common_weight(eta), 3.5, eta), WEIGHTS, 100.0
    )
    with strict(False):
        single = jit_equilibrium(
            schedule(),
            np.float32(SKILL),
            Preferences(np.float32(common_weight(eta)), 3.5, eta),
            np.float32(WEIGHTS),
            100.0,
        )
        assert {x.dtype for x in jax.tree.leaves(single)} == {np.dtype(np.float32)}
        np.testing.assert_allclose(single.rebate, double.rebate, rtol=1e-5)
        np.testing.assert_allclose(single.hours, double.hours, rtol=2e-3)
        np.testing.assert_allclose(single.consumption, double.consumption, rtol=2e-3)
        assert_pool_balances(single, np.float32(WEIGHTS), 100.0, rtol=1e-6)
        assert float(single.rebate_residual) <= 0.1


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_single_precision_utility_resolves_a_raise_of_one_percent(eta):
    """u~ in float32 tells a consumption of 40,000 from 40,400.

    At eta = 2 it does not (1/x beside 1): runs with eta > 0 are in float64 unless told otherwise,
    and the docstring of consumption_utility says so.
    """
    x, c = np.array([40_000.0, 40_400.0]), common_weight(eta)
    exact = np.diff(oracle.utility(x, 40.0, c, 3.5, eta))[0]
    with strict(False):
        u = isoelastic_utility(Preferences(c, 3.5, eta), np.float32(x), np.float32([40.0, 40.0]))
    np.testing.assert_allclose(np.diff(np.asarray(u, float))[0], exact, rtol=0.02)


@pytest.mark.parametrize("eta", [2.0])
def test_curvature_leaves_the_federal_equilibrium_where_it_was(eta):
    """c_i*x_ref^-eta keeps the first-order condition at the reference point: still 40 hours and the
    same rebate.
    """
    calibrated = Preferences.calibrated(SKILL)
    reference = federal_reference(SKILL, calibrated)
    np.testing.assert_allclose(reference.hours, 40, rtol=1e-12)
    curved = with_curvature(calibrated, reference.consumption, eta)
    np.testing.assert_allclose(
        curved.disutility_weight,
        oracle.calibrated_weight(SKILL) * np.asarray(reference.consumption) ** -eta,
        rtol=1e-12,
    )
    again = jax.jit(federal_reference)(SKILL, curved)
    np.testing.assert_allclose(again.hours, 40, rtol=1e-9)
    np.testing.assert_allclose(
        again.rebate,
        oracle.tax(oracle.US_THRESHOLDS, oracle.US_RATES, 40 * SKILL).mean(),
        rtol=1e-9,
    )


def test_logarithmic_workers_whose_taxes_are_all_spent():
    """With R = 0, log utility and one rate everyone works (1/(c d))^(1/d); so E = t*s*l makes R = 0
    an equilibrium.
    """
    c, t = 1e-6, 0.3
    hours = (1 / (3.5 * c)) ** (1 / 3.5)
    spending = t * hours * SKILL.mean()
    outcome = jit_equilibrium(
        TaxSchedule.flat(t), SKILL, Preferences(c, 3.5, 1.0), public_spending=spending
    )
    np.testing.assert_allclose(outcome.hours, hours, rtol=1e-9)
    np.testing.assert_allclose(outcome.rebate, 0, atol=1e-6)


def test_closed_form_of_paper_welfare_under_a_flat_tax():
    """N*((1-t)*(1-1/d) + t*mean(z)*mean(1/z)): linear in the rate without the hour cap and with a
    common c.
    """
    for t in (0.0, 0.25, 0.6):
        outcome = jit_equilibrium(TaxSchedule.flat(t), SKILL, Preferences(0.026, max_hours=1e6))
        z = SKILL * (SKILL * (1 - t) / (0.026 * 3.5)) ** 0.4
        assert z.min() > 1
        expected = 40 * ((1 - t) * (1 - 1 / 3.5) + t * z.mean() * (1 / z).mean())
        np.testing.assert_allclose(
            paper_welfare(outcome.utility, outcome.income), expected, rtol=1e-12
        )


@PROPERTY
@given(
    rates=st.lists(st.floats(0, 1), min_size=3, max_size=3).map(np.array),
    weights=hnp.arrays(float, 40, elements=st.floats(0.1, 5)),
    spending=st.floats(0, 20_000),
    eta=st.sampled_from([0.0, 1.0]),
)
def test_revenue_is_what_is_returned_and_spent(rates, weights, spending, eta):
    if eta > 0:
        spending = 0.0  # a lump-sum tax on people who consume nothing else has no equilibrium
    preferences = Preferences(np.float64(common_weight(eta)), 3.5, eta)
    outcome = jit_equilibrium(
        TaxSchedule.three_bracket(rates), SKILL, preferences, weights, spending
    )
    assert_pool_balances(outcome, weights, spending, rtol=1e-10)
    income, x = np.asarray(outcome.income), np.asarray(outcome.consumption)
    np.testing.assert_allclose(
        (weights * (income - x)).sum(),
        weights.sum() * spending,
        rtol=1e-9,
        atol=1e-6 * weights.sum(),
    )
    assert ((np.asarray(outcome.hours) >= 0) & (np.asarray(outcome.hours) <= 100)).all()
    np.testing.assert_allclose(
        outcome.tax, oracle.tax(oracle.THREE_THRESHOLDS, rates, income), rtol=1e-9, atol=1e-6
    )


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_rebate_floor(eta):
    schedule, preferences = TaxSchedule.flat(0.1), Preferences(common_weight(eta), 3.5, eta)
    free = jit_equilibrium(schedule, SKILL, preferences, public_spending=3_000.0, rebate_floor=-1e9)
    held = jit_equilibrium(
        schedule, SKILL, preferences, public_spending=3_000.0, rebate_floor=9_000.0
    )
    expected = oracle.equilibrium(
        [0.0], [0.1], SKILL, common_weight(eta), eta=eta, spending=3_000.0, floor=9_000.0
    )
    assert float(free.rebate) < 9_000 == pytest.approx(float(held.rebate))
    np.testing.assert_allclose(held.hours, expected.hours, atol=1e-3)
    np.testing.assert_allclose(held.consumption, held.income - held.tax + 9_000, rtol=1e-12)
    loose = jit_equilibrium(
        schedule, SKILL, preferences, public_spending=3_000.0, rebate_floor=-50_000.0
    )
    np.testing.assert_allclose(loose.rebate, free.rebate, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "eta"), [("one rate", 0.5), ("progressive", 0.0), ("progressive", 2.0)]
)
def test_derivatives_pass_through_the_rebate(name, eta):
    """d hours/d rate and d welfare/d rate, income effects of the moving rebate included, against
    finite differences.
    """
    thresholds, rates = (np.asarray(a, float) for a in SCHEDULES.get(name, ([0.0], [0.45])))
    preferences = Preferences(common_weight(eta), 3.5, eta)

    def economy(rates, spending):
        o = equilibrium(TaxSchedule(thresholds, rates), SKILL, preferences, WEIGHTS, spending)
        return jnp.concatenate([o.hours, o.rebate[None], jnp.sum(o.utility)[None] * 30_000.0**eta])

    evaluate = jax.jit(economy)
    for jacobian in (jax.jacfwd,) if name == "one rate" else (jax.jacrev,):
        by_rates, by_spending = jax.jit(jacobian(economy, (0, 1)))(rates, 150.0)
        for k in range(len(rates)):
            h = np.eye(len(rates))[k] * 1e-5
            numeric = (evaluate(rates + h, 150.0) - evaluate(rates - h, 150.0)) / 2e-5
            np.testing.assert_allclose(
                by_rates[:, k], numeric, rtol=1e-4, atol=1e-4 * np.abs(numeric).max()
            )
            np.testing.assert_allclose(
                by_rates[:40, k], numeric[:40], atol=1e-4 * np.abs(numeric[:40]).max()
            )
        numeric = (evaluate(rates, 151.0) - evaluate(rates, 149.0)) / 2
        np.testing.assert_allclose(by_spending[:40], numeric[:40], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(by_spending[40:], numeric[40:], rtol=1e-4, atol=1e-9)
    if eta > 0:  # without the implicit rebate the response would be another one: the test can tell
        rebate = float(evaluate(rates, 150.0)[40])
        fixed = jax.jit(
            jax.jacrev(
                lambda r: best_response(TaxSchedule(thresholds, r), SKILL, preferences, rebate)
            )
        )(rates)
        assert (
            np.abs(np.asarray(fixed) - np.asarray(by_rates[:40])).max()
            > 0.01 * np.abs(np.asarray(fixed)).max()
        )


def test_a_jump_leaves_a_residual_that_is_reported():
    """Identical workers at a falling rate may all jump at one rebate: no balance exists, and the
    outcome says by how much.
    """
    schedule = TaxSchedule([0.0, 60_000.0], [0.7, 0.0])
    outcome = None
    for c in np.geomspace(1e-8, 1e-5, 60):
        outcome = jit_equilibrium(schedule, np.full(3, 1_000.0), Preferences(c, 3.5, 1.0))
        assert_pool_balances(outcome)
        if float(outcome.rebate_residual) > 100:
            return
    pytest.fail(f"no jump found among these workers; last residual {outcome.rebate_residual}")


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_jit_vmap_and_one_trace(precision, eta):
    if eta > 0 and not precision.x64:
        pytest.skip(
            "the same program in the other precision: test_single_precision_agrees_with_double"
        )
    thresholds = precision.array([0.0, 40_000.0])
    schedules = [
        TaxSchedule(thresholds, precision.array(r)) for r in ([0.1, 0.5], [0.3, 0.3], [0.0, 0.2])
    ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *schedules)
    skill, preferences = (
        precision.array(SKILL),
        Preferences(precision.array(common_weight(eta)), 3.5, eta),
    )
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(lambda s: equilibrium(s, skill, preferences), n=1))
    # without compilation at curvature 0; with income effects that would be a hundred thousand
    # operations
    with jax.disable_jit(eta == 0):
        loop = [equilibrium(s, skill, preferences) for s in schedules]
    mapped = jax.jit(jax.vmap(equilibrium, (0, None, None)))(stacked, skill, preferences)
    for i, schedule in enumerate(schedules):
        once = traced(schedule)
        for field in ("hours", "income", "tax", "consumption", "rebate"):
            tight = {
                "rtol": 1e-9 if precision.x64 else 2e-4,
                "atol": 1e-6 if precision.x64 else 0.5,
            }
            np.testing.assert_allclose(getattr(once, field), getattr(loop[i], field), **tight)
            np.testing.assert_allclose(getattr(mapped, field)[i], getattr(loop[i], field), **tight)


def test_settle_follows_from_given_hours():
    hours = np.random.default_rng(3).uniform(0, 100, 40)
    got = settle(
        TaxSchedule.us_federal(), hours, SKILL, Preferences(0.026), WEIGHTS, 500.0, None, 1_234.0
    )
    expected = oracle.settle(
        oracle.US_THRESHOLDS, oracle.US_RATES, hours, SKILL, 0.026, 3.5, 0.0, WEIGHTS, 500.0
    )
    for field in ("hours", "income", "tax", "rebate", "consumption", "utility"):
        np.testing.assert_allclose(getattr(got, field), getattr(expected, field), rtol=1e-12)
    np.testing.assert_allclose(got.rebate_residual, abs(expected.rebate - 1_234.0), rtol=1e-12)
    assert (
        float(settle(TaxSchedule.us_federal(), hours, SKILL, Preferences(0.026)).rebate_residual)
        == 0
    )
