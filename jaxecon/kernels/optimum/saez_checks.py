"""Checks of the incomes, weights and elasticities that Saez's formulas are given."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.kernels.welfare import check_mean_one

# A scalar, (k,) by bracket, or a function of income in $/year.
Elasticity = ArrayLike | Callable[[Array], Array]

SMALLEST_SAMPLE = 20  # different positive incomes, for a density


def require(name: str, value: object, holds: Callable[[np.ndarray], np.ndarray], must: str) -> None:
    """Raise ValueError unless all numbers satisfy a condition; traced values are not checked."""
    value = concrete(value)
    if value is not None and not np.all(holds(value)):
        raise ValueError(
            f"{name}: {value.tolist() if value.size <= 16 else value[~holds(value)][0]}; {must}"
        )


def check_people(income: ArrayLike, welfare_weights: ArrayLike, weights: ArrayLike | None) -> None:
    """Raise ValueError unless incomes (n,) are usable and the weights fit them.

    Welfare weights must have mean 1 under the survey weights.
    """
    for name, x in (("welfare_weights", welfare_weights), ("weights", weights)):
        if x is not None and np.shape(x) != np.shape(income):
            raise ValueError(
                f"{name}: shape {np.shape(x)} for {np.shape(income)} incomes; one each"
            )
    if weights is not None:
        require(
            "weights",
            weights,
            lambda w: (w >= 0) & (np.sum(w) > 0),
            "must be at least 0, and not all 0",
        )
    check_mean_one(welfare_weights, weights)
    require(
        "income",
        income,
        lambda z: np.isfinite(z) & (z >= 0) & np.any(z > 0),
        "must be finite and at least 0, and not all 0",
    )


def check_sample(
    income: ArrayLike,
    thresholds: ArrayLike,
    elasticity: Elasticity,
    welfare_weights: ArrayLike,
    weights: ArrayLike | None,
) -> None:
    """Raise ValueError unless `saez_schedule` can use these arguments."""
    if np.ndim(thresholds) != 1:
        raise ValueError(f"thresholds: {thresholds}; a list that begins with 0 ($/year)")
    k = np.shape(thresholds)[0]
    if callable(elasticity):
        earned = concrete(income)
        if earned is not None and earned.ndim == 1 and np.any(earned > 0):
            require(
                "elasticity",
                elasticity(jnp.asarray(earned[earned > 0])),
                lambda e: e > 0,
                "must be greater than 0 at every income",
            )
    else:
        require("elasticity", elasticity, lambda e: e > 0, "must be greater than 0")
        if np.shape(elasticity) not in ((), (k,)):
            raise ValueError(
                f"elasticity: {np.size(elasticity)} values for {k} brackets; one, one per "
                "bracket, or a function"
            )
    seen = concrete(thresholds)
    if seen is not None:
        TaxSchedule(seen, np.zeros(k))  # type: ignore[arg-type]  # raises what is wrong with them
    check_people(income, welfare_weights, weights)
    z = concrete(income)
    if z is not None:
        different = len(np.unique(z[z > 0]))
        if different < SMALLEST_SAMPLE:
            raise ValueError(
                f"income: {different} different positive values; a density needs at least "
                f"{SMALLEST_SAMPLE}"
            )
