"""What language-model agents remember: fixed-size arrays, from which text is rendered."""

import numpy as np

from jaxecon._pytree import pytree
from llm.prompts import PlannerYear, WorkerDay


class WorkerMemory:
    """The last days of one cohort, (agents, 2*window) per column.

    A history that slid by a day each day would begin differently each day and never be found in the prefix cache. It
    grows from an anchor instead: at twice the window the older half is dropped at once.
    """

    COLUMNS = ("hours", "income", "tax", "rebate", "utility")

    def __init__(self, agents: int, window: int) -> None:
        self.window = window
        self._when = np.zeros((2 * window, 2), np.int64)
        self._columns = {name: np.zeros((agents, 2 * window)) for name in self.COLUMNS}
        self._count = 0

    def append(self, year: int, day: int, **columns: np.ndarray) -> None:
        """A day's outcome: (agents,) or a scalar for each of COLUMNS."""
        if self.window == 0:
            return
        if self._count == 2 * self.window:
            self._when[: self.window] = self._when[self.window :]
            for values in self._columns.values():
                values[:, : self.window] = values[:, self.window :]
            self._count = self.window
        self._when[self._count] = year, day
        for name in self.COLUMNS:
            self._columns[name][:, self._count] = columns[name]
        self._count += 1

    def history(self, agent: int) -> tuple[WorkerDay, ...]:
        """One agent's remembered days, oldest first."""
        return tuple(
            WorkerDay(int(year), int(day), *(float(self._columns[name][agent, i]) for name in self.COLUMNS))
            for i, (year, day) in enumerate(self._when[: self._count])
        )


@pytree
class PlannerMemory:
    """The last years of a planner and its best ever. k brackets.

    years: (2*window,) int; rates: (2*window, k); welfare: (2*window,); count: how many are filled.
    best_*: of all years, kept or not.
    """

    years: np.ndarray
    rates: np.ndarray
    welfare: np.ndarray
    count: int
    best_year: int
    best_rates: np.ndarray
    best_welfare: float

    @classmethod
    def empty(cls, brackets: int, window: int) -> "PlannerMemory":
        most = max(2 * window, 1)
        return cls(np.zeros(most, np.int64), np.zeros((most, brackets)), np.zeros(most), 0, -1, np.zeros(brackets), -np.inf)

    def append(self, year: int, rates: np.ndarray, welfare: float) -> "PlannerMemory":
        """With one more year; the older half is dropped when all places are taken."""
        years, all_rates, all_welfare, count = self.years.copy(), self.rates.copy(), self.welfare.copy(), self.count
        if count == len(years):
            kept = len(years) // 2
            for values in (years, all_rates, all_welfare):
                values[:kept] = values[count - kept : count]
            count = kept
        years[count], all_rates[count], all_welfare[count] = year, rates, welfare
        best = (year, rates, welfare) if welfare > self.best_welfare else (self.best_year, self.best_rates, self.best_welfare)
        return PlannerMemory(years, all_rates, all_welfare, count + 1, *best)

    def history(self) -> tuple[PlannerYear, ...]:
        """Remembered years, oldest first."""
        return tuple(
            PlannerYear(int(y), tuple(map(float, r)), float(w))
            for y, r, w in zip(self.years[: self.count], self.rates[: self.count], self.welfare[: self.count], strict=True)
        )

    @property
    def best(self) -> PlannerYear:
        return PlannerYear(int(self.best_year), tuple(map(float, self.best_rates)), float(self.best_welfare))
