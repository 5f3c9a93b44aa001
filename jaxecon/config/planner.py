"""Settings of planners, elections and the first schedule."""

from typing import Literal

from pydantic import Field

from jaxecon.config.base import Bounded, Scale, Section
from jaxecon.config.field_marks import Free
from jaxecon.config.memory import PlannerMemory
from jaxecon.config.names import BracketsName, PlannerKind, PolicyName


class Planner(Section):
    kind: PlannerKind = Field(
        "auto",
        description="auto: llm where there is an LLM cohort, else in_context, which climbs by "
        "trial on its own history. fixed: "
        "the first schedule. elected: each year the workers elect one of themselves (section "
        "elections). us_federal to "
        "uniform_50: one schedule, worked out from everybody's exact responses, from the first "
        "year unless schedule.rates is "
        "set.",
    )
    memory: PlannerMemory = PlannerMemory()
    exploration_rate: Bounded = Field(
        0.3, description="Share of the years in which in_context tries a random change."
    )
    max_change: int = Field(
        20,
        ge=10,
        le=100,
        multiple_of=10,
        description="Percentage points that in_context and llm may move a rate in a year.",
    )
    llm: str | None = Field(
        None,
        description="The name in llm.others of what answers an llm planner; unset: llm itself.",
    )
    elasticity: Scale | tuple[Scale, ...] | None = Field(
        None,
        description="Of income to the net-of-tax rate, for the saez planners: one, or one per "
        "bracket. Unset: the economy's own, "
        "1/(d-1), with curvature the compensated 1/(d-1+eta).",
    )
    rate_bounds: tuple[Bounded, Bounded] = Field(
        (0.0, 1.0), description="Lowest and highest rate of flat and optimum."
    )
    compared_with: Free[tuple[PolicyName, ...]] = Field(
        ("us_federal", "flat", "saez", "optimum"),
        description="Planners whose schedules a run's closing table shows beside the final one "
        "(optimum compiles for seconds).",
    )
    monotone: bool = Field(
        False, description="Whether the optimum's rates may not fall from bracket to bracket."
    )


class Elections(Section):
    """How the workers elect a leader, or vote on keeping a planner (`retention`).

    docs/elections.md.
    """

    retention: bool = Field(
        False,
        description="Whether the workers vote each year to keep the planner or to replace it.",
    )
    method: Literal["plurality", "approval", "instant_runoff", "borda"] = Field(
        "plurality", description="How votes for a leader are cast and counted."
    )
    platforms: bool = Field(
        True,
        description="Whether those who are asked decide to stand and announce rates; otherwise "
        "all stand and announce none.",
    )
    candidates: int = Field(
        8,
        ge=1,
        le=127,
        description="Workers who are asked to stand, the leader and others drawn by lot.",
    )
    eligible: tuple[str, ...] | None = Field(
        None, description="Cohorts whose members may stand; unset: all."
    )
    term_limit: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="Years in a row after which a leader may not stand at the next election.",
    )
    noise: float = Field(
        0.01,
        ge=0,
        le=100,
        description="Gumbel deviate in a mechanical voter's valuation of a candidate, as a share "
        "of its full-time income.",
    )
    cost: float = Field(
        0.0,
        ge=0,
        le=1e9,
        description="$/year of gain that standing must bring a mechanical worker.",
    )


class Schedule(Section):
    brackets: BracketsName | tuple[float, ...] = Field(
        "us_federal",
        description="Named brackets or thresholds in $/year, the first 0, strictly increasing.",
    )
    rates: Bounded | tuple[Bounded, ...] | None = Field(
        None,
        description="Rates of the first year, one for all or one per bracket. "
        "Unset: the US federal rates on US federal brackets, 0.5 (the paper's start) on others.",
    )
