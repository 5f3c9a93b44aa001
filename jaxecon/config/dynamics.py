"""Settings of what changes of itself: skills, hours that adjust with a lag, saving."""

from typing import Literal

from pydantic import Field

from jaxecon.config.base import Bounded, Section


class SkillDynamicsConfig(Section):
    """Learning by doing, shocks, retirement and entry; docs/dynamics.md."""

    enabled: bool = Field(False, description="Whether skills change from year to year.")
    persistence: Bounded = Field(
        0.95,
        description="Of the deviation of log skill from its base, a year (Storesletten, Telmer "
        "and Yaron 2004: 0.952).",
    )
    learning: float = Field(
        0.02,
        ge=0,
        le=1,
        description="What a year at 80 h/week adds to log skill, and one at 0 h takes: a working "
        "value, no estimate; hours 1 % "
        "longer for good raise skill by learning/(1-persistence) %.",
    )
    shock: float = Field(
        0.165,
        ge=0,
        le=0.5,
        description="Standard deviation of a year's innovation of log skill (the same source: "
        "0.12 in booms to 0.21 in slumps).",
    )
    working_years: float | None = Field(
        40.0,
        ge=1,
        le=1e9,
        description="An agent retires at the end of a year with probability 1/working_years, and "
        "somebody new takes the place, "
        "with its base skill and weights. Unset: nobody does.",
    )


OPTIMUM = "optimum"


class SavingConfig(Section):
    """A second action, with a return and a tax on it; docs/dynamics.md."""

    enabled: bool = Field(
        False, description="Whether people save. Needs preferences.consumption_curvature 0."
    )
    return_rate: float = Field(0.05, ge=1e-6, le=0.5, description="Of wealth, a year.")
    tax: Bounded | Literal["optimum"] = Field(
        0.0,
        description="Share of the return that is taxed away, and goes into the pool. optimum: "
        "what welfare with fixed weights is "
        "highest with once wealth has settled (Saez and Stantcheva 2018).",
    )
    elasticity: float = Field(
        0.5,
        ge=0.05,
        le=5,
        description="Of the wealth one wants to the return net of tax: a working value, not "
        "an estimate.",
    )
    adjustment: float = Field(
        0.1,
        ge=1e-6,
        le=1,
        description="Share of the gap to the wealth one wants that a year's saving closes.",
    )
    wealth_income_ratio: float = Field(
        5.0,
        ge=1e-6,
        le=100,
        description="Mean wealth over mean income at the US federal schedule, where the return is "
        "not taxed.",
    )
    concentration: float = Field(
        1.5,
        ge=0,
        le=2,
        description="Elasticity of that wealth to skill. Incomes whose upper tail has a Pareto "
        "exponent of 2.4 then come with "
        "wealth whose tail has one of 1.6, near that of the United States (Vermeulen 2018: about "
        "1.5).",
    )


class DynamicsConfig(Section):
    """What the paper leaves open; all off unless set."""

    skills: SkillDynamicsConfig = SkillDynamicsConfig()
    hours_inertia: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability, each day and for each worker, mechanical or LLM, of yesterday's "
        "hours instead of those chosen.",
    )

    saving: SavingConfig = SavingConfig()

    @property
    def switches(self) -> tuple[bool, ...]:
        """What is on, which decides what a run's state is made of."""
        return self.skills.enabled, self.hours_inertia > 0, self.saving.enabled
