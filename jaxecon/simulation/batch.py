"""Many mechanical runs as one compiled program, mapped over economies."""

import dataclasses
import math
from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, PartitionSpec

from jaxecon.config.settings import Config
from jaxecon.core.compilation import WIDE_VECTORS
from jaxecon.core.draws import named_key
from jaxecon.core.errors import UserError
from jaxecon.core.pytree import pytree, static
from jaxecon.economy.blueprint import Blueprint, Leaf
from jaxecon.economy.build import assemble, build_economy
from jaxecon.economy.first_schedule import first_brackets
from jaxecon.economy.gb2 import Nodes
from jaxecon.economy.precision import dtype_of
from jaxecon.economy.satisfaction import judged_after
from jaxecon.economy.state import Day, EconomyState
from jaxecon.economy.summary import YearStatistics
from jaxecon.economy.year import initial_state, mechanical_year, start_year
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.announced import SCHEDULES, announced_planner
from jaxecon.planners.base import PlannerContext, YearObservation
from jaxecon.planners.elections.electorate import ElectedState
from jaxecon.planners.elections.own_optima import elements_in_memory
from jaxecon.planners.elections.voting import ElectionRules
from jaxecon.planners.in_context import Ingredients
from jaxecon.planners.registry import make_traced_planner


@pytree
class Case:
    """One run as small arrays, with static fields that are part of the compiled program.

    Cases of the same form can be stacked.

    thresholds, rates: (k,) of the first schedule. later: rates (k,) that are announced from the
    second year on; None where the planner learns or keeps the first. ingredients: those of a
    planner that learns. judged: days of a year after which everybody is asked whether they are
    satisfied. elections: how a leader is elected or, with `retention`, whether the planner stays;
    None where nobody votes.
    """

    economy: Blueprint
    thresholds: Leaf
    rates: Leaf
    later: Leaf | None
    ingredients: Ingredients | None
    years: int = static()
    days: int = static()
    judged: tuple[int, ...] = static()
    elections: ElectionRules | None = static()
    retention: bool = static()


@pytree
class Outcomes:
    """Results of a run, or of many runs along a first axis.

    statistics: one value a year, (years,). rates: of each year, (years, k). leaders: each year's
    leader, as an index into all workers, (years,); None where nobody is elected. poorest: smallest
    reference consumption, $/year. right_hours: whether all rules returned hours in [0, max_hours],
    every day.
    """

    statistics: YearStatistics
    rates: Array
    leaders: Array | None
    poorest: Array
    right_hours: Array


def case(config: Config) -> Case:
    """The case of a configuration without language models.

    Raises UserError where rules or microdata do not work, or the planner has no schedule for this
    economy.
    """
    drawn = draft(config)
    if config.planner_kind not in SCHEDULES:
        return drawn
    rates = np.asarray(announced_planner(config, build_economy(config)).schedule.rates)
    return (
        dataclasses.replace(drawn, rates=rates)
        if drawn.later is None
        else dataclasses.replace(drawn, later=rates)
    )


def draft(config: Config) -> Case:
    """The case with the first schedule in place of one that is expensive to compute.

    It has the form that `case` returns. Raises UserError.
    """
    if config.devices != 1:
        raise UserError(
            f"devices: {config.devices}; a sweep spreads whole runs over devices: leave it at 1"
        )
    (thresholds, rates), kind = first_brackets(config), config.planner_kind
    return Case(
        Blueprint.from_config(config),
        thresholds,
        rates,
        rates if kind in SCHEDULES and config.schedule.rates is not None else None,
        _arrays(Ingredients.from_config(config), dtype_of(config))
        if kind == "in_context"
        else None,
        years=config.years,
        days=config.year.days,
        judged=tuple(judged_after(config)),
        elections=ElectionRules.from_config(config) if config.holds_elections else None,
        retention=config.elections.retention,
    )


def _arrays(ingredients: Ingredients, dtype: type) -> Ingredients:
    """The ingredients with their values as arrays, which can be stacked."""
    kinds: dict[type, type] = {bool: np.bool_, int: np.int32, float: dtype}
    return jax.tree.map(lambda x: np.asarray(x, kinds[type(x)]), ingredients)


def only_drawn(config: Config) -> bool:
    """Whether cases that differ only in their seed have all other values in common."""
    return config.planner_kind not in SCHEDULES and config.population.skills != "file"


def stacked(cases: Sequence[Case], counts: Sequence[int], seeds: Sequence[tuple[int, int]]) -> Case:
    """Stack cases of one form along a first axis.

    counts: how often each case is repeated. seeds: of people and of draws, for each run.
    """
    stack = jax.tree.map(lambda *leaves: np.stack(leaves), *cases)
    if max(counts) > 1:
        stack = jax.tree.map(lambda x: np.repeat(x, counts, axis=0), stack)
    people, draws = np.asarray(seeds, np.uint32).T
    return dataclasses.replace(
        stack, economy=dataclasses.replace(stack.economy, seed=people, draw_seed=draws)
    )


def form(of: Case) -> Hashable:
    """What cases must have in common to share a compiled program: structure, shapes and types."""
    leaves, structure = jax.tree.flatten(of)
    return structure, tuple((leaf.shape, leaf.dtype.name) for leaf in leaves)


def bytes_of(of: Case, nodes: Nodes | None) -> int:
    """Bytes of memory that one case takes while it is simulated.

    Includes its economy, state, tables and sums, a year's days, elections, and its results.
    """

    def arrays_of(one: Case, nodes: Nodes | None) -> Any:
        economy, _ = assemble(one.economy, nodes)
        schedule = TaxSchedule(jnp.asarray(one.thresholds), jnp.asarray(one.rates))
        return economy, start_year(economy, initial_state(economy, schedule), schedule, one.days)

    form = jax.eval_shape(arrays_of, of, nodes)
    state_bytes = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(form))
    saves = form[0].dynamics.saving is not None
    statistics = sum(
        saves or field.default is not None for field in dataclasses.fields(YearStatistics)
    )
    numbers = len(dataclasses.fields(Day)) * of.days + (statistics + len(of.rates)) * of.years
    if of.elections is not None:
        people = sum(size for _, size in of.economy.sizes)
        numbers += elements_in_memory(min(of.elections.candidates, people), len(of.rates), people)
    return state_bytes + numbers * of.rates.dtype.itemsize


@partial(jax.jit, static_argnames="mesh", compiler_options=WIDE_VECTORS)
def simulate_batch(cases: Case, nodes: Nodes | None, mesh: Mesh | None = None) -> Outcomes:
    """Simulate cases stacked along a first axis, each from its first year to its last.

    nodes: `build.skill_nodes`, the same for all cases. mesh: devices along one axis, "runs", whose
    size divides the number of cases; each device simulates its part independently.
    """
    every = jax.vmap(_simulate_one, in_axes=(0, None))
    if mesh is not None:
        runs = PartitionSpec("runs")
        every = jax.shard_map(
            every, mesh=mesh, in_specs=(runs, PartitionSpec()), out_specs=runs, check_vma=False
        )
    return every(cases, nodes)


def _simulate_one(one: Case, nodes: Nodes | None) -> Outcomes:
    economy, poorest = assemble(one.economy, nodes)
    schedule = TaxSchedule(jnp.asarray(one.thresholds), jnp.asarray(one.rates))
    planner = make_traced_planner(
        economy,
        schedule,
        years=one.years,
        ingredients=one.ingredients,
        later_rates=one.later,
        elections=one.elections,
        retention=one.retention,
    )
    key = named_key(economy.seed, "planner")
    first = (
        planner.init(PlannerContext(schedule, one.years), key),
        initial_state(economy, schedule),
        schedule,
    )

    def year(carry: tuple[Any, EconomyState, TaxSchedule], number: Array) -> tuple[Any, Any]:
        memory, state, schedule = carry
        state, statistics, _, impossible = mechanical_year(
            economy, state, schedule, one.days, one.judged
        )
        right = jnp.all(impossible.agent < 0)
        unseen = jnp.zeros(schedule.brackets)  # by bracket; in_context does not use these
        means = statistics.mean_hours, statistics.mean_income, statistics.rebate
        traced: list[Any] = [number, one.years, schedule, statistics.swf_window, *means]
        seen = YearObservation(*traced, *[unseen] * 3)
        leader = memory.leader if isinstance(memory, ElectedState) else None
        announced, memory = planner.propose(memory, seen, jax.random.fold_in(key, number + 1))
        return (memory, state, announced), (statistics, schedule.rates, leader, right)

    _, (statistics, rates, leaders, right) = jax.lax.scan(
        year, first, jnp.arange(one.years, dtype=jnp.int32)
    )
    return Outcomes(statistics, rates, leaders, poorest, jnp.all(right))
