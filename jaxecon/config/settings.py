"""All sections together, and the checks between them."""

from itertools import pairwise
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from jaxecon.config.base import Section, one_of
from jaxecon.config.diagnostics import Diagnostics
from jaxecon.config.dynamics import OPTIMUM, DynamicsConfig
from jaxecon.config.economics import Budget, PreferencesConfig, Satisfaction, Welfare, Year
from jaxecon.config.language import LLM, Serving
from jaxecon.config.people import LLM_RULE, RULE_NAMES, CohortConfig, Population, shares_of_people
from jaxecon.config.planner import NAMED_BRACKETS, Elections, Planner, Schedule
from jaxecon.config.recording import CheckpointPolicy, Record


class Config(Section):
    """Everything that decides a run."""

    seed: int = Field(
        0, ge=0, lt=2**32, description="Of the people, and of all draws unless draw_seed is given."
    )
    draw_seed: int | None = Field(
        None,
        ge=0,
        lt=2**32,
        description="Of what happens to the people: their draws, the planner's and the model's.",
    )
    years: int = Field(4, ge=1, le=10_000_000, description="Tax years.")
    precision: Literal["auto", "float32", "float64"] = Field(
        "auto",
        description="Of the economy's arrays. auto: float64 with "
        "preferences.consumption_curvature > 0, else float32.",
    )
    device: Literal["auto", "cpu"] = Field(
        "auto",
        description="Where the economy is computed: JAX's default device, or the CPU, which "
        "leaves a GPU to the engine.",
    )
    devices: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        1,
        description="Over how many devices of that kind a run spreads the agents of its "
        "mechanical cohorts, in equal parts.",
    )
    year: Year = Year()
    population: Population = Population()
    preferences: PreferencesConfig = PreferencesConfig()
    welfare: Welfare = Welfare()
    satisfaction: Satisfaction = Satisfaction()
    budget: Budget = Budget()
    dynamics: DynamicsConfig = DynamicsConfig()
    planner: Planner = Planner()
    elections: Elections = Elections()
    schedule: Schedule = Schedule()
    llm: LLM = LLM()
    record: Record = Record()
    diagnostics: Diagnostics = Diagnostics()
    checkpoint: CheckpointPolicy = CheckpointPolicy()

    @property
    def seed_of_draws(self) -> int:
        """draw_seed, or seed without one."""
        return self.seed if self.draw_seed is None else self.draw_seed

    @property
    def cohorts(self) -> tuple[CohortConfig, ...]:
        """The full form, derived from the head counts unless given."""
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
        """The models that this run asks, by their name in llm.others; None is `llm` itself."""
        asked = [c.llm for c in self.cohorts if c.rule == LLM_RULE] + (
            [self.planner.llm] if self.planner_kind == "llm" else []
        )
        return {
            name: self.llm if name is None else self.llm.others[name]
            for name in dict.fromkeys(asked)
        }

    @property
    def shares(self) -> dict[str, float]:
        """Share of the people per cohort, summing to 1."""
        return shares_of_people(self.cohorts, self.population.shares)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Config":
        cohorts = self.cohorts
        if not cohorts:
            raise ValueError(
                "population: 0 agents; population.mechanical and population.llm (or "
                "population.cohorts) must add up to at least 1"
            )
        names = [c.name for c in cohorts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"population.cohorts: name {name!r} is given {names.count(name)} times; names "
                    "must be unique"
                )
        for i, cohort in enumerate(cohorts):
            if ":" not in cohort.rule and cohort.rule not in (*RULE_NAMES, LLM_RULE):
                raise ValueError(
                    f"population.cohorts.{i}.rule: {cohort.rule!r}; "
                    f"{one_of((*RULE_NAMES, LLM_RULE), cohort.rule)}, or package.module:Class"
                )
            if cohort.rule != LLM_RULE and cohort.name == LLM_RULE:
                raise ValueError(
                    f"population.cohorts.{i}.name: 'llm'; stands for the LLM cohorts together, "
                    "take another"
                )
            if cohort.rule == LLM_RULE and cohort.name == "planner":
                raise ValueError(
                    f"population.cohorts.{i}.name: 'planner'; the planner's own, take another"
                )
            if cohort.rule != LLM_RULE and cohort.objective != "egotistical":
                raise ValueError(
                    f"population.cohorts.{i}.objective: {cohort.objective!r}; of LLM cohorts, "
                    "others have the rules altruistic "
                    "and adversarial"
                )
            if cohort.rule != LLM_RULE and cohort.llm is not None:
                raise ValueError(
                    f"population.cohorts.{i}.llm: {cohort.llm!r}; of LLM cohorts (rule: llm)"
                )
        chosen = {f"population.cohorts.{i}.llm": c.llm for i, c in enumerate(cohorts)} | {
            "planner.llm": self.planner.llm
        }
        for setting, model in chosen.items():
            if model is not None and model not in self.llm.others:
                raise ValueError(
                    f"{setting}: {model!r}; a name in llm.others: "
                    f"{', '.join(self.llm.others) or '(none is given)'}"
                )
        for other, serving in self.servings.items():
            where = "llm" if other is None else f"llm.others.{other}"
            if self.llm.max_tokens > serving.max_model_len // 2:
                raise ValueError(
                    f"llm.max_tokens: {self.llm.max_tokens}; at most half of "
                    f"{where}.max_model_len ({serving.max_model_len})"
                )
            if (serving.engine == "replay") != (serving.transcript is not None):
                raise ValueError(
                    f"{where}.transcript: {serving.transcript!r}; give it with "
                    f"{where}.engine=replay, and only then"
                )
        priced = any(s.price.prompt + s.price.completion for s in self.servings.values())
        if self.llm.budget_usd is not None and self.needs_engine and not priced:
            raise ValueError(
                f"llm.budget_usd: {self.llm.budget_usd:g}; needs llm.price, dollars per million "
                "tokens"
            )
        if self.satisfaction.every_days > self.year.days:
            raise ValueError(
                f"satisfaction.every_days: {self.satisfaction.every_days}; at most year.days = "
                f"{self.year.days}"
            )
        if not self.satisfaction.tolerance[0] <= self.satisfaction.tolerance[1]:
            raise ValueError(
                f"satisfaction.tolerance: {list(self.satisfaction.tolerance)}; two numbers, the "
                "first not larger"
            )
        shares_of_people(cohorts, self.population.shares)
        curvature = self.preferences.consumption_curvature
        if self.precision == "float32" and curvature > 1:
            raise ValueError(
                "precision: 'float32'; preferences.consumption_curvature above 1 needs float64 "
                "(auto takes it)"
            )
        if curvature > 1 and self.needs_engine:
            raise ValueError(
                f"preferences.consumption_curvature: {curvature:g}; at most 1 with language "
                "models: utilities beyond differ in "
                "digits that no prompt can show"
            )
        if self.welfare.function == "atkinson" and curvature > 0:
            raise ValueError(
                "welfare.function: 'atkinson'; its floor is in $/year, "
                f"so it needs preferences.consumption_curvature = 0, not {curvature:g}"
            )
        if (self.population.skills == "file") != (self.population.file is not None):
            raise ValueError(
                f"population.file: {self.population.file!r}; give it with population.skills=file, "
                "and only then"
            )
        thresholds = self.schedule.brackets
        if not isinstance(thresholds, str):
            increasing = all(a < b for a, b in pairwise(thresholds))
            if not thresholds or thresholds[0] != 0 or not increasing:
                raise ValueError(
                    f"schedule.brackets: {list(thresholds)}; {', '.join(NAMED_BRACKETS)}, "
                    "or thresholds in $/year: the first 0, strictly increasing"
                )
        eligible = self.elections.eligible
        for name in eligible or ():
            if name not in names:
                raise ValueError(
                    f"elections.eligible: {name!r}; no such cohort; {one_of(names, name)}"
                )
        if eligible == ():
            raise ValueError("elections.eligible: []; one cohort at least, or unset for all")
        if self.elections.retention and self.planner_kind == "elected":
            raise ValueError(
                "elections.retention: True; of a standing planner, and planner.kind elected has "
                "none"
            )
        if self.dynamics.saving.enabled and self.preferences.consumption_curvature > 0:
            eta = self.preferences.consumption_curvature
            raise ValueError(
                "dynamics.saving.enabled: True; with preferences.consumption_curvature 0, not "
                f"{eta:g}"
            )
        if self.dynamics.saving.tax == OPTIMUM and self.welfare.function in (
            "rawlsian",
            "atkinson",
        ):
            raise ValueError(
                f"dynamics.saving.tax: {OPTIMUM!r}; for welfare with fixed weights, not "
                f"{self.welfare.function} (give a number)"
            )
        if self.holds_elections and self.dynamics.skills.enabled:
            raise ValueError(
                "dynamics.skills.enabled: True; elections are held among people whose skills stay "
                "what they are"
            )
        if self.holds_elections and self.devices != 1:
            raise ValueError(f"devices: {self.devices}; elections are held on one device")
        low, high = self.planner.rate_bounds
        if not low < high:
            raise ValueError(
                f"planner.rate_bounds: {[low, high]}; two rates in [0, 1], the first smaller"
            )
        rates = self.schedule.rates
        count = (
            {"flat": 1, "three": 3, "us_federal": 7}[thresholds]
            if isinstance(thresholds, str)
            else len(thresholds)
        )
        if isinstance(rates, tuple) and len(rates) != count:
            raise ValueError(
                f"schedule.rates: {len(rates)} rates for {count} brackets; one for all, or one "
                "per bracket"
            )
        elasticity = self.planner.elasticity
        if isinstance(elasticity, tuple) and len(elasticity) != count:
            raise ValueError(
                f"planner.elasticity: {len(elasticity)} for {count} brackets; one for all, or one "
                "per bracket"
            )
        return self
