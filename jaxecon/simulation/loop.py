"""The outer loop of a run: years, planner, language-model workers, recorder."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core import processes
from jaxecon.core.compilation import WIDE_VECTORS
from jaxecon.core.draws import named_key
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.economy.days import (
    act,
    end_year,
    initial_state,
    judge,
    judged_after,
    settle_and_learn,
    simulate_days,
    start_year,
)
from jaxecon.economy.devices import compiled, layout_of, on_host, unplaced
from jaxecon.economy.dispersion import HoursSpread
from jaxecon.economy.precision import compute_context, dtype_of
from jaxecon.economy.state import AgentSums, Day, Economy, EconomyState, YearPlan, skill_of_year
from jaxecon.economy.summary import AgentYear, YearStatistics, summarise_year
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import Planner, PlannerContext, YearObservation
from jaxecon.planners.elections.voting import Election
from jaxecon.simulation.ports import ExternalWorkers, Listener, Meter, NoUsage, SilentListener
from jaxecon.simulation.state import RunState, joined_record
from jaxecon.storage.checkpoint import Checkpoints
from jaxecon.storage.checkpoint_files import Checkpoint, Position, check_form, restore
from jaxecon.storage.diagnostics import learning_cohorts
from jaxecon.storage.paths import AGENTS, BALLOTS, ELECTIONS
from jaxecon.storage.recorder import Recorder
from jaxecon.storage.tables import agents_table, ballots_table, elections_table
from jaxecon.storage.usage import LLMUsage

_LIVED = ("hours", "income", "tax", "rebate", "utility")  # of a year, for planners that ask

SEGMENT_DAYS = (
    32  # of a mechanical year compiled as one call: where signals and progress have a place to act
)


# Compiled once per process and shape, not once per simulation.
_initial_state = compiled(initial_state)

_start_year = compiled(start_year, compiler_options=WIDE_VECTORS)

_act = compiled(act, compiler_options=WIDE_VECTORS)

_settle = compiled(settle_and_learn, donate_argnums=(3,), compiler_options=WIDE_VECTORS)

_live_days = compiled(
    simulate_days, static_argnums=(4,), donate_argnums=(2, 3), compiler_options=WIDE_VECTORS
)

_judge = compiled(judge)

_summarise = compiled(summarise_year)

_end_year = compiled(end_year)

_skill_of_year = compiled(skill_of_year)


class Simulation:
    """One run in memory, and on disk as far as `recorder` and `checkpoints` go.

    economy: what build_economy made of the configuration. schedule: of the first year. planner:
    called at the start of each other. workers: who answers for LLM cohorts, needed if there are
    any. describe: what checkpoints hold besides the state, as JSON; asked at every position, since
    what happens after it (a batch that is interrupted, say) happens again where the run goes on.
    """

    def __init__(
        self,
        config: Config,
        economy: Economy,
        schedule: TaxSchedule,
        planner: Planner,
        *,
        workers: ExternalWorkers | None = None,
        meter: Meter | None = None,
        recorder: Recorder | None = None,
        checkpoints: Checkpoints | None = None,
        describe: Callable[[], dict[str, Any]] = dict,
        listener: Listener | None = None,
    ) -> None:
        self.config, self.economy, self.planner, self.workers = config, economy, planner, workers
        self._layout = layout_of(economy)
        self.recorder, self.listener, self.meter = (
            recorder,
            listener or SilentListener(),
            meter or NoUsage(),
        )
        self._checkpoints, self._describe = checkpoints, describe
        self._first_schedule = schedule
        self._outside = [
            name for name in self.economy.cohorts if name not in dict(self.economy.rules)
        ]
        if self._outside and workers is None:
            raise ValueError(
                f"cohorts {', '.join(self._outside)} have no rule and no workers to decide for them"
            )
        self._people = self._agent_columns()  # as they are this year
        self._spread = HoursSpread(economy, learning_cohorts(config))
        self.position = Position(0, 0)
        self._described = describe()  # at the position
        self._state: RunState | None = None  # at the position, from the moment the run begins
        self._usage_before = LLMUsage()  # of the year that the position is in
        self._stop: int | None = None
        self._interruptible = False  # while others decide
        self._whole = True  # whether the state can be saved

    @property
    def state(self) -> RunState:
        """At the position."""
        if self._state is None:
            self._state = self._initial_state()
        return self._state

    @property
    def schedule(self) -> TaxSchedule:
        """In force, or about to be in the first year."""
        return self._first_schedule if self._state is None else self._state.schedule

    def begin_at(self, position: Position, state: RunState) -> None:
        """Go on from a state that another run was in.

        Raises UserError where it is not one of this configuration.
        """
        with compute_context(self.config):
            check_form(
                "the state to go on from",
                self._form(position, state.observation is not None),
                state,
            )
            economy, sums = self._placed((state.economy, state.sums))
            schedule, planner, observation = unplaced(
                (state.schedule, state.planner, state.observation)
            )
            state = RunState(
                economy, schedule, planner, observation, sums, state.record, state.workers
            )
        if state.observation is not None:
            state = dataclasses.replace(
                state, observation=dataclasses.replace(state.observation, years=self.config.years)
            )
        self._arrive(position, state)
        self._usage_before = self.meter.usage
        if self.workers is not None:
            self.workers.restore(state.workers)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of this configuration. The meter must be where it was.

        Raises UserError: the state of another configuration.
        """
        with compute_context(self.config):
            seen = any(name.startswith("observation.") for name in checkpoint.meta["leaves"])
            state, meta = restore(checkpoint, self._form(checkpoint.position, seen))
        self.begin_at(checkpoint.position, state)
        self._usage_before = LLMUsage(**meta["usage_before"])
        if self._checkpoints is not None:
            self._checkpoints.latest = checkpoint.position

    def stop(self, signal: int) -> None:
        """Raise Interrupted between two days, or at once where the run waits for others' decisions;
        with the state saved.
        """
        self._stop = signal
        if (
            self._interruptible and not processes.has_several_processes()
        ):  # of several processes the others must hear of it first
            raise Interrupted(signal)

    def run(self, until: Position | None = None) -> None:
        """Live all years, or until a position, which ends with a checkpoint.

        Raises:
            Interrupted: `stop` was called.
            UserError: the disk cannot be written, or a rule returned what are no hours.
            What planner and workers raise. In all these cases the state is saved where it is whole.
        """
        with compute_context(self.config):
            end = until or Position(self.config.years, 0)
            try:
                while self.position < end:
                    self._live_year(end)
            except BaseException as error:
                if self._whole and (
                    isinstance(error, Interrupted) or not processes.has_several_processes()
                ):  # which others may not have met with
                    with suppress(UserError):  # the first error is the one to hear
                        self.save()
                raise
            self.save()

    def _initial_state(self) -> RunState:
        with compute_context(self.config):
            economy = _initial_state(self._layout, self.economy, self._first_schedule)
            planner = self.planner.init(self._context(self._first_schedule), self._planner_key)
            workers = {} if self.workers is None else self.workers.state
            return RunState(economy, self._first_schedule, planner, None, None, (), workers)

    def _context(self, schedule: TaxSchedule) -> PlannerContext:
        return PlannerContext(schedule, self.config.years, self.config.seed_of_draws)

    @property
    def _planner_key(self) -> jax.Array:
        return named_key(self.config.seed_of_draws, "planner")

    def planner_state(self, schedule: TaxSchedule) -> Any:
        """Of a planner that takes over under a schedule."""
        with compute_context(self.config):
            return self.planner.init(self._context(schedule), self._planner_key)

    def _form(self, position: Position, observed: bool) -> RunState:
        """What the state at a position is made of.

        observed: whether the planner has the year before still to see.
        """
        form = self._parts(position, observed)
        return form if self._layout is None else self._layout.described(form)

    def _parts(self, position: Position, observed: bool) -> RunState:
        economy = jax.eval_shape(initial_state, self.economy, self._first_schedule)
        schedule = jax.eval_shape(lambda: self._first_schedule)
        planner = self.planner_state(self._first_schedule)
        workers = {} if self.workers is None else self.workers.state
        if position.day == 0:
            by_bracket = np.zeros(self._first_schedule.brackets)
            lived = {
                name: {column: np.zeros(self.economy.cohorts[name].size) for column in _LIVED}
                for name in self.planner.asks
            }
            seen = YearObservation(
                0, 0, schedule, 0.0, 0.0, 0.0, 0.0, by_bracket, by_bracket, by_bracket, lived
            )
            return RunState(
                economy, schedule, planner, seen if observed else None, None, (), workers
            )
        economy, _, sums = jax.eval_shape(
            start_year, self.economy, economy, schedule, self.config.year.days
        )
        days = np.zeros(position.day, economy.rebate.dtype)
        record = Day(*(days for _ in dataclasses.fields(Day)))  # type: ignore[arg-type]
        return RunState(economy, schedule, planner, None, sums, (record,), workers)

    def _placed(self, tree: Any) -> Any:
        """On this run's devices what may lie on others."""
        return unplaced(tree) if self._layout is None else self._layout.placed(tree)

    def _live_year(self, end: Position) -> None:
        year, days, started = self.position.year, self.config.year.days, time.monotonic()
        state, plan = self._begun(self.state)
        done = self.position.day
        while True:
            economy = state.economy
            if done in self._judged_after:
                economy = self._judge(year, done, state)
            if done == days:
                break
            assert state.sums is not None
            self._whole = bool(self._outside)
            if self._outside:
                now, sums, record = self._hybrid_day(year, done, plan, state, economy)
                count = 1
            else:
                count = min(
                    n for n in (SEGMENT_DAYS, days - done, *self._boundaries(done, end)) if n > 0
                )
                now, sums, record = _live_days(
                    self._layout, self.economy, plan, economy, state.sums, count
                )
            done += count
            record = jax.tree.map(
                np.atleast_1d, jax.device_get(record)
            )  # on the host, where years of any length are joined
            memories = {} if self.workers is None else self.workers.state
            state = RunState(
                now, state.schedule, state.planner, None, sums, (*state.record, record), memories
            )
            self._arrive(Position(year, done), state)
            today = {name: float(value[-1]) for name, value in vars(record).items()}
            self.listener.on_days(year, done, today, self.meter.usage)
            if self.position >= end:
                return
            if done < days:
                self._pause()
        del plan  # its tables are of no use any more, and the year's end takes memory of its own
        self._end_year(state, economy, time.monotonic() - started)
        self._pause()

    def _boundaries(self, done: int, end: Position) -> Iterator[int]:
        """Days from `done` to where a segment must end: the same ones in a resumed run."""
        year = self.position.year
        yield from (day - done for day in self._judged_after)
        if end.year == year:
            yield end.day - done
        every = self.config.checkpoint.every_days
        if every:
            yield every - (year * self.config.year.days + done) % every

    def _begun(self, state: RunState) -> tuple[RunState, YearPlan]:
        """The state on the year's first day, or as it is later in the year; and what its days
        share.
        """
        days = self.config.year.days
        if self.position.day:
            _, plan, _ = _start_year(
                self._layout, self.economy, state.economy, state.schedule, days
            )
            self._meet(state.economy, first_day=False)
            return state, plan
        self._usage_before = self.meter.usage
        schedule, planner = state.schedule, state.planner
        if state.observation is not None:
            key = jax.random.fold_in(self._planner_key, self.position.year)
            with self._waiting():
                schedule, planner = self.planner.propose(planner, state.observation, key)
        economy, plan, sums = _start_year(self._layout, self.economy, state.economy, schedule, days)
        self._meet(economy, first_day=True)
        return RunState(economy, schedule, planner, None, sums, (), state.workers), plan

    def _meet(self, state: EconomyState, *, first_day: bool) -> None:
        """This year's people, where they are others than the last one's."""
        careers = state.dynamics.careers
        if careers is None:
            return
        skill = {
            name: on_host(s)
            for name, s in _skill_of_year(self._layout, self.economy, state).items()
        }
        self._people = {
            name: columns | {"skill": skill[name]} for name, columns in self._people.items()
        }
        if self.workers is not None:
            entered = {
                name: first_day & (on_host(careers.years[name]) == 0) for name in self._outside
            }
            self.workers.begin_year({name: skill[name] for name in self._outside}, entered)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """While others decide, a signal need not wait for them: the state is that before."""
        self._interruptible = True
        try:
            if self._stop is not None and not processes.has_several_processes():
                raise Interrupted(self._stop)
            yield
        finally:
            self._interruptible = False

    def _arrive(self, position: Position, state: RunState) -> None:
        self.position, self._state, self._described, self._whole = (
            position,
            state,
            self._describe(),
            True,
        )

    def _pause(self) -> None:
        """Between two days: where checkpoints are made and signals are heard."""
        due = self._checkpoints is not None and self._checkpoints.due(
            self.position, self.config.year.days
        )
        said = processes.everybody_says(
            due, self._stop or 0
        )  # clocks differ, and signals come to some sooner
        if said[0, 0]:
            self.save(wait=False)
        if said[:, 1].any():
            raise Interrupted(int(said[:, 1].max()))

    def save(self, *, wait: bool = True) -> None:
        """Write a checkpoint, where there is a place for it.

        Raises UserError where it cannot be written.
        """
        if self._checkpoints is None:
            return
        if self._checkpoints.latest == self.position:
            self._checkpoints.wait()
            return
        state = self.state
        if state.record:
            state = dataclasses.replace(state, record=(joined_record(state.record),))
        if self._layout is not None:
            state = self._layout.placed(state)
        self._checkpoints.save(
            self.position, state, {"usage_before": vars(self._usage_before), **self._described}
        )
        if wait:
            self._checkpoints.wait()

    def _end_year(self, state: RunState, economy: EconomyState, seconds: float) -> None:
        year, schedule = self.position.year, state.schedule
        assert state.sums is not None
        self._whole = False
        figures, agents = _summarise(
            self._layout, self.economy, schedule, economy, state.sums, joined_record(state.record)
        )
        for (
            name,
            hours,
        ) in agents.hours.items():  # no rule may poison the pool and let the run look complete
            wrong = ~(
                (hours >= 0)
                & (hours <= self.economy.cohorts[name].preferences.max_hours * (1 + 1e-5))
            )
            if bool(jnp.any(wrong)):
                agent = int(jnp.argmax(wrong))
                raise UserError(
                    f"cohort {name}, agent {agent}, year {year}: mean hours {float(hours[agent])}; "
                    "its rule must return hours in [0, "
                    f"{float(self.economy.cohorts[name].preferences.max_hours):g}]"
                )
        row = self._row(
            year, state, figures, agents, self.meter.usage.since(self._usage_before), seconds
        )
        self._record(year, row, agents, economy.satisfied, self.planner.election(state.planner))
        observation = self._observe(year, schedule, figures, agents)
        workers = (
            {} if self.workers is None else self.workers.state
        )  # judged since the year's last day
        ended = _end_year(self._layout, self.economy, economy, state.sums)
        self._arrive(
            Position(year + 1, 0),
            RunState(ended, schedule, state.planner, observation, None, (), workers),
        )
        self._usage_before = self.meter.usage
        self.listener.on_year(row, self.meter.usage)

    @property
    def _judged_after(self) -> range:
        return judged_after(self.config)

    def _judge(self, year: int, done: int, state: RunState) -> EconomyState:
        """Everybody says whether they are satisfied with the year so far, `done` days of it."""
        answered = {}
        sums = state.sums
        assert sums is not None
        if self._outside:
            assert self.workers is not None
            means = {}
            for name in self._outside:
                hours, tax = np.asarray(sums.hours[name]) / done, np.asarray(sums.tax[name]) / done
                rebate = np.asarray(sums.rebate) / done
                means[name] = {
                    "hours": hours,
                    "income": self._people[name]["skill"] * hours,
                    "tax": tax,
                    "rebate": rebate,
                }
            with self._waiting():
                answered = self.workers.judge(year, done - 1, state.schedule, means)
        return _judge(
            self._layout,
            self.economy,
            state.economy,
            sums,
            {name: jnp.asarray(x) for name, x in answered.items()},
        )

    def _hybrid_day(
        self, year: int, day: int, plan: YearPlan, state: RunState, economy: EconomyState
    ) -> tuple[EconomyState, AgentSums, Day]:
        assert self.workers is not None
        rebate = float(economy.rebate)
        hours, economy = _act(
            self._layout, self.economy, plan, economy
        )  # dispatched, not awaited: it runs while the engine works
        with self._waiting():
            external = self.workers.decide(year, day, state.schedule, rebate)
        self._whole = False
        dtype = dtype_of(self.config)
        hours = hours | {name: jnp.asarray(h, dtype) for name, h in external.items()}
        economy, sums, record, outcomes = _settle(
            self._layout, self.economy, plan, economy, state.sums, hours
        )
        self.workers.observe(
            year, day, {name: outcomes[name] for name in external}, float(record.swf_private)
        )
        return economy, sums, record

    def _row(
        self,
        year: int,
        state: RunState,
        figures: YearStatistics,
        agents: AgentYear,
        usage: LLMUsage,
        seconds: float,
    ) -> dict[str, Any]:
        skills = {name: people["skill"] for name, people in self._people.items()}
        return {
            "year": year,
            **{name: float(value) for name, value in vars(figures).items() if value is not None},
            **{f"rate_{k}": round(float(rate), 7) for k, rate in enumerate(state.schedule.rates)},
            "leader": self.planner.leader(state.planner),
            "llm_calls": usage.calls,
            "llm_fallbacks": usage.fallbacks,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "seconds": seconds,
            "llm_decisions": usage.decisions,
            **self._spread.of_year(state.schedule, float(figures.rebate), skills, agents.hours),
        }

    def _agent_columns(self) -> dict[str, dict[str, np.ndarray]]:
        return {
            name: {"skill": on_host(cohort.skill), "weight": on_host(cohort.weight)}
            for name, cohort in self.economy.cohorts.items()
        }

    def _record(
        self,
        year: int,
        row: Mapping[str, Any],
        agents: AgentYear,
        satisfied: Mapping[str, jax.Array],
        election: Election | None,
    ) -> None:
        if self.recorder is None:
            return
        tables, record = {}, self.config.record
        kept = {}
        for name, cohort in self.economy.cohorts.items():
            most = {"every": cohort.size, "sample": min(record.sample, cohort.size), "none": 0}[
                record.agents
            ]
            kept[name] = np.linspace(0, cohort.size - 1, most).round().astype(np.int64)
        if record.agents != "none":
            cohorts = {}
            for name in self.economy.cohorts:
                moving = {
                    column: on_host(values[name])
                    for column, values in vars(agents).items()
                    if values is not None
                }
                cohorts[name] = (
                    self._people[name] | moving | {"satisfied": on_host(satisfied[name])}
                )
            tables[AGENTS] = agents_table(year, cohorts, kept)
        if election is not None and int(election.year) == year:
            sizes = {name: cohort.size for name, cohort in self.economy.cohorts.items()}
            tables[ELECTIONS] = elections_table(election, sizes)
            tables[BALLOTS] = ballots_table(election, sizes, kept)
        recorder = self.recorder
        processes.together(lambda: recorder.year(row, tables))

    def _observe(
        self, year: int, schedule: TaxSchedule, figures: YearStatistics, agents: AgentYear
    ) -> YearObservation:
        def everyone(x: Mapping[str, jax.Array]) -> np.ndarray:
            return np.concatenate(
                [on_host(x[name]).astype(np.float64) for name in self.economy.cohorts]
            )

        weight, income, utility = (
            everyone(x) for x in (self.economy.weights, agents.income, agents.utility)
        )
        bracket = np.searchsorted(np.asarray(schedule.thresholds), income, side="right") - 1
        people, incomes, utilities = (
            np.bincount(bracket, weight * x, minlength=schedule.brackets)
            for x in (np.ones_like(income), income, utility)
        )
        held = np.maximum(people, np.finfo(float).tiny)
        return YearObservation(
            year=year,
            years=self.config.years,
            schedule=schedule,
            welfare=float(figures.swf_window),
            mean_hours=float(figures.mean_hours),
            mean_income=float(figures.mean_income),
            rebate=float(figures.rebate),
            people=people / weight.sum(),
            income=incomes / held,
            utility=utilities / held,
            lived={name: self._lived(name, figures, agents) for name in self.planner.asks},
        )

    def _lived(
        self, name: str, figures: YearStatistics, agents: AgentYear
    ) -> dict[str, np.ndarray]:
        """A cohort's year, for a planner that asks about it."""
        rebate = np.full(self.economy.cohorts[name].size, float(figures.rebate))
        return {
            column: rebate
            if column == "rebate"
            else np.asarray(getattr(agents, column)[name], float)
            for column in _LIVED
        }
