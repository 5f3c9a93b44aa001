"""What each choice of hours brings each worker: all that a worker can know about its own hours."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax import Array

from jaxecon.core.jax_settings import usual_settings
from jaxecon.kernels.preferences import Preferences, isoelastic_utility
from jaxecon.kernels.taxation import TaxSchedule, tax_due


class Worth(NamedTuple):
    """What each of c choices of hours brings each of n workers, (n, c).

    tax: $/year. utility: income - tax - effort at curvature 0, without the rebate, which does not
    depend on one's own hours; with curvature, utility at the rebate given, -inf where nothing is
    left to consume.
    """

    tax: np.ndarray
    utility: np.ndarray

    def of(self, agent: int) -> "OwnWorth":
        """The row of one worker."""
        return OwnWorth(*(values[agent].tolist() for values in self))


class OwnWorth(NamedTuple):
    """One worker's row of a Worth: (c,) each."""

    tax: list[float]
    utility: list[float]


def worth_of(
    choices: Sequence[float],
    schedule: TaxSchedule,
    skill: np.ndarray,
    preferences: Preferences,
    rebate: float,
) -> Worth:
    """What choices of hours bring.

    It is computed in double precision: utilities with curvature differ in late digits only.

    Args:
        choices: (c,) h/week.
        schedule: the tax.
        skill: (n,) $/year per weekly hour.
        preferences: scalar or (n,) fields.
        rebate: $/year; matters only with curvature > 0.

    Returns:
        Arrays of shape (n, c).
    """
    with usual_settings(), jax.enable_x64(True):
        exact = jax.tree.map(lambda x: np.asarray(x, np.float64), (schedule, preferences))
        hours, skill = (np.asarray(x, np.float64) for x in (choices, skill))
        return Worth(*map(np.asarray, _worth(*exact, hours, skill, np.float64(rebate))))


@jax.jit
def _worth(
    schedule: TaxSchedule, preferences: Preferences, hours: Array, skill: Array, rebate: Array
) -> tuple[Array, Array]:
    """The fields of a Worth, (n, c). hours: (c,)."""
    curvature = preferences.consumption_curvature

    def at(hours: Array) -> tuple[Array, Array]:
        income = skill * hours
        tax = tax_due(schedule, income)
        consumption = income - tax + (rebate if curvature > 0 else 0.0)
        return tax, isoelastic_utility(preferences, consumption, hours)

    return jax.vmap(at, out_axes=1)(hours)
