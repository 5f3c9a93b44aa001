"""A planner that the workers elect: one of themselves, every year."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.economy.equilibrium import leader_problem
from jaxecon.economy.state import Economy
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import Planner, PlannerContext, YearObservation
from jaxecon.planners.elections.electorate import (
    MAX_KEPT,
    Candidate,
    ElectedState,
    Electorate,
    History,
    add_year,
    compute_valuations,
    decide_election,
    draw_candidates,
    mechanical_ballots,
    replace_ballots,
    worker_name,
)
from jaxecon.planners.elections.own_optima import own_optima
from jaxecon.planners.elections.voting import NOBODY, Election, ElectionRules, worker_at


class Elected(Planner):
    """Each year the workers elect one of themselves, who sets the rates for its own utility.

    Implements jaxecon.planners.base.Planner.

    A mechanical leader sets the schedule that is best for itself. A mechanical worker who is asked
    stands if its gain from that schedule, over the one in force, exceeds the cost of standing.
    Mechanical voters know the utility that they would have at equilibrium under each candidate's
    schedule: the one it announces; the one in force for an incumbent who announces none; otherwise
    the one that is best for a worker of its skill. `propose` without an electorate is pure and
    works under jit and vmap.
    """

    name = "elected"

    def __init__(
        self,
        economy: Economy,
        rules: ElectionRules,
        thresholds: Array,
        electorate: Electorate | None = None,
    ) -> None:
        """Make the elected planner of an economy.

        thresholds: (k,) $/year, of all schedules. electorate: makes the decisions of workers for
        whom a language model decides; None if all are mechanical.
        """
        self._economy, self._rules, self._electorate = economy, rules, electorate
        self._sizes = {name: c.size for name, c in economy.cohorts.items()}
        self.asks = () if electorate is None else electorate.cohorts
        n = sum(self._sizes.values())
        self._places = min(rules.candidates, n)
        # best rates (n, k) for all workers and their utility (n,), if all may stand every year
        self._optima: tuple[Array, Array] | None = None
        if n <= min(self._places, MAX_KEPT):
            self._optima = _own_optima(
                leader_problem(economy), jnp.arange(n), thresholds, rules.bounds
            )

    def init(self, context: PlannerContext, key: Array) -> ElectedState:
        n, k = sum(self._sizes.values()), context.initial.brackets
        dtype, places = context.initial.rates.dtype, self._places
        history = History.empty(k, {name: self._sizes[name] for name in self.asks}, dtype)
        nobody = jnp.full((), NOBODY, jnp.int32)
        return ElectedState(
            nobody, jnp.zeros((), jnp.int32), history, Election.none(n, places, k, dtype)
        )

    def propose(
        self, state: ElectedState, observation: YearObservation, key: Array
    ) -> tuple[TaxSchedule, ElectedState]:
        economy, rules, now = self._economy, self._rules, observation.schedule
        state = dataclasses.replace(
            state, history=add_year(state.history, observation, state.leader)
        )
        year = jnp.asarray(observation.year, jnp.int32) + 1
        nomination, lot = jax.random.split(key)
        election = _call_election(economy, rules, self._optima, state, year, now, nomination)
        if self._electorate is not None:
            election = self._with_candidacies(state, observation, election)
        ballots = mechanical_ballots(economy, rules, election, now)
        if self._electorate is not None:
            ballots = self._with_votes(state, observation, election, ballots)
        election = dataclasses.replace(election, ballots=ballots)
        state, rates = decide_election(
            economy.population.weight, rules.method, state, election, now, lot
        )
        if (
            self._electorate is not None
            and (leader := self._agent_asked(int(state.leader))) is not None
        ):
            place = int(state.last.elected)
            own = (
                tuple(state.last.platforms[place].tolist())
                if place != NOBODY and rules.platforms
                else None
            )
            rates = self._electorate.lead(
                observation, state.history, Candidate(*leader, own, place == NOBODY)
            )
        return TaxSchedule(now.thresholds, jnp.asarray(rates, now.rates.dtype)), state

    def leader(self, state: ElectedState) -> str:
        """Cohort and agent of the worker who leads."""
        return worker_name(int(state.leader), self._sizes)

    def election(self, state: ElectedState) -> Election:
        """The last election."""
        return state.last

    # --- workers that a language model decides for ------------------------------------------------

    def _agent_asked(self, worker: int) -> tuple[str, int] | None:
        """Cohort and agent of a worker for whom the electorate decides; None for any other."""
        who = None if worker == NOBODY else worker_at(worker, self._sizes)
        return who if who is not None and who[0] in self.asks else None

    def _with_candidacies(
        self, state: ElectedState, observation: YearObservation, election: Election
    ) -> Election:
        assert self._electorate is not None
        if not self._rules.platforms:
            return election
        stood, platforms = np.array(election.stood), np.array(election.platforms)
        places = {
            who: place
            for place, worker in enumerate(np.asarray(election.candidates).tolist())
            if (who := self._agent_asked(worker)) is not None
        }
        asked = {
            who: bool(election.candidates[place] == state.leader) for who, place in places.items()
        }
        for who, rates in (
            self._electorate.stand(observation, state.history, asked) if asked else {}
        ).items():
            stood[places[who]] = rates is not None
            if rates is not None:
                platforms[places[who]] = rates
        return dataclasses.replace(
            election, stood=jnp.asarray(stood), platforms=jnp.asarray(platforms)
        )

    def _with_votes(
        self, state: ElectedState, observation: YearObservation, election: Election, ballots: Array
    ) -> Array:
        assert self._electorate is not None
        standing = np.flatnonzero(np.asarray(election.stood))
        if not len(standing):
            return ballots
        candidates = []
        for place in standing.tolist():
            worker = int(election.candidates[place])
            rates = (
                tuple(round(float(r), 6) for r in election.platforms[place])
                if self._rules.platforms
                else None
            )
            candidates.append(
                Candidate(*worker_at(worker, self._sizes), rates, worker == int(state.leader))
            )
        answers = self._electorate.vote(
            observation, state.history, self._rules.method, tuple(candidates)
        )
        return replace_ballots(self._economy, ballots, standing, answers)


# --- compiled functions: what rarely changes is static, so that each is compiled once -------------


@partial(jax.jit, static_argnames="bounds")
def _own_optima(
    problem: LeaderProblem, agents: Array, thresholds: Array, bounds: tuple[float, float]
) -> tuple[Array, Array]:
    return own_optima(problem, agents, thresholds, bounds)


def _call_election(
    economy: Economy,
    rules: ElectionRules,
    every_optimum: tuple[Array, Array] | None,
    state: ElectedState,
    year: Array,
    now: TaxSchedule,
    key: Array,
) -> Election:
    """Return an election: its candidates, whether they stand, and the rates expected of each."""
    problem = leader_problem(economy)
    places, n = state.last.candidates.shape[0], problem.skill.shape[0]
    candidates = draw_candidates(
        economy, rules.eligible, rules.term_limit, state.leader, state.terms, key, places
    )
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
        before = compute_valuations(problem, now.thresholds, now.rates[None])[0, who]
        stood = stood & (incumbent | (worth - before > rules.cost))
    blank = Election.none(n, places, now.brackets, now.rates.dtype)
    return dataclasses.replace(
        blank, year=year, candidates=candidates, stood=stood, platforms=platforms
    )
