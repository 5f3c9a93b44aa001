"""Skills from the generalised beta distribution of the second kind, fitted to US incomes."""

from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import betainc, betaln
from jax.typing import ArrayLike

from jaxecon.core.pytree import floating
from jaxecon.kernels.preferences import REFERENCE_HOURS


class GB2(NamedTuple):
    """Generalised beta distribution of the second kind (McDonald 1984).

    y = mu * BetaPrime(nu, tau)^(1/sigma).
    """

    mu: float  # $/year
    sigma: float
    nu: float
    tau: float


# Fitted to household incomes of the American Community Survey 2023 (arXiv 2507.15815, section 4 and
# its code).
ACS_2023 = GB2(
    mu=72402.78177917618, sigma=2.0721070746154746, nu=0.48651871959386955, tau=1.1410398548220329
)


# Values and slopes of `gb2_nodes`, (nodes,) each.
Nodes: TypeAlias = tuple[Array, Array] | tuple[np.ndarray, np.ndarray]

_NEWTON_STEPS = 10  # convergence is quadratic; the slowest start needs seven

_NODES = 4096  # of the interpolation from which populations are made

# The nodes' log(p/(1-p)) lie in [-_SPAN, _SPAN]: this covers all 32-bit draws, and the midpoints of
# up to 2^32 agents.
_SPAN = float(np.log(2.0**33))


@partial(jax.jit, static_argnames="distribution")
def gb2_quantile(p: ArrayLike, distribution: GB2 = ACS_2023) -> Array:
    """Quantiles of the generalised beta distribution of the second kind (GB2).

    Works under jit, vmap and grad (in p).

    Args:
        p: Probabilities in (0, 1), any shape.
        distribution: Its parameters; by default those of US household incomes in 2023.

    Returns:
        The p-quantiles of income, the shape of p, $/year.
    """
    p = floating(p)
    return _income(_log_odds(p, 1 - p, distribution), distribution)


def _income(log_odds: Array, distribution: GB2) -> Array:
    return distribution.mu * jnp.exp(log_odds / distribution.sigma)


def _log_odds(below: Array, above: Array, distribution: GB2) -> Array:
    """Return log(B/(1-B)) at the quantile B of Beta(nu, tau), from the smaller tail probability.

    In float32, 1 - below would lose the upper tail; `above` keeps it.
    """
    lower = below <= above
    a = jnp.where(lower, distribution.nu, distribution.tau).astype(below.dtype)
    b = jnp.where(lower, distribution.tau, distribution.nu).astype(below.dtype)
    log_odds = _beta_log_odds(jnp.where(lower, below, above), a, b)
    return jnp.where(lower, log_odds, -log_odds)


def _beta_log_odds(p: Array, a: Array, b: Array) -> Array:
    """Return v = log(B/(1-B)) at the p-quantile B of Beta(a, b), p <= 1/2.

    As a function of v, the distribution function F is log-concave and lies below its left asymptote
    log F = a*v - log(a*Beta(a,b)). Newton's method for log F(v) = log p, started at the asymptote's
    root, therefore rises monotonically to the quantile. Far to the left, where the incomplete beta
    function would underflow, the asymptote itself is used: there it is exact up to rounding.
    """
    log_p, log_beta = jnp.log(p), betaln(a, b)

    def log_density(v: Array) -> Array:
        return a * jax.nn.log_sigmoid(v) + b * jax.nn.log_sigmoid(-v) - log_beta

    asymptotic = (log_p + log_beta + jnp.log(a)) / a
    far = asymptotic < np.log(np.finfo(p.dtype).eps) - 1
    start = jnp.where(far, 0, asymptotic)
    target = jnp.where(far, jnp.log(jnp.asarray(0.5, p.dtype)), log_p)

    def newton(_: int, v: Array) -> Array:
        log_cdf = jnp.log(betainc(a, b, jax.nn.sigmoid(v)))
        return v + (target - log_cdf) * jnp.exp(log_cdf - log_density(v))

    root = jax.lax.stop_gradient(
        jax.lax.fori_loop(0, _NEWTON_STEPS, newton, jax.lax.stop_gradient(start))
    )
    root = jnp.where(far, jax.lax.stop_gradient(asymptotic), root)
    # dv/dp = 1/f(v), carried by a term whose value is zero
    return root + (p - jax.lax.stop_gradient(p)) * jnp.exp(-log_density(root))


@partial(jax.jit, static_argnames=("dtype", "distribution"))
def gb2_nodes(dtype: np.dtype | type, distribution: GB2 = ACS_2023) -> tuple[Array, Array]:
    """Return the nodes between which skills are interpolated: values and slopes, (nodes,) each.

    The values are the exact log odds at points evenly spaced in log(p/(1-p)); the slopes are their
    derivatives there.
    """
    logit = (2 * _SPAN / (_NODES - 1)) * jnp.arange(_NODES, dtype=dtype) - _SPAN
    below, above = jax.nn.sigmoid(logit), jax.nn.sigmoid(-logit)
    value = _log_odds(below, above, distribution)
    a, b = distribution.nu, distribution.tau
    log_density = (
        a * jax.nn.log_sigmoid(value)
        + b * jax.nn.log_sigmoid(-value)
        - betaln(jnp.asarray(a, dtype), b)
    )
    return value, jnp.exp(jnp.log(below) + jnp.log(above) - log_density)


@partial(jax.jit, static_argnames="distribution")
def _interpolated_skill(nodes: Nodes, below: Array, above: Array, distribution: GB2) -> Array:
    """Return skills at quantiles between `gb2_nodes`, by cubic Hermite interpolation.

    Each depends on its own quantile only.

    Computing the incomplete beta function for a million agents would take minutes, and a second of
    compilation for each shape. The interpolation's error is of the order of (spacing)^4/384, below
    1e-11.
    """
    value, slope = nodes
    spacing = 2 * _SPAN / (_NODES - 1)
    position = (jnp.log(below) - jnp.log(above) + _SPAN) / spacing
    left = jnp.clip(position.astype(jnp.int32), 0, _NODES - 2)
    t = position - left
    rise = value[left + 1] - value[left]
    bend = spacing * t * (1 - t) * ((1 - t) * slope[left] - t * slope[left + 1])
    return _income(value[left] + t**2 * (3 - 2 * t) * rise + bend, distribution) / REFERENCE_HOURS


def midpoints(n: int, dtype: jnp.dtype | type | None) -> tuple[Array, Array]:
    """Return the tail probabilities below and above each of the n quantile midpoints (i + 0.5)/n.

    (n,) each. Neither suffers from cancellation: agents are counted from both ends as integers,
    because float32 holds all integers only up to 2^24.
    """
    if n < 1:
        raise ValueError(f"n: {n}; at least 1 agent")
    i, dtype = jnp.arange(n, dtype=jnp.uint32), dtype or jnp.result_type(float)
    below, above = ((counted.astype(dtype) + 0.5) / n for counted in (i, n - 1 - i))
    return below, above


def gb2_skill(
    n: int,
    distribution: GB2 = ACS_2023,
    dtype: jnp.dtype | type | None = None,
    nodes: Nodes | None = None,
) -> Array:
    """Skills of a deterministic population: the n quantile midpoints of income, over 40 hours.

    Args:
        n: How many agents, at least 1.
        distribution: Of incomes; by default that of US household incomes in 2023.
        dtype: Of the result; by default JAX's float.
        nodes: `gb2_nodes` of the distribution, computed if not given. A caller under a trace passes
            them so that they are not compiled again.

    Returns:
        Skills, (n,) $/year per weekly hour, from the lowest to the highest.

    Raises:
        ValueError: n is less than 1.
    """
    below, above = midpoints(n, dtype)
    return _interpolated_skill(
        nodes or gb2_nodes(below.dtype, distribution), below, above, distribution
    )


def sample_gb2(
    key: Array,
    n: int,
    distribution: GB2 = ACS_2023,
    dtype: jnp.dtype | type | None = None,
    nodes: Nodes | None = None,
) -> Array:
    """Skills of n independent draws, by inversion: draw i depends on the key and i only.

    Args:
        key: A JAX key of random numbers.
        n: How many agents, at least 1.
        distribution: Of incomes; by default that of US household incomes in 2023.
        dtype: Of the result; by default JAX's float.
        nodes: As for `gb2_skill`.

    Returns:
        Skills, (n,) $/year per weekly hour.

    Raises:
        ValueError: n is less than 1.
    """
    if n < 1:
        raise ValueError(f"n: {n}; at least 1 agent")
    dtype = dtype or jnp.result_type(float)
    bits = jax.random.bits(key, (n,), jnp.uint32)
    below, above = ((b.astype(dtype) + 0.5) / 2.0**32 for b in (bits, ~bits))
    return _interpolated_skill(
        nodes or gb2_nodes(below.dtype, distribution), below, above, distribution
    )
