"""First-order conditions and finite differences of the optimum, and curvature."""

from functools import cache, partial

import jax
import numpy as np
import pytest
from oracles import leader
from support.certified_cases import N, dense, preferences_of, solve

import jaxecon as je
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.optimum.space import Effort


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
