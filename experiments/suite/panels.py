"""The same people under a series of reforms, and the elasticity estimated from their incomes."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.economy.blueprint import Blueprint
from jaxecon.economy.build import assemble, build_economy, skill_nodes
from jaxecon.economy.choices import equilibrium_among_choices
from jaxecon.economy.equilibrium import equilibrium_outcome, equilibrium_welfare, welfare_gain
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.economy.precision import compute_context, dtype_of
from jaxecon.economy.state import Economy, EconomyState
from jaxecon.economy.year import initial_state, mechanical_year
from jaxecon.kernels.optimum.elasticity import estimate_elasticity
from jaxecon.kernels.taxation import TaxSchedule

REFORM = 0.1  # largest distance of a bracket's rate from today's in any year


# as `simulated_panel`: blueprint, nodes, thresholds, rates, days; income, hours, survey weights
Panel = Callable[[Blueprint, Any, Any, Any, int], tuple[jax.Array, jax.Array, jax.Array]]


def elasticities(
    people: Sequence[tuple[dict[str, Any], Config]], panel_of: Panel | None = None
) -> Iterator[dict[str, Any]]:
    """Estimate the elasticity of income in each population by two-stage least squares.

    The incomes are those of a panel of years, each with a random reform of the schedule.

    people: settings that go into the rows, with configurations of mechanical workers; the first
    schedule is reformed, and `years` and `year.days` are the panel's. panel_of: returns the
    incomes; `simulated_panel` by default. Raises UserError where incomes do not identify the
    elasticity.
    """
    for settings, config in people:
        thresholds, rates = first_brackets(config)
        drawn = np.random.default_rng((config.seed, 0x5AE2)).uniform(
            -REFORM, REFORM, (config.years, len(rates))
        )
        reformed: np.ndarray = np.clip(rates + drawn, 0, 0.9).astype(dtype_of(config))
        with compute_context(config):
            panel = (panel_of or simulated_panel)(
                Blueprint.from_config(config),
                skill_nodes(config),
                thresholds,
                reformed,
                config.year.days,
            )
            income, hours, weight = (np.asarray(x, np.float64) for x in panel)
        try:
            estimated = estimate_elasticity(
                income,
                [TaxSchedule(jnp.asarray(thresholds), jnp.asarray(row)) for row in reformed],
                weight,
                usable=hours < 0.99 * config.preferences.max_hours,
            )
        except ValueError as error:
            raise UserError(
                f"the elasticity in {config.years} years of population {config.seed}: {error}"
            ) from error
        yield {**settings, **vars(estimated)}


@partial(jax.jit, static_argnames="days")
def simulated_panel(
    made_of: Blueprint, nodes: Any, thresholds: Any, rates: Any, days: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Income and hours (years, n), means of each year, and survey weights (n,).

    thresholds: (k,) of the schedule, $/year. rates: (years, k) in each year.
    """
    economy, _ = assemble(made_of, nodes)
    first = TaxSchedule(thresholds, rates[0])

    def year(
        state: EconomyState, rates: jax.Array
    ) -> tuple[EconomyState, tuple[jax.Array, jax.Array]]:
        schedule = TaxSchedule(thresholds, rates)
        state, _, agents, _ = mechanical_year(economy, state, schedule, days)
        income, hours = (
            jnp.concatenate([x[name] for name in economy.cohorts])
            for x in (agents.income, agents.hours)
        )
        return state, (income, hours)

    _, (income, hours) = jax.lax.scan(year, initial_state(economy, first), rates)
    return income, hours, economy.population.weight


@partial(jax.jit, static_argnames="days")
def best_choices_panel(
    made_of: Blueprint, nodes: Any, thresholds: Any, rates: Any, days: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """As `simulated_panel`, of the same people if they take the best of their choices every year.

    Base skills; days do not matter.
    """
    del days
    economy, _ = assemble(made_of, nodes)

    def year(rates: jax.Array) -> tuple[jax.Array, jax.Array]:
        schedule = TaxSchedule(thresholds, rates)
        exact = equilibrium_outcome(economy, schedule)
        chosen = equilibrium_among_choices(economy, schedule, exact)
        return chosen.income, chosen.hours

    income, hours = jax.lax.map(year, rates)
    return income, hours, economy.population.weight


def gains_in(config: Config, rates: np.ndarray) -> np.ndarray:
    """Gain over US federal, a fraction, of schedules in one economy at everybody's exact response.

    rates: (m, k).
    """
    thresholds, _ = first_brackets(config)
    with compute_context(config):
        economy = build_economy(config)

        @jax.jit
        def gains(economy: Economy, rates: jax.Array) -> jax.Array:
            def gain(one: jax.Array) -> jax.Array:
                return welfare_gain(
                    economy, equilibrium_welfare(economy, TaxSchedule(jnp.asarray(thresholds), one))
                )

            return jax.lax.map(gain, rates, batch_size=16)

        return np.asarray(gains(economy, jnp.asarray(rates, dtype_of(config))), np.float64)
