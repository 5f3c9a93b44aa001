"""Utility, disutility, the satisfaction penalty, and the parameter sets."""

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

import jaxecon as je
from jaxecon.kernels.preferences import (
    consumption_equivalent,
    consumption_utility,
    disutility,
    marginal_utility,
)

ETAS = [0.0, 0.5, 1.0, 2.0, 3.5]


@pytest.mark.parametrize("eta", ETAS)
def test_utility_matches_the_oracle(precision, eta):
    # consumption near 1 so that U is not a small difference of large numbers
    x, hours = (
        precision.array([0.05, 0.9, 1.0, 1.7, 40.0]),
        precision.array([0.0, 1.0, 40.0, 99.0, 100.0]),
    )
    c = precision.array([1e-8, 1e-7, 2e-7, 1e-8, 1e-9])
    preferences = je.Preferences(c, 3.5, eta)
    u = je.isoelastic_utility(preferences, x, hours)
    assert u.dtype == precision.dtype
    expected = oracle.utility(x, np.asarray(hours, float), np.asarray(c, float), 3.5, eta)
    np.testing.assert_allclose(u, expected, rtol=precision.rtol, atol=precision.rtol)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_utility_difference_at_incomes_in_dollars(eta):
    """At 40,000 $/year a raise of 1 % is resolved in double precision: U(1.01 x) - U(x) against its
    integral.
    """
    x = np.array([400.0, 40_000.0, 4e6])
    gained = consumption_utility(1.01 * x, eta) - consumption_utility(x, eta)
    by_integral = [oracle.integrate.quad(lambda v: v**-eta, a, 1.01 * a)[0] for a in x]
    np.testing.assert_allclose(gained, by_integral, rtol=1e-6)


@pytest.mark.parametrize("eta", [1 - 1e-7, 1 + 1e-7])
def test_utility_near_logarithm(eta):
    """U is continuous in eta: (x^(1-eta) - 1)/(1-eta) = log x + O(1-eta), however close eta is to
    1.
    """
    x = np.array([0.5, 2.0, 40_000.0])
    np.testing.assert_allclose(
        consumption_utility(x, eta), np.log(x) + (1 - eta) * np.log(x) ** 2 / 2, rtol=1e-11
    )


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_no_consumption_is_minus_infinity_without_nan_gradients(eta):
    u, slope = jax.vmap(jax.value_and_grad(lambda x: consumption_utility(x, eta)))(
        jnp.array([-5.0, 0.0, 4.0])
    )
    assert (u[:2] == -np.inf).all()
    assert np.isfinite(u[2])
    np.testing.assert_allclose(slope, [0, 0, 4.0**-eta])


@pytest.mark.parametrize("eta", ETAS)
def test_consumption_equivalent_inverts_utility(eta):
    x = np.array([0.3, 1.0, 3.0, 20.0])
    np.testing.assert_allclose(
        consumption_equivalent(oracle.consumption_utility(x, eta), eta), x, rtol=1e-7
    )


def test_consumption_equivalent_out_of_reach():
    assert consumption_equivalent(-3.0, 0.5) == 0  # U(0) = -2
    assert consumption_equivalent(1.5, 2.0) == np.inf  # U(inf) = 1


@pytest.mark.parametrize("eta", ETAS)
def test_gradients_are_finite_differences(eta):
    preferences = je.Preferences(jnp.array([2e-4, 1e-4]), 3.5, eta)
    x, hours, h = np.array([2.0, 0.7]), np.array([11.0, 3.0]), 1e-5

    def u(x, hours):
        return jnp.sum(je.isoelastic_utility(preferences, x, hours))

    by_x, by_hours = jax.grad(u, (0, 1))(x, hours)
    for i in range(2):
        e = np.eye(2)[i] * h
        np.testing.assert_allclose(
            by_x[i], (u(x + e, hours) - u(x - e, hours)) / (2 * h), rtol=1e-7
        )
        np.testing.assert_allclose(
            by_hours[i], (u(x, hours + e) - u(x, hours - e)) / (2 * h), rtol=1e-7
        )
    np.testing.assert_allclose(marginal_utility(x, eta), by_x, rtol=1e-12)


def test_gradient_of_disutility_at_zero_hours_is_zero(precision):
    slope = jax.grad(lambda h: disutility(je.Preferences(0.026), h))(precision.array(0.0))
    assert slope == 0


def test_parameter_sets(precision):
    skill = precision.array([1.0, 280.0, 290.0, 1_000.0, 20_000.0])
    calibrated = je.Preferences.calibrated(skill)
    assert calibrated.disutility_weight.dtype == precision.dtype
    np.testing.assert_allclose(
        calibrated.disutility_weight,
        oracle.calibrated_weight(np.asarray(skill, float)),
        rtol=precision.rtol,
    )
    assert float(je.Preferences.annualised().disutility_weight) == pytest.approx(0.026)
    assert float(je.Preferences.paper().disutility_weight) == pytest.approx(0.0005)
    for p in (calibrated, je.Preferences.annualised(), je.Preferences.paper()):
        assert (float(p.disutility_exponent), p.consumption_curvature, float(p.max_hours)) == (
            3.5,
            0.0,
            100.0,
        )


def test_calibrated_workers_choose_forty_hours():
    """The definition, checked by brute force: nothing beats 40 h under the US federal schedule."""
    skill = oracle.skills(60)
    c = np.asarray(je.Preferences.calibrated(skill).disutility_weight)
    hours, _ = oracle.best_response(oracle.US_THRESHOLDS, oracle.US_RATES, skill, c)
    np.testing.assert_allclose(hours, 40, atol=1e-4)


def test_calibration_accepts_whole_number_skills():
    whole = je.Preferences.calibrated(np.array([100, 5_000])).disutility_weight
    np.testing.assert_allclose(
        whole, oracle.calibrated_weight(np.array([100.0, 5_000.0])), rtol=1e-12
    )


def test_weights_may_be_a_plain_list():
    preferences = je.Preferences([0.026, 0.052])
    np.testing.assert_allclose(
        disutility(preferences, np.array([10.0, 10.0])),
        np.array([0.026, 0.052]) * 10**3.5,
        rtol=1e-12,
    )


@PROPERTY
@given(
    u=hnp.arrays(float, 5, elements=st.floats(-1e6, 1e6)),
    satisfied=hnp.arrays(bool, 5),
    penalty=st.floats(0, 1),
)
def test_dissatisfaction_never_rewards(u, satisfied, penalty):
    adjusted = np.asarray(je.satisfaction_adjusted(u, satisfied, penalty))
    assert (adjusted <= u).all()
    np.testing.assert_array_equal(adjusted[satisfied], u[satisfied])
    paid = ~satisfied & (u >= 0)
    np.testing.assert_allclose(adjusted[paid], penalty * u[paid], rtol=1e-12, atol=1e-9)
    negative = ~satisfied & (u < 0)
    np.testing.assert_allclose(
        adjusted[negative], (2 - penalty) * u[negative], rtol=1e-12, atol=1e-9
    )


@PROPERTY
@given(
    x=hnp.arrays(float, 4, elements=st.floats(0.05, 50)),
    penalty=st.floats(0.01, 1),
    eta=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_with_curvature_the_penalty_falls_on_consumption_equivalents(x, penalty, eta):
    u = oracle.consumption_utility(x, eta)
    adjusted = np.asarray(je.satisfaction_adjusted(u, np.zeros(4, bool), penalty, eta))
    np.testing.assert_allclose(
        adjusted, oracle.consumption_utility(penalty * x, eta), rtol=1e-8, atol=1e-8
    )
    np.testing.assert_array_equal(je.satisfaction_adjusted(u, np.ones(4, bool), penalty, eta), u)
    assert (adjusted <= u + 1e-12).all()


def test_the_whole_penalty_with_low_curvature_leaves_the_utility_of_nothing():
    """U(0) = -1/(1-eta) is finite below curvature 1, so a penalty of 0 is too."""
    u = oracle.consumption_utility(np.array([4.0, 9.0]), 0.5)
    np.testing.assert_allclose(
        je.satisfaction_adjusted(u, np.zeros(2, bool), 0.0, 0.5), [-2.0, -2.0], rtol=1e-12
    )


def test_jit_vmap_dtype_and_one_trace(precision):
    x, hours = precision.array(np.linspace(1, 5, 6)), precision.array(np.linspace(0, 50, 6))
    satisfied = np.array([True, False] * 3)
    scales = precision.array([1e-5, 2e-5, 3e-5])

    def kernel(c, x, hours):
        u = je.isoelastic_utility(je.Preferences(c, 3.5, 0.5), x, hours)
        return je.satisfaction_adjusted(u, satisfied, 0.5, 0.5)

    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(kernel, n=1))
    loop = np.stack([kernel(c, x, hours) for c in scales])
    np.testing.assert_allclose(
        np.stack([traced(c, x, hours) for c in scales]), loop, rtol=precision.rtol, atol=1e-6
    )
    mapped = jax.vmap(kernel, (0, None, None))(scales, x, hours)
    assert mapped.dtype == precision.dtype
    np.testing.assert_allclose(mapped, loop, rtol=precision.rtol, atol=1e-6)


def test_python_numbers_do_not_widen_single_precision():
    """In 64-bit mode, float32 inputs with a Python-number disutility give float32."""
    x, hours = np.float32([1.0, 2.0]), np.float32([3.0, 4.0])
    with strict(True):
        assert je.isoelastic_utility(je.Preferences.annualised(), x, hours).dtype == np.float32
        assert je.satisfaction_adjusted(x, np.array([True, False])).dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "setting", "value", "accepted"),
    [
        ({"disutility_weight": 0.0}, "disutility_weight", "0.0", "greater than 0"),
        (
            {"disutility_weight": np.array([0.1, -1.0])},
            "disutility_weight",
            "-1.0",
            "greater than 0",
        ),
        ({"disutility_weight": float("nan")}, "disutility_weight", "nan", "greater than 0"),
        ({"disutility_weight": float("inf")}, "disutility_weight", "inf", "finite"),
        (
            {"disutility_weight": 0.1, "disutility_exponent": 1.0},
            "disutility_exponent",
            "1.0",
            "greater than 1",
        ),
        ({"disutility_weight": 0.1, "max_hours": 0.0}, "max_hours", "0.0", "greater than 0"),
        ({"disutility_weight": 0.1, "max_hours": float("inf")}, "max_hours", "inf", "finite"),
        (
            {"disutility_weight": 0.1, "consumption_curvature": -0.5},
            "consumption_curvature",
            "-0.5",
            "at least 0",
        ),
        (
            {"disutility_weight": 0.1, "consumption_curvature": float("nan")},
            "consumption_curvature",
            "nan",
            "finite",
        ),
    ],
)
def test_bad_preferences_are_refused(arguments, setting, value, accepted):
    with pytest.raises(ValueError, match=f"^{setting}: ") as caught:
        je.Preferences(**arguments)
    assert value in str(caught.value)
    assert accepted in str(caught.value)


def test_a_refusal_does_not_print_a_million_values():
    with pytest.raises(ValueError, match=r"^disutility_weight: ") as caught:
        je.Preferences(np.zeros(10_000))
    assert len(str(caught.value)) < 1_000
