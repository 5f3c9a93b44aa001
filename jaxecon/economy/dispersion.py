"""How far apart the hours of a cohort lie, beside the exact responses of the same people."""

from collections.abc import Mapping

import jax
import numpy as np

from jaxecon.economy.devices import on_host
from jaxecon.economy.state import Economy
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.taxation import TaxSchedule

# of a cohort that are looked at, evenly spaced; always so many in one call, which is compiled once
MAX_AGENTS = 1024


class HoursSpread:
    """Of some cohorts of an economy, by name."""

    def __init__(self, economy: Economy, cohorts: list[str]) -> None:
        self._people = {}
        for name in cohorts:
            size = economy.cohorts[name].size
            rows = np.linspace(0, size - 1, min(size, MAX_AGENTS)).round().astype(np.int64)
            filled = np.resize(rows, MAX_AGENTS)
            given = jax.tree.map(on_host, economy.cohorts[name].preferences)
            preferences = jax.tree.map(lambda x, filled=filled: x[filled] if x.ndim else x, given)
            self._people[name] = rows, filled, preferences

    def of_year(
        self,
        schedule: TaxSchedule,
        rebate: float,
        skills: Mapping[str, np.ndarray],
        hours: Mapping[str, jax.Array],
    ) -> dict[str, float]:
        """Standard deviations, h/week.

        rebate: the year's mean, $/year. By cohort, (n,): skills, $/year per weekly hour; hours,
        means of the year.

        spread_NAME: of these hours. exact_spread_NAME: of the exact responses to the schedule and
        the rebate.
        """
        found = {}
        for name, (rows, filled, preferences) in self._people.items():
            skill = skills[name][filled]
            exact = best_response(schedule, skill, preferences, np.asarray(rebate, skill.dtype))
            found[f"spread_{name}"] = _deviation(on_host(hours[name])[rows])
            found[f"exact_spread_{name}"] = _deviation(np.asarray(exact)[: len(rows)])
        return found


def _deviation(hours: np.ndarray) -> float:
    return float(np.std(hours.astype(np.float64)))
