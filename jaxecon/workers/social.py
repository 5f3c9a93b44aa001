"""Workers whose hours depend on social welfare: altruists maximise it, adversaries minimise it.

With everybody else's hours fixed, a worker's hours l contribute to welfare, per survey weight,

    W(l) = psi * (U(x) - c*l^d) + T(z),  x = z - T(z) + R,  z = s*l,  psi = g / U'(x_ref).

The first term is the worker's own utility in dollars of welfare. The second is the tax, which goes
back to everybody: as g has mean 1, a dollar of it is worth a dollar of welfare. At curvature 0 with
fixed weights W is exact. Otherwise it is the first-order effect at the US federal reference, where
g is the marginal welfare weight of the worker's consumption, and R is yesterday's rebate.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.draws import Draws
from jaxecon.core.pytree import pytree
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.labor import ResponseTable
from jaxecon.kernels.preferences import curved_utility, disutility, power
from jaxecon.kernels.taxation import TaxSchedule, tax_due
from jaxecon.workers.base import Cohort, Observation, checked

# replaces g = 0 in divisions: t/g fits in float32, and own utility is negligible beside the tax
_MIN_WEIGHT = 1e-30
# the 60 bisections after the last Newton step exceed float64's resolution of hours
_NEWTONS, _MAX_STEPS = 20, 80


def welfare_effect(
    schedule: TaxSchedule, cohort: Cohort, hours: Array, rebate: ArrayLike = 0.0
) -> Array:
    """Return W of the module's docstring, (n,) $/year, up to a constant per worker.

    hours: (n,) h/week. rebate: scalar, $/year. W is -inf where consumption would not be positive at
    curvature > 0.
    """
    eta, x_ref = cohort.preferences.consumption_curvature, cohort.reference_consumption
    income = cohort.skill * hours
    tax = tax_due(schedule, income)
    cost = disutility(cohort.preferences, hours)
    if eta == 0:
        own = income - tax - cost
    else:  # (U(x) - U(x_ref) - cost) / U'(x_ref), which float32 resolves
        consumption = income - tax + rebate
        positive = consumption > 0
        relative = curved_utility(jnp.log(jnp.where(positive, consumption, 1) / x_ref), eta)
        own = jnp.where(positive, x_ref * relative - cost * x_ref**eta, -jnp.inf)
    return _weight(cohort) * own + tax


@jax.jit
def altruistic_response(schedule: TaxSchedule, cohort: Cohort, rebate: ArrayLike = 0.0) -> Array:
    """Return the hours (n,) that maximise `welfare_effect`, exactly; ties go to fewer hours.

    W is concave within a bracket, so a bracket's best point is its interior optimum clipped to its
    ends. At curvature 0 that is l = (s((1-t) + t/g)/(c d))^(1/(d-1)), the best response to the rate
    t(1 - 1/g), which is negative where g < 1. rebate: scalar, $/year; matters at curvature > 0
    only.
    """
    table = ResponseTable.of(schedule.thresholds, cohort.skill, cohort.preferences)
    low, high = table.ends[:-1], table.ends[1:]
    if cohort.preferences.consumption_curvature == 0:
        d = cohort.preferences.disutility_exponent
        interior = jax.vmap(
            lambda t: table.untaxed_hours * power(1 - t + t / _weight(cohort), 1 / (d - 1))
        )(schedule.rates)
        candidates = jnp.clip(interior, low, high)
    else:
        tax_at_threshold = tax_due(schedule, schedule.thresholds)
        virtual_income = schedule.rates * schedule.thresholds - tax_at_threshold + rebate
        candidates = jax.vmap(lambda *bracket: _interior(cohort, *bracket))(
            schedule.rates, virtual_income, low, high
        )
    return _first_best(
        candidates,
        jax.vmap(lambda hours: welfare_effect(schedule, cohort, hours, rebate))(candidates),
    )


@jax.jit
def adversarial_response(schedule: TaxSchedule, cohort: Cohort, rebate: ArrayLike = 0.0) -> Array:
    """Return the hours (n,) that minimise `welfare_effect`, exactly; ties go to fewer hours.

    W is concave within a bracket, so its minimum lies at an end: at 0 hours, at a threshold, or at
    max_hours. rebate: scalar, $/year; matters at curvature > 0 only.
    """
    ends = ResponseTable.of(schedule.thresholds, cohort.skill, cohort.preferences).ends
    return _first_best(
        ends, -jax.vmap(lambda hours: welfare_effect(schedule, cohort, hours, rebate))(ends)
    )


def _weight(cohort: Cohort) -> Array:
    return jnp.maximum(cohort.welfare_weight, _MIN_WEIGHT)


def _first_best(candidates: Array, values: Array) -> Array:
    """Return the first candidate with the highest value, (n,).

    candidates, values: (k, n); candidates rise in k.
    """
    return jnp.take_along_axis(candidates, jnp.argmax(values, axis=0)[None], axis=0)[0]


def _interior(cohort: Cohort, rate: Array, virtual_income: Array, low: Array, high: Array) -> Array:
    """Return the hours in [low, high] that maximise W on a budget line, with curvature eta > 0.

    The line is x = (1-rate)*s*l + virtual_income.

    The first-order condition, in dollars at x_ref, is w*(x/x_ref)^-eta + t*s/g = c*x_ref^eta *
    d*l^(d-1) with w = (1-t)s. Its left side falls in l and its right side rises. Newton's method
    finds the zero of the logarithm of their ratio, which is nearly linear in log l, within a
    bracket around the zero. A worker whose search has not ended after _NEWTONS steps bisects that
    bracket.
    """
    preferences, x_ref = cohort.preferences, cohort.reference_consumption
    eta, d = preferences.consumption_curvature, preferences.disutility_exponent
    net_wage = cohort.skill * (1 - rate)
    # either may be -inf
    log_own_wage, log_tax = jnp.log(net_wage), jnp.log(rate * cohort.skill / _weight(cohort))
    log_cost = jnp.log(preferences.disutility_weight * d) + eta * jnp.log(x_ref)

    def excess(hours: Array) -> tuple[Array, Array]:
        """Return the log of the ratio, and its slope in log hours, which is at most -(d-1).

        The log is positive where more hours are better.
        """
        x = net_wage * hours + virtual_income
        positive = x > 0
        x = jnp.where(positive, x, 1)
        log_own = log_own_wage - eta * jnp.log(x / x_ref)
        log_gain = jnp.logaddexp(log_own, log_tax)
        ratio = log_gain - log_cost - (d - 1) * jnp.log(hours)
        slope = -(d - 1) - eta * jnp.exp(log_own - log_gain) * net_wage * hours / x
        return jnp.where(positive, ratio, jnp.inf), slope

    # Not `roots.falling_root`, a secant method for one scalar: here the slope is known, each worker
    # has its own bracket, and the search lasts until all workers have finished.
    eps = np.finfo(low.dtype).eps
    more_at_low, more_at_high = excess(low)[0] > 0, excess(high)[0] > 0
    inside = more_at_low & ~more_at_high
    at_end = jnp.where(more_at_low, high, low)

    def step(
        carry: tuple[Array, Array, Array, Array, Array],
    ) -> tuple[Array, Array, Array, Array, Array]:
        hours, left, right, moving, count = carry
        ratio, slope = excess(hours)
        left, right = jnp.where(ratio > 0, hours, left), jnp.where(ratio > 0, right, hours)
        newton = jnp.clip(hours * jnp.exp(-ratio / slope), left, right)
        new = jnp.where(count < _NEWTONS, newton, (left + right) / 2)
        # a Newton step squares the error: after one this small, only rounding is left
        still = jnp.abs(new - hours) > jnp.where(count < _NEWTONS, eps**0.5, 4 * eps) * hours
        return jnp.where(moving, new, hours), left, right, moving & still, count + 1

    start = jnp.where(inside, (low + high) / 2, at_end)
    searched = jax.lax.while_loop(
        lambda carry: jnp.any(carry[3]) & (carry[4] < _MAX_STEPS),
        step,
        (start, low, high, inside, jnp.zeros((), jnp.int32)),
    )
    return searched[0]


@pytree
class SocialPlan:
    """The response to a year's schedule, or what is needed to compute it.

    hours: (n,) h/week at curvature 0, where the rebate does not matter; else None.
    """

    cohort: Cohort
    schedule: TaxSchedule
    hours: Array | None


class _Social:
    """Base of altruists and adversaries: exact responses to the schedule and yesterday's rebate."""

    name: str

    def response(self, schedule: TaxSchedule, cohort: Cohort, rebate: ArrayLike = 0.0) -> Array:
        """Return hours, (n,) h/week."""
        raise NotImplementedError

    def parameters(self, **values: float) -> tuple[()]:
        checked(self.name, values)
        return ()

    def init(
        self, params: tuple[()], cohort: Cohort, schedule: TaxSchedule, rebate: Array
    ) -> tuple[()]:
        return ()

    def start_year(
        self, params: tuple[()], cohort: Cohort, state: tuple[()], schedule: TaxSchedule
    ) -> tuple[tuple[()], SocialPlan]:
        settled = cohort.preferences.consumption_curvature == 0
        return state, SocialPlan(
            cohort, schedule, self.response(schedule, cohort) if settled else None
        )

    def act(
        self,
        params: tuple[()],
        plan: SocialPlan,
        state: tuple[()],
        draws: Draws,
        observation: Observation,
    ) -> tuple[Array, tuple[()]]:
        if plan.hours is not None:
            return plan.hours, state
        return self.response(plan.schedule, plan.cohort, observation.rebate), state

    def learn(
        self, params: tuple[()], plan: SocialPlan, state: tuple[()], hours: Array, outcome: Outcome
    ) -> tuple[()]:
        return state


class Altruistic(_Social):
    """The hours that maximise social welfare, with everybody else's hours fixed."""

    name = "altruistic"

    def response(self, schedule: TaxSchedule, cohort: Cohort, rebate: ArrayLike = 0.0) -> Array:
        return altruistic_response(schedule, cohort, rebate)


class Adversarial(_Social):
    """The hours that minimise social welfare, with everybody else's hours fixed."""

    name = "adversarial"

    def response(self, schedule: TaxSchedule, cohort: Cohort, rebate: ArrayLike = 0.0) -> Array:
        return adversarial_response(schedule, cohort, rebate)
