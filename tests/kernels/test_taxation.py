"""Schedules, taxes and the pool."""

import copy
import pickle
import subprocess
import sys

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
from jaxecon.kernels.taxation import lump_sum_rebate, weighted_mean

RATES = st.lists(
    st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1)), min_size=4, max_size=4
).map(np.array)
WIDTHS = hnp.arrays(float, 3, elements=st.floats(1.0, 3e5))
THRESHOLDS = WIDTHS.map(lambda w: np.concatenate([[0.0], np.cumsum(w)]))
INCOMES = hnp.arrays(float, 6, elements=st.floats(0, 2e6))

jit_tax = jax.jit(je.tax_due)
jit_rate = jax.jit(je.marginal_rate)


def incomes_around(thresholds):
    t = np.asarray(thresholds, float)
    return np.unique(
        np.concatenate([t, t + 0.01, np.maximum(t - 0.01, 0), t * 1.37 + 5_000, [1e7]])
    )


@pytest.mark.parametrize(
    ("income", "tax"),
    [(50_000, 6_053), (100_000, 17_053), (200_000, 41_686.50), (1_000_000, 328_187.75)],
)
def test_us_federal_tax_is_the_statutory_one(precision, income, tax):
    np.testing.assert_allclose(
        je.tax_due(je.TaxSchedule.us_federal(), precision.array(float(income))),
        tax,
        rtol=precision.rtol / 20,
    )


@pytest.mark.parametrize(
    ("rates", "thresholds"),
    [
        (oracle.US_RATES, oracle.US_THRESHOLDS),
        ([0.9, 0.1, 0.5], oracle.THREE_THRESHOLDS),
        ([1.0, 0.0, 1.0, 0.0], [0.0, 10.0, 1e5, 1e6]),
        ([0.37], [0.0]),
    ],
)
def test_tax_matches_the_oracles(precision, rates, thresholds):
    schedule = je.TaxSchedule(precision.array(thresholds), precision.array(rates))
    z = precision.array(incomes_around(thresholds))
    exact = np.asarray(z, float)
    tax = je.tax_due(schedule, z)
    assert tax.dtype == precision.dtype
    np.testing.assert_allclose(
        tax,
        oracle.tax(thresholds, rates, exact),
        rtol=precision.rtol / 20,
        atol=1e-9 if precision.x64 else 1e-3,
    )
    if precision.x64:
        for one in exact[::3]:
            np.testing.assert_allclose(
                je.tax_due(schedule, one),
                oracle.tax_by_integration(thresholds, rates, one),
                rtol=1e-8,
                atol=1e-8,
            )
        rate = je.marginal_rate(schedule, z)
        np.testing.assert_array_equal(rate, oracle.rate_on_next_dollar(thresholds, rates, exact))
        assert rate.dtype == precision.dtype


def test_marginal_rate_at_a_threshold_is_the_one_above():
    schedule = je.TaxSchedule.three_bracket([0.1, 0.2, 0.3])
    z = np.array(
        [0.0, np.nextafter(90_000.0, 0), 90_000.0, np.nextafter(159_100.0, 0), 159_100.0, 1e9]
    )
    np.testing.assert_allclose(je.marginal_rate(schedule, z), [0.1, 0.1, 0.2, 0.2, 0.3, 0.3])


def test_any_shape(precision):
    schedule = je.TaxSchedule.us_federal()
    z = precision.array(np.linspace(0, 7e5, 24).reshape(2, 3, 4))
    flat = np.asarray(je.tax_due(schedule, z.ravel()))
    for kernel in (je.tax_due, je.marginal_rate):
        assert kernel(schedule, z).shape == (2, 3, 4)
        assert kernel(schedule, z[0, 0, 0]).shape == ()
    np.testing.assert_array_equal(np.ravel(je.tax_due(schedule, z)), flat)
    np.testing.assert_allclose(
        flat,
        oracle.tax(oracle.US_THRESHOLDS, oracle.US_RATES, np.asarray(z, float).ravel()),
        rtol=precision.rtol,
    )


@PROPERTY
@given(thresholds=THRESHOLDS, rates=RATES, income=INCOMES)
def test_tax_is_monotone_continuous_and_zero_at_zero(thresholds, rates, income):
    schedule = je.TaxSchedule(thresholds, rates)
    z = np.sort(np.concatenate([[0.0], income, thresholds]))
    tax = np.asarray(jit_tax(schedule, z))
    assert tax[0] == 0
    rise, step = np.diff(tax), np.diff(z)
    slack = 1e-9 * (1 + z[1:])
    assert (rise >= -slack).all()
    # never more than the dollar: so continuous, with rates in [0, 1]
    assert (rise <= step + slack).all()
    np.testing.assert_allclose(tax, oracle.tax(thresholds, rates, z), rtol=1e-11, atol=1e-6)
    rate = np.asarray(jit_rate(schedule, z))
    assert ((rate >= 0) & (rate <= 1)).all()
    assert set(rate) <= set(rates)


@PROPERTY
@given(thresholds=THRESHOLDS, rates=RATES, income=INCOMES)
def test_marginal_rate_is_the_slope_of_tax(thresholds, rates, income):
    near = np.abs(income[:, None] - thresholds[None, :]).min(axis=1)
    income = np.where(near < 1.0, income + 2.5, income)
    income = income[np.abs(income[:, None] - thresholds[None, :]).min(axis=1) > 0.6]
    if len(income) == 0:
        return
    slope = (
        oracle.tax(thresholds, rates, income + 0.5)
        - oracle.tax(thresholds, rates, np.maximum(income - 0.5, 0))
    ) / (0.5 + np.minimum(income, 0.5))
    np.testing.assert_allclose(
        je.marginal_rate(je.TaxSchedule(thresholds, rates), income), slope, atol=1e-7
    )


def test_gradients_of_tax(precision):
    schedule = je.TaxSchedule.three_bracket(precision.array([0.2, 0.5, 0.1]))
    z = precision.array([30_000.0, 100_000.0, 400_000.0])
    slopes = jax.vmap(jax.grad(je.tax_due, argnums=1), (None, 0))(schedule, z)
    np.testing.assert_allclose(slopes, [0.2, 0.5, 0.1], rtol=1e-6)
    by_rate = jax.jacobian(lambda r: je.tax_due(je.TaxSchedule(schedule.thresholds, r), z))(
        schedule.rates
    )
    np.testing.assert_allclose(
        by_rate, [[30_000, 0, 0], [90_000, 10_000, 0], [90_000, 69_100, 240_900]], rtol=1e-6
    )


def test_jit_vmap_and_one_trace(precision):
    schedules = [
        je.TaxSchedule.three_bracket(precision.array(r))
        for r in ([0.0, 0.5, 1.0], [0.7, 0.1, 0.3], [1.0, 1.0, 0.0])
    ]
    z = precision.array(np.linspace(0, 4e5, 11))
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *schedules)
    loop = np.stack([je.tax_due(s, z) for s in schedules])
    np.testing.assert_allclose(
        jax.vmap(je.tax_due, (0, None))(stacked, z), loop, rtol=precision.rtol / 20
    )
    np.testing.assert_allclose(
        jax.vmap(je.marginal_rate, (0, None))(stacked, z),
        np.stack([je.marginal_rate(s, z) for s in schedules]),
        rtol=1e-7,
    )
    chex.clear_trace_counter()
    traced = jax.jit(
        chex.assert_max_traces(lambda s, x: (je.tax_due(s, x), je.marginal_rate(s, x)), n=1)
    )
    for schedule, expected in zip(schedules, loop, strict=True):
        np.testing.assert_allclose(traced(schedule, z)[0], expected, rtol=precision.rtol / 20)


@PROPERTY
@given(
    tax=hnp.arrays(float, 7, elements=st.floats(0, 1e6)),
    weights=hnp.arrays(float, 7, elements=st.floats(0.01, 50)),
    spending=st.floats(0, 1e5),
)
def test_the_pool_pays_out_what_it_takes(tax, weights, spending):
    rebate = float(lump_sum_rebate(tax, weights, spending))
    paid_in, paid_out = (weights * tax).sum(), weights.sum() * (rebate + spending)
    assert abs(paid_in - paid_out) <= 1e-12 * (paid_in + weights.sum() * spending) + 1e-9
    np.testing.assert_allclose(lump_sum_rebate(tax), tax.sum() / 7, rtol=1e-12)
    floored = float(lump_sum_rebate(tax, weights, spending, 250.0))
    assert floored == pytest.approx(max(rebate, 250.0))


def test_million_agent_mean_in_single_precision():
    """Measured relative error on x86: 2e-8 equal weights, 8e-8 with weights."""
    rng = np.random.default_rng(0)
    x = rng.lognormal(10, 1.5, 1_000_000).astype(np.float32)
    w = rng.uniform(0.5, 1.5, 1_000_000).astype(np.float32)
    with strict(False):
        assert weighted_mean(x).dtype == np.float32
        np.testing.assert_allclose(weighted_mean(x), x.astype(float).mean(), rtol=2e-6)
        np.testing.assert_allclose(
            weighted_mean(x, w), np.average(x.astype(float), weights=w.astype(float)), rtol=2e-6
        )


@pytest.mark.parametrize(
    ("thresholds", "rates", "setting", "says"),
    [
        ([0.0, 1e5], [0.1, 1.2], "rates", ["1.2", "[0, 1]"]),
        ([0.0, 1e5], [-0.1, 0.2], "rates", ["-0.1", "[0, 1]"]),
        ([0.0, 1e5], [float("nan"), 0.2], "rates", ["nan", "[0, 1]"]),
        ([0.0, 2e5, 1e5], [0.1, 0.2, 0.3], "thresholds", ["200000", "increasing"]),
        ([0.0, 1e5, 1e5], [0.1, 0.2, 0.3], "thresholds", ["100000", "increasing"]),
        ([5.0, 1e5], [0.1, 0.2], "thresholds", ["5.0", "0"]),
        ([-5.0, 1e5], [0.1, 0.2], "thresholds", ["-5.0", "0"]),
        ([0.0, float("nan")], [0.1, 0.2], "thresholds", ["nan", "finite"]),
        ([0.0, float("inf")], [0.1, 0.2], "thresholds", ["inf", "finite"]),
        ([0.0, 1e5], [0.1], "rates", ["1", "2"]),
        ([0.0], [0.1, 0.2], "rates", ["2", "1"]),
        ([], [], "thresholds", ["at least one"]),
        ([0.0], 0.1, "rates", ["one rate per bracket"]),
    ],
)
def test_bad_schedules_are_refused(thresholds, rates, setting, says):
    with pytest.raises(ValueError, match=f"^{setting}: ") as caught:
        je.TaxSchedule(thresholds, rates)
    for words in says:
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_thresholds_that_single_precision_cannot_tell_apart_are_refused():
    with strict(False), pytest.raises(ValueError, match=r"^thresholds: "):
        je.TaxSchedule([0.0, 1e9, 1e9 + 1], [0.1, 0.2, 0.3])


def test_constructors_check_their_rates():
    for make in (
        lambda: je.TaxSchedule.flat(1.5),
        lambda: je.TaxSchedule.three_bracket([0.1, 0.2, float("nan")]),
    ):
        with pytest.raises(ValueError, match=r"^rates: "):
            make()
    with pytest.raises(ValueError, match=r"^rates: "):
        je.TaxSchedule.three_bracket([0.1, 0.2])


def test_dtype_follows_the_arrays():
    """In 64-bit mode float32 arrays stay float32; Python numbers and integers become the default
    float.
    """
    assert je.TaxSchedule(np.float32([0, 10]), np.float32([0.1, 0.2])).rates.dtype == np.float32
    assert je.TaxSchedule([0, 10], np.float32([0.1, 0.2])).thresholds.dtype == np.float32
    assert je.TaxSchedule([0, 10], [0, 1]).rates.dtype == np.float64
    assert je.TaxSchedule(np.array([0, 10]), np.array([0, 1])).rates.dtype == np.float64
    assert je.TaxSchedule.flat(0.3).rates.dtype == np.float64
    assert je.TaxSchedule.us_federal().astype(np.float32).rates.dtype == np.float32


def test_a_schedule_is_a_pytree_that_copies_pickles_and_compares():
    schedule = je.TaxSchedule.three_bracket([0.1, 0.2, 0.3])
    leaves, tree = jax.tree.flatten(schedule)
    assert len(leaves) == 2
    # rates above... unflattening never validates
    rebuilt = jax.tree.unflatten(tree, [2 * x for x in leaves])
    np.testing.assert_allclose(rebuilt.rates, [0.2, 0.4, 0.6])
    jax.tree.unflatten(tree, [object(), object()])
    for clone in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        np.testing.assert_array_equal(clone.rates, [0.1, 0.2, 0.3])
        np.testing.assert_array_equal(clone.thresholds, oracle.THREE_THRESHOLDS)
    with pytest.raises(AttributeError):
        schedule.rates = np.zeros(3)
    assert [
        jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(schedule)
    ] == [".thresholds", ".rates"]


def test_lazy_names_are_the_functions_whatever_is_used_first():
    """`jaxecon.kernels.equilibrium` is a submodule as well as a function: loading it first must not
    hide the function.
    """
    script = (
        "import sys, jaxecon as je\n"
        "assert 'jax' not in sys.modules, 'importing jaxecon loads JAX'\n"
        "je.gb2_skill\n"
        "assert callable(je.equilibrium), je.equilibrium\n"
        "import jaxecon.kernels.equilibrium\n"
        "from jaxecon import equilibrium\n"
        "assert callable(equilibrium), equilibrium\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr[-500:]
