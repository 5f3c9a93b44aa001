"""Whether mechanical workers are satisfied with what they pay and get back."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.draws import draw, named_key, uniform
from jaxecon.core.pytree import pytree


@pytree
class Judgement:
    """How mechanical workers judge what they pay; scalars, shares of income.

    Tolerances are spread evenly from lowest to highest. width: the rise of the net tax share that
    multiplies the odds of dissatisfaction by e. seed: of the tolerances, uint32.
    """

    lowest: Array
    highest: Array
    width: Array
    seed: Array


def net_tax_share(income: ArrayLike, tax: ArrayLike, rebate: ArrayLike) -> Array:
    """Return (tax - rebate)/income, any shape; all in $/year.

    Incomes below a dollar count as one dollar.
    """
    return (jnp.asarray(tax) - rebate) / jnp.maximum(jnp.asarray(income), 1)


def satisfaction_probability(burden: ArrayLike, tolerance: ArrayLike, width: ArrayLike) -> Array:
    """The probability of being satisfied, 1/(1 + exp((burden - tolerance)/width)).

    Falls with the net tax share `burden`; one half at the tolerance. Shapes broadcast.
    """
    return jax.nn.sigmoid((jnp.asarray(tolerance) - burden) / width)


def tolerances(judgement: Judgement, cohort: str, size: int) -> Array:
    """Each agent's own tolerance, (size,), the same for the whole run."""
    dtype = judgement.lowest.dtype
    chance = uniform(draw(named_key(judgement.seed, cohort, "tolerance"), 0, 0, size).first, dtype)
    return judgement.lowest + (judgement.highest - judgement.lowest) * chance


def judged(
    judgement: Judgement,
    seed: Array,
    cohort: str,
    year: Array,
    day: Array,
    income: Array,
    tax: Array,
    rebate: Array,
) -> Array:
    """Return who is satisfied, (n,) bool, by a random draw for each agent.

    income, tax: (n,) and rebate: scalar, $/year, means over the days judged.
    """
    n, dtype = income.shape[0], judgement.lowest.dtype
    chance = uniform(draw(named_key(seed, cohort, "satisfaction"), year, day, n).first, dtype)
    tolerance = tolerances(judgement, cohort, n)
    return chance < satisfaction_probability(
        net_tax_share(income, tax, rebate), tolerance, judgement.width
    )
