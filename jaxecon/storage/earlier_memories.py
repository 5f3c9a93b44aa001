"""Conversion of what planners remember in checkpoints of format 1."""

from typing import Any

import numpy as np

from jaxecon.core.errors import UserError
from jaxecon.core.pytree import named_leaves
from jaxecon.planners.memory import PlannerMemory

_RECENT = ("years", "rates", "welfare", "count")
_EARLIER = ("best_years", "best_rates", "best_welfare", "lived", "mean", "squares")


def with_schedule_means(
    leaves: dict[str, Any], meta: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The leaves of a checkpoint of format 2, made of those of format 1.

    Planners remembered the best year of each schedule; now they remember the mean of its years,
    here that of the years that are still on record: the recent ones and the best of each schedule.

    Raises UserError where language-model workers remember something: their memory held utilities
    with the rebate in, which today's does not.
    """
    if any(name.startswith("workers.") for name in leaves):
        raise UserError(
            "its language-model workers remember what an earlier jaxecon told them, which this one "
            "does not use: the run can be read, but not go on"
        )
    for marker in [name for name in leaves if name.endswith("memory.best_years")]:
        prefix = marker.removesuffix("best_years")
        memory = _memory_of({name: leaves[prefix + name] for name in (*_RECENT, *_EARLIER)})
        for name in (*_RECENT, *_EARLIER):
            del leaves[prefix + name]
        leaves |= {prefix + name: leaf for name, leaf in memory.items()}
    return leaves, meta


def _memory_of(stored: dict[str, Any]) -> dict[str, Any]:
    """The leaves of a memory of the years that an earlier memory still holds."""
    count, rates = int(stored["count"]), np.asarray(stored["rates"])
    places, brackets = rates.shape
    known = {}
    for years, each, welfare, kept in (
        (stored["best_years"], stored["best_rates"], stored["best_welfare"], None),
        (stored["years"], rates, stored["welfare"], count),
    ):
        for entry in zip(*(np.asarray(x)[:kept] for x in (years, each, welfare)), strict=True):
            if int(entry[0]) >= 0:
                known[int(entry[0])] = entry
    memory = PlannerMemory.empty(brackets, places // 2, rates.dtype.type)
    for year in sorted(known):
        memory = memory.appended(*known[year])
    return {name: np.asarray(leaf) for name, leaf in named_leaves(memory).items()}
