"""The loop of a run: its years and days, and where between them it can be saved or interrupted."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pyarrow as pa

from jaxecon.config.settings import Config
from jaxecon.core import processes
from jaxecon.core.draws import named_key
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.economy.devices import layout_of
from jaxecon.economy.hours_spread import HoursSpread
from jaxecon.economy.precision import compute_context
from jaxecon.economy.satisfaction import judged_after
from jaxecon.economy.state import Economy, EconomyState, YearPlan
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import Planner, PlannerContext
from jaxecon.simulation import programs
from jaxecon.simulation.hybrid import HybridCohorts
from jaxecon.simulation.invariants import check_days, check_year, unfunded
from jaxecon.simulation.observation import observe_year
from jaxecon.simulation.people import People
from jaxecon.simulation.ports import ExternalWorkers, Listener, Meter, NoUsage, SilentListener
from jaxecon.simulation.state import RunState, joined_record
from jaxecon.simulation.state_form import form_between_years, form_within_year, placed_state
from jaxecon.simulation.stopping import StopRequest
from jaxecon.simulation.year_tables import year_row, year_tables
from jaxecon.storage.checkpoint import Checkpoints
from jaxecon.storage.checkpoint_files import Checkpoint, Position, check_form, restore
from jaxecon.storage.failure_diagnostics import learning_cohorts
from jaxecon.storage.recorder import Recorder
from jaxecon.storage.survey import SurveyAnswer
from jaxecon.storage.usage import LLMUsage

# Days of a mechanical year in one compiled call; signals and progress are handled between calls.
SEGMENT_DAYS = 32


class Simulation:
    """One run in memory, and on disk where `recorder` and `checkpoints` write it.

    Args:
        config: the run's settings.
        economy: built from them by build_economy.
        schedule: the first year's.
        planner: called at the start of each later year.
        workers: decide for LLM cohorts; needed if there are any.
        meter: reports the usage of language models.
        recorder: writes the tables; None where another process or nobody does.
        checkpoints: where states are saved; None where they are not.
        describe: returns what checkpoints hold besides the state, as JSON. Called at every
            position, since what happens after it, such as an interrupted batch, happens again on
            resuming.
        listener: called with days and years.
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
        self.config, self.economy, self.planner = config, economy, planner
        self.recorder, self.listener = recorder, listener or SilentListener()
        self.meter = meter or NoUsage()
        self.last_row: dict[str, Any] | None = None  # of the last year simulated here
        self._layout = layout_of(economy)
        self._checkpoints, self._describe = checkpoints, describe
        self._first_schedule = schedule
        self._judged_after = judged_after(config)
        self._stop_request = StopRequest()
        self._hybrid = HybridCohorts(
            self._layout, economy, workers, config.survey, self._stop_request.while_waiting
        )
        self._people = People(economy)
        self._spread = HoursSpread(economy, learning_cohorts(config))
        self.position = Position(0, 0)
        self._described = describe()  # at the position
        self._state: RunState | None = None  # at the position; None before the run begins
        self._usage_before = LLMUsage()  # when the position's year began
        self._whole = True  # whether the state can be saved

    @property
    def state(self) -> RunState:
        """The run's state at the current position."""
        if self._state is None:
            self._state = self._initial_state()
        return self._state

    @property
    def schedule(self) -> TaxSchedule:
        """The schedule in force; before the run begins, that of the first year."""
        return self._first_schedule if self._state is None else self._state.schedule

    def begin_at(self, position: Position, state: RunState) -> None:
        """Continue from a state of another run.

        Raises:
            UserError: the state does not fit this configuration.
        """
        observation = state.observation
        with compute_context(self.config):
            form = self._form(position, observed=observation is not None)
            check_form("the state to continue from", form, state)
            state = placed_state(self._layout, state)
        if state.observation is not None:
            years = self.config.years
            state = replace(state, observation=replace(state.observation, years=years))
        self._arrive(position, state)
        self._usage_before = self.meter.usage
        self._hybrid.restore(state.workers)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from a checkpoint of this configuration.

        The meter must already be back where it was at the checkpoint.

        Raises:
            UserError: the state does not fit this configuration.
        """
        with compute_context(self.config):
            observed = any(name.startswith("observation.") for name in checkpoint.meta["leaves"])
            state, meta = restore(checkpoint, self._form(checkpoint.position, observed=observed))
        self.begin_at(checkpoint.position, state)
        self._usage_before = LLMUsage(**meta["usage_before"])
        if self._checkpoints is not None:
            self._checkpoints.latest = checkpoint.position

    def planner_state(self, schedule: TaxSchedule) -> Any:
        """The first state of the planner when it takes over under a schedule."""
        context = PlannerContext(schedule, self.config.years, self.config.seed_of_draws)
        with compute_context(self.config):
            return self.planner.init(context, self._planner_key)

    @property
    def _planner_key(self) -> jax.Array:
        return named_key(self.config.seed_of_draws, "planner")

    def _initial_state(self) -> RunState:
        with compute_context(self.config):
            economy = programs.initial_state(self._layout, self.economy, self._first_schedule)
            planner = self.planner_state(self._first_schedule)
            memories = self._hybrid.memories
            return RunState(economy, self._first_schedule, planner, None, None, (), memories)

    def _form(self, position: Position, *, observed: bool) -> RunState:
        """The form of the state at a position: its structure, shapes and types.

        observed: whether the planner has yet to see the year before.
        """
        schedule = self._first_schedule
        planner, memories = self.planner_state(schedule), self._hybrid.memories
        if position.day:
            days = position.day, self.config.year.days
            return form_within_year(self._layout, self.economy, schedule, planner, memories, *days)
        asks = self.planner.asks if observed else None
        return form_between_years(self._layout, self.economy, schedule, planner, asks, memories)

    def run(self, until: Position | None = None) -> None:
        """Simulate all years, or up to a position, and write a checkpoint at the end.

        If an exception ends the run, the state is saved first where it is whole.

        Raises:
            Interrupted: `stop` was called.
            UserError: the disk cannot be written.
            InvariantError: the run computed what cannot be.
            Exception: whatever planner and workers raise.
        """
        with compute_context(self.config):
            end = until or Position(self.config.years, 0)
            try:
                while self.position < end:
                    self._simulate_year(end)
            except BaseException as error:
                # With several processes, the others may not have had this error, and a
                # checkpoint is written by all or by none.
                alone = not processes.has_several_processes()
                if self._whole and (isinstance(error, Interrupted) or alone):
                    with suppress(UserError):  # the first error is the one to report
                        self.save()
                raise
            self.save()

    def _simulate_year(self, end: Position) -> None:
        year, days, started = self.position.year, self.config.year.days, time.monotonic()
        state, plan = self._begin_year(self.state)
        done = self.position.day
        while True:
            economy = self._judge(year, done, state)
            if done == days:
                break
            state, done = self._simulate_segment(year, done, end, state, economy, plan)
            if self.position >= end:
                return
            if done < days:
                self._pause()
        del plan  # free its tables, since the end of the year needs memory of its own
        answers = self._hybrid.answer(year, days, state.schedule, state.sums, self._people)
        self._end_year(state, economy, answers, time.monotonic() - started)
        self._pause()

    def _begin_year(self, state: RunState) -> tuple[RunState, YearPlan]:
        """The state at the position in the year, and the plan that all days of the year share."""
        days = self.config.year.days
        if self.position.day:
            _, plan, _ = programs.start_year(
                self._layout, self.economy, state.economy, state.schedule, days
            )
            self._renew_people(state.economy, first_day=False)
            return state, plan
        self._usage_before = self.meter.usage
        schedule, planner = state.schedule, state.planner
        if state.observation is not None:
            key = jax.random.fold_in(self._planner_key, self.position.year)
            with self._stop_request.while_waiting():
                schedule, planner = self.planner.propose(planner, state.observation, key)
        economy, plan, sums = programs.start_year(
            self._layout, self.economy, state.economy, schedule, days
        )
        self._renew_people(economy, first_day=True)
        return RunState(economy, schedule, planner, None, sums, (), state.workers), plan

    def _renew_people(self, state: EconomyState, *, first_day: bool) -> None:
        """Take over this year's people, where skills change from year to year."""
        if state.dynamics.careers is None:
            return
        self._people.change_skills(self._layout, self.economy, state)
        self._hybrid.begin_year(self._people, state, first_day=first_day)

    def _judge(self, year: int, done: int, state: RunState) -> EconomyState:
        """Ask everybody, on the days set for it, whether the year so far satisfies them."""
        if done not in self._judged_after:
            return state.economy
        sums = state.sums
        assert sums is not None
        answers = self._hybrid.judge(year, done, state.schedule, sums, self._people)
        return programs.judge(self._layout, self.economy, state.economy, sums, answers)

    def _simulate_segment(
        self,
        year: int,
        done: int,
        end: Position,
        state: RunState,
        economy: EconomyState,
        plan: YearPlan,
    ) -> tuple[RunState, int]:
        """Simulate the next day of a hybrid economy, or the next days of a mechanical one.

        economy: the state's economy after `_judge`. Returns the state and how many days of the year
        are done.
        """
        sums = state.sums
        assert sums is not None
        if self._hybrid.names:
            hours, economy = self._hybrid.choose(year, done, state.schedule, plan, economy)
            self._whole = False
            settled = self._hybrid.settle(year, done, plan, economy, sums, hours)
            count = 1
        else:
            self._whole = False  # the compiled days reuse the state's memory
            count = self._segment_days(done, end)
            args = self._layout, self.economy, plan, economy, sums, count
            settled = programs.simulate_days(*args)
        now, sums, record, impossible = settled
        # to the host, where the records of a year's days are joined
        record, impossible = jax.device_get((record, impossible))
        record = jax.tree.map(np.atleast_1d, record)
        check_days(year, done, self.economy, record, impossible)
        done += count
        records, memories = (*state.record, record), self._hybrid.memories
        state = RunState(now, state.schedule, state.planner, None, sums, records, memories)
        self._arrive(Position(year, done), state)
        today = {name: float(value[-1]) for name, value in vars(record).items()}
        self.listener.on_days(year, done, today, self.meter.usage)
        return state, done

    def _segment_days(self, done: int, end: Position) -> int:
        """Days to simulate in one call; a resumed run uses the same segments."""
        year, days = self.position.year, self.config.year.days
        ends = [SEGMENT_DAYS, days - done, *(day - done for day in self._judged_after)]
        if end.year == year:
            ends.append(end.day - done)
        every = self.config.checkpoint.every_days
        if every:
            ends.append(every - (year * days + done) % every)
        return min(count for count in ends if count > 0)

    def _end_year(
        self,
        state: RunState,
        economy: EconomyState,
        answers: list[SurveyAnswer],
        seconds: float,
    ) -> None:
        """Record the year and arrive at the next. economy: the state's economy after `_judge`."""
        year, schedule = self.position.year, state.schedule
        assert state.sums is not None
        self._whole = False
        statistics, agents = programs.summarise(
            self._layout, self.economy, schedule, economy, state.sums, joined_record(state.record)
        )
        usage = self.meter.usage.since(self._usage_before)
        days, rebate = self.config.year.days, float(statistics.rebate)
        check_year(year, days, self.economy, schedule, statistics, agents, usage)
        row = year_row(
            year,
            schedule,
            statistics,
            self.planner.leader(state.planner),
            usage,
            answers,
            seconds,
            self._spread.of_year(schedule, rebate, self._people.skills, agents.hours)
            | unfunded(self.economy, statistics),
        )
        record, election = self.config.record, self.planner.election(state.planner)
        judged = economy.satisfied
        self._record(
            row,
            lambda: year_tables(
                year, self.economy, record, self._people, agents, judged, election, answers
            ),
        )
        years, asks = self.config.years, self.planner.asks
        observation = observe_year(year, years, self.economy, schedule, statistics, agents, asks)
        memories = self._hybrid.memories  # again: workers may have judged since the last day
        ended = programs.end_year(self._layout, self.economy, economy, state.sums)
        begun = RunState(ended, schedule, state.planner, observation, None, (), memories)
        self._arrive(Position(year + 1, 0), begun)
        self.last_row = row
        self._usage_before = self.meter.usage
        self.listener.on_year(row, self.meter.usage)

    def _record(self, row: dict[str, Any], make_tables: Callable[[], dict[str, pa.Table]]) -> None:
        recorder = self.recorder
        if recorder is None and not processes.has_several_processes():
            return
        # With several processes, all must ask for the arrays, which lie on the devices of all.
        tables = make_tables()
        processes.run_together(lambda: recorder.year(row, tables) if recorder is not None else None)

    def stop(self, signal: int) -> None:
        """Make the run raise Interrupted between two days, with the state saved.

        It is raised at once while the run waits for the planner's or the workers' decisions.
        """
        self._stop_request.set(signal)

    def _arrive(self, position: Position, state: RunState) -> None:
        self.position, self._state = position, state
        self._described, self._whole = self._describe(), True

    def _pause(self) -> None:
        """Write a checkpoint that is due and obey a signal, between two days."""
        due = self._checkpoints is not None and self._checkpoints.due(
            self.position, self.config.year.days
        )
        due, signal = self._stop_request.agree(due)
        if due:
            self.save(wait=False)
        if signal is not None:
            raise Interrupted(signal)

    def save(self, *, wait: bool = True) -> None:
        """Write a checkpoint, unless the run has no place for checkpoints.

        Raises:
            UserError: it cannot be written.
        """
        if self._checkpoints is None:
            return
        if self._checkpoints.latest == self.position:
            self._checkpoints.wait()
            return
        state = self.state
        if state.record:
            state = replace(state, record=(joined_record(state.record),))
        if self._layout is not None:
            state = self._layout.placed(state)
        meta = {"usage_before": vars(self._usage_before), **self._described}
        self._checkpoints.save(self.position, state, meta)
        if wait:
            self._checkpoints.wait()
