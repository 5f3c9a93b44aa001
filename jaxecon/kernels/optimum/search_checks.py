"""Checks of the arguments of a search for the optimum."""

from typing import get_args

import numpy as np
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete
from jaxecon.kernels.optimum.space import Method
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.kernels.welfare import SocialWelfare, check_mean_one

MAX_GRID_POINTS = 50_000_000


def check_weights(
    skill: ArrayLike,
    welfare_weights: SocialWelfare | ArrayLike,
    weights: ArrayLike | None,
) -> None:
    """Raise ValueError unless the weights fit the skills (n,) and welfare weights average to 1."""
    if isinstance(welfare_weights, SocialWelfare):
        return
    for name, x in (("welfare_weights", welfare_weights), ("weights", weights)):
        if x is not None and np.shape(x) != np.shape(skill):
            raise ValueError(f"{name}: shape {np.shape(x)} for {np.shape(skill)} skills; one each")
    check_mean_one(welfare_weights, weights)


def grid_points(bounds: tuple[float, float], step: float) -> int:
    """How many rates a grid has along each axis."""
    return round((bounds[1] - bounds[0]) / step) + 1


def check_search(
    thresholds: ArrayLike,
    method: str = "auto",
    bounds: tuple[float, float] = (0.0, 1.0),
    free_thresholds: bool = False,
    grid_step: float = 0.1,
) -> None:
    """Raise ValueError, naming the argument, if `optimal_schedule` cannot search with these."""
    if method not in get_args(Method):
        raise ValueError(f"method: {method!r}; one of {', '.join(get_args(Method))}")
    low, high = bounds
    if not 0 <= low < high <= 1:
        raise ValueError(f"bounds: {bounds}; two fractions, the first smaller, in [0, 1]")
    if np.ndim(thresholds) != 1:
        raise ValueError(f"thresholds: {thresholds}; a list that begins with 0 ($/year)")
    start = concrete(thresholds)
    if start is not None:
        TaxSchedule(start, np.zeros_like(start, np.float64))  # type: ignore[arg-type]
    brackets = np.shape(thresholds)[0]
    if method == "grid":
        if free_thresholds:
            raise ValueError(
                "free_thresholds: True; the grid has rates alone (take method auto, gradient or "
                "population)"
            )
        if not 0 < grid_step <= high - low:
            raise ValueError(
                f"grid_step: {grid_step}; above 0 and at most {high - low:g}, the width of the "
                "bounds"
            )
        points = grid_points(bounds, grid_step) ** brackets
        if abs(low + (grid_points(bounds, grid_step) - 1) * grid_step - high) > 1e-9:
            raise ValueError(f"grid_step: {grid_step}; must divide the bounds {bounds} evenly")
        if points > MAX_GRID_POINTS:
            raise ValueError(
                f"grid_step: {grid_step}; {points:,} schedules, at most {MAX_GRID_POINTS:,} (or "
                "method auto)"
            )
