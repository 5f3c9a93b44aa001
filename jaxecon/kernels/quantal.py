"""Choices of hours: their payoffs, the best of them, and their quantal probabilities."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating
from jaxecon.kernels.labor import HOURS
from jaxecon.kernels.preferences import REFERENCE_HOURS, Preferences, curved_utility, disutility
from jaxecon.kernels.taxation import TaxSchedule, tax_due


@jax.jit
def quantal_response(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    precision: ArrayLike,
    rebate: ArrayLike = 0.0,
    reference_consumption: ArrayLike | None = None,
    choices: ArrayLike = HOURS,
) -> Array:
    """Logit choice of hours: P(h) proportional to exp(precision * u~(h) / (40 * s * U'(x_ref))).

    The response of McKelvey and Palfrey's (1995) logit equilibrium. Hours above max_hours have
    probability 0.

    Args:
        schedule: the tax.
        skill: (..., n) $/year per weekly hour.
        preferences: scalar fields, or fields that broadcast against skill.
        precision: no unit, >= 0; 0 is uniform over the hours allowed.
        rebate: $/year.
        reference_consumption: x_ref, (..., n) $/year; matters only with curvature > 0. By default
            the income of 40 hours after US federal tax.
        choices: (c,) h/week, rising, the first of them allowed.

    Returns:
        Probabilities, (..., n, c).
    """
    payoff = choice_payoffs(schedule, skill, preferences, rebate, reference_consumption, choices)
    possible = payoff > -jnp.inf  # 0 * -inf would be NaN
    # where no choice leaves any consumption, take the longest hours, which come nearest to it
    hours = jnp.broadcast_to(jnp.asarray(choices, payoff.dtype), payoff.shape)
    allowed = hours <= _per_worker(preferences.max_hours)
    stranded = (
        ~jnp.any(possible, axis=-1, keepdims=True)
        & (jnp.cumsum(allowed[..., ::-1], -1)[..., ::-1] == 1)
        & allowed
    )
    possible, payoff = possible | stranded, jnp.where(stranded, 0, payoff)
    logits = jnp.where(possible, _per_worker(precision) * jnp.where(possible, payoff, 0), -jnp.inf)
    return jax.nn.softmax(logits, axis=-1)


def choice_payoffs(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    rebate: ArrayLike = 0.0,
    reference_consumption: ArrayLike | None = None,
    choices: ArrayLike = HOURS,
) -> Array:
    """Utility of each choice in units of the worker's full-time income, u~(h)/(40*s*U'(x_ref)).

    Arguments are those of `quantal_response`. Returns (..., n, c), up to a constant per worker, on
    which no choice depends: with curvature > 0, U(x_ref) is subtracted. Payoffs are -inf above
    max_hours and, with curvature > 0, where consumption would not be positive.
    """
    skill = floating(skill)[..., None]
    hours = jnp.asarray(choices, skill.dtype)
    hours = jnp.broadcast_to(hours, (*skill.shape[:-1], hours.shape[0]))
    reference_consumption = _reference(skill[..., 0], reference_consumption)
    weight, exponent = (
        _per_worker(preferences.disutility_weight),
        _per_worker(preferences.disutility_exponent),
    )
    cap, eta = _per_worker(preferences.max_hours), preferences.consumption_curvature
    per_worker = Preferences(weight, exponent, eta, cap)
    return _payoffs_at(
        schedule, skill, per_worker, hours, rebate, _per_worker(reference_consumption)
    )


def _reference(skill: Array, consumption: ArrayLike | None) -> Array:
    """The reference consumption; where it is None, `_federal_consumption`."""
    return _federal_consumption(skill) if consumption is None else jnp.asarray(consumption)


def _federal_consumption(skill: Array) -> Array:
    """The income of 40 hours after US federal tax, without a rebate, $/year."""
    full_time = REFERENCE_HOURS * skill
    federal = TaxSchedule.us_federal().astype(skill.dtype)
    return full_time - tax_due(federal, full_time)


def _payoffs_at(
    schedule: TaxSchedule,
    skill: Array,
    preferences: Preferences,
    hours: Array,
    rebate: ArrayLike,
    x_ref: Array,
) -> Array:
    """`choice_payoffs` of any hours; all shapes broadcast."""
    income = skill * hours
    consumption = income - tax_due(schedule, income) + rebate
    cost = disutility(preferences, hours)
    payoff = _in_full_time_income(
        consumption, cost, skill, x_ref, preferences.consumption_curvature
    )
    return jnp.where(hours <= preferences.max_hours, payoff, -jnp.inf)


_Choice = tuple[Array, Array]  # a choice's number and its payoff


def best_of_choices(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    rebate: ArrayLike = 0.0,
    reference_consumption: ArrayLike | None = None,
    choices: ArrayLike = HOURS,
    between: tuple[Array, Array] | None = None,
) -> Array:
    """Return the number of each worker's best choice, (n,) int32, counted from 0.

    Ties go to fewer hours. Where no choice leaves any consumption, it is the longest one allowed.

    Args:
        schedule: the tax.
        skill: (n,) $/year per weekly hour.
        preferences: scalar or (n,) fields.
        rebate: scalar $/year; matters only with curvature > 0.
        reference_consumption: as in `quantal_response`.
        choices: (c,) h/week, rising, the first of them allowed.
        between: the first and the last number, (n,) each, of the choices to compare; all of those
            allowed by default.
    """
    skill = floating(skill)
    x_ref = _reference(skill, reference_consumption)
    choices = jnp.asarray(choices, skill.dtype)

    def better(best: _Choice, number: Array, hours: Array) -> _Choice:
        value = _payoffs_at(schedule, skill, preferences, hours, rebate, x_ref)
        return jnp.where(value > best[1], number, best[0]), jnp.maximum(value, best[1])

    nothing = jnp.full_like(skill, -jnp.inf)
    if between is not None:
        first, last = between

        def compare(k: int, best: _Choice) -> _Choice:
            number = jnp.minimum(first + k, last)
            return better(best, number, choices[number])

        best, _ = jax.lax.fori_loop(0, jnp.max(last - first) + 1, compare, (last, nothing))
        return best

    def consider(best: _Choice, choice: _Choice) -> tuple[_Choice, None]:
        # hours are a scalar here, so that their power is computed once for everybody
        return better(best, *choice), None

    longest = jnp.broadcast_to(_longest_allowed(choices, preferences), skill.shape)
    numbers = jnp.arange(choices.shape[0], dtype=jnp.int32)
    (best, _), _ = jax.lax.scan(consider, (longest, nothing), (numbers, choices))
    return best


def _longest_allowed(choices: Array, preferences: Preferences) -> Array:
    """The number of the longest choice within max_hours, int32."""
    most = jnp.asarray(preferences.max_hours, choices.dtype)
    number = jnp.searchsorted(choices, most, side="right") - 1
    return jnp.maximum(number, 0).astype(jnp.int32)


def cumulated_response(
    schedule: TaxSchedule,
    skill: ArrayLike,
    preferences: Preferences,
    precision: ArrayLike,
    rebate: ArrayLike = 0.0,
    reference_consumption: ArrayLike | None = None,
    choices: ArrayLike = HOURS,
) -> Array:
    """Cumulative `quantal_response`, (c - 1, n): of choosing at most choice k, k = 0..c-2.

    They are exactly 1 from the highest choice that has positive probability on. skill: (n,);
    precision: scalar; choices: (c,). Choices are computed one after another, which needs no memory
    beyond the result.
    """
    skill = floating(skill)
    x_ref = _reference(skill, reference_consumption)
    choices = jnp.asarray(choices, skill.dtype)
    precision = jnp.asarray(precision, skill.dtype)

    def payoff(hours: Array) -> Array:
        return _payoffs_at(schedule, skill, preferences, hours, rebate, x_ref)

    def better(most: Array, hours: Array) -> tuple[Array, None]:
        return jnp.maximum(most, payoff(hours)), None

    most, _ = jax.lax.scan(better, jnp.full_like(skill, -jnp.inf), choices)
    stranded = most == -jnp.inf  # takes the longest hours, as above
    scale = precision * jnp.where(stranded, 0, most)
    longest = choices[_longest_allowed(choices, preferences)]

    def add(carry: tuple[Array, Array], hours: Array) -> tuple[tuple[Array, Array], Array]:
        total, highest = carry
        value = payoff(hours)
        possible = value > -jnp.inf
        chance = jnp.where(possible, jnp.exp(precision * jnp.where(possible, value, 0) - scale), 0)
        chance = jnp.where(stranded, (hours == longest).astype(skill.dtype), chance)
        total = total + chance
        return (total, jnp.where(chance > 0, hours, highest)), total

    (total, highest), cumulated = jax.lax.scan(
        add, (jnp.zeros_like(skill), jnp.zeros_like(skill)), choices[:-1]
    )
    (total, highest), _ = add((total, highest), choices[-1])
    # rounding must not give choices of probability 0 a tiny positive one
    return jnp.where(choices[:-1, None] < highest[None], cumulated / total[None], 1)


def realised_payoff(
    skill: ArrayLike,
    preferences: Preferences,
    consumption: ArrayLike,
    hours: ArrayLike,
    reference_consumption: ArrayLike,
) -> Array:
    """Return the payoff (`choice_payoffs`) of the one choice made, (n,) in full-time incomes.

    All arguments are (n,). The constant per worker is the same as there.
    """
    cost = disutility(preferences, hours)
    eta = preferences.consumption_curvature
    return _in_full_time_income(
        jnp.asarray(consumption), cost, jnp.asarray(skill), jnp.asarray(reference_consumption), eta
    )


def _in_full_time_income(
    consumption: Array, cost: Array, skill: Array, x_ref: Array, eta: float
) -> Array:
    """(U(x) - U(x_ref) - cost) / (40*s*U'(x_ref)), written so that float32 resolves it.

    U(x_ref) is left out at eta = 0.
    """
    if eta == 0:
        return (consumption - cost) / (REFERENCE_HOURS * skill)
    positive = consumption > 0
    relative = curved_utility(jnp.log(jnp.where(positive, consumption, 1) / x_ref), eta)
    return jnp.where(
        positive, (x_ref * relative - cost * x_ref**eta) / (REFERENCE_HOURS * skill), -jnp.inf
    )


def _per_worker(x: ArrayLike) -> Array:
    """Add an axis for choices: (..., n) becomes (..., n, 1); scalars stay scalars."""
    x = jnp.asarray(x)
    return x[..., None] if x.ndim else x
