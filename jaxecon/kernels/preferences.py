"""Preferences: isoelastic utility less the disutility of work, and the satisfaction penalty."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete, floating, pytree, shown, static
from jaxecon.kernels.taxation import TaxSchedule, marginal_rate

# LLM Economist (arXiv 2507.15815), eq. 1; elasticity of income 1/(d-1) = 0.4
DISUTILITY_EXPONENT = 3.5
REFERENCE_HOURS = 40.0  # h/week
# arXiv 2507.15815: in weekly dollars, although the paper subtracts it from annual income
PAPER_DISUTILITY_WEIGHT = 0.0005
ANNUALISED_DISUTILITY_WEIGHT = 52 * PAPER_DISUTILITY_WEIGHT  # the same in annual dollars


@pytree
class Preferences:
    """Isoelastic preferences u~ = U(x) - c * l^d over consumption x and hours l in [0, max_hours].

    Args:
        disutility_weight: c, scalar or (n,), > 0; $/year per (h/week)^d at curvature 0, else
            utility per (h/week)^d.
        disutility_exponent: d, scalar or (n,), > 1, no unit.
        consumption_curvature: eta >= 0, no unit. U(x) = x at 0, log x at 1,
            (x^(1-eta) - 1)/(1-eta) else up to 2, x^(1-eta)/(1-eta) above 2. Part of the compiled
            program (each value compiles again).
        max_hours: scalar or (n,), > 0, h/week.

    Raises:
        ValueError: for values out of range (traced values are not checked).
    """

    disutility_weight: Array
    disutility_exponent: Array = DISUTILITY_EXPONENT  # type: ignore[assignment]
    consumption_curvature: float = static(default=0.0)
    max_hours: Array = 100.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        for name, low in (
            ("disutility_weight", 0.0),
            ("disutility_exponent", 1.0),
            ("max_hours", 0.0),
        ):
            value = getattr(self, name)
            if isinstance(value, list | tuple | np.ndarray):
                object.__setattr__(self, name, floating(value))  # type: ignore[arg-type]
            seen = concrete(value)
            if seen is None:
                continue
            wrong = ~(np.isfinite(seen) & (seen > low))
            if np.any(wrong):
                raise ValueError(
                    f"{name}: {shown(seen, wrong)}; must be finite and greater than {low:g}"
                )
        eta = float(self.consumption_curvature)
        if not (np.isfinite(eta) and eta >= 0):
            raise ValueError(f"consumption_curvature: {eta}; must be finite and at least 0")
        object.__setattr__(self, "consumption_curvature", eta)

    @classmethod
    def calibrated(
        cls,
        skill: ArrayLike,
        disutility_exponent: ArrayLike = DISUTILITY_EXPONENT,
        max_hours: ArrayLike = 100.0,
    ) -> "Preferences":
        """Preferences with which everyone works 40 hours under the US federal schedule.

        c_i = s_i * (1 - T'_US(40 s_i)) / (d * 40^(d-1)) (constant elasticity form, Saez 2010,
        eq. 2).

        Args:
            skill: (n,) $/year per weekly hour.
            disutility_exponent: d, scalar or (n,), > 1.
            max_hours: scalar or (n,), > 0, h/week.

        Returns:
            Preferences at curvature 0 whose disutility_weight is (n,).
        """
        skill = floating(skill)
        schedule = TaxSchedule.us_federal().astype(skill.dtype)
        net_of_tax = 1 - marginal_rate(schedule, REFERENCE_HOURS * skill)
        weight = (
            skill
            * net_of_tax
            / (disutility_exponent * REFERENCE_HOURS ** (disutility_exponent - 1))
        )
        return cls(weight, disutility_exponent, 0.0, max_hours)  # type: ignore[arg-type]

    @classmethod
    def annualised(
        cls, disutility_exponent: ArrayLike = DISUTILITY_EXPONENT, max_hours: ArrayLike = 100.0
    ) -> "Preferences":
        """The paper's disutility in annual dollars: c = 52 * 0.0005, common to all.

        Args:
            disutility_exponent: d, scalar or (n,), > 1.
            max_hours: scalar or (n,), > 0, h/week.

        Returns:
            Preferences at curvature 0 whose disutility_weight is a scalar.
        """
        fields: tuple[Any, ...] = (
            ANNUALISED_DISUTILITY_WEIGHT,
            disutility_exponent,
            0.0,
            max_hours,
        )
        return cls(*fields)

    @classmethod
    def paper(
        cls, disutility_exponent: ArrayLike = DISUTILITY_EXPONENT, max_hours: ArrayLike = 100.0
    ) -> "Preferences":
        """The paper's disutility as published, c = 0.0005 (arXiv 2507.15815).

        It is in weekly dollars but subtracted from annual income, so 88 % of workers work
        max_hours.

        Args:
            disutility_exponent: d, scalar or (n,), > 1.
            max_hours: scalar or (n,), > 0, h/week.

        Returns:
            Preferences at curvature 0 whose disutility_weight is a scalar.
        """
        fields: tuple[Any, ...] = (PAPER_DISUTILITY_WEIGHT, disutility_exponent, 0.0, max_hours)
        return cls(*fields)


def consumption_utility(consumption: ArrayLike, curvature: float) -> Array:
    """U(x) of consumption in $/year at curvature eta, any shape.

    It is -inf where eta > 0 and consumption is not positive. At 1 < eta <= 2 and incomes in
    dollars, U is 1/(eta-1) minus something small: use float64 to compare utilities. Above 2 the
    constant 1/(eta-1), beside which all digits would be lost, is left out (`_has_constant`).
    """
    x = jnp.asarray(consumption)
    if curvature == 0:
        return x
    positive = x > 0
    log_x = jnp.log(jnp.where(positive, x, 1))  # keeps the branch not taken, and its slope, finite
    if _has_constant(curvature):
        utility = curved_utility(log_x, curvature)
    else:
        utility = jnp.exp((1 - curvature) * log_x) / (1 - curvature)
    return jnp.where(positive, utility, -jnp.inf)


def _has_constant(curvature: float) -> bool:
    """Whether U contains the constant -1/(1-eta), which makes log x its limit at eta = 1.

    Beside the constant, x^(1-eta) of 60,000 $/year keeps 11 of float64's 16 digits at eta = 2, 6 at
    3, and none from 4.3 on. Without it, all digits are kept at any eta; no choice, no comparison
    and no consumption equivalent depends on it.
    """
    return curvature <= 2


def curved_utility(log_x: Array, curvature: float) -> Array:
    """Return (x^(1-eta) - 1)/(1-eta) at eta > 0 from log x, of an x near 1, where it is 0.

    expm1 keeps the digits near eta = 1.
    """
    return log_x if curvature == 1 else jnp.expm1((1 - curvature) * log_x) / (1 - curvature)


def consumption_equivalent(utility: ArrayLike, curvature: float) -> Array:
    """Return the consumption x, $/year, with U(x) = utility; at curvature 0, utility itself.

    With 0 < curvature < 1 it is 0 where utility is below U(0); with curvature > 1 it is infinite
    where utility is at or above the limit of U.
    """
    u = jnp.asarray(utility)
    if curvature == 0:
        return u
    if curvature == 1:
        return jnp.exp(u)
    if _has_constant(curvature):
        excess = (1 - curvature) * u
        reachable = excess > -1
        log_power = jnp.log1p(jnp.where(reachable, excess, 0))
    else:
        reachable = u < 0
        log_power = jnp.log((1 - curvature) * jnp.where(reachable, u, -1))
    worth = jnp.exp(log_power / (1 - curvature))
    return jnp.where(reachable, worth, 0 if curvature < 1 else jnp.inf)


def marginal_utility(consumption: ArrayLike, curvature: float) -> Array:
    """U'(x) = x^-eta, any shape."""
    x = jnp.asarray(consumption)
    return jnp.ones_like(x) if curvature == 0 else x**-curvature


def disutility(preferences: Preferences, hours: ArrayLike) -> Array:
    """The disutility of hours, c * l^d; hours broadcast against the preferences."""
    return preferences.disutility_weight * power(
        jnp.asarray(hours), preferences.disutility_exponent
    )


def power(base: Array, exponent: ArrayLike) -> Array:
    """base^exponent for base >= 0, exponent > 0.

    XLA vectorises exp2 and log2 on a CPU but not pow, so this is three times faster. The relative
    error is 1e-6 in float32 (from rounding exponent*log2(base)) and 1e-14 in float64.
    """
    positive = base > 0
    return jnp.where(positive, jnp.exp2(exponent * jnp.log2(jnp.where(positive, base, 1))), 0)


def isoelastic_utility(preferences: Preferences, consumption: ArrayLike, hours: ArrayLike) -> Array:
    """Private utility u~ = U(x) - c * l^d.

    Args:
        preferences: scalar or (n,) fields.
        consumption: x, (..., n) $/year.
        hours: l, (..., n) h/week.

    Returns:
        u~, (..., n); $/year at curvature 0.
    """
    return consumption_utility(consumption, preferences.consumption_curvature) - disutility(
        preferences, hours
    )


def satisfaction_adjusted(
    utility: ArrayLike,
    satisfied: ArrayLike,
    penalty: ArrayLike = 0.5,
    consumption_curvature: float = 0.0,
) -> Array:
    """Utility less the satisfaction penalty: u~ - (1 - penalty)*|u~| for those not satisfied.

    For u~ >= 0 this is the paper's penalty*u~ (arXiv 2507.15815); below zero it lowers utility,
    where the paper's product would raise it. With curvature eta > 0 the penalty cuts the
    consumption x that utility is worth: u = u~ + U(penalty*x) - U(x), where U(x) = u~.

    Args:
        utility: u~, any shape.
        satisfied: bool, the same shape.
        penalty: fraction in [0, 1]; 1 leaves utility as it is.
        consumption_curvature: eta >= 0, of the preferences.

    Returns:
        u, the shape and unit of utility.
    """
    utility = jnp.asarray(utility)
    if consumption_curvature == 0:
        cut = (1 - penalty) * jnp.abs(utility)
    else:
        worth = consumption_equivalent(utility, consumption_curvature)
        usable = (worth > 0) & jnp.isfinite(worth)
        worth = jnp.where(usable, worth, 1)
        # U(0)
        nothing = -1 / (1 - consumption_curvature) if consumption_curvature < 1 else -jnp.inf
        left = jnp.where(
            penalty * worth > 0,
            consumption_utility(penalty * worth, consumption_curvature),
            nothing,
        )
        cut = jnp.where(usable, consumption_utility(worth, consumption_curvature) - left, 0)
    return jnp.where(satisfied, utility, utility - cut)
