"""Workers whose hours do not change: the economy without behavioural response."""

import jax.numpy as jnp
from jax import Array

from jaxecon.core.draws import Draws
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.workers.base import Cohort, Observation, checked


@pytree
class FixedParameters:
    hours: Array  # h/week


class Fixed:
    """The same hours every day, at most max_hours.

    Parameter: hours, h/week in [0, 168], default 40.
    """

    def parameters(self, **values: float) -> FixedParameters:
        return FixedParameters(
            **checked("fixed", values, hours=(40.0, 0.0, 168.0))  # type: ignore[arg-type]
        )

    def init(
        self, params: FixedParameters, cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> tuple[()]:
        return ()

    def start_year(
        self, params: FixedParameters, cohort: Cohort, state: tuple[()], schedule: TaxSchedule
    ) -> tuple[tuple[()], Array]:
        hours = jnp.minimum(params.hours, cohort.preferences.max_hours)
        return state, jnp.broadcast_to(hours, cohort.skill.shape).astype(cohort.skill.dtype)

    def act(
        self,
        params: FixedParameters,
        plan: Array,
        state: tuple[()],
        draws: Draws,
        observation: Observation,
    ) -> tuple[Array, tuple[()]]:
        return plan, state

    def learn(
        self, params: FixedParameters, plan: Array, state: tuple[()], hours: Array, outcome: Outcome
    ) -> tuple[()]:
        return state
