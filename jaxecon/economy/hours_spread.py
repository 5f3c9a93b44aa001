"""The spread of hours within a cohort, compared with that of the same people's exact responses."""

from collections.abc import Mapping

import jax
import numpy as np

from jaxecon.economy.devices import on_host
from jaxecon.economy.state import Economy
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.taxation import TaxSchedule

# The number of a cohort's agents, evenly spaced, that are measured. Smaller cohorts are padded to
# this number, so that the response is compiled once.
MAX_AGENTS = 1024


class HoursSpread:
    """Measures the spread of hours within some cohorts of an economy."""

    def __init__(self, economy: Economy, cohorts: list[str]) -> None:
        self._people = {}
        for name in cohorts:
            size = economy.cohorts[name].size
            rows = np.linspace(0, size - 1, min(size, MAX_AGENTS)).round().astype(np.int64)
            filled = np.resize(rows, MAX_AGENTS)
            whole = jax.tree.map(on_host, economy.cohorts[name].preferences)
            preferences = jax.tree.map(lambda x, filled=filled: x[filled] if x.ndim else x, whole)
            self._people[name] = rows, filled, preferences

    def of_year(
        self,
        schedule: TaxSchedule,
        rebate: float,
        skills: Mapping[str, np.ndarray],
        hours: Mapping[str, jax.Array],
    ) -> dict[str, float]:
        """Return standard deviations of a year's hours within each cohort, h/week.

        rebate: the year's mean, $/year. skills ($/year per weekly hour) and hours (means of the
        year, h/week): (n,) by cohort.

        For each cohort NAME, spread_NAME is that of the given hours, and exact_spread_NAME that of
        the same agents' exact responses to the schedule and the rebate.
        """
        spreads = {}
        for name, (rows, filled, preferences) in self._people.items():
            skill = skills[name][filled]
            exact = best_response(schedule, skill, preferences, np.asarray(rebate, skill.dtype))
            spreads[f"spread_{name}"] = _deviation(on_host(hours[name])[rows])
            spreads[f"exact_spread_{name}"] = _deviation(np.asarray(exact)[: len(rows)])
        return spreads


def _deviation(hours: np.ndarray) -> float:
    return float(np.std(hours.astype(np.float64)))
