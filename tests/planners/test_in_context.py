"""The mechanical in-context planner: what it may do and what it achieves."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxecon as je
from jaxecon.planners import InContext, Ingredients, PlannerContext, YearObservation
from jaxecon.planners.base import in_last_tenth

THREE = je.TaxSchedule.three_bracket([0.5, 0.5, 0.5])


def seen(year, rates, welfare, years=40):
    three = np.full(3, 1 / 3)
    schedule = je.TaxSchedule(THREE.thresholds, jnp.asarray(rates, jnp.float32))
    return YearObservation(year, years, schedule, welfare, 40.0, 5e4, 9e3, three, three, three)


def path(welfare, years=40, seed=0, **ingredients):
    """Rates of every year of a planner whose welfare is a function of its rates."""
    planner = InContext(Ingredients(**ingredients))
    key = jax.random.key(seed)
    state = planner.init(PlannerContext(THREE, years, seed), key)
    rates = [np.asarray(THREE.rates)]
    for year in range(years - 1):
        schedule, state = planner.propose(
            state,
            seen(year, rates[-1], float(welfare(rates[-1])), years),
            jax.random.fold_in(key, year),
        )
        rates.append(np.asarray(schedule.rates))
    return np.array(rates)


def hill(rates):
    return 1000 - 4000 * np.sum((np.asarray(rates) - np.array([0.8, 0.3, 0.6])) ** 2)


@pytest.mark.parametrize("max_change", [20, 50])
def test_it_moves_as_planners_may(max_change):
    rates = path(hill, max_change=max_change, exploration_rate=0.9)
    moves = np.diff(rates, axis=0)
    assert (rates >= 0).all()
    assert (rates <= 1).all()
    assert np.abs(moves).max() <= max_change / 100 + 1e-6
    np.testing.assert_allclose(rates * 10, np.round(rates * 10), atol=1e-4)
    assert np.abs(moves).max() > 0.1  # and it does use its room


def test_it_climbs_to_the_top_and_stays_there():
    ends = np.array([path(hill, seed=seed)[-1] for seed in range(8)])
    assert (np.abs(ends - [0.8, 0.3, 0.6]) < 0.15).all(1).mean() >= 0.75
    for seed in range(4):
        rates = path(hill, seed=seed)
        # the last tenth is for the best
        assert hill(rates[-1]) == pytest.approx(max(map(hill, rates)), abs=0.1)


@pytest.mark.parametrize("welfare", [-np.inf, np.nan])
def test_without_a_best_it_climbs_from_where_it_is(welfare):
    """And stays there in the last tenth."""
    rates = path(lambda rates: welfare, exploration=False)
    # one bracket at a time, and not all towards zero
    assert (np.count_nonzero(np.diff(rates, axis=0), axis=1) <= 1).all()
    assert rates[-5:].mean() > 0.2
    assert (rates[-3:] == rates[-4]).all()


def test_ingredients_matter():
    """Each switch changes what is done; without the best to return to, the climb ends lower."""

    def end(**ingredients):
        return np.mean([hill(path(hill, seed=seed, **ingredients)[-1]) for seed in range(8)])

    full = end()
    assert full > end(exploitation=False)
    assert not np.array_equal(path(hill), path(hill, exploration=False))
    assert not np.array_equal(path(hill), path(hill, direction_hint=False))
    still = path(lambda rates: 0.0, exploration=False, exploitation=False)
    assert (np.count_nonzero(np.diff(still, axis=0), axis=1) <= 1).all()  # one bracket at a time


def test_it_is_pure_and_maps_over_economies():
    planner = InContext()
    keys = jax.random.split(jax.random.key(3), 5)
    state = planner.init(PlannerContext(THREE, 10), keys[0])
    observed = seen(0, [0.5, 0.4, 0.3], 10.0, years=10)

    def propose(key, welfare):
        return planner.propose(state, replace(observed, welfare=welfare), key)

    welfare = jnp.arange(5.0)
    together, states = jax.jit(jax.vmap(propose))(keys, welfare)
    for i in range(5):
        alone, memory = propose(keys[i], welfare[i])
        np.testing.assert_array_equal(together.rates[i], alone.rates)
        jax.tree.map(
            lambda all_, own, i=i: np.testing.assert_array_equal(all_[i], own),
            states.memory,
            memory.memory,
        )


def test_the_last_tenth():
    assert [year for year in range(40) if in_last_tenth(year, 40)] == [36, 37, 38, 39]
    assert not any(in_last_tenth(year, 9) for year in range(9))


def test_a_run_without_language_models_has_it(tmp_path):
    """Welfare at equilibrium rises from year to year as it learns, and two runs are the same."""
    config = {
        "years": 30,
        "year": {"days": 16},
        "population": {"cohorts": [{"name": "all", "rule": "rational", "size": 100}]},
        "schedule": {"brackets": "three"},
        "planner": {"compared_with": ["us_federal"]},
    }
    runs = [je.run(config, out=tmp_path / name) for name in "ab"]
    years = runs[0].years.to_pydict()
    assert set(years["leader"]) == {"in_context"}
    gains = years["gain_equilibrium"]
    assert gains[-1] > gains[0]
    assert gains[-1] > 0.27  # the exact optimum of three brackets gains 28.75 %
    assert gains[-1] == max(gains)
    for column in ("swf", "rate_0", "rate_1", "rate_2"):
        assert years[column] == runs[1].years.to_pydict()[column]
