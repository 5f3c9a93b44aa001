"""The configuration of a run: pydantic models <-> YAML. Every field carries its range, unit and source."""

import copy
import difflib
import re
import types
import typing
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pydantic
import yaml
from pydantic import Field

from jaxecon.errors import UserError

Bounded = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

NAMED_BRACKETS = ("flat", "three", "us_federal")
RULE_NAMES = ("rational", "quantal", "adaptive", "habit", "fixed", "altruistic", "adversarial")
LLM_RULE = "llm"
_NAME = r"^[a-z][a-z0-9_]{0,30}$"
_KEY_NAME = "api_key_env"  # the setting whose value no error may show: a key may have been given by mistake


class Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Year(Section):
    days: int = Field(8, ge=1, le=100_000, description="Days in a tax year, each a complete economy at annual rates.")


class CohortConfig(Section):
    """One cohort in the full form of `population.cohorts`."""

    name: str = Field(pattern=_NAME, description="Unique; seeds the cohort's random numbers.")
    rule: str = Field(description=f"{', '.join(RULE_NAMES)}, llm, or package.module:Class.")
    size: int = Field(ge=1, le=100_000_000, description="Agents.")
    parameters: dict[str, float] = Field(default_factory=dict, description="The rule's parameters, by name.")
    objective: Literal["egotistical", "altruistic", "adversarial"] = Field(
        "egotistical",
        description="What an LLM cohort is told to want: its own utility, social welfare, or as little of it as possible.",
    )
    llm: str | None = Field(None, description="Of an LLM cohort: the name in llm.others of what answers it; unset: llm itself.")


class Personas(Section):
    source: Literal["none", "census", "model"] = Field(
        "census",
        description="Who LLM workers are told they are: nobody; people drawn from census tables, in a template's words; the "
        "same people, written out once by the model.",
    )
    correlation: float = Field(
        0.5, ge=-1, le=1, description="Rank correlation of an agent's skill with the median pay of its persona's occupation."
    )


class Population(Section):
    mechanical: int = Field(2000, ge=0, le=100_000_000, description="Mechanical workers: half adaptive, half quantal.")
    llm: int = Field(16, ge=0, le=100_000, description="Workers whose decisions a language model writes.")
    cohorts: tuple[CohortConfig, ...] | None = Field(None, description="The full form; replaces `mechanical` and `llm`.")
    shares: dict[str, Bounded] = Field(
        default_factory=dict,
        description="Share of the people per cohort; `llm` names all LLM cohorts together (0.2 unless given). "
        "The rest is divided over the other cohorts by head count.",
    )
    skills: Literal["gb2", "uniform", "file"] = Field(
        "gb2", description="GB2 fitted to ACS 2023 income; the paper's uniform wages; microdata."
    )
    file: str | None = Field(
        None,
        description="Parquet or CSV with a column `skill` ($/year per weekly hour) or `income` ($/year at 40 h), "
        "and optionally `weight`.",
    )
    sampling: Literal["quantiles", "random"] = Field(
        "quantiles", description="Quantile midpoints, or draws that the seed decides."
    )
    personas: Personas = Personas()


class PreferencesConfig(Section):
    set: Literal["calibrated", "annualised", "paper"] = Field("calibrated", description="docs/design.md, Parameter sets.")
    disutility_exponent: float = Field(3.5, gt=1, le=20, description="d; the elasticity of income is 1/(d-1).")
    consumption_curvature: float = Field(0.0, ge=0, le=10, description="eta of U(x); 0 is linear, 1 logarithmic.")
    max_hours: float = Field(100.0, ge=10, le=168, description="h/week.")


class Welfare(Section):
    function: Literal["inverse_income", "paper_fixed", "inverse_consumption", "utilitarian", "rawlsian", "atkinson"] = Field(
        "inverse_income", description="docs/design.md, Welfare weights."
    )
    floor: Positive = Field(10_000.0, description="$/year; below it incomes (or utilities, for atkinson) count as equal.")
    epsilon: float = Field(1.0, ge=0, le=50, description="Inequality aversion of atkinson.")
    satisfaction: Literal["private", "counted"] = Field(
        "private", description="Whether the welfare that the planner sees counts the penalty of the dissatisfied."
    )
    penalty: Bounded = Field(0.5, description="What dissatisfaction leaves of utility.")


class Satisfaction(Section):
    """Whether workers are satisfied with what they pay and get back; docs/design.md, Satisfaction."""

    judged: bool = Field(False, description="Whether anybody is asked; otherwise everybody is satisfied.")
    every_days: int = Field(
        0,
        ge=0,
        le=100_000,
        description="Days between judgements, counted in each tax year; 0: once a year, before the last days by which the "
        "planner judges it.",
    )
    tolerance: tuple[float, float] = Field(
        (0.05, 0.45),
        description="Mechanical workers' tolerance is spread evenly between these: the net tax, as a share of income, at which "
        "they are satisfied with probability one half.",
    )
    width: Positive = Field(0.05, description="Net tax beyond one's tolerance that makes dissatisfaction e times likelier.")


class Budget(Section):
    public_spending: float = Field(0.0, ge=0, le=1e9, description="E, $/year per person.")
    rebate_floor: float | None = Field(None, description="Lowest rebate, $/year; unset lets it be a lump-sum tax.")


class SkillDynamicsConfig(Section):
    """Learning by doing, shocks, retirement and entry; docs/dynamics.md."""

    enabled: bool = Field(False, description="Whether skills change from year to year.")
    persistence: Bounded = Field(
        0.95, description="Of the deviation of log skill from its base, a year (Storesletten, Telmer and Yaron 2004: 0.952)."
    )
    learning: float = Field(
        0.02,
        ge=0,
        le=1,
        description="What a year at 80 h/week adds to log skill, and one at 0 h takes: a working value, no estimate; hours 1 % "
        "longer for good raise skill by learning/(1-persistence) %.",
    )
    shock: float = Field(
        0.165,
        ge=0,
        le=0.5,
        description="Standard deviation of a year's innovation of log skill (the same source: 0.12 in booms to 0.21 in slumps).",
    )
    working_years: float | None = Field(
        40.0,
        ge=1,
        le=1e9,
        description="An agent retires at the end of a year with probability 1/working_years, and somebody new takes the place, "
        "with its base skill and weights. Unset: nobody does.",
    )


OPTIMUM = "optimum"


class SavingConfig(Section):
    """A second action, with a return and a tax on it; docs/dynamics.md."""

    enabled: bool = Field(False, description="Whether people save. Needs preferences.consumption_curvature 0.")
    return_rate: float = Field(0.05, gt=0, le=0.5, description="Of wealth, a year.")
    tax: Bounded | Literal["optimum"] = Field(
        0.0,
        description="Share of the return that is taxed away, and goes into the pool. optimum: what welfare with fixed weights is "
        "highest with once wealth has settled (Saez and Stantcheva 2018).",
    )
    elasticity: float = Field(
        0.5, ge=0.05, le=5, description="Of the wealth one wants to the return net of tax: a working value, no estimate."
    )
    adjustment: float = Field(
        0.1, gt=0, le=1, description="Share of the gap to the wealth one wants that a year's saving closes."
    )
    wealth_income_ratio: float = Field(
        5.0, gt=0, le=100, description="Mean wealth over mean income at the US federal schedule, where the return is not taxed."
    )
    concentration: float = Field(
        1.5,
        ge=0,
        le=2,
        description="Elasticity of that wealth to skill. Incomes whose upper tail has a Pareto exponent of 2.4 then come with "
        "wealth whose tail has one of 1.6, near that of the United States (Vermeulen 2018: about 1.5).",
    )


class DynamicsConfig(Section):
    """What the paper leaves open; all off unless set."""

    skills: SkillDynamicsConfig = SkillDynamicsConfig()
    hours_inertia: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Probability, each day and for each worker, mechanical or LLM, of yesterday's hours instead of those chosen.",
    )

    saving: SavingConfig = SavingConfig()

    @property
    def switches(self) -> tuple[bool, ...]:
        """What is on, which decides what a run's state is made of."""
        return self.skills.enabled, self.hours_inertia > 0, self.saving.enabled


class Memory(Section):
    """The ingredients of in-context learning; each has a switch."""

    window: int = Field(
        4, ge=0, le=1000, description="Days (a worker) or years (a planner) of recent history: so many to twice as many. 0: none."
    )
    best: int = Field(5, ge=0, le=50, description="Best distinct choices so far, each with what it brought. 0: none.")
    statistics: bool = Field(True, description="Mean and spread of all that has been lived.")
    direction_hint: bool = Field(True, description="Whether the last change raised or lowered the result.")
    exploration: bool = Field(
        True,
        description="The cue to try something new; not in the last tenth of the run, nor, for workers, on a year's last day.",
    )
    exploitation: bool = Field(True, description="The cue of the best so far, and to take it where exploration ends.")


class PlannerMemory(Memory):
    window: int = Field(8, ge=0, le=1000, description=Memory.model_fields["window"].description)


class Planner(Section):
    kind: Literal[
        "auto",
        "fixed",
        "in_context",
        "llm",
        "elected",
        "us_federal",
        "flat",
        "saez",
        "saez_self_consistent",
        "optimum",
        "uniform_50",
    ] = Field(
        "auto",
        description="auto: llm where there is an LLM cohort, else in_context, which climbs by trial on its own history. fixed: "
        "the first schedule. elected: each year the workers elect one of themselves (section elections). us_federal to "
        "uniform_50: one schedule, worked out from everybody's exact responses, from the first year unless schedule.rates is "
        "given.",
    )
    memory: PlannerMemory = PlannerMemory()
    exploration_rate: Bounded = Field(0.3, description="Share of the years in which in_context tries a random change.")
    max_change: int = Field(
        20, ge=10, le=100, multiple_of=10, description="Percentage points that in_context and llm may move a rate in a year."
    )
    llm: str | None = Field(None, description="The name in llm.others of what answers an llm planner; unset: llm itself.")
    elasticity: Positive | tuple[Positive, ...] | None = Field(
        None,
        description="Of income to the net-of-tax rate, for the saez planners: one, or one per bracket. Unset: the economy's own, "
        "1/(d-1), with curvature the compensated 1/(d-1+eta).",
    )
    rate_bounds: tuple[Bounded, Bounded] = Field((0.0, 1.0), description="Lowest and highest rate of flat and optimum.")
    compared_with: tuple[Literal["us_federal", "flat", "saez", "saez_self_consistent", "optimum", "uniform_50"], ...] = Field(
        ("us_federal", "flat", "saez", "optimum"),
        description="Planners whose schedules a run's closing table shows beside the final one (optimum compiles for seconds).",
    )
    monotone: bool = Field(False, description="Whether the optimum's rates may not fall from bracket to bracket.")


class Elections(Section):
    """Of the leader, with planner.kind elected; or whether a standing planner stays, with `retention`. docs/elections.md."""

    retention: bool = Field(False, description="Whether the workers vote each year to keep the planner or to replace it.")
    method: Literal["plurality", "approval", "instant_runoff", "borda"] = Field(
        "plurality", description="How votes for a leader are cast and counted."
    )
    platforms: bool = Field(
        True,
        description="Whether those who are asked decide to stand and announce rates; otherwise all stand and announce none.",
    )
    candidates: int = Field(8, ge=1, le=127, description="Workers who are asked to stand, the leader and others drawn by lot.")
    eligible: tuple[str, ...] | None = Field(None, description="Cohorts whose members may stand; unset: all.")
    term_limit: int | None = Field(
        None, ge=1, le=1_000_000, description="Years in a row after which a leader may not stand at the next election."
    )
    noise: float = Field(
        0.01,
        ge=0,
        le=100,
        description="Gumbel deviate in a mechanical voter's valuation of a candidate, as a share of its full-time income.",
    )
    cost: float = Field(0.0, ge=0, le=1e9, description="$/year of gain that standing must bring a mechanical worker.")


class Schedule(Section):
    brackets: Literal["flat", "three", "us_federal"] | tuple[float, ...] = Field(
        "us_federal", description="Named brackets or thresholds in $/year, the first 0, strictly increasing."
    )
    rates: Bounded | tuple[Bounded, ...] | None = Field(
        None,
        description="Rates of the first year, one for all or one per bracket. "
        "Unset: the US federal rates on US federal brackets, 0.5 (the paper's start) on others.",
    )


class Price(Section):
    """Dollars per million tokens."""

    prompt: float = Field(0.0, ge=0)
    cached: float | None = Field(None, ge=0, description="Of prompt tokens from the provider's cache; unset: as `prompt`.")
    completion: float = Field(0.0, ge=0)


class Serving(Section):
    """One model and what serves it."""

    engine: Literal["vllm", "openai", "simulated", "replay"] = Field(
        "vllm",
        description="vllm: in this process. openai: any server with OpenAI's interface. replay: an earlier run's transcript. "
        "simulated: a documented stand-in that is no language model, for development.",
    )
    model: str = Field(
        "smollm2",
        min_length=1,
        description="A name of `jaxecon models list`, a Hugging Face name, a local folder; for openai the server's name of it.",
    )
    max_model_len: int = Field(2048, ge=256, le=1_048_576, description="Tokens of prompt and answer; histories are cut to fit.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="auto: what is fastest on this device.")
    kv_cache_gib: float = Field(2.0, gt=0, le=4096, description="Key-value cache on a CPU, GiB.")
    gpu_memory_share: float | None = Field(None, gt=0, le=1, description="Share of a GPU's memory for the engine.")
    base_url: str | None = Field(None, description="Of openai, such as http://localhost:8000/v1; unset: OpenAI's own.")
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        pattern=r"^[A-Z_][A-Z0-9_]*$",
        description="The name of the environment variable that holds the key, in capitals; never the key.",
    )
    max_connections: int = Field(64, ge=1, le=10_000)
    requests_per_minute: float | None = Field(None, gt=0)
    tokens_per_minute: float | None = Field(None, gt=0, description="Of prompts and answers together.")
    timeout_seconds: float = Field(120.0, gt=0, le=86_400, description="Of one request.")
    transport_retries: int = Field(6, ge=0, le=100, description="After errors of the server or the network.")
    patience_seconds: float = Field(120.0, ge=0, le=86_400, description="How long a server may be gone before the run stops.")
    transcript: str | None = Field(None, description="Of replay: a run's folder, or its transcript.sqlite.")
    price: Price = Price()


class LLM(Serving):
    temperature: float = Field(0.7, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(48, ge=8, le=4096, description="Tokens of one answer at most; more where its form needs them.")
    style: Literal["io", "cot"] = Field("io", description="io: the answer alone. cot: a line of reasoning before it.")
    retries: int = Field(2, ge=0, le=10, description="Further attempts after an unusable answer, before the fallback.")
    decide_every: int = Field(1, ge=1, le=100_000, description="Days between an LLM worker's decisions; it holds in between.")
    memory: Memory = Memory()
    budget_tokens: int | None = Field(None, ge=0, description="Prompt and completion tokens after which the run stops.")
    budget_usd: float | None = Field(None, ge=0, description="Dollars after which the run stops; needs prices.")
    others: dict[str, Serving] = Field(
        default_factory=dict, description="Further models by name, for cohorts and the planner to choose."
    )


class Record(Section):
    agents: Literal["every", "sample", "none"] = Field("every", description="Which agents' years are written.")
    sample: int = Field(1000, ge=1, description="Agents of each cohort written with `sample`, evenly spaced.")


class OscillatingRates(Section):
    """A planner that keeps taking its moves back."""

    watched: bool = Field(True, description="Whether this signature is looked for.")
    years: int = Field(10, ge=2, le=10_000, description="So many years back are looked at.")
    points: float = Field(
        20.0,
        gt=0,
        le=100,
        description="Percentage points of a change that counts: the largest step of planners who learn; smaller ones are "
        "their trials.",
    )
    share: float = Field(
        0.9, gt=0, le=1, description="Of these years, in which one rate turned back. A planner that explores gets to 0.8."
    )


class WelfareCollapse(Section):
    """Welfare, as the planner sees it, far below what it was, or would be under the US federal schedule."""

    watched: bool = Field(True, description="Whether this signature is looked for.")
    drop: float = Field(
        0.5, gt=0, lt=1, description="Share of welfare lost since the best year, or against US federal's where that is higher."
    )
    years: int = Field(3, ge=1, le=10_000, description="On end: a bad year or two may be a planner's trial.")


class HomogeneousLabor(Section):
    """Workers who learn, or are language models, and all work alike where they should not."""

    watched: bool = Field(True, description="Whether this signature is looked for.")
    share: float = Field(
        0.25, gt=0, lt=1, description="Of the exact responses' standard deviation, to which that of hours has fallen."
    )
    spread: float = Field(
        3.0,
        gt=0,
        le=100,
        description="h/week, the least standard deviation of the exact responses that hours are judged by: choosing among 0, "
        "10, .., 100 can hide 10/sqrt(12) = 2.9.",
    )
    years: int = Field(2, ge=1, le=10_000, description="On end: workers begin alike and part while they learn.")


class FallbackRate(Section):
    """Decisions that pass for a language model's and are none of its."""

    watched: bool = Field(True, description="Whether this signature is looked for.")
    limit: Bounded = Field(0.05, description="Share of a year's decisions, or of all so far, that may be fallbacks.")
    decisions: int = Field(20, ge=1, le=1_000_000, description="Fewer are not judged: one fallback among 20 is still 5 %.")


class Signatures(Section):
    """Signs of failure that a run shows when it sees them; they change nothing in it. docs/failure-signatures.md."""

    oscillating_rates: OscillatingRates = OscillatingRates()
    welfare_collapse: WelfareCollapse = WelfareCollapse()
    homogeneous_labor: HomogeneousLabor = HomogeneousLabor()
    fallback_rate: FallbackRate = FallbackRate()


class CheckpointPolicy(Section):
    """When a run's whole state is written; also where it is interrupted, and at its end."""

    every_years: int | None = Field(None, ge=1, le=10_000_000)
    every_days: int | None = Field(None, ge=1, le=1_000_000_000, description="Days of the whole run, over years.")
    every_minutes: float | None = Field(5.0, ge=0, le=1e6)
    keep_last: int = Field(2, ge=1, le=1_000_000, description="The newest, which are kept.")
    keep_every_years: int | None = Field(
        None, ge=1, le=10_000_000, description="At the start of every so many years one is written and kept, to branch from."
    )


class Config(Section):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, lt=2**32, description="Of the people, and of all draws unless draw_seed is given.")
    draw_seed: int | None = Field(
        None, ge=0, lt=2**32, description="Of what happens to the people: their draws, the planner's and the model's."
    )
    years: int = Field(4, ge=1, le=10_000_000, description="Tax years.")
    precision: Literal["auto", "float32", "float64"] = Field(
        "auto", description="Of the economy's arrays. auto: float64 with preferences.consumption_curvature > 0, else float32."
    )
    device: Literal["auto", "cpu"] = Field(
        "auto", description="Where the economy is computed: JAX's default device, or the CPU, which leaves a GPU to the engine."
    )
    devices: Literal["all"] | Annotated[int, Field(ge=1)] = Field(
        1, description="Over how many devices of that kind a run spreads the agents of its mechanical cohorts, in equal parts."
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
    signatures: Signatures = Signatures()
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
        sizes = (("adaptive", "adaptive", adaptive), ("quantal", "quantal", p.mechanical - adaptive), ("llm", LLM_RULE, p.llm))
        return tuple(CohortConfig(name=name, rule=rule, size=size) for name, rule, size in sizes if size)

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
        asked = [c.llm for c in self.cohorts if c.rule == LLM_RULE] + ([self.planner.llm] if self.planner_kind == "llm" else [])
        return {name: self.llm if name is None else self.llm.others[name] for name in dict.fromkeys(asked)}

    @property
    def shares(self) -> dict[str, float]:
        """Share of the people per cohort, summing to 1."""
        return _shares(self.cohorts, self.population.shares)

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> "Config":
        cohorts = self.cohorts
        if not cohorts:
            raise ValueError(
                "population: 0 agents; population.mechanical and population.llm (or population.cohorts) must add up to at least 1"
            )
        names = [c.name for c in cohorts]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"population.cohorts: name {name!r} is given {names.count(name)} times; names must be unique")
        for i, cohort in enumerate(cohorts):
            if ":" not in cohort.rule and cohort.rule not in (*RULE_NAMES, LLM_RULE):
                raise ValueError(
                    f"population.cohorts.{i}.rule: {cohort.rule!r}; "
                    f"{_one_of((*RULE_NAMES, LLM_RULE), cohort.rule)}, or package.module:Class"
                )
            if cohort.rule != LLM_RULE and cohort.name == LLM_RULE:
                raise ValueError(f"population.cohorts.{i}.name: 'llm'; stands for the LLM cohorts together, take another")
            if cohort.rule == LLM_RULE and cohort.name == "planner":
                raise ValueError(f"population.cohorts.{i}.name: 'planner'; the planner's own, take another")
            if cohort.rule != LLM_RULE and cohort.objective != "egotistical":
                raise ValueError(
                    f"population.cohorts.{i}.objective: {cohort.objective!r}; of LLM cohorts, others have the rules altruistic "
                    "and adversarial"
                )
            if cohort.rule != LLM_RULE and cohort.llm is not None:
                raise ValueError(f"population.cohorts.{i}.llm: {cohort.llm!r}; of LLM cohorts (rule: llm)")
        chosen = {f"population.cohorts.{i}.llm": c.llm for i, c in enumerate(cohorts)} | {"planner.llm": self.planner.llm}
        for setting, model in chosen.items():
            if model is not None and model not in self.llm.others:
                raise ValueError(f"{setting}: {model!r}; a name in llm.others: {', '.join(self.llm.others) or '(none is given)'}")
        for other, serving in self.servings.items():
            where = "llm" if other is None else f"llm.others.{other}"
            if self.llm.max_tokens > serving.max_model_len // 2:
                raise ValueError(
                    f"llm.max_tokens: {self.llm.max_tokens}; at most half of {where}.max_model_len ({serving.max_model_len})"
                )
            if (serving.engine == "replay") != (serving.transcript is not None):
                raise ValueError(f"{where}.transcript: {serving.transcript!r}; give it with {where}.engine=replay, and only then")
        priced = any(s.price.prompt + s.price.completion for s in self.servings.values())
        if self.llm.budget_usd is not None and self.needs_engine and not priced:
            raise ValueError(f"llm.budget_usd: {self.llm.budget_usd:g}; needs llm.price, dollars per million tokens")
        if self.satisfaction.every_days > self.year.days:
            raise ValueError(f"satisfaction.every_days: {self.satisfaction.every_days}; at most year.days = {self.year.days}")
        if not self.satisfaction.tolerance[0] <= self.satisfaction.tolerance[1]:
            raise ValueError(f"satisfaction.tolerance: {list(self.satisfaction.tolerance)}; two numbers, the first not larger")
        _shares(cohorts, self.population.shares)
        curvature = self.preferences.consumption_curvature
        if self.precision == "float32" and curvature > 1:
            raise ValueError("precision: 'float32'; preferences.consumption_curvature above 1 needs float64 (auto takes it)")
        if curvature > 1 and self.needs_engine:
            raise ValueError(
                f"preferences.consumption_curvature: {curvature:g}; at most 1 with language models: utilities beyond differ in "
                "digits that no prompt can show"
            )
        if self.welfare.function == "atkinson" and curvature > 0:
            raise ValueError(
                "welfare.function: 'atkinson'; its floor is in $/year, "
                f"so it needs preferences.consumption_curvature = 0, not {curvature:g}"
            )
        if (self.population.skills == "file") != (self.population.file is not None):
            raise ValueError(f"population.file: {self.population.file!r}; give it with population.skills=file, and only then")
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
                raise ValueError(f"elections.eligible: {name!r}; no such cohort; {_one_of(names, name)}")
        if eligible == ():
            raise ValueError("elections.eligible: []; one cohort at least, or unset for all")
        if self.elections.retention and self.planner_kind == "elected":
            raise ValueError("elections.retention: True; of a standing planner, and planner.kind elected has none")
        if self.dynamics.saving.enabled and self.preferences.consumption_curvature > 0:
            eta = self.preferences.consumption_curvature
            raise ValueError(f"dynamics.saving.enabled: True; with preferences.consumption_curvature 0, not {eta:g}")
        if self.dynamics.saving.tax == OPTIMUM and self.welfare.function in ("rawlsian", "atkinson"):
            raise ValueError(
                f"dynamics.saving.tax: {OPTIMUM!r}; for welfare with fixed weights, not {self.welfare.function} (give a number)"
            )
        if self.holds_elections and self.dynamics.skills.enabled:
            raise ValueError("dynamics.skills.enabled: True; elections are held among people whose skills stay what they are")
        if self.holds_elections and self.devices != 1:
            raise ValueError(f"devices: {self.devices}; elections are held on one device")
        low, high = self.planner.rate_bounds
        if not low < high:
            raise ValueError(f"planner.rate_bounds: {[low, high]}; two rates in [0, 1], the first smaller")
        rates = self.schedule.rates
        count = {"flat": 1, "three": 3, "us_federal": 7}[thresholds] if isinstance(thresholds, str) else len(thresholds)
        if isinstance(rates, tuple) and len(rates) != count:
            raise ValueError(f"schedule.rates: {len(rates)} rates for {count} brackets; one for all, or one per bracket")
        elasticity = self.planner.elasticity
        if isinstance(elasticity, tuple) and len(elasticity) != count:
            raise ValueError(f"planner.elasticity: {len(elasticity)} for {count} brackets; one for all, or one per bracket")
        return self


def _shares(cohorts: Sequence[CohortConfig], given: dict[str, float]) -> dict[str, float]:
    llm = [c for c in cohorts if c.rule == LLM_RULE]
    mechanical = [c for c in cohorts if c.rule != LLM_RULE]
    known = list(dict.fromkeys([c.name for c in cohorts] + ([LLM_RULE] if llm else [])))
    for name in given:
        if name not in known:
            raise ValueError(f"population.shares.{name}: no such cohort; {_one_of(known, name)}")
    shares = {
        c.name: given[c.name]
        for c in cohorts
        if c.name in given and not (c.name == LLM_RULE and c.rule == LLM_RULE and len(llm) > 1)
    }
    open_llm = [c for c in llm if c.name not in shares]
    open_mechanical = [c for c in mechanical if c.name not in shares]
    if open_llm:
        rest = 1 - sum(shares.values())
        together = given.get(LLM_RULE, 0.2 if mechanical else 1.0) - sum(shares.get(c.name, 0) for c in llm)
        together = together if open_mechanical else rest
        for c in open_llm:
            shares[c.name] = together * c.size / sum(c.size for c in open_llm)
    rest = 1 - sum(shares.values())
    for c in open_mechanical:
        shares[c.name] = rest * c.size / sum(c.size for c in open_mechanical)
    total = sum(shares.values())
    if abs(total - 1) > 1e-9 or min(shares.values()) <= 0:
        written = ", ".join(f"{name} {share:.6g}" for name, share in shares.items())
        raise ValueError(
            f"population.shares: {written} (sum {total:.6g}); every cohort's share must be above 0 and all must sum to 1"
        )
    return shares


def _one_of(names: Sequence[str], wrong: str) -> str:
    near = difflib.get_close_matches(wrong, names, 1, 0.6)
    listed = f"one of {', '.join(names)}"
    return f"did you mean {near[0]!r}? {listed}" if near else listed


_MANY = {CohortConfig: "a list of cohorts or unset", Serving: "a mapping of names to settings of llm, from engine to price"}


def describe() -> Iterator[str]:
    """Every setting in a line: name, default, accepted range, meaning."""

    def walk(model: type[pydantic.BaseModel], path: tuple[str, ...]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            section = next((s for m in _annotation_members(field.annotation) if (s := _section_of(m))), None)
            many = next((word for of, word in _MANY.items() if section is of), None)
            if section is not None and many is None:
                yield from walk(section, (*path, name))
                continue
            default = "required" if field.is_required() else field.get_default(call_default_factory=True)
            range_ = many if many is not None else _accepted((*path, name))
            yield f"{'.'.join((*path, name))} = {default}  ({range_})" + (
                f"\n    {field.description}" if field.description else ""
            )
            if section is CohortConfig:
                yield from walk(CohortConfig, (*path, name, "N"))

    yield from walk(Config, ())


# --- reading and writing -------------------------------------------------------------------------------------------


def load(source: "str | Path | dict[str, Any] | Config | None" = None, overrides: Sequence[str] = ()) -> Config:
    """The configuration from a YAML file, a dict, a Config or nothing (the defaults), with `key=value` overrides on top.

    Raises UserError: one line with the setting, the value and the accepted range.
    """
    if isinstance(source, Config):
        tree = source.model_dump(mode="json", exclude_unset=True)
    elif isinstance(source, dict):
        tree = copy.deepcopy(source)
    elif source is None:
        tree = {}
    elif isinstance(source, str | Path):
        tree = read_yaml(Path(source))
    else:
        raise UserError(f"configuration: {source!r}; a path, a dict, a Config or None")
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r}; a list of key=value")
    for override in overrides:
        apply(tree, override)
    return _validate(tree)


def to_yaml(config: Config) -> str:
    """The resolved configuration: every setting with its value."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


class _Numbers(yaml.SafeLoader):
    """YAML in which 1e3 is a number, as it is in YAML 1.2."""


_Numbers.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class _UniqueKeys(_Numbers):
    """And in which a key given twice is a mistake, and not its last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=True)
        if len(mapping) != len(node.value):
            names = [key.value for key, _ in node.value]
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.constructor.ConstructorError(None, None, f"{twice} is given twice", node.start_mark)
        return mapping


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file. Raises UserError: no such file, no mapping, keys given twice."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise UserError(f"configuration: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"configuration: {path}: not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"configuration: {path}{where}: {getattr(error, 'problem', None) or 'not YAML'}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(f"configuration: {path}: holds a {type(tree).__name__}; a mapping of settings is needed")
    return tree


def apply(tree: dict[str, Any], override: str) -> None:
    """Set `key=value` in a tree of settings. Raises UserError where there is no such place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        said = f"...{_KEY_NAME}..." if _KEY_NAME in override else override
        raise UserError(f"--set {said!r}: needs the form key=value, for example year.days=16")
    try:
        value = yaml.load(text, _Numbers)
    except yaml.YAMLError:
        said = "what is given" if _KEY_NAME in override else repr(text)
        raise UserError(f"--set {key}: {said} is not a YAML value") from None
    set_in(tree, key.strip(), value, "--set ")


def set_in(tree: dict[str, Any], key: str, value: Any, option: str = "") -> None:
    """Set a value in a tree of settings, by its dotted name. Raises UserError where there is no such place."""
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        if isinstance(node, dict):
            node = node.setdefault(parent, {})
        elif isinstance(node, list) and parent.isdigit() and int(parent) < len(node):
            node = node[int(parent)]
        else:
            raise UserError(f"{option}{key}: {parent!r} is not a section of settings")
        if node is None:
            raise UserError(f"{option}{key}: {parent!r} is unset; give the whole of it")
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"{option}{key}: {'.'.join(parents)} has no setting {last!r}")


def check_name(name: str, tree: dict[str, Any]) -> None:
    """Raise UserError unless there is a setting of that dotted name, in a tree that gives the lists it goes through."""
    path = name.split(".")
    node: Any = tree
    for i, part in enumerate(path):
        if part.isdigit():
            if not isinstance(node, list) or int(part) >= len(node):
                raise UserError(f"{name}: {'.'.join(path[:i])} has no part {part} here")
            node = node[int(part)]
            continue
        node = node.get(part) if isinstance(node, dict) else None
        fields, above = _fields_at(path[:i]), _field_at(path[:i])
        if above is not None and typing.get_origin(above.annotation) is dict:
            continue  # a name that the user gives
        if part not in fields:
            raise UserError(
                f"{name}: no such setting; {_one_of(list(fields), part) if fields else f'{path[i - 1]} has no parts'}"
            )


def is_section(name: str) -> str | None:
    """One of the settings in a section of that dotted name; None for a setting."""
    field = _field_at(name.split("."))
    if field is None or typing.get_origin(field.annotation) is dict:
        return None
    for member in _annotation_members(field.annotation):
        if isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            return next(iter(member.model_fields))
    return None


def _field_at(path: Sequence[str]) -> Any:
    named = [part for part in path if not part.isdigit()]
    return _fields_at(path[: len(path) - 1]).get(path[-1]) if named and not path[-1].isdigit() else None


def _validate(tree: dict[str, Any]) -> Config:
    for key in tree:
        if not isinstance(key, str):
            raise UserError(f"{key!r}: no such setting; {_one_of(list(Config.model_fields), str(key))}")
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        # an unknown name first, since other complaints are often its consequence; then the most precise place
        problems = sorted(error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(_path(e))))
        settings = {_path(p)[:2] for p in problems}
        more = f" (and {len(settings) - 1} more)" if len(settings) > 1 else ""
        raise UserError(_explain(problems[0]) + more) from None


def _path(problem: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in problem["loc"] if not _is_union_tag(part))


def _is_union_tag(part: object) -> bool:
    """pydantic puts the names of a union's members into the location; they are no part of the user's key."""
    return isinstance(part, str) and ("[" in part or part.startswith("constrained-") or part in ("float", "int", "str", "bool"))


def _explain(problem: Any) -> str:
    path = _path(problem)
    setting, value = ".".join(path), problem["input"]
    if _KEY_NAME in path:
        return f"{setting}: the NAME of an environment variable, like OPENAI_API_KEY (capitals, digits and _), never the key"
    if problem["type"] == "extra_forbidden":
        return f"{setting}: no such setting; {_one_of(list(_fields_at(path[:-1])), path[-1])}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return f"{setting}: missing; {_accepted(path)}"
    if problem["type"] == "string_pattern_mismatch":
        return f"{setting}: {value!r}; lower-case letters, digits and _, beginning with a letter, at most 31"
    return f"{setting}: {value!r}; {_accepted(path)}"


def _annotation_members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(m for arg in get_args(annotation) for m in _annotation_members(arg))
    if typing.get_origin(annotation) is Annotated:
        return _annotation_members(get_args(annotation)[0])
    return (annotation,)


def _fields_at(path: Sequence[str]) -> dict[str, Any]:
    model: type[pydantic.BaseModel] = Config
    named = False  # whether the next part is a name that the user gave
    for part in path:
        if part.isdigit() or part == "N" or named:
            named = False
            continue
        field = model.model_fields.get(part)
        if field is None:
            return {}
        named = typing.get_origin(field.annotation) is dict
        sections = [_section_of(m) for m in _annotation_members(field.annotation)]
        found = next((s for s in sections if s is not None), None)
        if found is None:
            return {}
        model = found
    return dict(model.model_fields)


def _section_of(annotation: Any) -> "type[pydantic.BaseModel] | None":
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if typing.get_origin(annotation) is tuple:
        return _section_of(get_args(annotation)[0])
    if typing.get_origin(annotation) is dict:
        return _section_of(get_args(annotation)[1])
    return None


def _accepted(path: Sequence[str]) -> str:
    """The accepted range of a setting in words, from the model's own annotations."""
    named = [p for p in path if not (p.isdigit() or p == "N")]
    field = _fields_at(named[:-1]).get(named[-1])
    if field is None:  # an entry of a mapping: the mapping says what its values may be
        return _accepted(named[:-1])
    kinds = []
    for member in _annotation_members(field.annotation):
        if typing.get_origin(member) is Literal:
            choices = get_args(member)
            kinds.append(("one of " if len(choices) > 1 else "") + ", ".join(map(str, choices)))
        elif member is type(None):
            kinds.append("unset")
        elif typing.get_origin(member) is tuple:
            kinds.append("a list")
        elif typing.get_origin(member) is dict:
            kinds.append("a mapping of names to " + ("sections" if _section_of(member) else "numbers"))
        elif isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            kinds.append(f"a section with {', '.join(member.model_fields)}")
        else:
            kinds.append({int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(member, ""))
    bounds = _bounds(field)
    return " or ".join(k for k in kinds if k) + (f" {bounds}" if bounds else "")


def _bounds(field: Any) -> str:
    metadata = list(field.metadata)
    for member in get_args(field.annotation):  # of a union's or a mapping's parts
        if typing.get_origin(member) is Annotated:
            metadata += [c for m in get_args(member)[1:] for c in getattr(m, "metadata", [m])]
    limits = {name: getattr(m, name) for m in metadata for name in ("gt", "ge", "lt", "le") if getattr(m, name, None) is not None}
    low = f"[{limits['ge']:g}" if "ge" in limits else f"({limits['gt']:g}" if "gt" in limits else ""
    high = f"{limits['le']:,.15g}]" if "le" in limits else f"{limits['lt']:,.15g})" if "lt" in limits else ""
    if low and high:
        return f"in {low}, {high}"
    if low:
        return f"{'of at least' if 'ge' in limits else 'above'} {low[1:]}"
    return f"of at most {high[:-1]}" if high else ""
