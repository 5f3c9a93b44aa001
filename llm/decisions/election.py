"""What the observations of an election share: standing, voting, setting the rates once elected."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PastYear:
    """A year that a worker remembers.

    leader: who set its rates, in words, "" where nobody was elected. rates: (k,) fractions;
    utility: the worker's own, mean of the year.
    """

    year: int
    leader: str
    rates: tuple[float, ...]
    utility: float
