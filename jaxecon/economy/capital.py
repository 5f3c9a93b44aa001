"""Capital: the wealth of those who save, what it yields, and the revenue from taxing the yield."""

from jax import Array

from jaxecon.core.pytree import pytree
from jaxecon.economy.state import Economy, EconomyState
from jaxecon.kernels.saving import Endowment, capital_revenue, desired_wealth, endowment, saved
from jaxecon.kernels.taxation import pooled_mean


@pytree
class Capital:
    """Everybody's wealth in a year.

    Attributes:
        wealth: by cohort, (n,) $.
        saved: by cohort, (n,) $/year.
        endowment: by cohort, what wealth adds to a year of work.
        revenue: of the tax on the return to wealth, $/year per person, scalar.
    """

    wealth: dict[str, Array]
    saved: dict[str, Array]
    endowment: dict[str, Endowment]
    revenue: Array


def capital_of_year(economy: Economy, state: EconomyState) -> Capital | None:
    """Return capital in the state's year, or None if nobody saves.

    economy: the economy with the skills of that year (`economy_in_year`).
    """
    return None if state.dynamics.wealth is None else _capital(economy, state.dynamics.wealth)


def capital_at_equilibrium(economy: Economy) -> Capital | None:
    """Return capital when everybody has the wealth they want, or None if nobody saves."""
    saving, untaxed = economy.dynamics.saving, economy.untaxed_wealth
    if saving is None or untaxed is None:
        return None
    return _capital(economy, {name: desired_wealth(saving, k0) for name, k0 in untaxed.items()})


def _capital(economy: Economy, wealth: dict[str, Array]) -> Capital:
    saving, untaxed = economy.dynamics.saving, economy.untaxed_wealth
    assert saving is not None
    assert untaxed is not None
    return Capital(
        wealth,
        {name: saved(saving, k, untaxed[name]) for name, k in wealth.items()},
        {name: endowment(saving, k, untaxed[name]) for name, k in wealth.items()},
        capital_revenue(saving, pooled_mean(wealth, economy.weights)),
    )
