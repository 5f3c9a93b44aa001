"""Workers who choose among hours with logit probabilities."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.draws import Draws, uniform
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.quantal import cumulated_response
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, checked


@pytree
class QuantalParameters:
    precision: Array  # no unit


@pytree
class QuantalPlan:
    """The probabilities of a year's choices, and what is needed to compute them again.

    cumulated: (c - 1, n) probabilities of choosing at most choice k, k = 0..c-2; used at curvature
    0, where the rebate does not matter.
    """

    cohort: Cohort
    schedule: TaxSchedule
    cumulated: Array


class Quantal:
    """Quantal response (McKelvey and Palfrey 1995).

    The probabilities are computed once a year at curvature 0, otherwise every day. A day then takes
    one uniform draw and one comparison a choice per agent.

    Parameter: precision, in [0, 10000], default 20.
    """

    def parameters(self, **values: float) -> QuantalParameters:
        return QuantalParameters(
            **checked("quantal", values, precision=(20.0, 0.0, 1e4))  # type: ignore[arg-type]
        )

    def init(
        self, params: QuantalParameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> tuple[()]:
        return ()

    def start_year(
        self, params: QuantalParameters, cohort: Cohort, state: tuple[()], schedule: TaxSchedule
    ) -> tuple[tuple[()], QuantalPlan]:
        return state, QuantalPlan(
            cohort,
            schedule,
            _cumulated(params, cohort, schedule, jnp.zeros((), cohort.skill.dtype)),
        )

    def act(
        self,
        params: QuantalParameters,
        plan: QuantalPlan,
        state: tuple[()],
        draws: Draws,
        observation: Observation,
    ) -> tuple[Array, tuple[()]]:
        cumulated = plan.cumulated
        if plan.cohort.preferences.consumption_curvature != 0:
            cumulated = _cumulated(params, plan.cohort, plan.schedule, observation.rebate)
        u = uniform(draws.first, cumulated.dtype)
        choices = plan.cohort.choices
        hours = jnp.full_like(u, choices[0])
        for k, more in enumerate(choices[1:]):  # unrolled: one fused pass
            hours = jnp.where(u >= cumulated[k], more, hours)
        return hours, state

    def learn(
        self,
        params: QuantalParameters,
        plan: QuantalPlan,
        state: tuple[()],
        hours: Array,
        outcome: Outcome,
    ) -> tuple[()]:
        return state


def _cumulated(
    params: QuantalParameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
) -> Array:
    precision = jnp.asarray(params.precision, cohort.skill.dtype)
    return cumulated_response(
        schedule,
        cohort.skill,
        cohort.preferences,
        precision,
        rebate,
        cohort.reference_consumption,
        np.asarray(cohort.choices),
    )
