"""All sections together, and the checks between them."""

from collections.abc import Iterable
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxecon.config.base import Section
from jaxecon.config.checks import check_all
from jaxecon.config.diagnostics import Diagnostics
from jaxecon.config.dynamics import DynamicsConfig
from jaxecon.config.economics import Budget, Labor, PreferencesConfig, Satisfaction, Welfare, Year
from jaxecon.config.field_marks import DecidesPeople, Free
from jaxecon.config.hours import choices_of
from jaxecon.config.language import LLM, Serving
from jaxecon.config.names import LLM_RULE
from jaxecon.config.people import CohortConfig, Population, shares_of_people
from jaxecon.config.planner import Elections, Planner, Schedule
from jaxecon.config.recording import CheckpointPolicy, Record
from jaxecon.config.survey import Survey


class Config(Section):
    """Everything that decides a run."""

    seed: DecidesPeople[int] = Field(
        0, ge=0, lt=2**32, description="Of the people, and of all draws unless draw_seed is set."
    )
    draw_seed: int | None = Field(
        None,
        ge=0,
        lt=2**32,
        description="Of what happens to the people: their draws, the planner's and the model's.",
    )
    years: int = Field(4, ge=1, le=10_000_000, description="Tax years.")
    precision: DecidesPeople[Literal["auto", "float32", "float64"]] = Field(
        "auto",
        description="Of the economy's arrays. auto: float64 with "
        "preferences.consumption_curvature > 0, else float32.",
    )
    device: Free[Literal["auto", "cpu"]] = Field(
        "auto",
        description="Where the economy is computed: JAX's default device, or the CPU, which "
        "leaves a GPU to the engine.",
    )
    devices: Free[Literal["all"] | Annotated[int, Field(ge=1)]] = Field(
        1,
        description="Over how many devices of that kind a run spreads the agents of its "
        "mechanical cohorts, in equal parts.",
    )
    year: Year = Year()
    population: DecidesPeople[Population] = Population()
    preferences: PreferencesConfig = PreferencesConfig()
    labor: DecidesPeople[Labor] = Labor()
    welfare: Welfare = Welfare()
    satisfaction: Satisfaction = Satisfaction()
    budget: Budget = Budget()
    dynamics: DynamicsConfig = DynamicsConfig()
    planner: Planner = Planner()
    elections: Elections = Elections()
    schedule: Schedule = Schedule()
    llm: LLM = LLM()
    survey: Survey = Survey()
    record: Record = Record()
    diagnostics: Free[Diagnostics] = Diagnostics()
    checkpoint: Free[CheckpointPolicy] = CheckpointPolicy()

    @property
    def seed_of_draws(self) -> int:
        """draw_seed, or seed without one."""
        return self.seed if self.draw_seed is None else self.draw_seed

    @property
    def cohorts(self) -> tuple[CohortConfig, ...]:
        """The full form, derived from the head counts where it is unset."""
        p = self.population
        if p.cohorts is not None:
            return p.cohorts
        adaptive = (p.mechanical + 1) // 2
        sizes = (
            ("adaptive", "adaptive", adaptive),
            ("quantal", "quantal", p.mechanical - adaptive),
            ("llm", LLM_RULE, p.llm),
        )
        return tuple(
            CohortConfig(name=name, rule=rule, size=size) for name, rule, size in sizes if size
        )

    def choices_of(self, cohort: CohortConfig) -> tuple[float, ...]:
        """The hours a week, rising, that a cohort chooses among."""
        return choices_of(self.labor.choices if cohort.choices is None else cohort.choices)

    @property
    def planner_kind(self) -> str:
        if self.planner.kind != "auto":
            return self.planner.kind
        return "llm" if self.has_llm_cohort else "in_context"

    @property
    def has_llm_cohort(self) -> bool:
        return any(c.rule == LLM_RULE for c in self.cohorts)

    @property
    def needs_engine(self) -> bool:
        return self.has_llm_cohort or self.planner_kind == "llm"

    @property
    def holds_elections(self) -> bool:
        return self.planner_kind == "elected" or self.elections.retention

    @property
    def servings(self) -> dict[str | None, Serving]:
        """The models that this run may ask, by their name in llm.others; None is `llm` itself.

        Those of `fallback` come after the models that they stand in for.
        """
        return self.with_fallbacks(
            [c.llm for c in self.cohorts if c.rule == LLM_RULE]
            + ([self.planner.llm] if self.planner_kind == "llm" else [])
        )

    def with_fallbacks(self, models: Iterable[str | None]) -> dict[str | None, Serving]:
        """Models, each with those that stand in for it after it; None is `llm` itself."""
        servings: dict[str | None, Serving] = {}
        for name in models:
            serving = self.llm if name is None else self.llm.others[name]
            servings[name] = serving
            while serving.fallback is not None:
                name = serving.fallback
                servings[name] = serving = self.llm.others[name]
        return servings

    @property
    def shares(self) -> dict[str, float]:
        """Share of the people per cohort, summing to 1."""
        return shares_of_people(self.cohorts, self.population.shares)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Config":
        check_all(self)
        return self
