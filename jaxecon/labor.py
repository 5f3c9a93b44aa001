"""How many hours a worker wants: the exact best response, and the quantal response over eleven choices."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon._pytree import floating
from jaxecon.preferences import REFERENCE_HOURS, Preferences, curved_utility, disutility, power
from jaxecon.taxation import US_FEDERAL_RATES, US_FEDERAL_THRESHOLDS, TaxSchedule, tax_due

Array = jax.Array
ArrayLike = jax.typing.ArrayLike

HOURS = np.arange(0.0, 101.0, 10.0)  # h/week; what an agent with discrete choices can choose from
HOURS.setflags(write=False)

_ROOT_ITERATIONS = 40  # of a safeguarded Newton search: a bracket of 100 h falls below float64 spacing by bisection alone in 53


@jax.jit
def best_response(schedule: TaxSchedule, skill: ArrayLike, preferences: Preferences, rebate: ArrayLike = 0.0) -> Array:
    """Hours that maximise utility on the piecewise-linear budget, exactly, kinks and falling rates included.

    skill: (..., n) $/year per weekly hour, > 0; preferences against it; rebate: scalar $/year (matters only with
    consumption_curvature > 0). Returns (..., n) h/week.

    In each bracket the best point is the interior optimum clipped to the bracket's ends (utility is concave there);
    the best of these is the best of all, whatever the rates do from bracket to bracket. Ties go to fewer hours.
    At curvature 0 the interior optimum is l = (s(1-t)/(c d))^(1/(d-1)) (Saez 2010, eq. 2).
    """
    skill = floating(skill)
    cap = preferences.max_hours
    full_time = REFERENCE_HOURS * skill
    typical = jnp.maximum(full_time - tax_due(schedule, full_time) + jnp.maximum(rebate, 0), skill)
    tops = jnp.append(schedule.thresholds[1:], jnp.inf)
    full_brackets = jnp.cumsum(schedule.rates[:-1] * jnp.diff(schedule.thresholds))
    tax_below = jnp.concatenate([jnp.zeros_like(schedule.rates[:1]), full_brackets])  # on all income below each bracket

    def in_bracket(rate: Array, threshold: Array, top: Array, tax_below: Array) -> tuple[Array, Array]:
        """The best hours within a bracket, and what they are worth; all (..., n)."""
        low = threshold / skill
        unbounded = jnp.isinf(top)
        high = jnp.where(unbounded, cap, jnp.minimum(jnp.where(unbounded, 1, top) / skill, cap))
        high = jnp.maximum(high, low)
        net_wage = skill * (1 - rate)
        virtual_income = rate * threshold - tax_below  # consumption is net_wage*hours + virtual_income
        if preferences.consumption_curvature == 0:
            scale = preferences.disutility_weight * preferences.disutility_exponent
            hours = jnp.clip(power(net_wage / scale, 1 / (preferences.disutility_exponent - 1)), low, high)
            value = net_wage * hours + virtual_income - disutility(preferences, hours)
        else:
            hours = _interior_with_income_effect(preferences, net_wage, virtual_income + rebate, low, high)
            value = _scaled_utility(preferences, typical, net_wage * hours + virtual_income + rebate, hours)
        return hours, jnp.where(low <= cap, value, -jnp.inf)

    hours, value = jax.vmap(in_bracket)(schedule.rates, schedule.thresholds, tops, tax_below)
    best_hours, best_value = hours[0], value[0]
    for k in range(1, schedule.brackets):  # unrolled: one fused pass; the first of equals wins
        better = value[k] > best_value
        best_hours, best_value = jnp.where(better, hours[k], best_hours), jnp.where(better, value[k], best_value)
    return best_hours


def _scaled_utility(preferences: Preferences, typical: Array, consumption: Array, hours: Array) -> Array:
    """An increasing affine transform of u~ that float32 resolves: measured from, and in units of, a consumption m of the
    worker's own size (`typical`: about what full-time work leaves), (u~ - U(m)) / (m*U'(m))."""
    eta = preferences.consumption_curvature
    positive = consumption > 0
    utility = curved_utility(jnp.log(jnp.where(positive, consumption, 1) / typical), eta)
    return jnp.where(positive, utility - disutility(preferences, hours) * typical ** (eta - 1), -jnp.inf)


def _interior_with_income_effect(
    preferences: Preferences, net_wage: Array, virtual_income: ArrayLike, low: Array, high: Array
) -> Array:
    """Hours in [low, high] where a budget line of slope net_wage has its optimum with curvature eta > 0.

    Solves f(l) = log(w) - eta*log(w*l + v) - log(c d) - (d-1)*log(l) = 0, decreasing in l, by Newton steps kept inside a
    shrinking bracket. One last Newton step from the found root carries the implicit derivatives.
    """
    eta, d = preferences.consumption_curvature, preferences.disutility_exponent
    log_scale = jnp.log(preferences.disutility_weight * d)
    takes_home = net_wage > 0
    wage = jnp.where(takes_home, net_wage, 1)

    def slope_of_utility(hours: Array) -> tuple[Array, Array]:
        consumption = wage * hours + virtual_income
        positive = consumption > 0
        x = jnp.where(positive, consumption, 1)
        f = jnp.log(wage) - eta * jnp.log(x) - log_scale - (d - 1) * jnp.log(hours)
        df = -eta * wage / x - (d - 1) / hours
        return jnp.where(positive, f, jnp.inf), jnp.where(positive, df, -1)

    def step(_: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        a, b, hours = carry
        f, df = slope_of_utility(hours)
        a, b = jnp.where(f > 0, hours, a), jnp.where(f > 0, b, hours)
        newton = hours - f / df
        inside = (newton > a) & (newton < b)
        return a, b, jnp.where(inside, newton, (a + b) / 2)

    start = jnp.maximum(low, 1e-6)  # h/week: keeps log(hours) finite in the first bracket
    shape = jnp.broadcast_shapes(start.shape, high.shape, jnp.shape(log_scale), jnp.shape(virtual_income))
    dtype = jnp.result_type(start, log_scale, virtual_income)
    a, b = (jax.lax.stop_gradient(jnp.broadcast_to(x, shape).astype(dtype)) for x in (start, jnp.maximum(high, start)))
    root = jax.lax.stop_gradient(jax.lax.fori_loop(0, _ROOT_ITERATIONS, step, (a, b, (a + b) / 2))[2])
    f, df = slope_of_utility(root)
    polished = root - jnp.where(jnp.isfinite(f), f, 0) / df
    return jnp.where(takes_home, jnp.clip(polished, low, high), low)


@jax.jit
def quantal_response(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    precision: ArrayLike,
    rebate: ArrayLike = 0.0,
    reference_consumption: ArrayLike | None = None,
) -> Array:
    """Logit choice over HOURS: P(h) proportional to exp(precision * u~(h) / (40 * s * U'(x_ref))).

    skill: (..., n) $/year per weekly hour; precision: no unit, >= 0; rebate: $/year; reference_consumption: x_ref,
    (..., n) $/year, matters only with curvature > 0 and is then by default what 40 hours leave after US federal tax.
    Returns (..., n, 11) probabilities (McKelvey and Palfrey 1995, logit equilibrium's response). Hours above
    max_hours have probability 0.
    """
    payoff = choice_payoffs(schedule, skill, preferences, rebate, reference_consumption)
    possible = payoff > -jnp.inf  # 0 * -inf would be NaN
    # where nothing can be lived on, whoever works most comes nearest to it
    hours = jnp.broadcast_to(jnp.asarray(HOURS, payoff.dtype), payoff.shape)
    allowed = hours <= _per_worker(preferences.max_hours)
    stranded = ~jnp.any(possible, axis=-1, keepdims=True) & (jnp.cumsum(allowed[..., ::-1], -1)[..., ::-1] == 1) & allowed
    possible, payoff = possible | stranded, jnp.where(stranded, 0, payoff)
    logits = jnp.where(possible, _per_worker(precision) * jnp.where(possible, payoff, 0), -jnp.inf)
    return jax.nn.softmax(logits, axis=-1)


def choice_payoffs(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    rebate: ArrayLike = 0.0,
    reference_consumption: ArrayLike | None = None,
) -> Array:
    """Utility of each of the eleven HOURS in units of the worker's full-time income, u~(h)/(40*s*U'(x_ref)).

    Arguments as `quantal_response`. Returns (..., n, 11), up to a constant per worker (which no choice depends on):
    measured from U(x_ref) when curvature > 0. -inf above max_hours and where consumption would not be positive.
    """
    skill = floating(skill)[..., None]
    hours = jnp.broadcast_to(jnp.asarray(HOURS, skill.dtype), (*skill.shape[:-1], len(HOURS)))
    income = skill * hours
    consumption = income - tax_due(schedule, income) + rebate
    if reference_consumption is None:
        full_time = REFERENCE_HOURS * skill[..., 0]
        federal = TaxSchedule(US_FEDERAL_THRESHOLDS, US_FEDERAL_RATES).astype(skill.dtype)  # type: ignore[arg-type]
        reference_consumption = full_time - tax_due(federal, full_time)
    cost = _per_worker(preferences.disutility_weight) * power(hours, _per_worker(preferences.disutility_exponent))
    payoff = _in_full_time_income(consumption, cost, skill, _per_worker(reference_consumption), preferences.consumption_curvature)
    return jnp.where(hours <= _per_worker(preferences.max_hours), payoff, -jnp.inf)


def realised_payoff(
    skill: ArrayLike, preferences: Preferences, consumption: ArrayLike, hours: ArrayLike, reference_consumption: ArrayLike
) -> Array:
    """`choice_payoffs` of the one choice made: all (n,), in full-time incomes, up to the same constant per worker."""
    cost = disutility(preferences, hours)
    eta = preferences.consumption_curvature
    return _in_full_time_income(jnp.asarray(consumption), cost, jnp.asarray(skill), jnp.asarray(reference_consumption), eta)


def _in_full_time_income(consumption: Array, cost: Array, skill: Array, x_ref: Array, eta: float) -> Array:
    """(U(x) - U(x_ref) - cost) / (40*s*U'(x_ref)), written so that float32 resolves it; U(x_ref) left out at eta = 0."""
    if eta == 0:
        return (consumption - cost) / (REFERENCE_HOURS * skill)
    positive = consumption > 0
    relative = curved_utility(jnp.log(jnp.where(positive, consumption, 1) / x_ref), eta)
    return jnp.where(positive, (x_ref * relative - cost * x_ref**eta) / (REFERENCE_HOURS * skill), -jnp.inf)


def _per_worker(x: ArrayLike) -> Array:
    """(..., n) beside an axis of choices: (..., n, 1); scalars stay."""
    x = jnp.asarray(x)
    return x[..., None] if x.ndim else x
