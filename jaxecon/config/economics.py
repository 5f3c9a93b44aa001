"""Settings of the economy: preferences, welfare, satisfaction, budget, the length of a year."""

from typing import Annotated, Literal

from pydantic import Field

from jaxecon.config.base import MAX_DOLLARS, Bounded, Scale, Section
from jaxecon.config.hours import Choices

Share = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]  # of income


class Year(Section):
    days: int = Field(
        8,
        ge=1,
        le=100_000,
        description="Days in a tax year, each a complete economy at annual rates.",
    )


class PreferencesConfig(Section):
    set: Literal["calibrated", "annualised", "paper"] = Field(
        "calibrated", description="docs/economics.md, Preferences."
    )
    disutility_exponent: float = Field(
        3.5, gt=1, le=20, description="d; the elasticity of income is 1/(d-1)."
    )
    consumption_curvature: float = Field(
        0.0, ge=0, le=10, description="eta of U(x); 0 is linear, 1 logarithmic."
    )
    max_hours: float = Field(100.0, ge=10, le=168, description="h/week.")


class Labor(Section):
    choices: Choices = Field(
        10.0,
        description="The hours a week that adaptive, quantal and LLM workers choose among: a step "
        "(0, 10, 20, .. up to 100), or a list. Above preferences.max_hours none is taken.",
    )


class Welfare(Section):
    function: Literal[
        "inverse_income",
        "paper_fixed",
        "inverse_consumption",
        "utilitarian",
        "rawlsian",
        "atkinson",
    ] = Field("inverse_income", description="docs/economics.md, Welfare weights.")
    floor: float = Field(
        10_000.0,
        ge=0.01,
        le=MAX_DOLLARS,
        description="$/year; below it incomes (or utilities, for atkinson) count as equal.",
    )
    epsilon: float = Field(1.0, ge=0, le=50, description="Inequality aversion of atkinson.")
    satisfaction: Literal["private", "counted"] = Field(
        "private",
        description="Whether the welfare that the planner sees counts the penalty of the "
        "dissatisfied.",
    )
    penalty: Bounded = Field(0.5, description="What dissatisfaction leaves of utility.")


class Satisfaction(Section):
    """Whether workers accept what they pay and get back.

    docs/language-models.md, Satisfaction.
    """

    judged: bool = Field(
        False, description="Whether anybody is asked; otherwise everybody is satisfied."
    )
    every_days: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Days between judgements, counted in each tax year; 0: once a year, before "
        "the last days by which the "
        "planner judges it.",
    )
    tolerance: tuple[Share, Share] = Field(
        (0.05, 0.45),
        description="Mechanical workers' tolerance is spread evenly between these: the net tax, "
        "as a share of income, at which "
        "they are satisfied with probability one half.",
    )
    width: Scale = Field(
        0.05,
        description="Net tax beyond one's tolerance that makes dissatisfaction e times likelier.",
    )


class Budget(Section):
    public_spending: float = Field(0.0, ge=0, le=1e9, description="E, $/year per person.")
    rebate_floor: float | None = Field(
        None, ge=-1e9, le=1e9, description="Lowest rebate, $/year; unset lets it be a lump-sum tax."
    )
