"""The schedule of a run's first year."""

import jax.numpy as jnp
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.economy.precision import dtype_of
from jaxecon.kernels.taxation import (
    THREE_BRACKET_THRESHOLDS,
    US_FEDERAL_RATES,
    US_FEDERAL_THRESHOLDS,
    TaxSchedule,
)

_THRESHOLDS = {
    "flat": (0.0,),
    "three": THREE_BRACKET_THRESHOLDS,
    "us_federal": US_FEDERAL_THRESHOLDS,
}

_START_RATE = 0.5  # the paper's planner starts from 50 % everywhere


def first_schedule(config: Config) -> TaxSchedule:
    """The schedule of the first year, in the precision of the economy."""
    thresholds, rates = first_brackets(config)
    return TaxSchedule(jnp.asarray(thresholds), jnp.asarray(rates))


def first_brackets(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return the thresholds ($/year) and rates of the first year, (k,) each.

    Raises UserError if two thresholds are equal in the precision of the economy.
    """
    brackets, rates = config.schedule.brackets, config.schedule.rates
    thresholds = _THRESHOLDS[brackets] if isinstance(brackets, str) else brackets
    if rates is None:
        rates = US_FEDERAL_RATES if brackets == "us_federal" else _START_RATE
    if not isinstance(rates, tuple):
        rates = (rates,) * len(thresholds)
    dtype = dtype_of(config)
    stored: np.ndarray = np.asarray(thresholds, dtype)
    if not np.all(np.diff(stored) > 0):
        raise UserError(
            f"schedule.brackets: {list(thresholds)}; as {np.dtype(dtype).name} two of them are "
            "the same"
        )
    return stored, np.asarray(rates, dtype)
