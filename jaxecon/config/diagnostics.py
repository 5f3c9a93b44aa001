"""Settings of the diagnostics: signs that a run failed, for which each year is checked."""

from pydantic import Field

from jaxecon.config.base import Bounded, Section


class OscillatingRates(Section):
    """A planner that keeps reversing its own changes."""

    enabled: bool = Field(True, description="Whether a run is checked for this sign.")
    years: int = Field(10, ge=2, le=10_000, description="How many years back are checked.")
    points: float = Field(
        20.0,
        gt=0,
        le=100,
        description="Percentage points of a change that counts: the largest step of planners who "
        "learn; smaller ones are "
        "their trials.",
    )
    share: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Of these years, in which one rate turned back. A planner that explores gets "
        "to 0.8.",
    )


class WelfareCollapse(Section):
    """The planner's welfare far below its own past, or below that under US federal."""

    enabled: bool = Field(True, description="Whether a run is checked for this sign.")
    drop: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Share of welfare lost since the best year, or against US federal's where "
        "that is higher.",
    )
    years: int = Field(
        3, ge=1, le=10_000, description="In a row: a bad year or two may be a planner's trial."
    )


class HomogeneousLabor(Section):
    """Workers who learn, or are language models, and all work the same hours without reason."""

    enabled: bool = Field(True, description="Whether a run is checked for this sign.")
    share: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="Of the exact responses' standard deviation, to which that of hours has "
        "fallen.",
    )
    spread: float = Field(
        3.0,
        gt=0,
        le=100,
        description="h/week, the least standard deviation of the exact responses that hours are "
        "judged by: choosing among 0, "
        "10, .., 100 can hide 10/sqrt(12) = 2.9.",
    )
    years: int = Field(
        2,
        ge=1,
        le=10_000,
        description="In a row: workers begin alike and diverge while they learn.",
    )


class FallbackRate(Section):
    """Fallbacks: decisions that count as a language model's and that it did not make."""

    enabled: bool = Field(True, description="Whether a run is checked for this sign.")
    limit: Bounded = Field(
        0.05, description="Share of a year's decisions, or of all so far, that may be fallbacks."
    )
    decisions: int = Field(
        20,
        ge=1,
        le=1_000_000,
        description="Fewer are not checked: one fallback among 20 is still 5 %.",
    )


class Diagnostics(Section):
    """Signs of failure that a run shows when it sees them; they change nothing in it.

    docs/diagnostics.md.
    """

    oscillating_rates: OscillatingRates = OscillatingRates()
    welfare_collapse: WelfareCollapse = WelfareCollapse()
    homogeneous_labor: HomogeneousLabor = HomogeneousLabor()
    fallback_rate: FallbackRate = FallbackRate()
