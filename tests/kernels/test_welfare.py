"""Welfare weights, social welfare functions, inequality."""

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
from jaxecon.kernels.welfare import SocialWelfare

KINDS = ["inverse_income", "paper_fixed", "inverse_consumption", "utilitarian"]
INCOME = hnp.arrays(float, 8, elements=st.floats(0, 1e6))
WEIGHTS = hnp.arrays(float, 8, elements=st.floats(0.01, 20))
jit_gini = jax.jit(je.gini)


def economy(n=200, seed=0):
    rng = np.random.default_rng(seed)
    z = np.concatenate([[0.0, 0.5, 3.0], rng.lognormal(10, 1.5, n - 3)])
    return rng.permutation(z), rng.normal(20_000, 30_000, n), rng.uniform(0.1, 4, n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("floor", [10_000.0, 1.0, 250.0])
def test_welfare_weights_match_the_oracle(precision, kind, weighted, floor):
    z, _, w = economy()
    w = w if weighted else None
    g = je.welfare_weights(
        kind, precision.array(z), None if w is None else precision.array(w), floor
    )
    assert g.dtype == precision.dtype
    np.testing.assert_allclose(g, oracle.welfare_weights(kind, z, w, floor), rtol=precision.rtol)


@PROPERTY
@given(income=INCOME, weights=WEIGHTS, kind=st.sampled_from(KINDS), floor=st.floats(0.1, 1e5))
def test_welfare_weights_have_mean_one_and_never_rise_with_income(income, weights, kind, floor):
    g = np.asarray(je.welfare_weights(kind, income, weights, floor))
    assert (g * weights).sum() / weights.sum() == pytest.approx(1, rel=1e-12)
    assert (g > 0).all()
    assert (np.diff(g[np.argsort(income)]) <= 1e-12).all()
    if kind != "utilitarian":
        low = 1.0 if kind == "paper_fixed" else floor
        assert g.max() / g.min() == pytest.approx(
            max(income.max(), low) / max(income.min(), low), rel=1e-12
        )


@pytest.mark.parametrize("weighted", [False, True])
def test_social_and_paper_welfare_match_the_oracle(precision, weighted):
    z, u, w = economy(seed=1)
    g = oracle.welfare_weights("inverse_income", z)
    w = w if weighted else None
    survey = None if w is None else precision.array(w)
    tight = {"rtol": precision.rtol, "atol": precision.rtol * 30_000}
    np.testing.assert_allclose(
        je.social_welfare(precision.array(u), precision.array(g), survey),
        oracle.social_welfare(u, g, w),
        **tight,
    )
    np.testing.assert_allclose(
        je.paper_welfare(precision.array(u), precision.array(z), survey),
        oracle.paper_welfare(u, z, w),
        **tight,
    )
    np.testing.assert_allclose(je.rawlsian_welfare(precision.array(u)), min(u), rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 1.0, 1.0 + 1e-3, 2.0, 10.0, 30.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_atkinson_matches_the_oracle(precision, epsilon, weighted):
    _, u, w = economy(seed=2)
    u = np.concatenate([u[1:], [5e8]])  # one very rich person: nothing may overflow
    w = w if weighted else None
    got = je.atkinson_welfare(
        precision.array(u), epsilon, None if w is None else precision.array(w)
    )
    assert got.dtype == precision.dtype
    np.testing.assert_allclose(
        got, oracle.atkinson(u, epsilon, w), rtol=1e-10 if precision.x64 else 2e-4
    )


@PROPERTY
@given(
    u=hnp.arrays(float, 6, elements=st.floats(1, 1e6)),
    epsilon=st.floats(0, 5),
    scale=st.floats(0.1, 10),
)
def test_atkinson_lies_between_the_poorest_and_the_mean_and_scales(u, epsilon, scale):
    a = float(je.atkinson_welfare(u, epsilon, floor=0.5))
    assert u.min() * (1 - 1e-8) <= a <= u.mean() * (1 + 1e-8)
    assert float(je.atkinson_welfare(scale * u, epsilon, floor=0.5 * scale)) == pytest.approx(
        scale * a, rel=1e-7
    )
    assert float(je.atkinson_welfare(u, epsilon + 0.5, floor=0.5)) <= a * (1 + 1e-8)


def test_atkinson_of_equal_incomes_is_that_income_and_the_floor_holds():
    for epsilon in (0.0, 0.7, 1.0, 3.0):
        np.testing.assert_allclose(
            je.atkinson_welfare(np.full(5, 20_000.0), epsilon), 20_000, rtol=1e-12
        )
        np.testing.assert_allclose(
            je.atkinson_welfare(np.array([-50.0, 0.0, 9_000.0]), epsilon), 10_000, rtol=1e-12
        )


@pytest.mark.parametrize("kind", ["inverse_income", "rawlsian", "atkinson", "utilitarian"])
def test_one_callable_for_all_kinds_over_cohorts(kind):
    """Cohorts in any order, welfare over everybody at once: `zebra` comes first here and last in
    JAX's sorted dicts.
    """
    z, u, w = economy(50)
    g = oracle.welfare_weights("inverse_income", z, w) if kind == "inverse_income" else np.ones(50)

    def split(x):
        return {"zebra": x[:20], "ant": x[20:]}

    welfare = SocialWelfare(split(g), split(w), kind, 2.0, 500.0)
    expected = {
        "rawlsian": u.min(),
        "atkinson": oracle.atkinson(u, 2.0, w, 500.0),
        "inverse_income": oracle.social_welfare(u, g, w),
        "utilitarian": np.average(u, weights=w),
    }[kind]
    other_order = {"ant": u[20:], "zebra": u[:20]}
    for utility in (split(u), other_order):
        np.testing.assert_allclose(welfare(utility), expected, rtol=1e-10)
        np.testing.assert_allclose(
            jax.jit(lambda s, u: s(u))(welfare, utility), expected, rtol=1e-10
        )


def test_effective_sample_size():
    assert float(je.effective_sample_size(np.ones(7))) == pytest.approx(7)
    assert float(je.effective_sample_size(np.array([1.0, 0, 0, 0]))) == pytest.approx(1)
    g, w = np.array([1.0, 2.0, 0.5]), np.array([1.0, 0.25, 4.0])
    assert float(je.effective_sample_size(g, w)) == pytest.approx(
        (1 + 0.5 + 2) ** 2 / (1 + 0.25 + 4)
    )


# Gini


@PROPERTY
@given(x=INCOME, weights=WEIGHTS)
def test_gini_is_the_double_sum(x, weights):
    g = float(jit_gini(x, weights))
    np.testing.assert_allclose(g, oracle.gini(x, weights), atol=1e-12)
    assert -1e-12 <= g < 1
    np.testing.assert_allclose(je.gini(x), oracle.gini(x), atol=1e-12)


@PROPERTY
@given(
    x=hnp.arrays(float, 5, elements=st.floats(0, 1e5)),
    copies=st.lists(st.integers(1, 4), min_size=5, max_size=5),
    scale=st.floats(1e-3, 1e3),
)
def test_gini_ignores_scale_and_order_and_weights_are_copies(x, copies, scale):
    g = float(jit_gini(x, np.array(copies, float)))
    np.testing.assert_allclose(g, oracle.gini(np.repeat(x, copies)), atol=1e-12)
    np.testing.assert_allclose(jit_gini(scale * x, np.array(copies, float)), g, atol=1e-11)
    np.testing.assert_allclose(jit_gini(x[::-1], np.array(copies[::-1], float)), g, atol=1e-12)


def test_gini_of_known_distributions(precision):
    assert float(je.gini(precision.array(np.full(9, 3.0)))) == pytest.approx(0, abs=1e-6)
    assert float(je.gini(precision.array(np.zeros(9)))) == 0
    assert float(je.gini(precision.array([0.0, 0, 0, 8.0]))) == pytest.approx(0.75, rel=1e-6)
    n = 2_000
    uniform = (np.arange(n) + 0.5) / n
    assert float(je.gini(precision.array(uniform))) == pytest.approx(1 / 3, rel=1e-5)
    pareto = (1 - uniform) ** (-1 / 3)  # Pareto's a = 3: 1/(2a - 1)
    assert float(je.gini(precision.array(pareto))) == pytest.approx(0.2, rel=5e-3)
    assert je.gini(precision.array(uniform)).dtype == precision.dtype


def test_gini_of_a_million_in_single_precision():
    """Measured error on x86: 5e-7."""
    x = np.random.default_rng(0).lognormal(10, 1.5, 1_000_000).astype(np.float32)
    ordered = np.sort(x.astype(float))
    exact = (2 * np.arange(1, 1_000_001) - 1_000_001) @ ordered / (1_000_000 * ordered.sum())
    with strict(False):
        assert float(je.gini(x)) == pytest.approx(exact, abs=1e-5)
        assert float(je.gini(x, np.full(1_000_000, np.float32(0.7)))) == pytest.approx(
            exact, abs=1e-5
        )


@pytest.mark.parametrize(
    "kernel",
    [
        lambda x: je.gini(x),
        lambda x: je.atkinson_welfare(x, 1.0),
        lambda x: je.atkinson_welfare(x, 2.5, jnp.array([1.0, 2.0, 0.5, 1.0])),
        lambda x: je.social_welfare(x, jnp.array([2.0, 1.0, 0.5, 0.5])),
        lambda x: je.paper_welfare(x, jnp.array([0.2, 1e4, 3e4, 1e5])),
        lambda x: je.effective_sample_size(x),
        lambda x: je.welfare_weights("inverse_income", x)[1],
        lambda x: je.rawlsian_welfare(x),
    ],
)
def test_gradients_vmap_jit_and_one_trace(kernel):
    x = np.array([12_000.0, 90_000.0, 31_000.0, 45_000.0])
    slope = np.asarray(jax.grad(kernel)(x))
    numeric = np.array([(kernel(x + e) - kernel(x - e)) / 2 for e in np.eye(4)])
    np.testing.assert_allclose(slope, numeric, rtol=1e-5, atol=1e-6 * np.abs(numeric).max())
    assert np.abs(slope).max() > 0
    many = np.stack([x, x[::-1], 2 * x])
    loop = [float(kernel(row)) for row in many]
    np.testing.assert_allclose(jax.vmap(kernel)(many), loop, rtol=1e-12)
    chex.clear_trace_counter()
    traced = jax.jit(chex.assert_max_traces(kernel, n=1))
    np.testing.assert_allclose([float(traced(row)) for row in many], loop, rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "reference", "floor", "says"),
    [
        ("rawlsian", [1.0], 10.0, ["kind", "'rawlsian'", "inverse_income", "utilitarian"]),
        ("Inverse_income", [1.0], 10.0, ["kind", "'Inverse_income'", "paper_fixed"]),
        ("inverse_income", [1.0], 0.0, ["floor", "0.0", "greater than 0"]),
        ("inverse_income", [1.0], -5.0, ["floor", "-5.0", "greater than 0"]),
        ("inverse_income", [1.0], float("nan"), ["floor", "nan", "greater than 0"]),
        ("inverse_income", [1.0, -2.0], 10.0, ["reference", "-2.0", "at least 0"]),
        ("inverse_income", [1.0, float("nan")], 10.0, ["reference", "nan", "at least 0"]),
    ],
)
def test_bad_arguments_are_refused(kind, reference, floor, says):
    with pytest.raises(ValueError, match=f"^{says[0]}: ") as caught:
        je.welfare_weights(kind, np.array(reference), floor=floor)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        ({"kind": "rawlsain"}, "kind"),
        ({"kind": "atkinson", "epsilon": -1.0}, "epsilon"),
        ({"kind": "atkinson", "floor": 0.0}, "floor"),
    ],
)
def test_a_bad_social_welfare_is_refused_and_not_taken_for_a_weighted_mean(arguments, setting):
    with pytest.raises(ValueError, match=f"^{setting}: "):
        SocialWelfare({"all": np.ones(3)}, {"all": np.ones(3)}, **arguments)
