"""Candidates, voters, and the record of past leaders."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from jaxecon.core.pytree import pytree
from jaxecon.economy.equilibrium import leader_problem
from jaxecon.economy.state import Economy
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.base import YearObservation
from jaxecon.planners.elections.voting import (
    NOBODY,
    Election,
    ElectionRules,
    VotingMethod,
    count,
    mark_ballots,
    nominate,
    perceived,
    valuations,
    worker_at,
)

# With at most this many workers, who may then all stand, own optima are computed only once.
MAX_KEPT = 64

HISTORY = 8  # years of leaders, rates and own utility that a language model is shown


@pytree
class History:
    """The last HISTORY years, oldest first.

    Attributes:
        years: (h,), -1 in an empty place.
        leaders: (h,) workers.
        rates: (h, k).
        utility: (h, n) of each cohort for which a language model decides, by cohort.
    """

    years: Array
    leaders: Array
    rates: Array
    utility: dict[str, Array]

    @classmethod
    def empty(cls, brackets: int, sizes: Mapping[str, int], dtype: jnp.dtype) -> "History":
        """Return the history before the first year.

        sizes: of the cohorts for which a language model decides.
        """
        utility = {name: jnp.zeros((HISTORY, size), dtype) for name, size in sizes.items()}
        nobody = jnp.full(HISTORY, NOBODY, jnp.int32)
        return cls(
            jnp.full(HISTORY, -1, jnp.int32), nobody, jnp.zeros((HISTORY, brackets), dtype), utility
        )


@pytree
class ElectedState:
    """What an elected planner remembers.

    leader: a worker, NOBODY before the first election. terms: how many years in a row it has led.
    history: what language models are shown. last: the last election.
    """

    leader: Array
    terms: Array
    history: History
    last: Election


class Candidate(NamedTuple):
    """What voters know of a candidate.

    cohort, agent: "" and 0 if the candidate is a planner and not a worker. rates: (k,) that it
    announces or has in force; None if it announces none. incumbent: whether it leads now.
    """

    cohort: str
    agent: int
    rates: tuple[float, ...] | None
    incumbent: bool


class Electorate(Protocol):
    """Workers whose candidacies, ballots and policies come from outside.

    Their own means of the year are in `observation.agent_means`.
    """

    cohorts: tuple[str, ...]

    def stand(
        self, observation: YearObservation, history: History, asked: Mapping[tuple[str, int], bool]
    ) -> dict[tuple[str, int], tuple[float, ...] | None]:
        """Return the rates (k,) announced by those who stand, and None for those who do not.

        asked: the workers who are asked, by cohort and agent, and whether each leads now.
        """
        ...

    def vote(
        self,
        observation: YearObservation,
        history: History,
        method: VotingMethod,
        candidates: tuple[Candidate, ...],
    ) -> dict[str, np.ndarray]:
        """Return ballots (n, candidates) by cohort, marked as in `Election`."""
        ...

    def lead(
        self, observation: YearObservation, history: History, leader: Candidate
    ) -> tuple[float, ...]:
        """Return the rates (k,) that the elected worker sets."""
        ...


def worker_name(worker: int, sizes: Mapping[str, int]) -> str:
    """Cohort and agent of the worker at a place in the population; "nobody" for NOBODY."""
    return "nobody" if worker == NOBODY else "{} {}".format(*worker_at(worker, sizes))


def add_year(history: History, observation: YearObservation, leader: Array) -> History:
    """Return the history with the year that has just ended added, and the oldest dropped."""

    def pushed(kept: Array, new: Any) -> Array:
        return jnp.concatenate([kept[1:], jnp.asarray(new, kept.dtype)[None]])

    return History(
        pushed(history.years, observation.year),
        pushed(history.leaders, leader),
        pushed(history.rates, observation.schedule.rates),
        {
            name: pushed(kept, observation.agent_means[name]["utility"])
            for name, kept in history.utility.items()
        },
    )


@partial(jax.jit, static_argnames=("eligible", "term_limit", "places"))
def draw_candidates(
    economy: Economy,
    eligible: tuple[str, ...] | None,
    term_limit: int | None,
    leader: Array,
    terms: Array,
    key: Array,
    places: int,
) -> Array:
    """Return the workers who are asked to stand, (places,), as drawn by `nominate`."""
    may = jnp.concatenate(
        [
            jnp.full(c.size, eligible is None or name in eligible)
            for name, c in economy.cohorts.items()
        ]
    )
    if term_limit is not None:
        may = may & ~((jnp.arange(may.shape[0]) == leader) & (terms >= term_limit))
    return nominate(economy.population.weight, may, leader, places, key)


compute_valuations = jax.jit(valuations)


def mechanical_ballots(
    economy: Economy, rules: ElectionRules, election: Election, now: TaxSchedule
) -> Array:
    """Return everybody's ballots (n, m) as mechanical voters mark them."""
    values = compute_valuations(leader_problem(economy), now.thresholds, election.platforms)
    return _marked(economy, rules.method, rules.noise, values, election.stood, election.year)


@partial(jax.jit, static_argnames="method")
def _marked(
    economy: Economy,
    method: VotingMethod,
    noise: ArrayLike,
    values: Array,
    stood: Array,
    year: Array,
) -> Array:
    values, tie_break = perceived(economy, values, noise, year)
    return mark_ballots(method, values, stood, tie_break)


def replace_ballots(
    economy: Economy, ballots: Array, places: np.ndarray, answers: Mapping[str, np.ndarray]
) -> Array:
    """Return the ballots (n, m) with those of some cohorts replaced by their own answers.

    places: of the candidates that the cohorts were asked about. answers: (n, len(places)) by
    cohort.
    """
    whole, start = np.array(ballots), 0
    for name, cohort in economy.cohorts.items():
        if name in answers:
            whole[start : start + cohort.size] = 0
            whole[start : start + cohort.size, places] = answers[name]
        start += cohort.size
    return jnp.asarray(whole)


@partial(jax.jit, static_argnames="method")
def decide_election(
    weights: Array,
    method: VotingMethod,
    state: ElectedState,
    election: Election,
    now: TaxSchedule,
    key: Array,
) -> tuple[ElectedState, Array]:
    """Return the state after the count, and the rates (k,) of the winner if it is mechanical."""
    counted = count(method, election.ballots, weights, election.stood, key)
    election = dataclasses.replace(
        election, scores=counted.scores, elected=counted.elected, tied=counted.tied
    )
    somebody = counted.elected != NOBODY
    place = jnp.maximum(counted.elected, 0)
    leader = jnp.where(somebody, election.candidates[place], state.leader)
    terms = jnp.where(leader == state.leader, state.terms + 1, 1) * (leader != NOBODY)
    rates = jnp.where(somebody, election.platforms[place], now.rates)
    return ElectedState(leader, terms, state.history, election), rates
