"""A planner that the workers keep or replace each year."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxecon.core.pytree import concrete, pytree
from jaxecon.economy.state import Economy
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import Planner, PlannerContext, YearObservation
from jaxecon.planners.elections.electorate import (
    Candidate,
    Electorate,
    History,
    add_year,
    mechanical_ballots,
    replace_ballots,
)
from jaxecon.planners.elections.voting import NOBODY, Election, ElectionRules, count


@pytree
class RetainedState:
    """What is remembered of the planner in office.

    Attributes:
        planner: the planner's own state.
        began: rates (k,) that were in force when it took office.
        history: what language models are shown.
        last: the last vote; place 0 is the planner, place 1 its removal.
    """

    planner: Any
    began: Array
    history: History
    last: Election


class Retained(Planner):
    """A planner that the workers may replace each year.

    Implements jaxecon.planners.base.Planner.

    The workers choose between the rates in force and those that were in force when the planner took
    office. If a majority wants the latter back, a new planner of the same kind, without the memory
    of the old one, takes office, and these rates hold for a year. If nobody votes, or as many for
    as against, the planner stays.
    """

    def __init__(
        self,
        planner: Planner,
        economy: Economy,
        rules: ElectionRules,
        years: int,
        electorate: Electorate | None = None,
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

    def propose(
        self, state: RetainedState, observation: YearObservation, key: Array
    ) -> tuple[TaxSchedule, RetainedState]:
        now = observation.schedule
        history = add_year(state.history, observation, jnp.full((), NOBODY, jnp.int32))
        year = jnp.asarray(observation.year, jnp.int32) + 1
        platforms = jnp.stack([now.rates, state.began])
        contested = jnp.any(platforms[0] != platforms[1])
        blank = Election.none(state.last.ballots.shape[0], 2, now.brackets, now.rates.dtype)
        election = dataclasses.replace(
            blank, year=year, platforms=platforms, stood=jnp.stack([contested, contested])
        )
        ballots = mechanical_ballots(self._economy, self._rules, election, now)
        if self._electorate is not None and bool(contested):
            options = tuple(
                Candidate("", 0, tuple(round(float(r), 6) for r in rates), place == 0)
                for place, rates in enumerate(platforms)
            )
            answers = self._electorate.vote(observation, history, "plurality", options)
            ballots = replace_ballots(self._economy, ballots, np.arange(2), answers)
        election, out = _verdict(
            self._economy.population.weight, dataclasses.replace(election, ballots=ballots), key
        )
        began = TaxSchedule(now.thresholds, state.began)
        fresh = self._planner.init(PlannerContext(began, self._years), key)
        replaced = concrete(out)
        if replaced is not None and replaced:  # the old planner need not be asked
            return began, RetainedState(fresh, state.began, history, election)
        proposed, planner = self._planner.propose(state.planner, observation, key)
        planner = jax.tree.map(lambda new, old: jnp.where(out, new, old), fresh, planner)
        schedule = TaxSchedule(now.thresholds, jnp.where(out, state.began, proposed.rates))
        return schedule, RetainedState(planner, state.began, history, election)

    def election(self, state: RetainedState) -> Election:
        """The last vote."""
        return state.last


@jax.jit
def _verdict(weights: Array, election: Election, key: Array) -> tuple[Election, Array]:
    """Return the vote with its count, and whether the planner is replaced.

    It is replaced if the votes for that outweigh those against.
    """
    counted = count("plurality", election.ballots, weights, election.stood, key)
    out = (counted.elected == 1) & ~counted.tied
    elected = jnp.where(counted.elected == NOBODY, NOBODY, out.astype(jnp.int32))
    return dataclasses.replace(
        election, scores=counted.scores, elected=elected, tied=counted.tied
    ), out
