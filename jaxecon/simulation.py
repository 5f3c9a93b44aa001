"""The outer loop of a run: years, planner, language-model workers, recorder."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon import economy as eco
from jaxecon.build import dtype_of, first_schedule
from jaxecon.config import Config
from jaxecon.equilibrium import Outcome
from jaxecon.errors import UserError
from jaxecon.planners.base import Planner, PlannerContext, YearObservation
from jaxecon.random import named_key
from jaxecon.records import Recorder, agents_table
from jaxecon.stackelberg import FlatOptimum, best_flat_tax
from jaxecon.taxation import TaxSchedule
from jaxecon.welfare import gini

SEGMENT_DAYS = 32  # of a mechanical year compiled as one call: where signals and progress have a place to act


@dataclass(frozen=True)
class LLMUsage:
    """What language models did, added up. `seconds` is time spent waiting for the engine."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    statuses: Mapping[str, int] = field(default_factory=dict)

    @property
    def fallbacks(self) -> int:
        return self.statuses.get("fallback", 0)

    def since(self, earlier: "LLMUsage") -> "LLMUsage":
        return LLMUsage(
            self.calls - earlier.calls,
            self.prompt_tokens - earlier.prompt_tokens,
            self.cached_tokens - earlier.cached_tokens,
            self.completion_tokens - earlier.completion_tokens,
            self.seconds - earlier.seconds,
            {k: v - earlier.statuses.get(k, 0) for k, v in self.statuses.items()},
        )


class ExternalWorkers(Protocol):
    """Cohorts whose hours come from outside the compiled economy."""

    def decide(self, year: int, day: int, schedule: TaxSchedule, rebate: float) -> dict[str, np.ndarray]:
        """Hours (n,) by cohort name, for one day."""
        ...

    def observe(self, year: int, day: int, outcomes: dict[str, Outcome]) -> None:
        """What the day brought these cohorts."""
        ...


class Meter(Protocol):
    """Where the usage of language models is read."""

    @property
    def usage(self) -> LLMUsage: ...


class Listener(Protocol):
    """Who is told how a run goes."""

    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: LLMUsage) -> None: ...

    def on_year(self, row: Mapping[str, Any], usage: LLMUsage) -> None: ...


class Silent:
    def on_days(self, year: int, days_done: int, day: Mapping[str, float], usage: LLMUsage) -> None:
        return

    def on_year(self, row: Mapping[str, Any], usage: LLMUsage) -> None:
        return


class NoModel:
    usage = LLMUsage()


# Compiled once per process and shape, not once per simulation.
_initial_state = jax.jit(eco.initial_state)
_start_year = jax.jit(eco.start_year)
_act = jax.jit(eco.act)
_settle = jax.jit(eco.settle_and_learn, donate_argnums=(3,))
_live_days = jax.jit(eco.live_days, static_argnames="days", donate_argnums=(2, 3))
_summarise = jax.jit(eco.summarise_year)


@contextmanager
def precision(config: Config) -> Iterator[None]:
    """64-bit arrays where the configuration asks for them, in this thread only."""
    with jax.enable_x64(dtype_of(config) is np.float64):
        yield


class Simulation:
    """One run in memory, and on disk as far as `recorder` goes.

    economy: what build_economy made of the configuration.
    planner: called at the start of each year but the first. workers: who answers for LLM cohorts, needed if there are any.
    """

    def __init__(
        self,
        config: Config,
        economy: eco.Economy,
        planner: Planner,
        *,
        workers: ExternalWorkers | None = None,
        meter: Meter | None = None,
        recorder: Recorder | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.config, self.economy, self.planner, self.workers = config, economy, planner, workers
        self.recorder, self.listener, self.meter = recorder, listener or Silent(), meter or NoModel()
        with precision(config):
            self.schedule = first_schedule(config)
            self.state = _initial_state(self.economy, self.schedule)
        outside = [name for name in self.economy.cohorts if name not in dict(self.economy.rules)]
        if outside and workers is None:
            raise ValueError(f"cohorts {', '.join(outside)} have no rule and no workers to decide for them")
        self._has_outside = bool(outside)
        self._static_agents = self._agent_columns()

    def run(self) -> list[dict[str, Any]]:
        """Live all years. Returns the rows of years.parquet."""
        with precision(self.config):
            key = named_key(self.config.seed, "planner")
            context = PlannerContext(self.schedule, self.config.years, self.config.seed)
            planner_state = self.planner.init(context, key)
            rows = []
            observation: YearObservation | None = None
            for year in range(self.config.years):
                started, before = time.monotonic(), self.meter.usage
                if observation is not None:
                    self.schedule, planner_state = self.planner.propose(planner_state, observation, jax.random.fold_in(key, year))
                figures, agents = self._live_year(year)
                row = self._row(year, figures, self.meter.usage.since(before), time.monotonic() - started)
                self._record(year, row, agents)
                rows.append(row)
                observation = self._observe(year, figures, agents)
                self.listener.on_year(row, self.meter.usage)
        return rows

    def _live_year(self, year: int) -> tuple[eco.YearFigures, eco.AgentYear]:
        days = self.config.year.days
        state, plan, sums = _start_year(self.economy, self.state, self.schedule, days)
        records = []
        done = 0
        while done < days:
            if self._has_outside:
                state, sums, record = self._hybrid_day(year, done, plan, state, sums)
                count = 1
            else:
                count = min(SEGMENT_DAYS, days - done)
                state, sums, record = _live_days(self.economy, plan, state, sums, count)
            done += count
            records.append(record)
            today = {name: float(value[-1]) for name, value in vars(record).items()}
            self.listener.on_days(year, done, today, self.meter.usage)
        record = jax.tree.map(lambda *parts: jnp.concatenate(parts), *records)
        figures, agents = _summarise(self.economy, self.schedule, state, sums, record)
        for name, hours in agents.hours.items():  # no rule may poison the pool and let the run look complete
            wrong = ~((hours >= 0) & (hours <= self.economy.cohorts[name].preferences.max_hours * (1 + 1e-5)))
            if bool(jnp.any(wrong)):
                agent = int(jnp.argmax(wrong))
                raise UserError(
                    f"cohort {name}, agent {agent}, year {year}: mean hours {float(hours[agent])}; "
                    f"its rule must return hours in [0, {float(self.economy.cohorts[name].preferences.max_hours):g}]"
                )
        self.state = eco.end_year(state)
        return figures, agents

    def _hybrid_day(
        self, year: int, day: int, plan: eco.YearPlan, state: eco.EconomyState, sums: eco.AgentSums
    ) -> tuple[eco.EconomyState, eco.AgentSums, eco.Day]:
        assert self.workers is not None
        rebate = float(state.rebate)
        hours, state = _act(self.economy, plan, state)  # dispatched, not awaited: it runs while the engine works
        external = self.workers.decide(year, day, self.schedule, rebate)
        dtype = dtype_of(self.config)
        hours = hours | {name: jnp.asarray(h, dtype) for name, h in external.items()}
        state, sums, record, outcomes = _settle(self.economy, plan, state, sums, hours)
        self.workers.observe(year, day, {name: outcomes[name] for name in external})
        return state, sums, jax.tree.map(lambda x: x[None], record)

    def _row(self, year: int, figures: eco.YearFigures, usage: LLMUsage, seconds: float) -> dict[str, Any]:
        return {
            "year": year,
            **{name: float(value) for name, value in vars(figures).items()},
            **{f"rate_{k}": round(float(rate), 7) for k, rate in enumerate(self.schedule.rates)},
            "leader": self.planner.name,
            "llm_calls": usage.calls,
            "llm_fallbacks": usage.fallbacks,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "seconds": seconds,
        }

    def _agent_columns(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            name: {"skill": np.asarray(cohort.skill), "weight": np.asarray(cohort.weight)}
            for name, cohort in self.economy.cohorts.items()
        }

    def _record(self, year: int, row: Mapping[str, Any], agents: eco.AgentYear) -> None:
        if self.recorder is None:
            return
        table = None
        record = self.config.record
        if record.agents != "none":
            cohorts, kept = {}, {}
            for name, cohort in self.economy.cohorts.items():
                most = cohort.size if record.agents == "every" else min(record.sample, cohort.size)
                kept[name] = np.linspace(0, cohort.size - 1, most).round().astype(np.int64)
                moving = {column: np.asarray(values[name]) for column, values in vars(agents).items()}
                cohorts[name] = self._static_agents[name] | moving | {"satisfied": np.asarray(self.state.satisfied[name])}
            table = agents_table(year, cohorts, kept)
        self.recorder.year(row, table)

    def _observe(self, year: int, figures: eco.YearFigures, agents: eco.AgentYear) -> YearObservation:
        def everyone(x: Mapping[str, jax.Array]) -> np.ndarray:
            return np.concatenate([np.asarray(x[name], np.float64) for name in self.economy.cohorts])

        weight, income, utility = (everyone(x) for x in (self.economy.weights, agents.income, agents.utility))
        bracket = np.searchsorted(np.asarray(self.schedule.thresholds), income, side="right") - 1
        people, incomes, utilities = (
            np.bincount(bracket, weight * x, minlength=self.schedule.brackets) for x in (np.ones_like(income), income, utility)
        )
        held = np.maximum(people, np.finfo(float).tiny)
        return YearObservation(
            year=year,
            schedule=self.schedule,
            welfare=float(figures.swf_window),
            mean_hours=float(figures.mean_hours),
            mean_income=float(figures.mean_income),
            rebate=float(figures.rebate),
            people=people / weight.sum(),
            income=incomes / held,
            utility=utilities / held,
        )


def baselines(economy: eco.Economy, final: TaxSchedule) -> list[dict[str, Any]]:
    """The final schedule beside US federal and the exact best flat tax, each at everybody's exact response.

    Rows: policy, rates, welfare, gain (a fraction), hours (h/week), income ($/year), gini_consumption, rebate ($/year).
    """
    federal = TaxSchedule.us_federal().astype(final.rates.dtype)
    flat = _best_flat(economy, final)
    return [
        _policy_row(economy, name, schedule)
        for name, schedule in (("us_federal", federal), ("best_flat", flat.schedule), ("final", final))
    ]


@jax.jit
def _best_flat(economy: eco.Economy, like: TaxSchedule) -> FlatOptimum:
    return best_flat_tax(partial(eco.equilibrium_welfare, economy), like.rates.dtype)


@jax.jit
def _at_equilibrium(economy: eco.Economy, schedule: TaxSchedule) -> dict[str, jax.Array]:
    outcome = eco.equilibrium_outcome(economy, schedule)
    everyone = economy.everyone
    welfare = economy.welfare(eco.by_cohort(economy, outcome.utility))
    weights = everyone.weight

    def mean(x: jax.Array) -> jax.Array:
        return jnp.sum(x * weights) / jnp.sum(weights)

    return {
        "welfare": welfare,
        "gain": eco.welfare_gain(economy, welfare),
        "hours": mean(outcome.hours),
        "income": mean(outcome.income),
        "gini_consumption": gini(jnp.maximum(outcome.consumption, 0), weights),
        "rebate": outcome.rebate,
    }


def _policy_row(economy: eco.Economy, name: str, schedule: TaxSchedule) -> dict[str, Any]:
    figures = {k: float(v) for k, v in _at_equilibrium(economy, schedule).items()}
    rates = [round(float(r), 6) for r in schedule.rates]
    return {"policy": name, "thresholds": [float(t) for t in schedule.thresholds], "rates": rates, **figures}
