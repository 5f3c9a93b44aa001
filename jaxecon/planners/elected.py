"""Planners that the workers elect: a leader of their own every year, or a planner that they may throw out."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxecon._pytree import concrete, pytree
from jaxecon.economy import Economy, leader_problem
from jaxecon.leader import LeaderProblem
from jaxecon.planners.base import Planner, PlannerContext, YearObservation
from jaxecon.taxation import TaxSchedule
from jaxecon.voting import (
    NOBODY,
    Election,
    ElectionRules,
    VotingMethod,
    count,
    mark_ballots,
    nominate,
    own_optima,
    perceived,
    valuations,
    worker_at,
)

Array = jax.Array
ArrayLike = jax.typing.ArrayLike

MOST_KEPT = 64  # workers whose own optima are worked out once and kept, where no more may stand
HISTORY = 8  # years of leaders, rates and own utility that a model is shown


@pytree
class History:
    """The last HISTORY years, oldest first; -1 in the year of a place that is empty. leaders: (h,) workers; rates: (h, k);
    utility: by cohort of those a model decides for, (h, n)."""

    years: Array
    leaders: Array
    rates: Array
    utility: dict[str, Array]

    @classmethod
    def empty(cls, brackets: int, sizes: Mapping[str, int], dtype: jnp.dtype) -> "History":
        """Before the first year. sizes: of the cohorts that a model decides for."""
        utility = {name: jnp.zeros((HISTORY, size), dtype) for name, size in sizes.items()}
        nobody = jnp.full(HISTORY, NOBODY, jnp.int32)
        return cls(jnp.full(HISTORY, -1, jnp.int32), nobody, jnp.zeros((HISTORY, brackets), dtype), utility)


@pytree
class ElectedState:
    """leader: a worker, NOBODY before there was one; terms: years in a row. history: what models are shown. last: the last
    election."""

    leader: Array
    terms: Array
    history: History
    last: Election


class Candidate(NamedTuple):
    """What is known of one: cohort and agent, "" and 0 of what is no worker. rates: that it announces or has in force, None
    where it has said nothing. incumbent: whether it leads now."""

    cohort: str
    agent: int
    rates: tuple[float, ...] | None
    incumbent: bool


class Electorate(Protocol):
    """Workers whose candidacies, ballots and policies come from outside. observation.lived tells what their year was."""

    cohorts: tuple[str, ...]

    def stand(
        self, observation: YearObservation, history: History, asked: Mapping[tuple[str, int], bool]
    ) -> dict[tuple[str, int], tuple[float, ...] | None]:
        """The rates (k,) of those who stand, None of those who do not. asked: cohort and agent, whether it leads now."""
        ...

    def vote(
        self, observation: YearObservation, history: History, method: VotingMethod, candidates: tuple[Candidate, ...]
    ) -> dict[str, np.ndarray]:
        """Ballots (n, candidates) by cohort, as in `Election`."""
        ...

    def lead(self, observation: YearObservation, history: History, leader: Candidate) -> tuple[float, ...]:
        """The rates (k,) that the elected worker sets."""
        ...


class Elected(Planner):
    """Each year the workers elect one of themselves, who sets the rates for its own utility. Implements planners.Planner.

    A mechanical leader announces its own optimum. A mechanical nominee stands where that gains it more than the cost of standing
    over the schedule in force. Mechanical voters know what each candidate's schedule would be worth to them once everybody has
    responded: that it announces, for an incumbent who announces none that in force, otherwise that which somebody of its skill
    would want. `propose` without an electorate is pure and works under jit and vmap.
    """

    name = "elected"

    def __init__(self, economy: Economy, rules: ElectionRules, thresholds: Array, electorate: Electorate | None = None) -> None:
        """thresholds: (k,) $/year, of all schedules."""
        self._economy, self._rules, self._electorate = economy, rules, electorate
        self._sizes = {name: c.size for name, c in economy.cohorts.items()}
        self.asks = () if electorate is None else electorate.cohorts
        n = sum(self._sizes.values())
        self._places = min(rules.candidates, n)
        self._optima: tuple[Array, Array] | None = None  # rates (n, k) and utility (n,), where all may stand in every year
        if n <= min(self._places, MOST_KEPT):
            self._optima = _own_optima(leader_problem(economy), jnp.arange(n), thresholds, rules.bounds)

    def init(self, context: PlannerContext, key: Array) -> ElectedState:
        n, k = sum(self._sizes.values()), context.initial.brackets
        dtype, places = context.initial.rates.dtype, self._places
        history = History.empty(k, {name: self._sizes[name] for name in self.asks}, dtype)
        nobody = jnp.full((), NOBODY, jnp.int32)
        return ElectedState(nobody, jnp.zeros((), jnp.int32), history, Election.none(n, places, k, dtype))

    def propose(self, state: ElectedState, observation: YearObservation, key: Array) -> tuple[TaxSchedule, ElectedState]:
        economy, rules, now = self._economy, self._rules, observation.schedule
        state = dataclasses.replace(state, history=_with_year(state.history, observation, state.leader))
        year = jnp.asarray(observation.year, jnp.int32) + 1
        nomination, lot = jax.random.split(key)
        election = _nominated(economy, rules, self._optima, state, year, now, nomination)
        if self._electorate is not None:
            election = self._asked_to_stand(state, observation, election)
        ballots = _mechanical_ballots(economy, rules, election, now)
        if self._electorate is not None:
            ballots = self._with_votes(state, observation, election, ballots)
        election = dataclasses.replace(election, ballots=ballots)
        state, rates = _counted(economy.everyone.weight, rules.method, state, election, now, lot)
        if self._electorate is not None and (leader := self._asked(int(state.leader))) is not None:
            place = int(state.last.elected)
            own = tuple(state.last.platforms[place].tolist()) if place != NOBODY and rules.platforms else None
            rates = self._electorate.lead(observation, state.history, Candidate(*leader, own, place == NOBODY))
        return TaxSchedule(now.thresholds, jnp.asarray(rates, now.rates.dtype)), state

    def leader(self, state: ElectedState) -> str:
        """Who leads."""
        return worker_name(int(state.leader), self._sizes)

    def election(self, state: ElectedState) -> Election:
        """The last one."""
        return state.last

    # --- those who are asked ----------------------------------------------------------------------------------------

    def _asked(self, worker: int) -> tuple[str, int] | None:
        """Cohort and agent of a worker, if it is one of those who are asked."""
        who = None if worker == NOBODY else worker_at(worker, self._sizes)
        return who if who is not None and who[0] in self.asks else None

    def _asked_to_stand(self, state: ElectedState, observation: YearObservation, election: Election) -> Election:
        assert self._electorate is not None
        if not self._rules.platforms:
            return election
        stood, platforms = np.array(election.stood), np.array(election.platforms)
        places = {
            who: place
            for place, worker in enumerate(np.asarray(election.candidates).tolist())
            if (who := self._asked(worker)) is not None
        }
        asked = {who: bool(election.candidates[place] == state.leader) for who, place in places.items()}
        for who, rates in (self._electorate.stand(observation, state.history, asked) if asked else {}).items():
            stood[places[who]] = rates is not None
            if rates is not None:
                platforms[places[who]] = rates
        return dataclasses.replace(election, stood=jnp.asarray(stood), platforms=jnp.asarray(platforms))

    def _with_votes(self, state: ElectedState, observation: YearObservation, election: Election, ballots: Array) -> Array:
        assert self._electorate is not None
        standing = np.flatnonzero(np.asarray(election.stood))
        if not len(standing):
            return ballots
        candidates = []
        for place in standing.tolist():
            worker = int(election.candidates[place])
            rates = tuple(round(float(r), 6) for r in election.platforms[place]) if self._rules.platforms else None
            candidates.append(Candidate(*worker_at(worker, self._sizes), rates, worker == int(state.leader)))
        said = self._electorate.vote(observation, state.history, self._rules.method, tuple(candidates))
        return _put_in(self._economy, ballots, standing, said)


@pytree
class RetainedState:
    """planner: the state of the standing planner. began: rates (k,) that were in force when it took office. history: what models
    are shown. last: the last vote, place 0 the planner, place 1 its removal."""

    planner: Any
    began: Array
    history: History
    last: Election


class Retained(Planner):
    """A standing planner that the workers may throw out each year. Implements planners.Planner.

    They choose between the rates in force and those that were in force when the planner took office. Where a majority wants those
    back, a new planner of the same kind, without the memory of the old one, takes office under them for a year. Where nobody
    votes, or as many for as against, the planner stays.
    """

    def __init__(
        self, planner: Planner, economy: Economy, rules: ElectionRules, years: int, electorate: Electorate | None = None
    ) -> None:
        self.name, self._planner, self._economy, self._years = planner.name, planner, economy, years
        self._rules, self._electorate = dataclasses.replace(rules, method="plurality"), electorate
        self._sizes = {name: c.size for name, c in economy.cohorts.items()}
        self.asks = () if electorate is None else electorate.cohorts

    def init(self, context: PlannerContext, key: Array) -> RetainedState:
        k, dtype = context.initial.brackets, context.initial.rates.dtype
        history = History.empty(k, {name: self._sizes[name] for name in self.asks}, dtype)
        last = Election.none(sum(self._sizes.values()), 2, k, dtype)
        return RetainedState(self._planner.init(context, key), context.initial.rates, history, last)

    def propose(self, state: RetainedState, observation: YearObservation, key: Array) -> tuple[TaxSchedule, RetainedState]:
        now = observation.schedule
        history = _with_year(state.history, observation, jnp.full((), NOBODY, jnp.int32))
        year = jnp.asarray(observation.year, jnp.int32) + 1
        platforms = jnp.stack([now.rates, state.began])
        contested = jnp.any(platforms[0] != platforms[1])
        blank = Election.none(state.last.ballots.shape[0], 2, now.brackets, now.rates.dtype)
        election = dataclasses.replace(blank, year=year, platforms=platforms, stood=jnp.stack([contested, contested]))
        ballots = _mechanical_ballots(self._economy, self._rules, election, now)
        if self._electorate is not None and bool(contested):
            options = tuple(
                Candidate("", 0, tuple(round(float(r), 6) for r in rates), place == 0) for place, rates in enumerate(platforms)
            )
            said = self._electorate.vote(observation, history, "plurality", options)
            ballots = _put_in(self._economy, ballots, np.arange(2), said)
        election, out = _verdict(self._economy.everyone.weight, dataclasses.replace(election, ballots=ballots), key)
        began = TaxSchedule(now.thresholds, state.began)
        fresh = self._planner.init(PlannerContext(began, self._years), key)
        thrown_out = concrete(out)
        if thrown_out is not None and thrown_out:  # nobody is asked for rates that nobody will pay
            return began, RetainedState(fresh, state.began, history, election)
        proposed, planner = self._planner.propose(state.planner, observation, key)
        planner = jax.tree.map(lambda new, old: jnp.where(out, new, old), fresh, planner)
        schedule = TaxSchedule(now.thresholds, jnp.where(out, state.began, proposed.rates))
        return schedule, RetainedState(planner, state.began, history, election)

    def election(self, state: RetainedState) -> Election:
        """The last vote."""
        return state.last


def worker_name(worker: int, sizes: Mapping[str, int]) -> str:
    """Cohort and agent of a worker's place among everyone; "nobody" for NOBODY."""
    return "nobody" if worker == NOBODY else "{} {}".format(*worker_at(worker, sizes))


# --- kernels: each compiled once for all runs of a shape, so what rarely changes stands apart ---------------------------


@partial(jax.jit, static_argnames="bounds")
def _own_optima(problem: LeaderProblem, agents: Array, thresholds: Array, bounds: tuple[float, float]) -> tuple[Array, Array]:
    return own_optima(problem, agents, thresholds, bounds)


def _with_year(history: History, observation: YearObservation, leader: Array) -> History:
    """With the year that just ended in the last place, and all others one further up."""

    def pushed(kept: Array, new: Any) -> Array:
        return jnp.concatenate([kept[1:], jnp.asarray(new, kept.dtype)[None]])

    return History(
        pushed(history.years, observation.year),
        pushed(history.leaders, leader),
        pushed(history.rates, observation.schedule.rates),
        {name: pushed(kept, observation.lived[name]["utility"]) for name, kept in history.utility.items()},
    )


def _nominated(
    economy: Economy,
    rules: ElectionRules,
    every_optimum: tuple[Array, Array] | None,
    state: ElectedState,
    year: Array,
    now: TaxSchedule,
    key: Array,
) -> Election:
    """Candidates, whether they stand, and what is expected of them."""
    problem = leader_problem(economy)
    places, n = state.last.candidates.shape[0], problem.skill.shape[0]
    candidates = _asked(economy, rules.eligible, rules.term_limit, state.leader, state.terms, key, places)
    who = jnp.maximum(candidates, 0)
    optima, worth = (
        _own_optima(problem, who, now.thresholds, rules.bounds)
        if every_optimum is None
        else jax.tree.map(lambda x: x[who], every_optimum)
    )
    incumbent = (candidates == state.leader) & (candidates != NOBODY)
    platforms = jnp.where(incumbent[:, None], now.rates, optima)
    stood = (candidates != NOBODY) & ((worth > -jnp.inf) | incumbent)
    if rules.platforms:
        before = _values(problem, now.thresholds, now.rates[None])[0, who]
        stood = stood & (incumbent | (worth - before > rules.cost))
    blank = Election.none(n, places, now.brackets, now.rates.dtype)
    return dataclasses.replace(blank, year=year, candidates=candidates, stood=stood, platforms=platforms)


@partial(jax.jit, static_argnames=("eligible", "term_limit", "places"))
def _asked(
    economy: Economy,
    eligible: tuple[str, ...] | None,
    term_limit: int | None,
    leader: Array,
    terms: Array,
    key: Array,
    places: int,
) -> Array:
    """Who is asked to stand, (places,) workers."""
    may = jnp.concatenate([jnp.full(c.size, eligible is None or name in eligible) for name, c in economy.cohorts.items()])
    if term_limit is not None:
        may = may & ~((jnp.arange(may.shape[0]) == leader) & (terms >= term_limit))
    return nominate(economy.everyone.weight, may, leader, places, key)


_values = jax.jit(valuations)


def _mechanical_ballots(economy: Economy, rules: ElectionRules, election: Election, now: TaxSchedule) -> Array:
    """Ballots (n, m) of everybody as if all were mechanical."""
    values = _values(leader_problem(economy), now.thresholds, election.platforms)
    return _marked(economy, rules.method, rules.noise, values, election.stood, election.year)


@partial(jax.jit, static_argnames="method")
def _marked(economy: Economy, method: VotingMethod, noise: ArrayLike, values: Array, stood: Array, year: Array) -> Array:
    values, tie_break = perceived(economy, values, noise, year)
    return mark_ballots(method, values, stood, tie_break)


def _put_in(economy: Economy, ballots: Array, places: np.ndarray, said: Mapping[str, np.ndarray]) -> Array:
    """The ballots with those of the cohorts that were asked, (n, len(places)) each, in the places they were asked about."""
    whole, start = np.array(ballots), 0
    for name, cohort in economy.cohorts.items():
        if name in said:
            whole[start : start + cohort.size] = 0
            whole[start : start + cohort.size, places] = said[name]
        start += cohort.size
    return jnp.asarray(whole)


@partial(jax.jit, static_argnames="method")
def _counted(
    weights: Array, method: VotingMethod, state: ElectedState, election: Election, now: TaxSchedule, key: Array
) -> tuple[ElectedState, Array]:
    """The state after the count, and the rates of the elected if it is mechanical."""
    counted = count(method, election.ballots, weights, election.stood, key)
    election = dataclasses.replace(election, scores=counted.scores, elected=counted.elected, tied=counted.tied)
    somebody = counted.elected != NOBODY
    place = jnp.maximum(counted.elected, 0)
    leader = jnp.where(somebody, election.candidates[place], state.leader)
    terms = jnp.where(leader == state.leader, state.terms + 1, 1) * (leader != NOBODY)
    rates = jnp.where(somebody, election.platforms[place], now.rates)
    return ElectedState(leader, terms, state.history, election), rates


@jax.jit
def _verdict(weights: Array, election: Election, key: Array) -> tuple[Election, Array]:
    """The vote with its count, and whether the planner is out: only where more want that than not."""
    counted = count("plurality", election.ballots, weights, election.stood, key)
    out = (counted.elected == 1) & ~counted.tied
    elected = jnp.where(counted.elected == NOBODY, NOBODY, out.astype(jnp.int32))
    return dataclasses.replace(election, scores=counted.scores, elected=elected, tied=counted.tied), out
