"""How many different answers models gave, and which of them most often."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

GROUPED_BY = ("cohort", "kind")  # columns by which answers are counted


@dataclass(frozen=True)
class Answers:
    """The usable answers of a group of decisions: as they were decided, without words and reasons.

    Attributes:
        decisions: Number of decisions, fallbacks included.
        usable: Number of those that a model's answer decided.
        distinct: Number of different ones among the usable.
        most_frequent: The commonest of them as JSON; None without any.
        most_frequent_count: How many of the usable are that one.
        sequence: SHA-256 of the usable ones in order, each with its year, day, kind, cohort and
            agent. Two runs have the same where the same agents decided the same on the same days.
    """

    decisions: int
    usable: int
    distinct: int
    most_frequent: str | None
    most_frequent_count: int
    sequence: str


@dataclass
class _Count:
    decisions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    sequence: Any = field(default_factory=hashlib.sha256)

    def answers(self) -> Answers:
        # the first in the order of the text, where several are as frequent
        decision, count = min(
            self.counts.items(), key=lambda item: (-item[1], item[0]), default=(None, 0)
        )
        return Answers(
            self.decisions,
            self.counts.total(),
            len(self.counts),
            decision,
            count,
            self.sequence.hexdigest(),
        )


def counted(rows: Iterable[Sequence[Any]], groups: int) -> dict[tuple[str, ...], Answers]:
    """The answers of each group of decisions.

    Args:
        rows: of decisions in the order of time: values of the columns that make groups, then year,
            day, kind, cohort, agent, status and decision (JSON, which is one line).
        groups: number of the columns that make groups.

    Returns:
        The answers by group, in the order of the groups' names.
    """
    tallies: dict[tuple[str, ...], _Count] = {}
    for row in rows:
        group, place, status, decision = row[:groups], row[groups:-2], row[-2], row[-1]
        tally = tallies.get(tuple(group))
        if tally is None:
            tally = tallies[tuple(group)] = _Count()
        tally.decisions += 1
        if status != "fallback":
            tally.counts[decision] += 1
            tally.sequence.update(f"{place} {decision}\n".encode())
    return {group: tallies[group].answers() for group in sorted(tallies)}
