"""What language-model workers remember.

It is stored in arrays of fixed size by agent, from which prompts are written.

The planner's memory is jaxecon.planners.memory, which the mechanical in-context planner shares.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from llm.decisions.labor import WorkerDay


class HoursRecord(NamedTuple):
    """How often an agent worked one choice of hours.

    days: of all days. welfare: mean of social welfare over this year's days with these hours, and
    this_year the number of those on which it was finite.
    """

    hours: int
    days: int
    welfare: float
    this_year: int


@dataclass(frozen=True)
class MemoryExcerpt:
    """What one agent remembers.

    days: the recent ones, oldest first. before_change: the last of them before hours were changed
    the last time, and after_change the one after it; None where hours did not change. worked: every
    choice that was ever worked, in order of hours.
    """

    days: tuple[WorkerDay, ...] = ()
    before_change: WorkerDay | None = None
    after_change: WorkerDay | None = None
    worked: tuple[HoursRecord, ...] = ()


class WorkerMemory:
    """The memory of one cohort: recent days, and how often each choice of hours was worked.

    What hours are worth is not stored: a worker knows its pay, the tax and its effort, so that it
    is computed anew at each year's schedule (`llm.agents.worth`).

    agents: n. window: days of recent history. The history grows from a fixed first day to twice the
    window; then its older half is dropped at once. If it moved on by a day each day, it would begin
    differently each day and never be found in the prefix cache. choices: (c,) the hours a week
    among which the agents choose; other hours count as the nearest of them. renewed: whether agents
    may be told to `forget`.
    """

    COLUMNS = ("hours", "income", "tax", "rebate", "effort", "welfare")

    def __init__(
        self, agents: int, window: int, choices: Sequence[int], renewed: bool = False
    ) -> None:
        self.window, self._renewed = window, renewed
        self._choices = np.asarray(choices, float)
        recent = max(2 * window, 2)  # at least two days, for the last change
        self._when = np.zeros((recent, 2), np.int64)
        self._recent = {name: np.zeros((agents, recent)) for name in self.COLUMNS}
        self._count = 0
        # the recent days again, as prompts show them
        self._days: list[list[WorkerDay]] = [[] for _ in range(agents)]
        self._total_days = 0
        # how many of the total days had passed when each agent's memory began
        self._since = np.zeros(agents, np.int64)
        by_choice = (agents, len(choices))
        self._worked = np.zeros(by_choice, np.int64)  # days, by choice
        self._year = -1
        self._welfare, self._welfare_days = np.zeros(by_choice), np.zeros(by_choice, np.int64)

    def append(self, year: int, day: int, **columns: np.ndarray) -> None:
        """Remember a day's outcome: (agents,) or a scalar for each of COLUMNS."""
        self._make_room()
        self._when[self._count] = year, day
        for name in self.COLUMNS:
            self._recent[name][:, self._count] = columns[name]
        today = {name: self._recent[name][:, self._count] for name in self.COLUMNS}
        self._count += 1
        self._total_days += 1
        for days, *outcome in zip(
            self._days, *(column.tolist() for column in today.values()), strict=True
        ):
            days.append(WorkerDay(year, day, *outcome))
        if year != self._year:  # another schedule: what welfare was says nothing about this one
            self._year = year
            self._welfare[:], self._welfare_days[:] = 0, 0
        agents = np.arange(len(self._worked))
        choice = np.abs(today["hours"][:, None] - self._choices).argmin(axis=1)
        finite = np.isfinite(today["welfare"])
        self._worked[agents, choice] += 1
        self._welfare[agents, choice] += np.where(finite, today["welfare"], 0)
        self._welfare_days[agents, choice] += finite

    def _make_room(self) -> None:
        """Drop the older half of the recent days where all places are taken."""
        places = len(self._when)
        if self._count < places:
            return
        kept = places // 2
        self._when[:kept] = self._when[places - kept :]
        for values in self._recent.values():
            values[:, :kept] = values[:, places - kept :]
        self._count = kept
        self._days = [days[-kept:] for days in self._days]

    def forget(self, who: np.ndarray) -> None:
        """Erase the memory of some agents. who: (agents,) bool."""
        self._since[who] = self._total_days
        for values in (*self._recent.values(), self._worked, self._welfare, self._welfare_days):
            values[who] = 0
        self._days = [
            [] if gone else days for gone, days in zip(who.tolist(), self._days, strict=True)
        ]

    @property
    def state(self) -> dict[str, Any]:
        """Everything remembered, for a checkpoint: arrays and Python numbers.

        The next `append` changes the arrays.
        """
        return {
            "when": self._when,
            "recent": dict(self._recent),
            "count": self._count,
            "total_days": self._total_days,
            "worked": self._worked,
            "year": self._year,
            "welfare": self._welfare,
            "welfare_days": self._welfare_days,
            **({"since": self._since} if self._renewed else {}),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go back to an earlier `state` of a memory of the same size."""
        self._when = np.array(state["when"])
        self._recent = {name: np.array(state["recent"][name]) for name in self.COLUMNS}
        self._count, self._total_days = int(state["count"]), int(state["total_days"])
        self._worked, self._year = np.array(state["worked"]), int(state["year"])
        self._welfare = np.array(state["welfare"])
        self._welfare_days = np.array(state["welfare_days"])
        self._since = np.array(state["since"]) if self._renewed else np.zeros_like(self._since)
        own = np.minimum(self._count, self._total_days - self._since)
        self._days = [
            list(days[self._count - kept :])
            for days, kept in zip(self._stored_days(), own.tolist(), strict=True)
        ]

    def _stored_days(self) -> Iterator[tuple[WorkerDay, ...]]:
        """The recent days of each agent, as they are stored in arrays."""
        when = self._when[: self._count].tolist()
        columns = [self._recent[name][:, : self._count].tolist() for name in self.COLUMNS]
        for own in zip(*columns, strict=True):
            yield tuple(WorkerDay(*w, *day) for w, *day in zip(when, *own, strict=True))

    def recall(self, year: int) -> list[MemoryExcerpt]:
        """What each agent remembers in a year; nothing before the first day."""
        welfare_days = self._welfare_days * (year == self._year)
        means = np.where(welfare_days > 0, self._welfare / np.maximum(self._welfare_days, 1), 0)
        choices = self._choices.astype(int).tolist()
        return [
            MemoryExcerpt(
                tuple(days) if self.window else (),
                *_last_change(days),
                tuple(
                    HoursRecord(*record) for record in zip(choices, *rows, strict=True) if record[1]
                ),
            )
            for days, *rows in zip(
                self._days,
                self._worked.tolist(),
                means.tolist(),
                welfare_days.tolist(),
                strict=True,
            )
        ]


def _last_change(days: Sequence[WorkerDay]) -> tuple[WorkerDay | None, WorkerDay | None]:
    """The two days between which hours were changed the last time."""
    for before, after in zip(reversed(days[:-1]), reversed(days), strict=False):
        if before.hours != after.hours:
            return before, after
    return None, None
