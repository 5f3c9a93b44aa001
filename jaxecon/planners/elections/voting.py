"""Elections: rules, candidates, what voters expect of them, ballots, counting.

Pure functions of arrays, with n voters, m places for candidates (some may be empty) and k brackets.
A worker is a number: its place in `Economy.population`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxecon.config.settings import Config
from jaxecon.core.draws import draw, named_key
from jaxecon.core.pytree import pytree
from jaxecon.economy.state import Economy
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.preferences import REFERENCE_HOURS
from jaxecon.kernels.taxation import TaxSchedule

VotingMethod = Literal["plurality", "approval", "instant_runoff", "borda"]


@dataclasses.dataclass(frozen=True)
class ElectionRules:
    """How leaders are chosen; static.

    Attributes:
        method: of counting.
        candidates: how many stand, at most.
        platforms: whether candidates decide to stand and announce rates; otherwise all who are
            drawn stand.
        eligible: cohorts whose members may stand; None: all.
        term_limit: years in a row after which a leader may not stand at the next election.
        noise: factor of the standard Gumbel error in a voter's valuation of a candidate, as a share
            of the voter's full-time income (probabilistic voting, Lindbeck and Weibull 1987).
        cost: of standing, $/year.
        bounds: of the rates that a mechanical leader may set.
    """

    method: VotingMethod = "plurality"
    candidates: int = 8
    platforms: bool = True
    eligible: tuple[str, ...] | None = None
    term_limit: int | None = None
    noise: float = 0.01
    cost: float = 0.0
    bounds: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def from_config(cls, config: Config) -> "ElectionRules":
        """Return the rules that the settings ask for, of elected and of retained planners."""
        elections = config.elections
        return cls(
            method=elections.method,
            candidates=elections.candidates,
            platforms=elections.platforms,
            eligible=elections.eligible,
            term_limit=elections.term_limit,
            noise=elections.noise,
            cost=elections.cost,
            bounds=config.planner.rate_bounds,
        )


NOBODY = -1  # where there is no worker, or no candidate

_ROUNDING = 1e-6  # share of all votes that is a tie: sums of survey weights are not more exact


@pytree
class Election:
    """One election.

    Attributes:
        year: the first that it decides, -1 before there was one.
        candidates: (m,) workers, NOBODY in an empty place.
        stood: (m,) bool, who stands.
        platforms: (m, k) rates that voters expect.
        ballots: (n, m) int8: 1 for a voter's first choice (or for each that it approves of), 2 for
            the second, and so on; 0 for what is not on its ballot.
        scores: (m,) votes or points, by survey weight; with instant_runoff those of the last round
            that a candidate was in.
        elected: the winner's place, NOBODY if nobody got a vote.
        tied: whether the lot decided.
    """

    year: Array
    candidates: Array
    stood: Array
    platforms: Array
    ballots: Array
    scores: Array
    elected: Array
    tied: Array

    @classmethod
    def none(cls, voters: int, places: int, brackets: int, dtype: jnp.dtype) -> "Election":
        """A placeholder before the first election."""
        return cls(
            jnp.full((), -1, jnp.int32),
            jnp.full(places, NOBODY, jnp.int32),
            jnp.zeros(places, bool),
            jnp.zeros((places, brackets), dtype),
            jnp.zeros((voters, places), jnp.int8),
            jnp.zeros(places, dtype),
            jnp.full((), NOBODY, jnp.int32),
            jnp.zeros((), bool),
        )


@pytree
class Count:
    """The result of a count.

    scores: (m,). elected: the winner's place, NOBODY if nobody got a vote. tied: whether the lot
    decided.
    """

    scores: Array
    elected: Array
    tied: Array


def worker_at(worker: int, sizes: Mapping[str, int]) -> tuple[str, int]:
    """Return cohort and agent of the worker at a place in the population.

    sizes: by cohort, in cohort order. Raises ValueError for a place beyond them.
    """
    place = worker
    for name, size in sizes.items():
        if 0 <= place < size:
            return name, place
        place -= size
    raise ValueError(f"worker: {worker}; one of {sum(sizes.values())}")


# --- candidates -----------------------------------------------------------------------------------


def nominate(weights: Array, may_stand: Array, incumbent: Array, places: int, key: Array) -> Array:
    """Return the workers who are asked to stand: the incumbent, then others drawn by lot.

    The lot is without replacement and in proportion to survey weights, so that each person is as
    likely as any other (Efraimidis and Spirakis 2006).

    weights: (n,); may_stand: (n,) bool; incumbent: a worker or NOBODY. The result is (places,);
    places beyond those who may stand hold NOBODY.
    """
    n = weights.shape[0]
    lot = jnp.log(weights) + jax.random.gumbel(key, (n,), weights.dtype)
    lot = jnp.where(jnp.arange(n) == incumbent, jnp.inf, lot)
    lot = jnp.where(may_stand, lot, -jnp.inf)
    best, chosen = jax.lax.top_k(lot, places)
    return jnp.where(best > -jnp.inf, chosen, NOBODY).astype(jnp.int32)


def valuations(problem: LeaderProblem, thresholds: Array, rates: Array) -> Array:
    """Return the utility (m, n) of every voter at equilibrium under each schedule.

    rates: (m, k). The rebate is at least its floor, whether or not taxes pay for it.
    """
    return jax.lax.map(lambda r: valuation_of(problem, thresholds, r), rates)


def valuation_of(problem: LeaderProblem, thresholds: Array, rates: Array) -> Array:
    """Return the utility (n,) of every voter at equilibrium under one schedule; rates: (k,)."""
    return problem.settled_utility(
        problem.outcome(TaxSchedule(thresholds, rates), problem.rebate_floor)
    )


# --- ballots --------------------------------------------------------------------------------------


def perceived(
    economy: Economy, values: Array, noise: ArrayLike, year: Array
) -> tuple[Array, Array]:
    """Return valuations with each voter's own error, and numbers that break its ties, (m, n) both.

    The error for a candidate's place is a standard Gumbel deviate times `noise` and the voter's
    full-time income, in units of utility. Draws depend only on (seed, cohort, agent, year, place).
    """
    m = values.shape[0]
    words = []
    for name, cohort in economy.cohorts.items():
        key = named_key(economy.seed, name, "vote")
        words.append(
            jax.vmap(lambda place, key=key, n=cohort.size: draw(key, year, place, n))(jnp.arange(m))
        )
    first, second = (
        jnp.concatenate([getattr(w, part) for w in words], axis=1) for part in ("first", "second")
    )
    everyone = economy.population
    eta = everyone.preferences.consumption_curvature
    stake = REFERENCE_HOURS * everyone.skill
    if eta > 0:
        stake = stake * everyone.reference_consumption**-eta
    inside = ((first >> 8).astype(values.dtype) + 0.5) * 2.0**-24
    return values - noise * stake[None] * jnp.log(-jnp.log(inside)), second


def mark_ballots(method: VotingMethod, values: Array, stood: Array, tie_break: Array) -> Array:
    """Return sincere ballots (n, m) int8, as in `Election`.

    values: (m, n) as voters perceive them; stood: (m,) bool.

    plurality: a voter marks the best candidate. approval: it marks all who are better than the mean
    of those who stand, the best strategy when one does not know who will win (Merrill 1979);
    nobody, if all are the same to it. instant_runoff, borda: it ranks everybody.
    """
    if method == "approval":
        standing = stood[:, None]
        best = jnp.max(jnp.where(standing, values, -jnp.inf), axis=0)
        # exactly 0 for equal values, so that rounding does not change their mean
        behind = values - jnp.where(jnp.isfinite(best), best, 0)[None]
        mean = jnp.sum(jnp.where(standing, behind, 0), 0) / jnp.maximum(jnp.sum(stood), 1)
        return (standing & (behind > mean[None])).astype(jnp.int8).T
    absent = jnp.broadcast_to(~stood[:, None], values.shape)
    order = jnp.lexsort((tie_break, -values, absent), axis=0)
    rank = jnp.argsort(order, axis=0) + 1
    rank = jnp.where(stood[:, None] & ((rank == 1) | (method != "plurality")), rank, 0)
    return rank.astype(jnp.int8).T


def count(method: VotingMethod, ballots: Array, weights: Array, stood: Array, key: Array) -> Count:
    """Count ballots (n, m), each by its survey weight (n,).

    Ties, to a millionth of all votes, are broken by lot.

    plurality, approval: a mark is a vote. borda: if c candidates stand, a first place is worth c -
    1 points, each following place one less, and a candidate off the ballot gets none.
    instant_runoff: the candidate with the fewest first choices is removed, and its ballots go to
    their next choice, until one is left.
    """
    m = ballots.shape[1]
    lots = jax.random.uniform(key, (m,))
    all_votes = jnp.sum(weights)
    if method == "instant_runoff":
        return _runoff(ballots, weights, stood, lots, all_votes)
    marked = (ballots > 0) & stood[None]
    points = jnp.where(marked, jnp.sum(stood) - ballots if method == "borda" else 1, 0)
    scores = weights @ points.astype(weights.dtype)
    voted = weights @ jnp.any(marked, axis=1).astype(weights.dtype)
    best = stood & (scores >= jnp.max(jnp.where(stood, scores, -jnp.inf)) - _ROUNDING * all_votes)
    elected = jnp.argmax(jnp.where(best, lots, -1)).astype(jnp.int32)
    any_vote = voted > 0
    return Count(scores, jnp.where(any_vote, elected, NOBODY), any_vote & (jnp.sum(best) > 1))


def _runoff(ballots: Array, weights: Array, stood: Array, lots: Array, all_votes: Array) -> Count:
    m = ballots.shape[1]
    left_out = m + 1
    ranks = jnp.where(ballots > 0, ballots.astype(jnp.int32), left_out)

    def round_(
        carry: tuple[Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array], None]:
        inside, scores, tied = carry
        rank = jnp.where(inside[None], ranks, left_out)
        first = jnp.argmin(rank, axis=1)
        counted = jnp.min(rank, axis=1) < left_out
        votes = jnp.zeros_like(scores).at[first].add(jnp.where(counted, weights, 0))
        fewest = inside & (
            votes <= jnp.min(jnp.where(inside, votes, jnp.inf)) + _ROUNDING * all_votes
        )
        several = jnp.sum(inside) > 1
        out = jnp.argmin(jnp.where(fewest, lots, 2))
        # the order in which candidates without votes go out does not matter
        by_lot = several & (jnp.sum(fewest) > 1) & (jnp.min(jnp.where(inside, votes, jnp.inf)) > 0)
        return (
            jnp.where(several, inside.at[out].set(False), inside),
            jnp.where(inside, votes, scores),
            tied | by_lot,
        ), None

    start = (stood, jnp.zeros(m, weights.dtype), jnp.zeros((), bool))
    (inside, scores, tied), _ = jax.lax.scan(round_, start, None, length=m)
    any_vote = jnp.any((ballots > 0) & stood[None])
    elected = jnp.where(any_vote & jnp.any(stood), jnp.argmax(inside), NOBODY).astype(jnp.int32)
    return Count(scores, elected, tied & any_vote)
