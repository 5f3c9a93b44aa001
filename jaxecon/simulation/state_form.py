"""The form of a run's state at a position: structure, shapes and types, without values.

A checkpoint is read into such a form; the state of another configuration does not fit it.
"""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import jax
import numpy as np

from jaxecon.economy import year
from jaxecon.economy.devices import Layout, unplaced
from jaxecon.economy.state import Day, Economy
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.simulation.observation import observation_form
from jaxecon.simulation.state import RunState


def form_between_years(
    layout: Layout | None,
    economy: Economy,
    schedule: TaxSchedule,
    planner: Any,
    asks: Sequence[str] | None,
    memories: dict[str, Any],
) -> RunState:
    """The form on a year's first day.

    planner: a state of the planner. asks: cohorts of which it has yet to see the year before; None
    where it has seen that. memories: of the language-model workers.
    """
    state, shapes = jax.eval_shape(year.initial_state, economy, schedule), shapes_of(schedule)
    observation = None if asks is None else observation_form(economy, shapes, asks)
    return _described(layout, RunState(state, shapes, planner, observation, None, (), memories))


def form_within_year(
    layout: Layout | None,
    economy: Economy,
    schedule: TaxSchedule,
    planner: Any,
    memories: dict[str, Any],
    days_done: int,
    days_a_year: int,
) -> RunState:
    """The form after some days of a year; arguments as in `form_between_years`."""
    first = jax.eval_shape(year.initial_state, economy, schedule)
    shapes = shapes_of(schedule)
    state, _, sums = jax.eval_shape(year.start_year, economy, first, shapes, days_a_year)
    column = np.zeros(days_done, state.rebate.dtype)
    record = Day(*(column for _ in fields(Day)))  # type: ignore[arg-type]
    return _described(layout, RunState(state, shapes, planner, None, sums, (record,), memories))


def shapes_of(schedule: TaxSchedule) -> TaxSchedule:
    """The schedule with shapes in place of its arrays."""
    return jax.eval_shape(lambda: schedule)


def placed_state(layout: Layout | None, state: RunState) -> RunState:
    """The state, moved to this run's devices."""
    place = unplaced if layout is None else layout.placed
    economy, sums = place((state.economy, state.sums))
    schedule, planner, observation = unplaced((state.schedule, state.planner, state.observation))
    return RunState(economy, schedule, planner, observation, sums, state.record, state.workers)


def _described(layout: Layout | None, form: RunState) -> RunState:
    return form if layout is None else layout.described(form)
