"""What a planner remembers: recent years, the best distinct schedules, running statistics.

Pure JAX.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import pytree, stored_as

_SAME = 5e-7  # rates closer than this count as one schedule


@pytree
class PlannerMemory:
    """The rates and the welfare of past years. k brackets.

    The shapes are fixed, so that it works under jit and vmap and fits into checkpoints.

    When all m places for recent years are taken, the older half is dropped at once. In other years
    the oldest one stays, so that prompts which show the memory begin with the same text from year
    to year.

    Attributes:
        years, rates, welfare: (m,), (m, k), (m,), the recent years, oldest first.
        count: how many of the m places are filled.
        best_years, best_rates, best_welfare: (b,), (b, k), (b,), the best distinct schedules of all
            years, best first, each with the best welfare it had; -inf where there is none yet.
        finite_years, mean, squares: number of all years of finite welfare, its mean, and the sum of
            squared deviations from the mean (Welford 1962).
    """

    years: Array
    rates: Array
    welfare: Array
    count: Array
    best_years: Array
    best_rates: Array
    best_welfare: Array
    finite_years: Array = stored_as("lived")
    mean: Array
    squares: Array

    @classmethod
    def empty(
        cls, brackets: int, window: int, best: int, dtype: type = np.float32
    ) -> "PlannerMemory":
        """Return a memory of no years.

        window: the least number of recent years kept; up to twice as many are. There are at least
        two places, so that the effect of the last change is known. best: how many of the best
        schedules are kept, at least one.
        """
        recent, kept = max(2 * window, 2), max(best, 1)
        zero = jnp.zeros((), jnp.int32)
        nothing = jnp.zeros((), dtype)
        return cls(
            jnp.zeros(recent, jnp.int32),
            jnp.zeros((recent, brackets), dtype),
            jnp.zeros(recent, dtype),
            zero,
            jnp.full(kept, -1, jnp.int32),
            jnp.zeros((kept, brackets), dtype),
            jnp.full(kept, -jnp.inf, dtype),
            zero,
            nothing,
            nothing,
        )

    def appended(self, year: ArrayLike, rates: Array, welfare: ArrayLike) -> "PlannerMemory":
        """Return the memory with one more year; rates: (k,) fractions, welfare: utility units."""
        welfare = jnp.asarray(welfare, self.welfare.dtype)
        rates = jnp.asarray(rates, self.rates.dtype)
        year = jnp.asarray(year, jnp.int32)
        places = self.years.shape[0]
        full = self.count == places

        def moved(x: Array) -> Array:
            return jnp.where(full, jnp.roll(x, -(places // 2), axis=0), x)

        at = jnp.where(full, places - places // 2, self.count)
        recent = (
            moved(self.years).at[at].set(year),
            moved(self.rates).at[at].set(rates),
            moved(self.welfare).at[at].set(welfare),
        )
        counts = jnp.isfinite(welfare)
        finite_years = self.finite_years + counts.astype(self.finite_years.dtype)
        counted = jnp.where(counts, welfare, self.mean)
        mean = self.mean + (counted - self.mean) / jnp.maximum(finite_years, 1).astype(
            welfare.dtype
        )
        squares = self.squares + (counted - self.mean) * (counted - mean)
        return PlannerMemory(
            *recent, at + 1, *self._ranked(year, rates, welfare), finite_years, mean, squares
        )

    def _ranked(self, year: Array, rates: Array, welfare: Array) -> tuple[Array, Array, Array]:
        known = (self.best_years >= 0) & jnp.all(jnp.abs(self.best_rates - rates) < _SAME, axis=1)
        # that of the same schedule, or else that of the worst
        place = jnp.where(jnp.any(known), jnp.argmax(known), len(known) - 1)
        better = welfare > self.best_welfare[place]
        years = jnp.where(better, self.best_years.at[place].set(year), self.best_years)
        values = jnp.where(better, self.best_welfare.at[place].set(welfare), self.best_welfare)
        all_rates = jnp.where(better, self.best_rates.at[place].set(rates), self.best_rates)
        order = jnp.argsort(-values)
        return years[order], all_rates[order], values[order]

    @property
    def deviation(self) -> Array:
        """Standard deviation of the finite welfare of all years; 0 before the second."""
        spread = jnp.sqrt(
            self.squares / jnp.maximum(self.finite_years - 1, 1).astype(self.mean.dtype)
        )
        return jnp.where(self.finite_years > 1, spread, 0)
