"""What language-model workers remember.

It is stored in arrays of fixed size by agent, from which prompts are written.

The planner's memory is jaxecon.planners.memory, which the mechanical in-context planner shares.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from llm.decisions.labor import Trend, WorkerDay
from llm.decisions.wording import Statistics

_DISTINCT = 1.0  # smallest difference of distinct hours, h/week


@dataclass(frozen=True)
class MemoryExcerpt:
    """One agent's memory as its prompt shows it; every part may be missing."""

    history: tuple[WorkerDay, ...] = ()
    best: tuple[WorkerDay, ...] = ()
    statistics: Statistics | None = None
    trend: Trend | None = None


class WorkerMemory:
    """The memory of one cohort: recent days, the best distinct hours, running statistics.

    The statistics are over days with a finite metric.

    agents: n. window: days of recent history. The history grows from a fixed first day to twice the
    window; then its older half is dropped at once. If it moved on by a day each day, it would begin
    differently each day and never be found in the prefix cache. best: how many distinct hours are
    kept (at least one), each with its best day in the last year in which it was worked; hours are
    distinct if they differ by an hour or more. worth: +1 where more of `metric` is better, -1 where
    less is. renewed: whether agents may be told to `forget`.
    """

    COLUMNS = ("hours", "income", "tax", "rebate", "metric")

    def __init__(
        self, agents: int, window: int, best: int = 0, worth: int = 1, renewed: bool = False
    ) -> None:
        self.window, self.worth, self._renewed = window, worth, renewed
        recent = max(2 * window, 2)  # at least two days, for the last change's effect
        self._when = np.zeros((recent, 2), np.int64)
        self._recent = {name: np.zeros((agents, recent)) for name in self.COLUMNS}
        self._count = 0
        kept = max(best, 1)
        self._best = {name: np.zeros((agents, kept)) for name in self.COLUMNS}
        self._best_when = np.full((agents, kept, 2), -1, np.int64)
        # the recent days again, as prompts show them
        self._days: list[list[WorkerDay]] = [[] for _ in range(agents)]
        self._total_days = 0
        # how many of the total days had passed when each agent's memory began
        self._since = np.zeros(agents, np.int64)
        self._counted = np.zeros(agents, np.int64)  # each agent's days with a finite metric
        self._mean_hours, self._mean, self._squares = (
            np.zeros(agents),
            np.zeros(agents),
            np.zeros(agents),
        )

    def append(self, year: int, day: int, **columns: np.ndarray) -> None:
        """Remember a day's outcome: (agents,) or a scalar for each of COLUMNS."""
        places = len(self._when)
        if self._count == places:
            kept = places // 2
            self._when[:kept] = self._when[places - kept :]
            for values in self._recent.values():
                values[:, :kept] = values[:, places - kept :]
            self._count = kept
            self._days = [days[-kept:] for days in self._days]
        self._when[self._count] = year, day
        for name in self.COLUMNS:
            self._recent[name][:, self._count] = columns[name]
        self._count += 1
        today = {name: self._recent[name][:, self._count - 1] for name in self.COLUMNS}
        for days, *outcome in zip(
            self._days, *(column.tolist() for column in today.values()), strict=True
        ):
            days.append(WorkerDay(year, day, *outcome))
        self._rank(year, day, today)
        self._total_days += 1
        counts = np.isfinite(today["metric"])
        self._counted += counts
        own = np.maximum(self._counted, 1)
        metric, hours = (
            np.where(counts, today[name], mean)
            for name, mean in (("metric", self._mean), ("hours", self._mean_hours))
        )
        before = metric - self._mean
        self._mean += before / own
        self._squares += before * (metric - self._mean)  # Welford (1962)
        self._mean_hours += (hours - self._mean_hours) / own

    def forget(self, who: np.ndarray) -> None:
        """Erase the memory of some agents. who: (agents,) bool."""
        self._since[who] = self._total_days
        running = self._counted, self._mean_hours, self._mean, self._squares
        for values in (*self._recent.values(), *self._best.values(), *running):
            values[who] = 0
        self._best_when[who] = -1
        self._days = [
            [] if gone else days for gone, days in zip(who.tolist(), self._days, strict=True)
        ]

    @property
    def _own_recent(self) -> np.ndarray:
        """How many of the recent days each agent remembers, (agents,)."""
        return np.minimum(self._count, self._total_days - self._since)

    def _rank(self, year: int, day: int, today: dict[str, np.ndarray]) -> None:
        taken = self._best_when[:, :, 0] >= 0
        known = taken & (np.abs(self._best["hours"] - today["hours"][:, None]) < _DISTINCT)
        value = np.where(taken, self.worth * self._best["metric"], -np.inf)
        # the place of the same hours or, without one, that of the worst
        place = np.where(known.any(1), known.argmax(1), value.shape[1] - 1)
        everyone = np.arange(len(place))
        # a new year has a new schedule: the outcome of hours under the old one gives way to the new
        # outcome of the same hours
        outdated = known.any(1) & (self._best_when[everyone, place, 0] < year)
        better = outdated | (self.worth * today["metric"] > value[everyone, place])
        rows, at = everyone[better], place[better]
        for name, column in self._best.items():
            column[rows, at] = today[name][rows]
        self._best_when[rows, at] = year, day
        value[rows, at] = self.worth * today["metric"][rows]
        order = np.argsort(-value, axis=1, kind="stable")
        self._best = {
            name: np.take_along_axis(column, order, 1) for name, column in self._best.items()
        }
        self._best_when = np.take_along_axis(self._best_when, order[:, :, None], 1)

    @property
    def state(self) -> dict[str, Any]:
        """Everything remembered, for a checkpoint: arrays and Python numbers.

        The next `append` changes the arrays.
        """
        return {
            "when": self._when,
            "recent": dict(self._recent),
            "count": self._count,
            "best": dict(self._best),
            "best_when": self._best_when,
            "lived": self._total_days,  # an older name, which digests depend on
            "counted": self._counted,
            "mean_hours": self._mean_hours,
            "mean": self._mean,
            "squares": self._squares,
            **({"since": self._since} if self._renewed else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier `state` of a memory of the same size."""
        self._when, self._best_when = np.array(state["when"]), np.array(state["best_when"])
        self._recent = {name: np.array(state["recent"][name]) for name in self.COLUMNS}
        self._best = {name: np.array(state["best"][name]) for name in self.COLUMNS}
        self._count, self._total_days = int(state["count"]), int(state["lived"])
        self._since = np.array(state["since"]) if self._renewed else np.zeros_like(self._since)
        recent = [self._recent[name][:, : self._count] for name in self.COLUMNS]
        everybodys = _days(self._when[None, : self._count], recent)
        self._days = [
            list(days[self._count - own :])
            for days, own in zip(everybodys, self._own_recent.tolist(), strict=True)
        ]
        self._counted = np.array(state["counted"])
        self._mean_hours, self._mean, self._squares = (
            np.array(state[name]) for name in ("mean_hours", "mean", "squares")
        )

    def recall(self, *, statistics: bool = True, trend: bool = True) -> list[MemoryExcerpt]:
        """What each agent remembers; nothing before the first day."""
        agents = len(self._mean)
        if self._total_days == 0:
            return [MemoryExcerpt()] * agents
        best = _days(self._best_when, [self._best[name] for name in self.COLUMNS])
        deviation = np.sqrt(self._squares / np.maximum(self._counted - 1, 1))
        about = zip(
            self._counted.tolist(),
            self._mean.tolist(),
            deviation.tolist(),
            self._mean_hours.tolist(),
            strict=True,
        )
        return [
            MemoryExcerpt(
                tuple(days) if self.window else (),
                tuple(d for d in tops if d.year >= 0),
                Statistics(own, mean, spread, hours) if statistics and own else None,
                change,
            )
            for days, tops, (own, mean, spread, hours), change in zip(
                self._days, best, about, self._trends() if trend else [None] * agents, strict=True
            )
        ]

    def _trends(self) -> list[Trend | None]:
        """Each agent's last change of hours among the recent days, and the change of the metric.

        Without such a change, those of the last day. None where the effect is unknown: after a
        single day, or where the metric was infinite before or after.
        """
        if self._count < 2:
            return [None] * len(self._mean)
        with np.errstate(invalid="ignore"):  # infinity minus infinity
            hours, metric = (
                np.diff(self._recent[name][:, : self._count]) for name in ("hours", "metric")
            )
        own, days = self._own_recent[:, None], np.arange(hours.shape[1])
        changed = (np.abs(hours) >= _DISTINCT) & (days >= self._count - own)
        last = np.max(np.where(changed, days, -1), axis=1)
        at = last[:, None]  # -1, without a change, selects the last day
        changes = zip(
            np.take_along_axis(hours, at, 1)[:, 0].tolist(),
            np.take_along_axis(metric, at, 1)[:, 0].tolist(),
            strict=True,
        )
        known = own[:, 0] > 1
        known &= np.isfinite(np.take_along_axis(metric, at, 1)[:, 0])
        return [
            Trend(*change) if mine else None
            for change, mine in zip(changes, known.tolist(), strict=True)
        ]


def _days(when: np.ndarray, columns: list[np.ndarray]) -> Iterator[tuple[WorkerDay, ...]]:
    """The days that each agent remembers.

    when: (n or 1, m, 2) years and days; columns: in the order of WorkerMemory.COLUMNS, (n, m).
    """
    times = np.broadcast_to(when, (*columns[0].shape, 2))
    for year, day, *values in zip(
        times[:, :, 0].tolist(),
        times[:, :, 1].tolist(),
        *(c.tolist() for c in columns),
        strict=True,
    ):
        yield tuple(map(WorkerDay._make, zip(year, day, *values, strict=True)))
