"""Diagnostics of a run: signs of failure in its years, such as rates that oscillate.

A detector reads the rows of years.parquet in order and says for each year whether it sees its sign.
It uses only that row and earlier ones, so that a resumed run shows what an uninterrupted one does.
Definitions and thresholds: docs/diagnostics.md.
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

MIN_AGENTS = 5  # of the smallest cohort whose hours can be called homogeneous
_ROUNDING = 1e-6  # tolerance for rates, which years.parquet keeps to seven digits

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Diagnostic:
    """A sign of failure that a run shows.

    name: that of its section in the settings' `diagnostics` (`jaxecon.config.names.DIAGNOSTICS`).
    years: the first and last year of each span, counted from 0. seen: one line on what was seen in
    the first year.
    """

    name: str
    years: tuple[tuple[int, int], ...]
    seen: str

    def and_in(self, year: int) -> "Diagnostic":
        """The same diagnostic, seen in a later year as well."""
        first, last = self.years[-1]
        spans = (
            (*self.years[:-1], (first, year)) if year == last + 1 else (*self.years, (year, year))
        )
        return replace(self, years=spans)


class Detector(Protocol):
    """Looks for one sign of failure, year by year."""

    def see(self, row: Row) -> str | None:
        """One line on the sign of failure in a year's row; None where there is none."""
        ...


class OscillatingRates:
    """A rate reversed its direction in a large share of the last years.

    It reverses in a year in which its change is large and has the opposite sign of its last large
    change.
    """

    def __init__(self, config: Config) -> None:
        settings = config.diagnostics.oscillating_rates
        self._years, self._least = settings.years, settings.points / 100 - _ROUNDING
        self._needed = settings.share * settings.years - _ROUNDING
        self._rates: deque[np.ndarray] = deque(maxlen=settings.years + 1)
        self._turned: deque[np.ndarray] = deque(maxlen=settings.years)
        self._direction: np.ndarray = np.zeros(0)  # sign of each rate's last large change

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
        percent = [100 * r[worst] for r in self._rates]
        return (
            f"rate {worst + 1} of {len(rates)} turned back in {turns[worst]} of {self._years} "
            "years, "
            f"between {min(percent):.3g} % and {max(percent):.3g} %"
        )


class WelfareCollapse:
    """Welfare stayed low for some years in a row.

    It is low if it lies a given share below the best of the years before, or below US federal's
    where that is higher.
    """

    def __init__(self, config: Config) -> None:
        settings = config.diagnostics.welfare_collapse
        self._kept, self._needed = 1 - settings.drop, settings.years
        self._best = 1.0  # in multiples of US federal's welfare
        self._low = 0  # years in a row

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
    """A learning cohort works nearly the same hours for some years in a row.

    Its hours differ much less than the same people's exact responses would.
    """

    def __init__(self, config: Config) -> None:
        self._settings = config.diagnostics.homogeneous_labor
        self._years_alike = dict.fromkeys(learning_cohorts(config), 0)  # years in a row

    def see(self, row: Row) -> str | None:
        signs = []
        for name, years in self._years_alike.items():
            # rows written by an older jaxecon have neither
            actual = row.get(f"spread_{name}") or 0.0
            exact = row.get(f"exact_spread_{name}") or 0.0
            alike = exact >= self._settings.spread and actual <= self._settings.share * exact
            self._years_alike[name] = years + 1 if alike else 0
            if self._years_alike[name] >= self._settings.years:
                signs.append(
                    f"{name}'s hours are {actual:.1f} h/week apart, {exact:.1f} if its people "
                    "responded exactly"
                )
        return "; ".join(signs) or None


class FallbackRate:
    """Too large a share of decisions were fallbacks, in a year or in all years so far.

    A fallback stands in for a decision where the model gave no usable answer.
    """

    def __init__(self, config: Config) -> None:
        self._settings = config.diagnostics.fallback_rate
        self._decisions = self._fallbacks = 0

    def see(self, row: Row) -> str | None:
        decisions, fallbacks = row.get("llm_decisions"), row["llm_fallbacks"]
        if decisions is None:  # a row written by an older jaxecon
            return None
        self._decisions, self._fallbacks = self._decisions + decisions, self._fallbacks + fallbacks
        for count, of, when in (
            (fallbacks, decisions, "the year's"),
            (self._fallbacks, self._decisions, "all"),
        ):
            if of >= self._settings.decisions and count > self._settings.limit * of:
                share = f"{100 * count / of:.3g} %"
                return f"{count:,} of {when} {of:,} decisions were fallbacks ({share})"
        return None


DETECTORS: dict[str, Callable[[Config], Detector]] = {
    "oscillating_rates": OscillatingRates,
    "welfare_collapse": WelfareCollapse,
    "homogeneous_labor": HomogeneousLabor,
    "fallback_rate": FallbackRate,
}


class DiagnosticsMonitor:
    """The detectors that a configuration asks for, and the diagnostics so far."""

    def __init__(self, config: Config) -> None:
        self._detectors = {
            name: make(config)
            for name, make in DETECTORS.items()
            if getattr(config.diagnostics, name).enabled
        }
        self._found: dict[str, Diagnostic] = {}

    def recall(self, row: Row) -> None:
        """Take in a year from before a branch began.

        Later years are compared with it, but its own signs of failure belong to the earlier run.
        """
        for detector in self._detectors.values():
            detector.see(row)

    def see(self, row: Row) -> list[Diagnostic]:
        """Take in the next year; return the diagnostics that it shows for the first time."""
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
    """Names of the cohorts that learn their best hours and are large enough to be diagnosed.

    These are the adaptive ones, those of language models that are not told to be altruists or
    adversaries, and those with a user's own rule.
    """
    return [c.name for c in config.cohorts if c.size >= MIN_AGENTS and _learns(c)]


def _learns(cohort: CohortConfig) -> bool:
    if cohort.rule == LLM_RULE:
        return cohort.objective == "egotistical"
    return cohort.rule == "adaptive" or ":" in cohort.rule
