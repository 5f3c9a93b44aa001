"""Candidates' own optima against exhaustion, ballots and counting against plain Python, draws
against their distributions.
"""

import dataclasses
from collections import Counter
from itertools import product

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from oracles import economy as oracle
from oracles import leader

# its fixtures make every test of this file strict about numbers
from oracles.strictness import PROPERTY, precision, strict, strict_numerics  # noqa: F401

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.kernels.optimum.problem import LeaderProblem
from jaxecon.kernels.saving import Endowment
from jaxecon.planners.elections.own_optima import MAX_FOLLOWERS, own_optima
from jaxecon.planners.elections.voting import (
    NOBODY,
    count,
    mark_ballots,
    nominate,
    perceived,
    valuations,
)

counted = jax.jit(count, static_argnums=0)
marked = jax.jit(mark_ballots, static_argnums=0)
erring = jax.jit(perceived)
THREE = oracle.THREE_THRESHOLDS
METHODS = ("plurality", "approval", "instant_runoff", "borda")


def problem_of(given):
    preferences = je.Preferences(given.c.copy(), given.d, given.eta, given.cap)
    return LeaderProblem.of(given.skill, preferences, given.g, given.w, given.spending, given.floor)


def random_problem(n, seed, **changes):
    rng = np.random.default_rng(seed)
    skill = np.sort(np.exp(rng.normal(7.3, 0.9, n)))
    given = leader.Problem(
        skill, oracle.calibrated_weight(skill), np.ones(n), THREE, w=rng.uniform(0.5, 2, n)
    )
    return given.but(**changes)


# --- candidates -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("n", [3, 12])
def test_own_optimum_is_no_worse_than_exhaustion(n, seed):
    given = random_problem(n, seed)
    grid = np.array(list(product(np.linspace(0, 1, 21), repeat=3)))
    by_grid = leader.outcome(given, grid).utility.max(axis=0)
    with strict(True, nans=True):
        rates, utility = own_optima(problem_of(given), jnp.arange(n), jnp.asarray(THREE))
    rates, utility = np.asarray(rates), np.asarray(utility)
    assert np.all((rates >= 0) & (rates <= 1))
    np.testing.assert_allclose(
        np.diagonal(leader.outcome(given, rates).utility), utility, rtol=1e-6
    )
    assert np.all(utility >= by_grid - 1e-5 * np.abs(by_grid))
    assert np.any(utility > by_grid * (1 + 1e-5))  # and somewhere between the grid's points


def test_the_richest_wants_no_tax_and_the_poorest_a_high_one():
    given = random_problem(12, 3, w=np.ones(12))
    with strict(True, nans=True):
        rates, _ = own_optima(problem_of(given), jnp.array([0, 11]), jnp.array([0.0]))
    # who earns next to nothing takes the rate that raises most: 1/(1+e) of a flat tax
    assert abs(float(rates[0, 0]) - 1 / (1 + 1 / (given.d - 1))) < 0.08
    assert float(rates[1, 0]) == 0


def test_own_optimum_among_very_many():
    """Beside quantiles of the others: within a little of the optimum in the whole population."""
    n = MAX_FOLLOWERS * 4
    skill = oracle.skills(n)
    given = leader.Problem(skill, oracle.calibrated_weight(skill), np.ones(n), np.array([0.0]))
    agents = np.array([100, n // 2, n - 5])
    with strict(True, nans=True):
        rates, _ = own_optima(problem_of(given), jnp.asarray(agents), jnp.array([0.0]))
    line = np.linspace(0, 0.99, 199)[:, None]
    found = leader.outcome(given, np.asarray(rates)).utility
    best = np.max(
        [leader.outcome(given, part).utility[:, agents] for part in np.split(line, 199)], axis=0
    ).max(axis=0)
    for i, agent in enumerate(agents):
        assert found[i, agent] >= best[i] - 1e-4 * abs(best[i])


def test_own_optimum_pays_for_the_floor_or_says_that_it_cannot():
    given = random_problem(6, 5, spending=3_000.0, floor=0.0)
    with strict(True, nans=True):
        rates, utility = own_optima(problem_of(given), jnp.arange(6), jnp.asarray(THREE))
        assert np.all(leader.outcome(given.but(floor=None), np.asarray(rates)).rebate >= -1e-3)
        assert np.all(np.isfinite(utility))
        _, utility = own_optima(
            problem_of(given.but(spending=1e7)), jnp.arange(6), jnp.asarray(THREE)
        )
    assert np.all(np.asarray(utility) == -np.inf)


@pytest.mark.parametrize("n", [6, MAX_FOLLOWERS + 500])
def test_the_utility_of_an_own_optimum_equals_a_voters_valuation(n):
    """With wealth and without; beside quantiles, too: not what it would be worth among them."""
    given, agents = random_problem(n, 4, spending=3_000.0, floor=0.0), jnp.array([0, n // 2, n - 1])
    without = problem_of(given)
    owned = Endowment(20 * given.skill, 8 * given.skill)
    with strict(True, nans=True):
        problem = dataclasses.replace(without, endowment=jax.tree.map(jnp.asarray, owned))
        (rates, utility), (plain, less) = (
            own_optima(p, agents, jnp.asarray(THREE)) for p in (problem, without)
        )
        voted, of_work = (
            np.asarray(valuations(p, jnp.asarray(THREE), rates))[:, agents]
            for p in (problem, without)
        )
    np.testing.assert_array_equal(rates, plain)
    np.testing.assert_allclose(utility, np.diagonal(voted), rtol=1e-12)
    np.testing.assert_allclose(less, np.diagonal(of_work), rtol=1e-12)
    np.testing.assert_allclose(utility - less, 12 * given.skill[agents], rtol=1e-9)


def test_valuations_are_equilibrium_utilities():
    given, rates = random_problem(9, 1), np.array([[0.1, 0.5, 0.2], [0.6, 0.3, 0.9]])
    with strict(True):
        found = valuations(problem_of(given), jnp.asarray(THREE), jnp.asarray(rates))
    np.testing.assert_allclose(found, leader.outcome(given, rates).utility, rtol=1e-9)


def test_valuations_count_the_rebate_that_the_floor_holds_up():
    given, rates = random_problem(9, 1, floor=20_000.0), np.array([[0.1, 0.1, 0.1]])
    with strict(True):
        found = valuations(problem_of(given), jnp.asarray(THREE), jnp.asarray(rates))
    without = leader.outcome(given.but(floor=None), rates)
    assert without.rebate[0] < 20_000
    np.testing.assert_allclose(found, without.utility + 20_000 - without.rebate[0], rtol=1e-9)


def test_nominees_are_drawn_by_weight_without_replacement():
    weights, may = np.array([1.0, 2.0, 4.0, 3.0, 5.0]), np.array([True, True, True, True, False])
    with strict(False):
        keys = jax.random.split(jax.random.key(0), 4000)
        first = jax.vmap(
            lambda k: nominate(
                jnp.asarray(weights, jnp.float32), jnp.asarray(may), jnp.asarray(NOBODY), 2, k
            )
        )(keys)
        led = jax.vmap(
            lambda k: nominate(
                jnp.asarray(weights, jnp.float32), jnp.asarray(may), jnp.asarray(3), 5, k
            )
        )(keys[:50])
    first, led = np.asarray(first), np.asarray(led)
    assert np.all(first[:, 0] != first[:, 1])
    shares = np.bincount(first[:, 0], minlength=5) / 4000
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.4, 0.3, 0], atol=0.025)
    # given the first, among those who are left
    second = np.bincount(first[:, 1], minlength=5) / 4000
    expected = [
        sum(weights[i] / 10 * weights[j] / (10 - weights[i]) for i in range(4) if i != j)
        for j in range(4)
    ]
    np.testing.assert_allclose(second, [*expected, 0], atol=0.025)
    assert np.all(led[:, 0] == 3)
    assert np.all(led[:, 4] == NOBODY)  # four may stand
    assert all(set(row[:4]) == {0, 1, 2, 3} for row in led.tolist())


def test_an_incumbent_who_may_not_stand_is_not_asked():
    with strict(False):
        found = nominate(
            jnp.ones(3), jnp.array([True, False, True]), jnp.asarray(1), 3, jax.random.key(1)
        )
    assert sorted(found.tolist()) == [NOBODY, 0, 2]


# --- ballots --------------------------------------------------------------------------------------


def ballot_by_hand(method, values, stood):
    """One voter's, in plain Python; values differ."""
    standing = [j for j in range(len(values)) if stood[j]]
    ballot = [0] * len(values)
    if method == "approval":
        mean = sum(values[j] for j in standing) / len(standing) if standing else 0
        for j in standing:
            ballot[j] = int(values[j] > mean)
        return ballot
    for place, j in enumerate(sorted(standing, key=lambda j: -values[j]), 1):
        ballot[j] = place if method != "plurality" or place == 1 else 0
    return ballot


@PROPERTY
@given(st.data(), st.sampled_from(METHODS))
def test_ballots(data, method):
    # 4 candidates, 3 voters
    values = np.array(data.draw(st.permutations(range(12)))).reshape(4, 3) * 100.0
    stood = np.array(data.draw(st.lists(st.booleans(), min_size=4, max_size=4)))
    ties = np.zeros((4, 3), np.uint32)
    with strict(False):
        found = marked(
            method, jnp.asarray(values, jnp.float32), jnp.asarray(stood), jnp.asarray(ties)
        )
    assert found.tolist() == [
        ballot_by_hand(method, values[:, i].tolist(), stood) for i in range(3)
    ]


def test_a_voter_who_sees_no_difference_votes_by_lot_and_approves_of_nobody():
    with strict(False):
        values, stood = jnp.ones((3, 6000)), jnp.ones(3, bool)
        ties = jax.random.bits(jax.random.key(0), (3, 6000), np.uint32)
        votes = mark_ballots("plurality", values, stood, ties)
        approvals = mark_ballots("approval", values, stood, ties)
    np.testing.assert_allclose(np.asarray(votes).mean(axis=0), [1 / 3] * 3, atol=0.025)
    assert not np.any(approvals)


def test_absent_candidates_are_on_no_ballot_whatever_the_others_are_worth():
    values = jnp.asarray([[5.0], [-np.inf], [-np.inf]], jnp.float32)
    stood = jnp.array([False, True, True])
    for ties in ([[0], [1], [2]], [[2], [1], [0]]):
        with strict(False):
            found = marked("borda", values, stood, jnp.asarray(ties, jnp.uint32))
        assert sorted(found[0, 1:].tolist()) == [1, 2]
        assert found[0, 0] == 0


def economy(*cohorts, **changes):
    named = [{"name": name, "rule": "rational", "size": size} for name, size in cohorts]
    return build_economy(load_config({"population": {"cohorts": named}, **changes}))


def test_voters_errors():
    """Gumbel of the stated size, the same whatever other cohorts and candidates there are, and none
    without noise.
    """
    one, both = economy(("b", 4000)), economy(("a", 10), ("b", 4000))
    year = jnp.asarray(3, jnp.int32)
    still, _ = erring(one, jnp.zeros((2, 4000)), 0.0, year)
    assert not np.any(still)
    alone, _ = erring(one, jnp.zeros((2, 4000)), 0.1, year)
    beside, _ = erring(both, jnp.zeros((3, 4010)), 0.1, year)
    skill = np.asarray(one.cohorts["b"].skill)
    np.testing.assert_array_equal(alone, beside[:2, 10:])
    errors = np.asarray(alone) / (0.1 * 40 * skill)
    assert abs(errors.mean() - np.euler_gamma) < 0.05
    assert abs(errors.std() - np.pi / np.sqrt(6)) < 0.05
    assert abs(np.corrcoef(errors[0], errors[1])[0, 1]) < 0.05
    later, _ = erring(one, jnp.zeros((2, 4000)), 0.1, year + 1)
    assert np.mean(np.asarray(later) == np.asarray(alone)) < 0.01


# --- counting -------------------------------------------------------------------------------------


def count_by_hand(method, ballots, weights, stood):
    """Scores, and all who could be elected (several where the lot decides), in plain Python."""
    standing = [j for j in range(len(stood)) if stood[j]]
    marked = [[(rank, j) for j, rank in enumerate(b) if rank and stood[j]] for b in ballots]
    if not any(marked):
        return None, {NOBODY}
    if method != "instant_runoff":
        scores = dict.fromkeys(standing, 0.0)
        for b, w in zip(marked, weights, strict=True):
            for rank, j in b:
                scores[j] += w * (len(standing) - rank if method == "borda" else 1)
        return scores, {j for j in standing if scores[j] > max(scores.values()) - 1e-9}

    def rounds(inside):
        if len(inside) == 1:
            return set(inside)
        votes = dict.fromkeys(inside, 0.0)
        for b, w in zip(marked, weights, strict=True):
            left = [(rank, j) for rank, j in b if j in inside]
            if left:
                votes[min(left)[1]] += w
        last = [j for j in inside if votes[j] < min(votes.values()) + 1e-9]
        return set().union(*(rounds([k for k in inside if k != j]) for j in last))

    return None, rounds(standing)


@PROPERTY
@given(st.data(), st.sampled_from(METHODS))
def test_counting(data, method):
    voters, m = 7, 4
    values = np.array([data.draw(st.permutations(range(m))) for _ in range(voters)], float).T
    stood = np.array(data.draw(st.lists(st.booleans(), min_size=m, max_size=m)))
    weights = np.array(
        data.draw(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=voters, max_size=voters))
    )
    abstains = np.array(data.draw(st.lists(st.booleans(), min_size=voters, max_size=voters)))
    with strict(False):
        ballots = marked(
            method,
            jnp.asarray(values, jnp.float32),
            jnp.asarray(stood),
            jnp.zeros((m, voters), np.uint32),
        )
        ballots = jnp.where(jnp.asarray(abstains)[:, None], 0, ballots)
        args = ballots, jnp.asarray(weights, jnp.float32), jnp.asarray(stood)
        found = [counted(method, *args, jax.random.key(i)) for i in range(5)]
    scores, possible = count_by_hand(method, np.asarray(ballots).tolist(), weights, stood)
    assert {int(f.elected) for f in found} <= possible
    if len(possible) == 1:
        assert method == "instant_runoff" or not any(bool(f.tied) for f in found)
    else:
        assert all(bool(f.tied) for f in found)
    if scores is not None:
        np.testing.assert_allclose(
            [float(found[0].scores[j]) for j in scores], list(scores.values())
        )


# Where Tennessee's capital should be: a textbook example in which the methods disagree.
TENNESSEE = ("Memphis", "Nashville", "Knoxville", "Chattanooga")
RANKINGS = {(1, 2, 4, 3): 42, (4, 1, 3, 2): 26, (4, 3, 2, 1): 15, (4, 3, 1, 2): 17}


@pytest.mark.parametrize(
    ("method", "winner"),
    [("plurality", "Memphis"), ("instant_runoff", "Knoxville"), ("borda", "Nashville")],
)
def test_a_textbook_election(method, winner):
    ballots = np.array(list(RANKINGS), np.int8)
    if method == "plurality":
        ballots = np.where(ballots == 1, 1, 0).astype(np.int8)
    weights = jnp.asarray(list(RANKINGS.values()), jnp.float32)
    with strict(False):
        found = count(method, jnp.asarray(ballots), weights, jnp.ones(4, bool), jax.random.key(0))
    assert TENNESSEE[int(found.elected)] == winner
    assert not found.tied
    if method == "borda":
        np.testing.assert_allclose(found.scores, [126, 194, 107, 173])


def test_a_tie_is_broken_by_a_fair_lot_that_the_key_decides():
    with strict(False):
        ballots, weights = jnp.eye(3, dtype=jnp.int8), jnp.ones(3)
        keys = jax.random.split(jax.random.key(5), 3000)
        elected = jax.vmap(
            lambda k: count("plurality", ballots, weights, jnp.ones(3, bool), k).elected
        )(keys)
        again = jax.vmap(
            lambda k: count("plurality", ballots, weights, jnp.ones(3, bool), k).elected
        )(keys)
    np.testing.assert_array_equal(elected, again)
    shares = Counter(np.asarray(elected).tolist())
    assert all(abs(shares[j] / 3000 - 1 / 3) < 0.04 for j in range(3))


def test_who_sees_no_difference_approves_of_nobody():
    """Also where the mean of equal numbers is rounded to less than one of them."""
    values = jnp.broadcast_to(
        np.random.default_rng(0).uniform(0, 1e5, 1000).astype(np.float32)[None], (5, 1000)
    )
    assert np.any(np.asarray(jnp.sum(values, 0) / 5 < values[0]))
    ballots = marked("approval", values, jnp.ones(5, bool), jnp.zeros((5, 1000)))
    assert not np.any(np.asarray(ballots))
