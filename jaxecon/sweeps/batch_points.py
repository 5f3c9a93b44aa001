"""Points of a chunk that are simulated together, in one compiled program."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from jaxecon.config.settings import Config
from jaxecon.economy.blueprint import Blueprint
from jaxecon.economy.build import skill_nodes, too_poor
from jaxecon.economy.precision import compute_context
from jaxecon.simulation import batch
from jaxecon.simulation.invariants import Budget, violations
from jaxecon.sweeps.chunk import error_line
from jaxecon.sweeps.points import Point, Points
from jaxecon.sweeps.rows import RowBuilder


@dataclass(frozen=True)
class PointGroup:
    """Neighbouring points that differ only in their seeds.

    Args:
        config: Their configuration, apart from the seeds.
        case: The same, as arrays.
        indices: Indices of the points.
        seeds: Seeds of people and of draws, for each point.
    """

    config: Config
    case: batch.Case
    indices: list[int]
    seeds: list[tuple[int, int]]


def simulate_points(
    these: Sequence[Point], points: Points, rows: RowBuilder, size: int
) -> tuple[pa.Table, dict[int, str]]:
    """Simulate points of one form together.

    Args:
        these: Points of one chunk.
        points: All points of the sweep.
        rows: The builder of rows.
        size: Runs in the compiled program; fewer points are filled up to this number.

    Returns:
        Rows of the years of all points that succeed, and the errors of the others, by index.
    """
    groups, errors = group_points(these, points)
    if not groups:
        return rows.no_years(), errors
    config = groups[-1].config
    indices = np.array([index for group in groups for index in group.indices])
    planners = np.array([group.config.planner_kind for group in groups for _ in group.indices])
    with compute_context(config):
        cases, outcomes = _simulate_groups(groups, size)
    outcomes = jax.tree.map(lambda x: x[: len(indices)], outcomes)
    problems = _problems(cases.economy, outcomes)
    errors |= {int(indices[place]): problem for place, problem in problems.items()}
    right = np.delete(np.arange(len(indices)), list(problems))
    years = rows.years_of_batch(
        groups[0].case,
        indices[right],
        planners[right],
        jax.tree.map(lambda x: x[right], outcomes),
    )
    return years, errors


def group_points(these: Sequence[Point], points: Points) -> tuple[list[PointGroup], dict[int, str]]:
    """Groups of the points that can be simulated, in order; and the others' errors, by index."""
    groups, errors = list[PointGroup](), dict[int, str]()
    last: Config | None = None
    for point in these:
        try:
            shared, seeds = points.shared(point)
            if shared is not last or not batch.only_drawn(shared):
                config = points.config(point)
                with compute_context(config):
                    groups.append(PointGroup(config, batch.case(config), [], []))
        except Exception as error:  # a user's rule may raise anything
            errors[point.index] = error_line(error)
            continue
        last = shared
        people, draws = seeds.get("seed", shared.seed), seeds.get("draw_seed", shared.draw_seed)
        groups[-1].indices.append(point.index)
        groups[-1].seeds.append((people, people if draws is None else draws))
    return groups, errors


def _simulate_groups(groups: Sequence[PointGroup], size: int) -> tuple[batch.Case, batch.Outcomes]:
    """Simulate groups on all devices of this machine; return the stacked cases and their outcomes.

    The last point is repeated until there are `size` cases, or a few more, so that the number of
    devices divides them. Every chunk of a form is thus the same compiled program.
    """
    devices = devices_here()
    counts = [len(group.indices) for group in groups]
    seeds = [pair for group in groups for pair in group.seeds]
    spare = -(-size // len(devices)) * len(devices) - len(seeds)
    counts[-1] += spare
    cases = batch.stacked([group.case for group in groups], counts, seeds + seeds[-1:] * spare)
    mesh = Mesh(np.array(devices), ("runs",)) if len(devices) > 1 else None
    outcomes = batch.simulate_batch(cases, skill_nodes(groups[-1].config), mesh)
    # A lack of memory is reported here: reading an array that was not allocated can block forever.
    return cases, jax.device_get(jax.block_until_ready(outcomes))


def _problems(economies: Blueprint, outcomes: batch.Outcomes) -> dict[int, str]:
    """What is wrong with each failed run, by its place. economies: of all runs, stacked."""
    finite = np.isfinite(outcomes.statistics.swf).all(axis=1)
    fed = (outcomes.poorest > 0) | (economies.curvature == 0)
    problems = _broken_invariants(economies, outcomes)
    for place in np.flatnonzero(~(finite & fed & outcomes.right_hours)).tolist():
        if not fed[place]:
            problems[place] = too_poor(
                float(economies.public_spending[place]), float(outcomes.poorest[place])
            )
        elif not outcomes.right_hours[place]:
            problems[place] = "a rule returned hours outside [0, max_hours]"
        elif place not in problems:
            problems[place] = "welfare is not finite"
    return problems


def _broken_invariants(economies: Blueprint, outcomes: batch.Outcomes) -> dict[int, str]:
    """The first invariant that each run broke in some year, by its place."""
    runs = len(outcomes.poorest)
    budget = Budget(
        np.asarray(economies.public_spending)[:runs, None],
        economies.rebate_floor,
        economies.curvature > 0,
    )
    problems: dict[int, str] = {}
    for violation in violations(vars(outcomes.statistics), budget, are_means=True):
        for place, year in np.argwhere(violation.where).tolist():
            problems.setdefault(place, f"year {year}: {violation.say((place, year))}")
    return problems


def devices_here() -> list[Any]:
    """Devices of this machine that runs are spread over: all of the default device's kind."""
    default = next(iter(jnp.zeros(()).devices()))
    return [
        device
        for device in jax.local_devices(backend=default.platform)
        if device.platform == default.platform
    ]
