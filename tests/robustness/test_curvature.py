"""Results at any accepted curvature of utility, and a certificate that knows what rounding is."""

from decimal import Decimal, getcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.economy.equilibrium import equilibrium_welfare, leader_problem, welfare_gain
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import by_cohort
from jaxecon.kernels.optimum.certified import solve
from jaxecon.kernels.preferences import consumption_equivalent, consumption_utility

DOLLARS = st.floats(100.0, 1e7)


@settings(deadline=None)
@given(x=DOLLARS, eta=st.floats(0.01, 10.0), share=st.floats(1e-4, 1.0))
def test_a_difference_of_utilities_keeps_its_digits(x, eta, share):
    """Against 60 digits; where eta <= 2, U has a constant beside which a few are lost."""
    getcontext().prec = 60
    more = x * (1 + share)
    power = Decimal(1) - Decimal(eta)
    if power == 0:
        return
    exact = (Decimal(more) ** power - Decimal(x) ** power) / power
    with jax.enable_x64(True):
        found = float(consumption_utility(more, eta)) - float(consumption_utility(x, eta))
    lost = x ** max(eta - 1, 0) if eta <= 2 else 1.0
    assert found == pytest.approx(float(exact), rel=1e-9 + 1e-15 * lost / share)


@settings(deadline=None)
@given(x=DOLLARS, eta=st.floats(2.001, 10.0))
def test_consumption_equivalents_come_back_at_high_curvature(x, eta):
    with jax.enable_x64(True):
        back = consumption_equivalent(consumption_utility(x, eta), eta)
    assert float(back) == pytest.approx(x, rel=1e-10)


@pytest.mark.parametrize("eta", [1.9, 3.0, 10.0])
def test_the_baseline_gains_nothing_over_itself(eta):
    """And a rise of everybody's consumption by 7 % is a gain of 7 %, at any curvature."""
    workers = {"name": "workers", "rule": "rational", "size": 25}
    config = load_config(
        {
            "population": {"cohorts": [workers]},
            "preferences": {"consumption_curvature": eta},
        }
    )
    with compute_context(config):
        economy = build_economy(config)
        schedule = je.TaxSchedule.us_federal().astype(np.float64)
        again = equilibrium_welfare(economy, schedule)
        assert abs(float(welfare_gain(economy, again))) < 1e-10
        reference = economy.reference
        richer = je.isoelastic_utility(
            economy.population.preferences, 1.07 * reference.consumption, reference.hours
        )
        welfare = economy.welfare(by_cohort(economy, richer))
        assert float(welfare_gain(economy, welfare)) == pytest.approx(0.07, abs=1e-10)


@pytest.mark.parametrize(("spending", "certified"), [(0.0, True), (1e9, False)])
def test_welfare_that_is_rounded_away_certifies_nothing(spending, certified):
    """Beside a billion dollars of spending, float32 has no digits left for what a rate changes."""
    workers = {"name": "workers", "rule": "rational", "size": 40}
    config = load_config(
        {"population": {"cohorts": [workers]}, "budget": {"public_spending": spending}}
    )
    with compute_context(config):
        problem = leader_problem(build_economy(config))
        found = solve(problem, jnp.zeros(1, np.float32))
    assert bool(found.certified) == certified
    resolved = np.max(np.abs(np.asarray(found.neighbours))) > float(found.noise)
    assert resolved == certified
