"""Best responses against brute force."""

from dataclasses import replace

import chex
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle
from oracles.strictness import PROPERTY, strict
from support.labor_cases import ETAS, RATES, SCHEDULES, common_weight

import jaxecon as je
from jaxecon.kernels.labor import ResponseTable, best_choice

SKILLS = np.concatenate([np.geomspace(0.05, 2e5, 25), oracle.skills(25)])


def assert_optimal(
    hours, thresholds, rates, skill, c, eta, rebate, cap=100.0, unit=1e-9, atol=1e-3
):
    """Utility within `unit` of full-time income of brute force, and the same hours."""
    hours = np.asarray(hours, float)
    best_hours, best = oracle.best_response(
        thresholds, rates, skill, c, eta=eta, rebate=rebate, cap=cap
    )
    assert np.isfinite(hours).all()
    assert (hours >= 0).all()
    assert (hours <= cap * (1 + 1e-6)).all()
    income = skill * hours
    x = income - oracle.tax(thresholds, rates, income) + rebate
    full_time = 40 * skill + max(rebate, 0.0)
    possible = np.isfinite(best)
    u = oracle.utility_in_dollars(x, hours, c, oracle.D, eta, full_time)[possible]
    loss = (best[possible] - u) / full_time[possible]
    assert loss.max(initial=0) <= unit, (loss.argmax(), loss.max())
    assert loss.min(initial=0) >= -10 * unit, "brute force found less: the oracle is too coarse"
    if atol is not None:
        np.testing.assert_allclose(hours[possible], best_hours[possible], atol=atol)


def respond(thresholds, rates, c, eta, rebate=0.0, cap=100.0, dtype=np.float64):
    """Hours of SKILLS; arrays of one shape and type, so that tests share compiled programs."""
    schedule = je.TaxSchedule(np.asarray(thresholds, dtype), np.asarray(rates, dtype))
    preferences = je.Preferences(np.full(len(SKILLS), c, dtype), 3.5, eta, float(cap))
    hours = je.best_response(schedule, SKILLS.astype(dtype), preferences, float(rebate))
    assert hours.dtype == dtype
    return np.asarray(hours, float)


CASES = [(name, 0.0, 0.0) for name in SCHEDULES] + [
    (name, eta, rebate)
    for name in SCHEDULES
    for eta in (0.5, 1.0, 2.0)
    for rebate in (0.0, 12_000.0, -1_500.0)
    if name != "us_federal" or eta == 1.0
]


@pytest.mark.parametrize(("name", "eta", "rebate"), CASES)
def test_best_response_is_brute_forces(precision, name, eta, rebate):
    thresholds, rates = SCHEDULES[name]
    c = common_weight(eta)
    hours = respond(thresholds, rates, c, eta, rebate, dtype=precision.dtype)
    if precision.x64:
        assert_optimal(hours, thresholds, rates, SKILLS, c, eta, rebate)
    else:
        single = [np.asarray(a, np.float32).astype(float) for a in (rates, SKILLS, c)]
        # half a cent of rounding at a kink is 2e-5 in units of full-time income where most of that
        # is confiscated (eta = 2)
        assert_optimal(hours, thresholds, *single, eta, rebate, unit=3e-5, atol=None)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("seed", range(6))
def test_best_response_on_random_schedules(eta, seed):
    rng = np.random.default_rng(seed)
    thresholds = np.concatenate([[0.0], np.sort(np.exp(rng.uniform(6, 14, 3)))])
    rates = np.where(rng.random(4) < 0.3, rng.integers(0, 2, 4), rng.random(4)).astype(float)
    cap = rng.choice([35.0, 100.0])
    c = common_weight(eta) * np.exp(rng.normal(0, 1, len(SKILLS)))
    rebate = 0.0 if eta == 0 else rng.choice([-800.0, 300.0, 40_000.0])
    assert_optimal(
        respond(thresholds, rates, c, eta, rebate, cap),
        thresholds,
        rates,
        SKILLS,
        c,
        eta,
        rebate,
        cap,
    )


@pytest.mark.parametrize("eta", [4.0, 6.0])
def test_single_precision_chooses_the_right_bracket_at_strong_curvature(eta):
    """Brackets are compared by utility: measured from a skill instead of from a consumption, U is
    flat in float32.
    """
    thresholds, rates = oracle.US_THRESHOLDS, oracle.US_RATES
    skill, c = np.geomspace(10, 5_000, 12).astype(np.float32), np.float32(common_weight(eta))
    with strict(False):
        hours = je.best_response(
            je.TaxSchedule.us_federal(), skill, je.Preferences(c, 3.5, eta), 10_000.0
        )
    assert_optimal(
        hours, thresholds, rates, skill.astype(float), float(c), eta, 10_000.0, unit=1e-5, atol=0.1
    )


def test_brute_force_agrees_with_scipys_minimiser():
    """The oracle of the tests above against a second one."""
    for thresholds, rates in SCHEDULES.values():
        _, fast = oracle.best_response(thresholds, rates, SKILLS[5:45:7], 0.026)
        slow = [oracle.best_response_scipy(thresholds, rates, s, 0.026)[1] for s in SKILLS[5:45:7]]
        np.testing.assert_allclose(fast, slow, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_workers_bunch_exactly_at_a_kink(precision, eta):
    kink, t0, t1 = 50_000.0, 0.1, 0.5
    skill = np.linspace(400.0, 3_000.0, 400)
    c = common_weight(eta)
    hours = je.best_response(
        je.TaxSchedule(precision.array([0.0, kink]), precision.array([t0, t1])),
        precision.array(skill),
        je.Preferences(precision.array(c), consumption_curvature=eta),
    )
    at_kink = np.abs(np.asarray(hours * precision.array(skill)) / kink - 1) < (
        1e-13 if precision.x64 else 3e-7
    )

    # a worker bunches where the marginal utility of an hour changes sign at the kink
    hours_there = kink / skill
    x = kink * (1 - t0)
    cost = c * oracle.D * hours_there ** (oracle.D - 1)
    bunches = (
        (skill * (1 - t0) * x**-eta > cost)
        & (skill * (1 - t1) * x**-eta < cost)
        & (hours_there < 100)
    )
    assert bunches.sum() > 30
    assert (at_kink == bunches).mean() > 0.99  # a worker at the very edge may round to either side
    assert at_kink[bunches].all()


def test_bunching_mass_is_saezs():
    """dz/z* = ((1-t0)/(1-t1))^e - 1, e = 1/(d-1): the highest income without the kink of those who
    bunch (Saez 2010).
    """
    kink, t0, t1 = 50_000.0, 0.2, 0.4
    skill = np.linspace(500.0, 2_000.0, 20_001)
    kinked = (
        np.asarray(
            je.best_response(
                je.TaxSchedule([0.0, kink], [t0, t1]), skill, je.Preferences.annualised()
            )
        )
        * skill
    )
    straight = (
        np.asarray(je.best_response(je.TaxSchedule.flat(t0), skill, je.Preferences.annualised()))
        * skill
    )
    bunching = np.isclose(kinked, kink, rtol=1e-12)
    assert straight[bunching].max() / kink - 1 == pytest.approx((0.8 / 0.6) ** 0.4 - 1, rel=2e-3)
    assert straight[bunching].min() == pytest.approx(kink, rel=2e-4)


def test_optimum_exactly_on_the_kink():
    """Calibrated workers whose 40-hour income is a threshold: the optimum is the kink itself."""
    skill = oracle.US_THRESHOLDS[1:] / 40
    hours = je.best_response(je.TaxSchedule.us_federal(), skill, je.Preferences.calibrated(skill))
    np.testing.assert_allclose(hours, 40, rtol=1e-13)


def test_thresholds_beyond_the_cap_change_nothing(precision):
    """Incomes end at skill*cap; brackets above it, even untaxed ones, are out of reach."""
    skill = precision.array([100.0, 400.0, 900.0])
    near = je.best_response(
        je.TaxSchedule.flat(precision.array(0.6)), skill, je.Preferences.annualised()
    )
    beyond = je.TaxSchedule(
        precision.array([0.0, 95_000.0, 200_000.0]), precision.array([0.6, 0.0, 0.6])
    )
    np.testing.assert_allclose(
        je.best_response(beyond, skill, je.Preferences.annualised()), near, rtol=1e-6
    )
    assert (np.asarray(near) < 100).all()


def test_tiny_and_huge_skills(precision):
    skill = precision.array([1e-3, 1e8])
    low, high = np.asarray(
        je.best_response(je.TaxSchedule.us_federal(), skill, je.Preferences.annualised())
    )
    assert low == pytest.approx((1e-3 * 0.9 / (0.026 * 3.5)) ** 0.4, rel=1e-4)
    assert high == 100


def test_confiscation_stops_work(precision):
    skill = precision.array([1.0, 1_000.0, 1e5])
    for eta in (0.0, 1.0):
        preferences = je.Preferences(precision.array(common_weight(eta)), consumption_curvature=eta)
        hours = je.best_response(
            je.TaxSchedule.flat(precision.array(1.0)), skill, preferences, 10_000.0
        )
        np.testing.assert_array_equal(hours, 0)


@pytest.mark.parametrize("rate", [0.0, 0.35, 0.9])
def test_logarithmic_utility_without_rebate_has_a_closed_form(precision, rate):
    """log(s(1-t)l) - c*l^d is highest at l = (1/(c d))^(1/d), whatever the skill and the rate."""
    c = np.array([1e-7, 1e-6, 2e-6])
    preferences = je.Preferences(precision.array(c), consumption_curvature=1.0)
    hours = je.best_response(
        je.TaxSchedule.flat(precision.array(rate)), precision.array([3.0, 800.0, 2e4]), preferences
    )
    np.testing.assert_allclose(
        hours, np.minimum((1 / (3.5 * c)) ** (1 / 3.5), 100), rtol=precision.rtol
    )


def test_workers_who_cannot_live_on_any_hours_still_get_a_number():
    """A lump-sum tax above everything one can earn: no NaN, hours within 0..cap, for every bracket
    structure.
    """
    for name, (thresholds, rates) in SCHEDULES.items():
        if name != "us_federal":
            hours = respond(thresholds, rates, 1e-7, 1.0, -1e9)
            assert np.isfinite(hours).all()
            assert ((hours >= 0) & (hours <= 100)).all()


@pytest.mark.parametrize(("eta", "rebate"), [(0.0, 0.0), (1.0, 0.0), (1.0, -1e4), (2.0, -1e7)])
def test_brackets_one_after_another_choose_as_side_by_side(eta, rebate):
    """Without and with a table; also of those who can live on no hours at all, to whom every
    bracket is worth as little.
    """
    skill = je.gb2_skill(200)
    preferences = replace(je.Preferences.calibrated(skill), consumption_curvature=eta)
    for schedule in (
        je.TaxSchedule.us_federal(),
        je.TaxSchedule.flat(0.5),
        je.TaxSchedule(*SCHEDULES["falling"]),
    ):
        table = ResponseTable.of(schedule.thresholds, skill, preferences)
        alone, together = (
            best_choice(schedule, skill, preferences, rebate, table=t) for t in (None, table)
        )
        for ours, theirs in zip(alone, together, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_precisions_can_be_mixed():
    """float32 skills, and schedule and preferences in float64: as NumPy has it."""
    skill = np.asarray(je.gb2_skill(50), np.float32)
    schedule, preferences = je.TaxSchedule.us_federal(), je.Preferences.calibrated(je.gb2_skill(50))
    for eta, rebate in ((0.0, 0.0), (1.0, np.float64(1e3))):
        hours = je.best_response(
            schedule, skill, replace(preferences, consumption_curvature=eta), rebate
        )
        assert hours.dtype == np.float64
        exact = je.best_response(
            schedule, je.gb2_skill(50), replace(preferences, consumption_curvature=eta), rebate
        )
        np.testing.assert_allclose(hours, exact, rtol=1e-5)


def test_nothing_is_made_of_nan():
    with strict(True, nans=True):
        skill = jnp.array([800.0, jnp.nan])
        hours = je.best_response(
            je.TaxSchedule.us_federal(), skill, je.Preferences(jnp.array(0.03))
        )
        assert np.isnan(hours).tolist() == [False, True]


@PROPERTY
@given(rates=RATES, bracket=st.integers(0, 3), rise=st.floats(0, 1), log_c=st.floats(-8, -1))
def test_a_higher_rate_in_any_bracket_never_raises_hours(rates, bracket, rise, log_c):
    """Without income effects T rises by a nondecreasing function of income, so the optimum cannot
    rise (Topkis).
    """
    higher = rates.copy()
    higher[bracket] += rise * (1 - higher[bracket])
    thresholds = SCHEDULES["falling"][0]
    before = respond(thresholds, rates, np.exp(log_c), 0.0)
    after = respond(thresholds, np.minimum(higher, 1), np.exp(log_c), 0.0)
    assert (after <= before + 1e-9 * before + 1e-12).all()


@PROPERTY
@given(rates=RATES, eta=st.sampled_from(ETAS), rebate=st.floats(1.0, 1e5))
def test_no_hours_on_a_grid_are_better(rates, eta, rebate):
    thresholds = SCHEDULES["falling"][0]
    c = common_weight(eta)
    hours = respond(thresholds, rates, c, eta, rebate)

    def u(h):
        skill = SKILLS[:, None]
        income = skill * h
        x = income - oracle.tax(thresholds, rates, income) + rebate
        return oracle.utility_in_dollars(x, h, c, 3.5, eta, 40 * skill + rebate)

    best = u(np.linspace(0, 100, 1001)[None, :]).max(axis=1)
    assert (u(hours[:, None])[:, 0] >= best - 1e-9 * (40 * SKILLS + rebate)).all()


@pytest.mark.parametrize("eta", [0.0, 2.0])
def test_gradients_are_finite_differences(eta):
    """With respect to rates, skills, disutility, exponent and rebate, for workers inside brackets,
    at kinks and at the cap.
    """
    rates = np.array([0.2, 0.5, 0.4])
    skill = np.array([30.0, 900.0, 3_000.0, 2e4])
    c = common_weight(eta)

    def hours(rates, skill, c, d, rebate, cap):
        return je.best_response(
            je.TaxSchedule.three_bracket(rates), skill, je.Preferences(c, d, eta, cap), rebate
        )

    arguments = [rates, skill, np.full(4, c), np.array(3.5), np.array(5_000.0), np.array(95.0)]
    jacobians = jax.jit(jax.jacrev(hours, argnums=range(6)))(*arguments)
    forward = jax.jit(jax.jacfwd(hours, argnums=range(6)))(*arguments)
    evaluate = jax.jit(hours)
    for k, (value, reverse) in enumerate(zip(arguments, jacobians, strict=True)):
        np.testing.assert_allclose(reverse, forward[k], rtol=1e-9, atol=1e-12)
        numeric = np.zeros((4, max(value.size, 1)))
        for i in range(value.size):
            step = np.zeros(value.size)
            step[i] = 1e-6 * abs(value.ravel()[i])
            up, down = (
                [*arguments[:k], (value.ravel() + s).reshape(value.shape), *arguments[k + 1 :]]
                for s in (step, -step)
            )
            numeric[:, i] = (np.asarray(evaluate(*up)) - np.asarray(evaluate(*down))) / (
                2 * step[i]
            )
        np.testing.assert_allclose(
            np.reshape(reverse, numeric.shape),
            numeric,
            rtol=2e-5,
            atol=1e-9 * np.abs(numeric).max(),
        )
    by_rebate = np.asarray(jacobians[4])
    assert (by_rebate[np.asarray(evaluate(*arguments)) < 95] <= 0).all()
    assert (by_rebate.min() < 0) == (eta > 0)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_gradients_are_finite_beside_a_confiscated_bracket(eta):
    """A rate of 1 in a bracket that a worker is not in leaves the gradient of the others finite."""

    def total(rates):
        schedule = je.TaxSchedule.three_bracket(rates)
        return je.best_response(
            schedule,
            np.array([300.0, 800.0]),
            je.Preferences(common_weight(eta), 3.5, eta),
            1_000.0,
        ).sum()

    with strict(True, nans=True):
        slope = jax.grad(total)(jnp.array([0.3, 0.4, 1.0]))
        assert np.isfinite(slope).all(), slope
        expected = [(total(jnp.array([0.3 + h, 0.4, 1.0]))) for h in (1e-6, -1e-6)]
        np.testing.assert_allclose(slope[0], (expected[0] - expected[1]) / 2e-6, rtol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_jit_vmap_and_one_trace(precision, eta):
    thresholds = precision.array([0.0, 50_000.0])
    schedules = [
        je.TaxSchedule(thresholds, precision.array(r)) for r in ([0.0, 0.5], [0.7, 0.1], [0.2, 0.0])
    ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *schedules)
    preferences = je.Preferences(precision.array(common_weight(eta)), consumption_curvature=eta)
    skill, noise, rebate = (
        precision.array(SKILLS[::5]),
        precision.array(20.0),
        precision.array(3_000.0),
    )

    def both(schedule):
        hours = je.best_response(schedule, skill, preferences, rebate)
        return hours, je.quantal_response(schedule, skill, preferences, noise, rebate)

    with jax.disable_jit():
        loop = [[np.asarray(x) for x in both(s)] for s in schedules]
    mapped = jax.jit(jax.vmap(both))(stacked)
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(both, n=1))
    for i, schedule in enumerate(schedules):
        once = traced(schedule)
        for k, atol in ((0, 0.0 if precision.x64 else 0.02), (1, 2e-4)):
            np.testing.assert_allclose(
                once[k], loop[i][k], rtol=1e-9 if precision.x64 else 1e-3, atol=atol
            )
            np.testing.assert_allclose(
                mapped[k][i], loop[i][k], rtol=1e-9 if precision.x64 else 1e-3, atol=atol
            )


def test_any_leading_shape(precision):
    skill = np.geomspace(10, 5_000, 6)
    c = 0.026 * np.array([1.0, 2.0, 4.0])
    hours = je.best_response(
        je.TaxSchedule.us_federal(),
        precision.array(skill.reshape(2, 3)),
        je.Preferences(precision.array(c)[None]),
    )
    assert hours.shape == (2, 3)
    expected, _ = oracle.best_response(oracle.US_THRESHOLDS, oracle.US_RATES, skill, np.tile(c, 2))
    np.testing.assert_allclose(np.ravel(hours), expected, rtol=1e-3 if not precision.x64 else 1e-5)
    caps = je.Preferences(0.026, 3.5, 0.0, precision.array([10.0, 20.0, 30.0]))
    np.testing.assert_allclose(
        je.best_response(je.TaxSchedule.us_federal(), precision.array(5_000.0), caps), [10, 20, 30]
    )


def test_python_numbers_do_not_widen_single_precision():
    with strict(True):
        schedule, skill = je.TaxSchedule.us_federal().astype(np.float32), np.float32([10.0, 900.0])
        for eta in (0.0, 1.0):
            preferences = je.Preferences(common_weight(eta), 3.5, eta)
            assert je.best_response(schedule, skill, preferences, 100.0).dtype == np.float32
            assert (
                je.quantal_response(schedule, skill, preferences, 20.0, 100.0).dtype == np.float32
            )


def test_the_grid_of_hours_cannot_be_changed():
    np.testing.assert_array_equal(je.HOURS, oracle.CHOICES)
    with pytest.raises(ValueError, match="read-only"):
        je.HOURS[0] = 5
