"""Confidence intervals of a mean by Student's t."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit


@dataclass(frozen=True)
class MeanInterval:
    """A mean, its standard error and the half-width of its confidence interval.

    Each is NaN if there are too few values to compute it.
    """

    mean: float
    standard_error: float
    half_width: float


def mean_interval(values: np.ndarray, level: float = 0.95) -> MeanInterval:
    """The mean of independent draws, with Student's interval at n - 1 degrees of freedom.

    values: (n,). One value gives only a mean; without values all is NaN. level: the confidence
    level.
    """
    n = len(values)
    mean = float(values.mean()) if n else float("nan")
    if n < 2:
        return MeanInterval(mean, float("nan"), float("nan"))
    error = float(values.std(ddof=1) / np.sqrt(n))
    return MeanInterval(mean, error, float(stdtrit(n - 1, (1 + level) / 2)) * error)
