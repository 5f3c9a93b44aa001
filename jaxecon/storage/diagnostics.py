"""Signs of failure in the years of a run: oscillating rates, welfare collapse, homogeneous labour,
many fallbacks.

A detector is fed with the rows of years.parquet in their order and says of each year whether it
sees its sign, from that row and those before alone: so a resumed run shows what an uninterrupted
one does. Definitions and thresholds: docs/diagnostics.md.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from jaxecon.config.names import LLM_RULE
from jaxecon.config.people import CohortConfig
from jaxecon.config.settings import Config

MIN_AGENTS = 5  # of a cohort whose hours can be called alike
_ROUNDING = 1e-6  # of rates, which years.parquet keeps to seven digits

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Diagnostic:
    """A sign of failure that a run shows.

    name: of its section in `signatures`. years: each span's first and last, from 0. seen: what was
    seen in the first of them, in a line.
    """

    name: str
    years: tuple[tuple[int, int], ...]
    seen: str

    def and_in(self, year: int) -> "Diagnostic":
        """Seen in a later year as well."""
        first, last = self.years[-1]
        spans = (
            (*self.years[:-1], (first, year)) if year == last + 1 else (*self.years, (year, year))
        )
        return replace(self, years=spans)


class Detector(Protocol):
    def see(self, row: Row) -> str | None:
        """What is seen in a year's row, in a line; None where there is no sign."""
        ...


class OscillatingRates:
    """Of the last years, in so many did a rate turn back: its change, and the one before, were
    large and of opposite signs.
    """

    def __init__(self, config: Config) -> None:
        given = config.diagnostics.oscillating_rates
        self._years, self._least = given.years, given.points / 100 - _ROUNDING
        self._needed = given.share * given.years - _ROUNDING
        self._rates: deque[np.ndarray] = deque(maxlen=given.years + 1)
        self._turned: deque[np.ndarray] = deque(maxlen=given.years)
        self._direction: np.ndarray = np.zeros(0)  # of each rate's last change that was large

    def see(self, row: Row) -> str | None:
        rates = np.array(
            [value for name, value in row.items() if name.startswith("rate_") and value is not None]
        )
        if len(rates) != len(self._direction):  # the first year, or a branch with other brackets
            self._rates.clear()
            self._turned.clear()
            self._direction = np.zeros(len(rates))
        if self._rates:
            change = rates - self._rates[-1]
            moved = np.where(np.abs(change) >= self._least, np.sign(change), 0)
            self._turned.append(moved * self._direction < 0)
            self._direction = np.where(moved != 0, moved, self._direction)
        self._rates.append(rates)
        if not self._turned:
            return None
        turns = np.sum(self._turned, axis=0)
        worst = int(np.argmax(turns))
        if turns[worst] < self._needed:
            return None
        held = [100 * r[worst] for r in self._rates]
        return (
            f"rate {worst + 1} of {len(rates)} turned back in {turns[worst]} of {self._years} "
            "years, "
            f"between {min(held):.3g} % and {max(held):.3g} %"
        )


class WelfareCollapse:
    """For so many years, welfare a share below the best of the years before, or below US federal's
    where that is higher.
    """

    def __init__(self, config: Config) -> None:
        given = config.diagnostics.welfare_collapse
        self._kept, self._needed = 1 - given.drop, given.years
        self._best = 1.0  # in welfares of US federal
        self._low = 0  # years on end

    def see(self, row: Row) -> str | None:
        worth, best = 1 + row["gain_realised"], self._best  # NaN: below what can be expressed
        self._low = 0 if worth > self._kept * best else self._low + 1
        if math.isfinite(worth):
            self._best = max(best, worth)
        if self._low < self._needed:
            return None
        below = f"{100 * (1 - worth / best):.0f} %" if worth > 0 else "100 % or more"
        whose = (
            "US federal's"
            if best == 1
            else f"the best before it, which was {100 * (best - 1):.0f} % above US federal's"
        )
        return f"welfare {below} below {whose}, for {self._low} years"


class HomogeneousLabor:
    """For so many years, a learning cohort's hours much less apart than its people's exact
    responses are.
    """

    def __init__(self, config: Config) -> None:
        self._given = config.diagnostics.homogeneous_labor
        self._alike = dict.fromkeys(learning_cohorts(config), 0)  # years on end

    def see(self, row: Row) -> str | None:
        found = []
        for name, years in self._alike.items():
            # years that an older jaxecon lived have neither
            lived, exact = row.get(f"spread_{name}") or 0.0, row.get(f"exact_spread_{name}") or 0.0
            alike = exact >= self._given.spread and lived <= self._given.share * exact
            self._alike[name] = years + 1 if alike else 0
            if self._alike[name] >= self._given.years:
                found.append(
                    f"{name}'s hours are {lived:.1f} h/week apart, {exact:.1f} if its people "
                    "responded exactly"
                )
        return "; ".join(found) or None


class FallbackRate:
    """Of the decisions of a year, or of all so far, more than so many were no model's."""

    def __init__(self, config: Config) -> None:
        self._given = config.diagnostics.fallback_rate
        self._decisions = self._fallbacks = 0

    def see(self, row: Row) -> str | None:
        decisions, fallbacks = row.get("llm_decisions"), row["llm_fallbacks"]
        if decisions is None:  # a year that an older jaxecon lived
            return None
        self._decisions, self._fallbacks = self._decisions + decisions, self._fallbacks + fallbacks
        for count, of, when in (
            (fallbacks, decisions, "the year's"),
            (self._fallbacks, self._decisions, "all"),
        ):
            if of >= self._given.decisions and count > self._given.limit * of:
                return f"{count:,} of {when} {of:,} decisions were fallbacks ({100 * count / of:.3g} %)"
        return None


DETECTORS: dict[str, Callable[[Config], Detector]] = {
    "oscillating_rates": OscillatingRates,
    "welfare_collapse": WelfareCollapse,
    "homogeneous_labor": HomogeneousLabor,
    "fallback_rate": FallbackRate,
}


class DiagnosticsMonitor:
    """The detectors that a configuration asks for, and what they have found."""

    def __init__(self, config: Config) -> None:
        self._detectors = {
            name: make(config)
            for name, make in DETECTORS.items()
            if getattr(config.diagnostics, name).enabled
        }
        self._found: dict[str, Diagnostic] = {}

    def recall(self, row: Row) -> None:
        """A year from before a branch began.

        What it shows is its own run's; what follows is judged by it.
        """
        for detector in self._detectors.values():
            detector.see(row)

    def see(self, row: Row) -> list[Diagnostic]:
        """The next year. Returns the signatures that no year before it has shown."""
        new = []
        for name, detector in self._detectors.items():
            seen, year = detector.see(row), row["year"]
            if seen is None:
                continue
            if name in self._found:
                self._found[name] = self._found[name].and_in(year)
            else:
                self._found[name] = Diagnostic(name, ((year, year),), seen)
                new.append(self._found[name])
        return new

    @property
    def found(self) -> tuple[Diagnostic, ...]:
        return tuple(self._found[name] for name in self._detectors if name in self._found)


def learning_cohorts(config: Config) -> list[str]:
    """Cohorts that find out by themselves which hours are best for them, large enough to be looked
    at: adaptive ones, those of language models that are not told to be altruists or adversaries,
    and those with a user's own rule.
    """
    return [c.name for c in config.cohorts if c.size >= MIN_AGENTS and _learns(c)]


def _learns(cohort: CohortConfig) -> bool:
    if cohort.rule == LLM_RULE:
        return cohort.objective == "egotistical"
    return cohort.rule == "adaptive" or ":" in cohort.rule
