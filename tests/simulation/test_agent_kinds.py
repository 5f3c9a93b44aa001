"""Altruists and adversaries in whole economies: their weights, and what they do to welfare."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from oracles import economy as oracle

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.economy.precision import compute_context
from jaxecon.workers.social import altruistic_response

# of one size and so of the same skills: shares change who is what, and not who there is
COHORTS = [
    {"name": "bad", "rule": "adversarial", "size": 30},
    {"name": "good", "rule": "altruistic", "size": 30},
    {"name": "usual", "rule": "rational", "size": 30},
]


def config_of(shares=(0.2, 0.2), **sections):
    bad, good = shares
    return load_config(
        {
            "years": 1,
            "year": {"days": 4},
            "population": {"cohorts": COHORTS, "shares": {"bad": bad, "good": good}},
            "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
            "schedule": {"brackets": "three", "rates": 0.4},
            **sections,
        }
    )


def final(table):
    return {name: table[name][-1].as_py() for name in table.column_names}


@pytest.mark.parametrize(
    "sections",
    [
        {},
        pytest.param(
            {"preferences": {"consumption_curvature": 1.0}}, marks=pytest.mark.slow
        ),  # compiles for a minute
    ],
    ids=["fixed weights", "curvature"],
)
def test_altruists_raise_welfare_and_adversaries_lower_it(sections):
    """The more of either the more so, beside the same people all responding for themselves."""

    def realised(bad, good):
        year = final(je.run(config_of((bad, good), **sections)).years)
        assert np.isfinite(year["swf"])
        return year["swf"], year["swf_equilibrium"]

    few, many, hostile = realised(0.02, 0.1), realised(0.02, 0.6), realised(0.3, 0.1)
    assert few[1] == pytest.approx(many[1], rel=1e-4)  # the same people
    assert many[0] > few[0] > hostile[0]
    assert many[0] > many[1] > hostile[0]


def numpy_welfare(function, consumption, cost, w, g, eta, epsilon=1.0):
    u = oracle.consumption_utility(consumption, eta) - cost
    if function == "rawlsian":
        return u.min()
    if function == "atkinson":
        return oracle.atkinson(u, epsilon, w)
    return np.average(g * u, weights=w)


@pytest.mark.parametrize(
    ("function", "eta"),
    [
        *(
            (f, 0.0)
            for f in (
                "inverse_income",
                "inverse_consumption",
                "utilitarian",
                "atkinson",
                "rawlsian",
            )
        ),
        *((f, 1.0) for f in ("inverse_income", "utilitarian", "rawlsian")),
    ],
)
def test_weight_of_a_worker_is_what_welfare_gains_from_its_dollar(function, eta):
    """Cohort.welfare_weight against differences of a NumPy welfare at the US federal reference;
    mean 1.
    """
    config = config_of(
        welfare={"function": function},
        preferences={"consumption_curvature": eta},
        precision="float64",
    )
    with compute_context(config):
        economy = build_economy(config)
        everyone, reference = economy.population, economy.reference
        g = np.asarray(everyone.welfare_weight)
        chex.assert_trees_all_equal(
            jnp.concatenate([c.welfare_weight for c in economy.cohorts.values()]), g
        )
        w, x = np.asarray(everyone.weight), np.asarray(reference.consumption)
        assert np.average(g, weights=w) == pytest.approx(1)
        fixed = np.concatenate([np.asarray(v) for v in economy.welfare.weights.values()])
        cost = (
            np.asarray(everyone.preferences.disutility_weight) * np.asarray(reference.hours) ** 3.5
        )
        if function == "rawlsian":  # the poorest share the only weight there is
            utility = np.asarray(reference.utility)
            poorest = utility == utility.min()
            assert np.all((g > 0) == poorest)
            return
        gain = []
        for i in range(len(x)):
            up, down = x.copy(), x.copy()
            up[i], down[i] = x[i] + 0.5, x[i] - 0.5
            gain.append(
                numpy_welfare(function, up, cost, w, fixed, eta)
                - numpy_welfare(function, down, cost, w, fixed, eta)
            )
        each = np.array(gain) / w
        np.testing.assert_allclose(g, each / np.average(each, weights=w), rtol=2e-4, atol=1e-6)
        if eta == 0 and function != "atkinson":
            np.testing.assert_array_equal(g, fixed)


def test_weights_where_nobody_counts():
    """Atkinson with everybody below the floor: welfare gains from nobody's dollar, and all weigh
    the same.
    """
    config = config_of(welfare={"function": "atkinson", "floor": 1e9})
    for cohort in build_economy(config).cohorts.values():
        np.testing.assert_array_equal(cohort.welfare_weight, 1)


def test_first_order_effect_is_the_economys_at_the_reference():
    """Log utility, everybody at the US federal reference: one altruist's hours maximise the welfare
    of the whole economy, with its rebate, but for what is of second order (the reciprocal of the
    number of people).
    """
    config = config_of(
        preferences={"consumption_curvature": 1.0}, schedule={"brackets": "us_federal"}
    )
    with compute_context(config):
        economy = build_economy(config)
        everyone, reference = economy.population, economy.reference
        hours = np.asarray(
            altruistic_response(je.TaxSchedule.us_federal(), everyone, reference.rebate)
        )
        skill, w, c = (
            np.asarray(a)
            for a in (everyone.skill, everyone.weight, everyone.preferences.disutility_weight)
        )
        gw = np.concatenate([np.asarray(v) for v in economy.welfare.weights.values()])
        z0 = skill * np.asarray(reference.hours)
        t0 = oracle.tax(oracle.US_THRESHOLDS, oracle.US_RATES, z0)
        grid = np.linspace(0, 100, 1001)
        for i in range(0, len(skill), 3):
            z, h = np.tile(z0, (1001, 1)), np.tile(np.asarray(reference.hours), (1001, 1))
            z[:, i], h[:, i] = skill[i] * grid, grid
            t = np.tile(t0, (1001, 1))
            t[:, i] = oracle.tax(oracle.US_THRESHOLDS, oracle.US_RATES, z[:, i])
            x = z - t + np.average(t, weights=w, axis=1)[:, None]
            welfare = np.average(gw * (np.log(x) - c * h**3.5), weights=w, axis=1)
            assert hours[i] == pytest.approx(grid[welfare.argmax()], abs=1.0), i
