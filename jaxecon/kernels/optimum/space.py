"""The space of schedules that is searched: its bounds, projections, and the search's effort."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.pytree import pytree
from jaxecon.kernels.taxation import TaxSchedule

# How the space of schedules is searched. Welfare of a finite population is a fine sawtooth, whose
# gradient vanishes nowhere. Therefore all but the grid end with a pattern search
# (`pattern_search.polish`) on the exact response, down to steps of 0.001, which stops where no
# neighbour at 0.01 is better.
#   grid        every combination of rates `grid_step` apart in the bounds, without a polish
#   gradient    Adam from many starts, through the response smoothed over brackets
#   population  differential evolution (Storn and Price 1997) on the exact response
#   auto        gradient, then population; nested grids where there is one bracket
Method = Literal["auto", "grid", "gradient", "population"]
SEARCHES = ("grid", "gradient", "population")

_GAP = 0.01  # between free thresholds' logarithms, at least


class Effort(NamedTuple):
    """How much work the searches do. Part of the compiled program."""

    starts: int = 8
    gradient_steps: int = 60
    population: int = 64
    generations: int = 200
    polished: int = 4  # how many of the best candidates


@dataclass(frozen=True)
class Space:
    """The space searched: points hold the rates, then the logarithms of free thresholds.

    Part of the compiled program.
    """

    brackets: int
    monotone: bool
    free_thresholds: bool

    @property
    def size(self) -> int:
        """The length of a point: k rates, and the k-1 free thresholds."""
        return 2 * self.brackets - 1 if self.free_thresholds else self.brackets

    @property
    def directions(self) -> np.ndarray:
        """Directions (m, size) of one coordinate, two, or a run of three or more adjacent ones.

        Two coordinates move together or in opposite directions. Each direction goes up and down.
        """
        unit = np.eye(self.size)
        moves = [*unit]
        for i, j in combinations(range(self.size), 2):
            moves += [unit[i] + unit[j], unit[i] - unit[j]]
        for i in range(self.size):
            moves += [unit[i:j].sum(0) for j in range(i + 3, self.size + 1)]
        return np.concatenate([moves, [-m for m in moves]])


@pytree
class Limits:
    """The bounds of a search.

    low, high: bounds of the rates, scalars. thresholds: (k,) $/year, of the problem.
    lowest_threshold, highest_threshold: bounds of free thresholds, scalars, $/year.
    """

    low: Array
    high: Array
    thresholds: Array
    lowest_threshold: Array
    highest_threshold: Array


def schedule_at(space: Space, limits: Limits, x: Array) -> TaxSchedule:
    """The schedule at a point (size,)."""
    k = space.brackets
    thresholds = limits.thresholds
    if space.free_thresholds:
        thresholds = jnp.concatenate([thresholds[:1], jnp.exp(x[k:])])
    return TaxSchedule(thresholds, x[:k])


def project(space: Space, limits: Limits, x: Array) -> Array:
    """Return the nearest point (size,) within bounds, and in order where that is required."""
    k = space.brackets
    rates = jnp.clip(isotonic(x[:k]) if space.monotone else x[:k], limits.low, limits.high)
    if not space.free_thresholds or k == 1:
        return rates
    gaps = _GAP * np.arange(k - 1, dtype=x.dtype)
    lowest, highest = jnp.log(limits.lowest_threshold), jnp.log(limits.highest_threshold) - gaps[-1]
    logs = jnp.clip(isotonic(x[k:] - gaps), lowest, highest) + gaps
    return jnp.concatenate([rates, logs])


def isotonic(x: Array) -> Array:
    """The nearest non-decreasing sequence.

    x_i = max over j <= i of the min over l >= i of mean(x_j..x_l) (Robertson, Wright and Dykstra
    1988, theorem 1.4.4).
    """
    k = x.shape[0]
    cumulated = jnp.concatenate([jnp.zeros_like(x[:1]), jnp.cumsum(x)])
    i = np.arange(k)
    means = (cumulated[None, 1:] - cumulated[:-1, None]) / np.maximum(
        i[None, :] - i[:, None] + 1, 1
    ).astype(x.dtype)
    means = jnp.where(i[:, None] <= i[None, :], means, jnp.inf)  # (first, last)
    least = jax.lax.cummin(means, axis=1, reverse=True)  # over last >= i
    return jnp.max(jnp.where(i[:, None] <= i[None, :], least, -jnp.inf), axis=0)


class SearchResult(NamedTuple):
    """The best point (size,), its value, and how many evaluations it took, scalars."""

    x: Array
    value: Array
    evaluations: Array


Judge = Callable[[Array, Array], Array]  # from welfare and rebate to the value maximised
