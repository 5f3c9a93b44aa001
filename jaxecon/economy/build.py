"""Construction of the economy that a configuration describes, once per run."""

import dataclasses
import math
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.config.settings import Config
from jaxecon.core.draws import draw, named_key, uniform
from jaxecon.core.errors import UserError
from jaxecon.economy.blueprint import Blueprint
from jaxecon.economy.devices import Layout, compiled
from jaxecon.economy.gb2 import Nodes, gb2_nodes, gb2_skill, sample_gb2
from jaxecon.economy.population import (
    UNIFORM_WAGE,
    WEEKS_PER_YEAR,
    base_preferences,
    federal_reference,
    uniform_skill,
    with_curvature,
)
from jaxecon.economy.precision import compute_context, dtype_of
from jaxecon.economy.state import Economy
from jaxecon.kernels.equilibrium import Outcome
from jaxecon.kernels.optimum.problem import LeaderProblem, with_endowment
from jaxecon.kernels.preferences import REFERENCE_HOURS, Preferences
from jaxecon.kernels.satisfaction import Judgement
from jaxecon.kernels.saving import Endowment, endowment, optimal_capital_tax, untaxed_wealth
from jaxecon.kernels.skills import Dynamics
from jaxecon.kernels.taxation import weighted_mean
from jaxecon.kernels.welfare import SocialWelfare, WelfareKind, welfare_weights
from jaxecon.workers.base import Cohort


def build_economy(config: Config, layout: Layout | None = None) -> Economy:
    """Build the economy that the settings describe, on the devices of a layout.

    Raises UserError for rules, microdata or public spending that do not work.
    """
    blueprint = Blueprint.from_config(config)
    economy, poorest = _assemble(layout, blueprint, skill_nodes(config))
    if config.preferences.consumption_curvature > 0 and not poorest > 0:
        raise UserError(too_poor(config.budget.public_spending, float(poorest)))
    exponent = config.preferences.disutility_exponent
    if config.preferences.consumption_curvature == 0 and exponent < 2:  # beyond, nothing overflows
        _check_response(exponent, economy)
    return economy


def _check_response(exponent: float, economy: Economy) -> None:
    """Raise UserError if nobody can compute the hours that workers want without a tax.

    They are (skill/(c*d))^(1/(d-1)), which overflows where d is near 1 (`labor._untaxed_hours`).
    """
    bits = np.finfo(economy.penalty.dtype).maxexp
    limit = bits * 2 / 3  # leaves room for products with wages
    largest = max(
        float(jnp.max(jnp.log2(c.skill / (c.preferences.disutility_weight * exponent))))
        for c in economy.cohorts.values()
    )
    if largest <= limit * (exponent - 1):
        return
    # calibrated weights fall with the exponent, by this much in bits
    least = 1 + largest / (limit - math.log2(REFERENCE_HOURS))
    raise UserError(
        f"preferences.disutility_exponent: {exponent:g}; at least {math.ceil(1e4 * least) / 1e4:g} "
        f"for these workers in {economy.penalty.dtype.name}: nearer to 1, their hours overflow"
    )


def too_poor(public_spending: float, poorest: float) -> str:
    """Return the error message for a reference consumption ($/year) that is not positive."""
    return (
        f"budget.public_spending: {public_spending:g}; leaves the poorest {poorest:,.0f} $/year "
        "to consume under the US federal schedule, and preferences.consumption_curvature > 0 "
        "needs more than 0"
    )


def skill_nodes(config: Config) -> Nodes | None:
    """Return the nodes between which `assemble` interpolates skills; all economies share them.

    They are NumPy arrays, bound to no device. None if skills do not follow the generalised beta
    distribution.
    """
    if config.population.skills != "gb2":
        return None
    with compute_context(config):
        return _computed_nodes(dtype_of(config), config.device)


@lru_cache
def _computed_nodes(dtype: type, device: str) -> Nodes:
    """Compute `gb2_nodes` once in a process for each dtype and setting `device`.

    Both stand for the caller's `compute_context`: processors of different kinds may round
    differently.
    """
    del device  # part of the cache's key alone
    nodes: Nodes = jax.device_get(gb2_nodes(dtype))
    return nodes


def assemble(blueprint: Blueprint, nodes: Nodes | None) -> tuple[Economy, Array]:
    """Build the economy; return it and the smallest reference consumption, $/year.

    Works under jit and vmap.
    """
    sizes, eta = dict(blueprint.sizes), blueprint.curvature
    hours = dict(blueprint.choices)
    dtype = blueprint.penalty.dtype
    skills = blueprint.skills or {
        name: _skill(blueprint, nodes, name, size) for name, size in sizes.items()
    }
    weights = {name: jnp.full(size, blueprint.weights[name], dtype) for name, size in sizes.items()}
    skill, weight = jnp.concatenate(list(skills.values())), jnp.concatenate(list(weights.values()))
    d, most, spending = (
        blueprint.disutility_exponent,
        blueprint.max_hours,
        blueprint.public_spending,
    )
    base = base_preferences(blueprint.preference_set, skill, d, most)
    reference = federal_reference(skill, base, weight, spending, blueprint.rebate_floor)
    preferences = with_curvature(base, reference.consumption, eta) if eta > 0 else base
    at_reference = federal_reference(skill, preferences, weight, spending, blueprint.rebate_floor)
    dynamics, wealth, endowments = blueprint.dynamics, None, None
    if dynamics.saving is not None:
        untaxed = dataclasses.replace(dynamics.saving, tax=jnp.zeros_like(dynamics.saving.tax))
        wealth = untaxed_wealth(untaxed, skill, weight, weighted_mean(reference.income, weight))
        endowments = endowment(untaxed, wealth, wealth)
        reference = at_reference = with_endowment(at_reference, endowments)
    c = _split(jnp.broadcast_to(preferences.disutility_weight, skill.shape).astype(dtype), skills)
    x_ref = _split(reference.consumption, skills)
    social_welfare = _social_welfare(blueprint.welfare, reference, weight, skills, weights)
    g = _split(
        _marginal_weights(social_welfare, skill, preferences, weight, at_reference, endowments),
        skills,
    )
    if wealth is not None and blueprint.optimal_capital_tax:
        dynamics = _with_optimal_tax(dynamics, wealth, g, weight)
    economy = Economy(
        cohorts={
            n: Cohort(s, weights[n], Preferences(c[n], d, eta, most), x_ref[n], g[n], n, *hours[n])
            for n, s in skills.items()
        },
        parameters=blueprint.parameters,
        welfare=social_welfare,
        public_spending=spending,
        penalty=blueprint.penalty,
        reference=at_reference,
        reference_welfare=social_welfare(_split(at_reference.utility, skills)),
        seed=blueprint.draw_seed,
        judgement=None
        if blueprint.tolerance is None
        else Judgement(*blueprint.tolerance, blueprint.seed),
        dynamics=dynamics,
        untaxed_wealth=None if wealth is None else _split(wealth, skills),
        rules=blueprint.rules,
        rebate_floor=blueprint.rebate_floor,
        counts_satisfaction=blueprint.counts_satisfaction,
    )
    return jax.tree.map(jnp.asarray, (economy, jnp.min(reference.consumption)))


_assemble = compiled(assemble)


def _with_optimal_tax(
    dynamics: Dynamics, wealth: Array, g: dict[str, Array], weight: Array
) -> Dynamics:
    """Return the dynamics with the welfare-maximising tax on the return to wealth (n,)."""
    saving = dynamics.saving
    assert saving is not None
    tax = optimal_capital_tax(wealth, saving.elasticity, jnp.concatenate(list(g.values())), weight)
    return dataclasses.replace(dynamics, saving=dataclasses.replace(saving, tax=tax))


def _split(x: Array, like: dict[str, Array]) -> dict[str, Array]:
    """Split an array over everybody into one part per cohort, of the sizes in `like`."""
    ends = np.cumsum([part.shape[0] for part in like.values()])[:-1].tolist()
    return dict(zip(like, jnp.split(x, ends), strict=True))


def _social_welfare(
    function: tuple[WelfareKind, float, float],
    reference: Outcome,
    weight: Array,
    skills: dict[str, Array],
    weights: dict[str, Array],
) -> SocialWelfare:
    kind, epsilon, floor = function
    if kind == "rawlsian" or kind == "atkinson":
        g = jnp.ones_like(weight)
    else:
        seen = (
            jnp.maximum(reference.consumption, 0)
            if kind == "inverse_consumption"
            else reference.income
        )
        g = welfare_weights(kind, seen, weight, floor)
    return SocialWelfare(_split(g, skills), weights, kind, epsilon, floor)


def _marginal_weights(
    welfare: SocialWelfare,
    skill: Array,
    preferences: Preferences,
    weight: Array,
    reference: Outcome,
    endowments: Endowment | None,
) -> Array:
    """Return marginal welfare weights (n,), of mean 1, at the reference outcome.

    If utility is linear and welfare is its weighted sum, they are the fixed weights of that sum.
    """
    g = jnp.concatenate(list(welfare.weights.values()))
    if preferences.consumption_curvature == 0 and welfare.kind not in ("rawlsian", "atkinson"):
        return g
    judged = SocialWelfare({"": g}, {"": weight}, welfare.kind, welfare.epsilon, welfare.floor)
    problem = LeaderProblem.of(skill, preferences, judged, weight)
    return dataclasses.replace(problem, endowment=endowments).marginal_weights(reference)


def _skill(blueprint: Blueprint, nodes: Nodes | None, cohort: str, size: int) -> Array:
    dtype = blueprint.penalty.dtype
    skills, sampling = blueprint.skill_source
    random = sampling == "random"
    key = named_key(blueprint.seed, cohort, "skill")
    if skills == "gb2":
        return (
            sample_gb2(key, size, dtype=dtype, nodes=nodes)
            if random
            else gb2_skill(size, dtype=dtype, nodes=nodes)
        )
    if not random:
        return uniform_skill(size, dtype)
    low, high = UNIFORM_WAGE
    return WEEKS_PER_YEAR * (low + (high - low) * uniform(draw(key, 0, 0, size).first, dtype))
