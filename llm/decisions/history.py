"""Shortens an observation's history, for a prompt that is too long."""

from bisect import bisect_left
from dataclasses import Field, replace
from typing import Any, ClassVar, Protocol, TypeVar

_MAX_DAYS = 2**17  # no year has more days


class WithHistory(Protocol):
    """A frozen dataclass with a history: entries with a `year` (and a `day`), the oldest first."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def history(self) -> tuple[Any, ...]: ...


HistoryT = TypeVar("HistoryT", bound=WithHistory)


def without_older_history(observation: HistoryT) -> HistoryT | None:
    """The observation without up to half of its history, the oldest; None without a history.

    The rest begins at a multiple of the largest power of two (days) that removes no more than half.
    Such a beginning stays the same from day to day, so that the prefix cache finds it; the middle
    of a growing history would move every other day.
    """
    numbers = [entry.year * _MAX_DAYS + getattr(entry, "day", 0) for entry in observation.history]
    if not numbers:
        return None
    most, gone, step = (len(numbers) + 1) // 2, 1, 1
    while (
        further := bisect_left(numbers, (numbers[0] // step + 1) * step)
    ) <= most and step < 2 * numbers[-1]:
        gone, step = further, 2 * step
    return replace(observation, history=observation.history[gone:])
