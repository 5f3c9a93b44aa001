"""Social welfare functions, welfare weights, and inequality."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete, floating, pytree, static
from jaxecon.kernels.preferences import Preferences, consumption_utility, disutility
from jaxecon.kernels.roots import bisect
from jaxecon.kernels.taxation import pooled_mean, weighted_mean

WeightKind = Literal["inverse_income", "paper_fixed", "inverse_consumption", "utilitarian"]
WelfareKind = Literal[
    "inverse_income", "paper_fixed", "inverse_consumption", "utilitarian", "rawlsian", "atkinson"
]
DEFAULT_FLOOR = 10_000.0  # $/year
_NEARLY_ONE = 0.01  # an inequality aversion nearer to 1 loses digits in its plain formula


def welfare_weights(
    kind: WeightKind,
    reference: ArrayLike,
    weights: ArrayLike | None = None,
    floor: float = DEFAULT_FLOOR,
) -> Array:
    """Marginal social welfare weights g of mean 1 under the survey weights, to be kept fixed.

    Args:
        kind: what the weights are before they are scaled to mean 1.
            inverse_income: 1/max(reference, floor), reference the income at the US federal
            schedule. paper_fixed: the same with a floor of 1 $/year, whatever `floor` says.
            inverse_consumption: 1/max(reference, floor), reference the consumption there
            (log-utilitarian). utilitarian: 1.
        reference: (n,) $/year.
        weights: (n,) survey weights, equal by default.
        floor: $/year, > 0.

    Returns:
        g, (n,), no unit.

    Raises:
        ValueError: for another kind, a floor that is not positive, or a negative or NaN reference.
    """
    if kind not in get_args(WeightKind):
        raise ValueError(f"kind: {kind!r}; one of {', '.join(get_args(WeightKind))}")
    if not floor > 0:
        raise ValueError(f"floor: {floor}; must be greater than 0 ($/year)")
    seen = concrete(reference)
    if seen is not None and not np.all(seen >= 0):
        raise ValueError(
            f"reference: smallest value {np.min(seen)}; incomes must be at least 0 and not NaN"
        )
    reference = floating(reference)
    if kind == "utilitarian":
        return jnp.ones_like(reference)
    inverse = 1 / jnp.maximum(reference, 1.0 if kind == "paper_fixed" else floor)
    return inverse / weighted_mean(inverse, weights)


def check_mean_one(welfare_weights: ArrayLike, weights: ArrayLike | None) -> None:
    """Raise ValueError unless welfare weights (n,) are at least 0 and average to 1.

    weights: (n,) survey weights for the average, or None.
    """
    g, w = concrete(welfare_weights), None if weights is None else concrete(weights)
    if g is None or (weights is not None and w is None):
        return
    mean = float(np.average(g, weights=w)) if g.ndim else float(g)
    if not (np.all(g >= 0) and abs(mean - 1) < 1e-3):
        raise ValueError(
            f"welfare_weights: mean {mean:g}, smallest {np.min(g):g}; at least 0 with a weighted "
            "mean of 1"
        )


def social_welfare(
    utility: ArrayLike, welfare_weights: ArrayLike, weights: ArrayLike | None = None
) -> Array:
    """Social welfare: the weighted mean of g*u over the people.

    Args:
        utility: u, (n,).
        welfare_weights: g, (n,) of mean 1.
        weights: (n,) survey weights, equal by default.

    Returns:
        A scalar in the unit of utility.
    """
    return weighted_mean(jnp.asarray(utility) * welfare_weights, weights)


def paper_welfare(utility: ArrayLike, income: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """The paper's welfare, the sum of w*u/max(z, 1) at the income earned (arXiv 2507.15815, eq. 3).

    For comparison, never to optimise: it rewards driving z to zero.

    Args:
        utility: u, (n,).
        income: z, (n,) $/year.
        weights: w, (n,) survey weights, equal by default.

    Returns:
        The sum, a scalar without unit at curvature 0.
    """
    terms = jnp.asarray(utility) / jnp.maximum(income, 1)
    return jnp.sum(terms if weights is None else terms * weights)


def rawlsian_welfare(utility: ArrayLike) -> Array:
    """The utility of the worst-off, whatever their survey weight.

    Args:
        utility: any shape.

    Returns:
        A scalar in the unit of utility.
    """
    return jnp.min(utility)


def atkinson_welfare(
    utility: ArrayLike,
    epsilon: float = 1.0,
    weights: ArrayLike | None = None,
    floor: float = DEFAULT_FLOOR,
) -> Array:
    """The equally distributed equivalent of max(utility, floor) (Atkinson 1970).

    Args:
        utility: (n,) $/year.
        epsilon: inequality aversion, >= 0.
        weights: (n,) survey weights, equal by default.
        floor: > 0, the unit of utility, which keeps the power defined.

    Returns:
        A scalar in the unit of utility.
    """
    u = jnp.maximum(jnp.asarray(utility), floor)
    # powers of ratios that stay within (0, 1] do not overflow float32
    scale = jax.lax.stop_gradient(jnp.max(u) if epsilon <= 1 else jnp.min(u))
    ratio = u / scale
    if epsilon == 1:
        return scale * jnp.exp(weighted_mean(jnp.log(ratio), weights))
    if abs(1 - epsilon) < _NEARLY_ONE:  # the power of 1 - epsilon is 1 less what this keeps
        powers_less_one = jnp.expm1((1 - epsilon) * jnp.log(ratio))
        return scale * jnp.exp(jnp.log1p(weighted_mean(powers_less_one, weights)) / (1 - epsilon))
    return scale * weighted_mean(ratio ** (1 - epsilon), weights) ** (1 / (1 - epsilon))


@pytree
class SocialWelfare:
    """A social welfare function over people in several cohorts, to apply to their utilities.

    Args:
        weights: by cohort, (n,) welfare weights g, of mean 1 over everybody; ones for the kinds
            that have none.
        survey_weights: by cohort, (n,).
        kind: one of `WelfareKind`; the first four as in `welfare_weights`.
        epsilon: inequality aversion of atkinson, >= 0.
        floor: of utility under atkinson, > 0, $/year.

    Raises:
        ValueError: for another kind, a negative epsilon, a floor that is not positive.
    """

    weights: dict[str, Array]
    survey_weights: dict[str, Array]
    kind: WelfareKind = static(default="inverse_income")
    epsilon: float = static(default=1.0)
    floor: float = static(default=DEFAULT_FLOOR)

    def __post_init__(self) -> None:
        if self.kind not in get_args(WelfareKind):
            raise ValueError(f"kind: {self.kind!r}; one of {', '.join(get_args(WelfareKind))}")
        if not self.epsilon >= 0:
            raise ValueError(f"epsilon: {self.epsilon}; must be at least 0")
        if not self.floor > 0:
            raise ValueError(f"floor: {self.floor}; must be greater than 0")

    def __call__(self, utility: dict[str, Array]) -> Array:
        """Welfare of utilities by cohort, (n,) each; a scalar in the unit of utility."""
        if self.kind == "rawlsian":
            return jnp.min(jnp.stack([rawlsian_welfare(u) for u in utility.values()]))
        if self.kind == "atkinson":
            everyone = jnp.concatenate([utility[name] for name in self.survey_weights])
            return atkinson_welfare(
                everyone,
                self.epsilon,
                jnp.concatenate(list(self.survey_weights.values())),
                self.floor,
            )
        return pooled_mean(
            {name: u * self.weights[name] for name, u in utility.items()}, self.survey_weights
        )


_GAIN_BISECTIONS = 60


def gain_over(
    welfare_of: Callable[[Array], Array],
    preferences: Preferences,
    consumption: Array,
    hours: Array,
    reference_welfare: Array,
    welfare: Array,
) -> Array:
    """Return the gain of `welfare` over that of a reference economy, a scalar fraction.

    At curvature 0 it is the difference divided by the reference's absolute value (if the reference
    is positive, the ratio minus 1). Otherwise it is the consumption equivalent: the fraction by
    which everybody's consumption in the reference economy would have to rise, hours unchanged, to
    make its welfare equal to `welfare` (Lucas 1987). This is found by bisection between -99.9 % and
    +99,900 %, and is minus or plus infinity beyond: with a curvature above 1 utility has an upper
    limit, and no consumption may make up for hours that are shorter. It is NaN if welfare is.

    Args:
        welfare_of: function from utilities (n,) to welfare, a scalar.
        preferences: scalar or (n,) fields.
        consumption: (n,) $/year in the reference economy.
        hours: (n,) h/week in the reference economy.
        reference_welfare: scalar, of the reference economy.
        welfare: scalar, to be compared with it.
    """
    eta = preferences.consumption_curvature
    if eta == 0:
        return (welfare - reference_welfare) / jnp.abs(reference_welfare)
    cost = disutility(preferences, hours)

    def welfare_with(log_factor: Array) -> Array:
        return welfare_of(consumption_utility(jnp.exp(log_factor) * consumption, eta) - cost)

    limit = jnp.log(jnp.asarray(1000.0, welfare.dtype))
    low, high = bisect(lambda x: welfare_with(x) < welfare, -limit, limit, _GAIN_BISECTIONS)
    gain = jnp.expm1((low + high) / 2)
    gain = jnp.where(welfare < welfare_with(-limit), -jnp.inf, gain)
    gain = jnp.where(welfare > welfare_with(limit), jnp.inf, gain)
    return jnp.where(jnp.isnan(welfare), welfare, gain)


def effective_sample_size(welfare_weights: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """How many equally weighted people welfare depends on, (sum g)^2 / sum g^2 (Kish 1965).

    Args:
        welfare_weights: g, (n,).
        weights: (n,) survey weights, multiplied in; equal by default.

    Returns:
        A scalar between 1 and n.
    """
    g = jnp.asarray(welfare_weights) if weights is None else jnp.asarray(welfare_weights) * weights
    return jnp.sum(g) ** 2 / jnp.sum(g**2)


@jax.jit
def gini(x: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Gini coefficient: the mean absolute difference over twice the mean.

    Args:
        x: (n,) at least 0.
        weights: (n,) survey weights, equal by default.

    Returns:
        A scalar in [0, 1); 0 if all x are 0.
    """
    x = jnp.asarray(x)
    w = jnp.ones_like(x) if weights is None else jnp.asarray(weights)
    order = jnp.argsort(x)
    x, w = x[order], w[order]
    share = w / jnp.sum(w)
    # sum_ij w_i w_j |x_i - x_j| = 2 sum_i w_i x_i (W_i + W_{i-1} - 1), W the cumulated weight
    # shares
    cumulated = jnp.cumsum(share)
    mean = jnp.sum(share * x)
    difference = jnp.sum(share * x * (2 * cumulated - share - 1))
    return jnp.where(mean > 0, difference / jnp.where(mean > 0, mean, 1), 0)
