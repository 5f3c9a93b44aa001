"""Tax schedules, taxes, and the pool that returns them as an equal lump sum."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import concrete, pytree, shown

# Internal Revenue Service, Rev. Proc. 2023-34, section 3.01, unmarried individuals, tax year 2024;
# $/year of taxable income.
US_FEDERAL_THRESHOLDS = (0.0, 11_600.0, 47_150.0, 100_525.0, 191_950.0, 243_725.0, 609_350.0)
US_FEDERAL_RATES = (0.10, 0.12, 0.22, 0.24, 0.32, 0.35, 0.37)
# LLM Economist (arXiv 2507.15815), section 4: the coarser schedule.
THREE_BRACKET_THRESHOLDS = (0.0, 90_000.0, 159_100.0)


@pytree
class TaxSchedule:
    """A piecewise-linear income tax of k brackets.

    `rates[j]` applies to income between `thresholds[j]` and `thresholds[j+1]`. Kernels take one
    schedule; map over many with `jax.vmap`.

    Args:
        thresholds: (k,) $/year, the first 0, strictly increasing, finite.
        rates: (k,) fractions in [0, 1].

    Raises:
        ValueError: for other values (traced values are not checked: they cannot be seen).
    """

    thresholds: Array
    rates: Array

    def __post_init__(self) -> None:
        dtype = jnp.result_type(
            float, *(x for x in (self.thresholds, self.rates) if hasattr(x, "dtype"))
        )
        if not jnp.issubdtype(dtype, jnp.floating):
            dtype = jnp.result_type(float)
        seen = [
            None if x is None else x.astype(dtype)
            for x in (concrete(self.thresholds), concrete(self.rates))
        ]
        _check_schedule(*seen)  # in the precision stored: rounding must not merge thresholds
        for name in ("thresholds", "rates"):
            object.__setattr__(self, name, jnp.asarray(getattr(self, name), dtype))

    @classmethod
    def us_federal(cls) -> "TaxSchedule":
        """Return the US federal income tax 2024, single filer, no deduction: seven brackets."""
        return cls(US_FEDERAL_THRESHOLDS, US_FEDERAL_RATES)  # type: ignore[arg-type]

    @classmethod
    def three_bracket(cls, rates: Sequence[float] | ArrayLike) -> "TaxSchedule":
        """The paper's three brackets, from 0, 90,000 and 159,100 $/year (arXiv 2507.15815).

        Args:
            rates: (3,) fractions in [0, 1].

        Returns:
            The schedule with these rates.
        """
        return cls(THREE_BRACKET_THRESHOLDS, rates)  # type: ignore[arg-type]

    @classmethod
    def flat(cls, rate: float | ArrayLike) -> "TaxSchedule":
        """A flat tax: one rate on all income.

        Args:
            rate: a fraction in [0, 1].

        Returns:
            A schedule of one bracket.
        """
        return cls((0.0,), jnp.reshape(rate, (1,)))  # type: ignore[arg-type]

    @property
    def brackets(self) -> int:
        """How many brackets the schedule has, k."""
        return self.rates.shape[-1]

    def astype(self, dtype: jnp.dtype | type) -> "TaxSchedule":
        """The same schedule in another precision.

        Args:
            dtype: float32 or float64.

        Returns:
            The schedule, its arrays of this type.
        """
        return TaxSchedule(self.thresholds.astype(dtype), self.rates.astype(dtype))


def _check_schedule(thresholds: np.ndarray | None, rates: np.ndarray | None) -> None:
    if thresholds is not None and rates is not None and thresholds.shape[-1:] != rates.shape[-1:]:
        raise ValueError(
            f"rates: {rates.shape[-1:]} values for {thresholds.shape[-1:]} thresholds; one rate "
            "per bracket"
        )
    if thresholds is not None:
        if thresholds.ndim == 0 or thresholds.shape[-1] == 0:
            raise ValueError(f"thresholds: {thresholds}; at least one, beginning with 0")
        step = np.diff(thresholds, axis=-1, prepend=-1)
        wrong = ~(np.isfinite(thresholds) & (step > 0))
        wrong[..., 0] = thresholds[..., 0] != 0
        if np.any(wrong):
            raise ValueError(
                f"thresholds: {shown(thresholds, wrong)}; the first must be 0, then strictly "
                "increasing, finite ($/year)"
            )
    if rates is not None:
        wrong = ~((rates >= 0) & (rates <= 1))
        if np.any(wrong):
            raise ValueError(
                f"rates: {shown(rates, wrong)}; every rate must be a fraction in [0, 1]"
            )


def tax_due(schedule: TaxSchedule, income: ArrayLike) -> Array:
    """Tax on a year's income, T(z) = sum_k rate_k * min(max(z - threshold_k, 0), width_k).

    Args:
        schedule: the tax.
        income: any shape, $/year, at least 0.

    Returns:
        The tax, the shape of income, $/year.
    """
    income = jnp.asarray(income)
    thresholds, rates = schedule.thresholds, schedule.rates
    tax = jnp.zeros((), rates.dtype)
    for k in range(schedule.brackets):  # unrolled: XLA fuses it into one pass over income
        within = jnp.maximum(income - thresholds[k], 0)
        if k + 1 < schedule.brackets:
            within = jnp.minimum(within, thresholds[k + 1] - thresholds[k])
        tax = tax + rates[k] * within
    return tax


def marginal_rate(schedule: TaxSchedule, income: ArrayLike) -> Array:
    """The rate on the next dollar; at a threshold, the rate above it.

    Args:
        schedule: the tax.
        income: any shape, $/year.

    Returns:
        The rates, the shape of income, fractions.
    """
    bracket = jnp.searchsorted(schedule.thresholds, jnp.asarray(income), side="right") - 1
    return schedule.rates[jnp.maximum(bracket, 0)]


def weighted_mean(x: ArrayLike, weights: ArrayLike | None = None) -> Array:
    """Mean of x (n,) under survey weights (n,); equal weights when None."""
    x = jnp.asarray(x)
    if weights is None:
        return jnp.mean(x)
    weights = jnp.asarray(weights)
    return jnp.sum(x * weights) / jnp.sum(weights)


def pooled_mean(x: dict[str, Array], weights: dict[str, Array]) -> Array:
    """Mean of x over everybody, under survey weights; both are given by cohort, (n,) each."""
    total = sum(jnp.sum(weights[name] * values) for name, values in x.items())
    return jnp.asarray(total / sum(jnp.sum(weights[name]) for name in x))


def lump_sum_rebate(
    tax: ArrayLike,
    weights: ArrayLike | None = None,
    public_spending: ArrayLike = 0.0,
    rebate_floor: ArrayLike | None = None,
) -> Array:
    """Return the rebate that the pool pays to everyone out of taxes (n,), $/year.

    As `rebate_from`, with the mean of the taxes under survey weights (n,) as the revenue.
    """
    return rebate_from(weighted_mean(tax, weights), public_spending, rebate_floor)


def rebate_from(
    revenue: ArrayLike, public_spending: ArrayLike = 0.0, rebate_floor: ArrayLike | None = None
) -> Array:
    """Return the rebate that the pool pays to everyone; all scalars in $/year per person.

    It is revenue less public spending, and at least `rebate_floor` if there is one. Without a floor
    it is negative (a lump-sum tax) when revenue does not cover the spending.
    """
    rebate = jnp.asarray(revenue) - public_spending
    return rebate if rebate_floor is None else jnp.maximum(rebate, rebate_floor)


def fill_empty(rates: Array, empty: Array) -> Array:
    """Return rates (k,) in which each empty bracket has the rate of the nearest filled one below.

    If all brackets below are empty too, it has that of the nearest filled one above. empty: (k,)
    bool.
    """
    index = jnp.arange(rates.shape[0])
    below = jax.lax.cummax(jnp.where(empty, -1, index))
    return rates[jnp.where(below >= 0, below, jnp.argmin(empty))]
