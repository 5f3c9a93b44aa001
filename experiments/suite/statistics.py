"""Statistics of paired experiments.

The population is the unit: arms share populations, and what is tested is their differences.

Intervals are bias-corrected and accelerated bootstraps (Efron 1987). Tests flip the signs of the
differences at random: where two arms are exchangeable within a population (no effect), a difference
and its negative are equally likely, so the test has its level at any number of populations and
whatever the distribution, which is not so for Student's t (gains are skewed, and often equal in
both arms).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

RESAMPLES = 9_999
LEVEL = 0.95
SINGLE = 1e-6  # relative difference that single precision can tell apart


@dataclass(frozen=True)
class Estimate:
    """An estimate over n populations and the ends of its interval; NaN with one population."""

    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference(Estimate):
    """A mean of paired differences.

    effect: the mean in standard deviations of the differences (Cohen's d_z). p: two-sided, not
    corrected for the number of tests.
    """

    effect: float
    p: float


def estimate(
    values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """Mean and bootstrap interval. values: (n,), of at least one population."""
    return _bootstrapped(values, _mean, seed, resamples, level)


def deviation(
    values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Estimate:
    """Standard deviation over populations, and its bootstrap interval.

    values: (n,), of at least two populations.
    """
    return _bootstrapped(values, _deviation, seed, resamples, level)


def difference(
    values: np.ndarray,
    *,
    scale: float = 0.0,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Difference:
    """Mean, interval, effect size and test of paired differences (n,).

    Where all differences are 0, p is 1 and the effect size 0.

    scale: size of the compared values; differences up to a millionth of it are rounding and count
    as 0.
    """
    x = np.asarray(values, np.float64)
    x = np.where(np.abs(x) <= SINGLE * scale, 0.0, x)
    centre = estimate(x, seed=seed, resamples=resamples, level=level)
    spread = 0.0 if np.ptp(x) <= _rounding(x) else float(x.std(ddof=1))
    unmeasured = np.nan if centre.mean else 0.0
    size = centre.mean / spread if spread else unmeasured
    return Difference(**vars(centre), effect=size, p=sign_flip_p(x, seed=seed, resamples=resamples))


def sign_flip_p(values: np.ndarray, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """Two-sided p of the sign-flip permutation test that differences (n,) are symmetric about 0.

    It is exact if there are at most `resamples` sign patterns (2^n); else it comes from `resamples`
    random ones and is at least 1/(resamples + 1).
    """
    from scipy import stats

    x = np.asarray(values, np.float64)
    x = x[x != 0]  # zeros have no sign to flip
    if len(x) < 2:
        return 1.0
    test = stats.permutation_test(
        (x,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        alternative="two-sided",
        rng=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def _bootstrapped(
    values: np.ndarray, statistic: Any, seed: int, resamples: int, level: float
) -> Estimate:
    from scipy import stats

    x = np.asarray(values, np.float64)
    value = float(statistic(x))
    if np.ptp(x) <= _rounding(x):
        return Estimate(len(x), value, *((value, value) if len(x) > 1 else (np.nan, np.nan)))
    bootstrap = stats.bootstrap(
        (x,),
        statistic,
        n_resamples=resamples,
        confidence_level=level,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return Estimate(
        len(x),
        value,
        float(bootstrap.confidence_interval.low),
        float(bootstrap.confidence_interval.high),
    )


def _deviation(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.std(x, axis=axis, ddof=1))


def _mean(x: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.mean(x, axis=axis))


def _rounding(x: np.ndarray) -> float:
    """The size up to which differences are rounding errors."""
    return float(8 * np.finfo(np.float64).eps * np.max(np.abs(x)))


def holm(p: Sequence[float]) -> list[float]:
    """The p values adjusted for their number by Holm's method (Holm 1979).

    It keeps the probability of any false rejection (the family-wise error rate) at the level.
    """
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(
        1, np.maximum.accumulate(np.asarray(p, float)[order] * np.arange(len(p), 0, -1))
    )
    return [float(x) for x in adjusted]


def factorial_effects(
    cells: Mapping[tuple[bool, ...], np.ndarray], factors: Sequence[str]
) -> dict[tuple[str, ...], np.ndarray]:
    """Main effects and two-way interactions of a full 2^k factorial, (n,) each.

    They are computed within each population.

    cells: values (n,) by the factors' levels, populations in the same order in all. A main effect
    is the mean over cells with the factor minus the mean over cells without it; an interaction is
    half the difference between a factor's effect with and without the other (Box, Hunter and Hunter
    2005, section 5).

    Raises ValueError where a cell is missing.
    """
    k = len(factors)
    if len(cells) != 2**k or any(len(levels) != k for levels in cells):
        raise ValueError(f"cells: {len(cells)}; a full factorial of {k} factors has {2**k}")
    levels = np.array(list(cells))
    signs, values = (
        np.where(levels, 1.0, -1.0),
        np.array([np.asarray(cells[tuple(map(bool, row))]) for row in levels]),
    )
    contrasts = [(j,) for j in range(k)] + list(combinations(range(k), 2))
    return {
        tuple(factors[j] for j in members): np.prod(signs[:, members], axis=1)
        @ values
        / 2 ** (k - 1)
        for members in contrasts
    }
