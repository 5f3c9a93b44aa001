"""One contract for every planner of the registry."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxecon.config import names
from jaxecon.config.read import load_config
from jaxecon.economy.build import build_economy
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.planners import Planner, PlannerContext, YearObservation
from jaxecon.planners.elections.voting import Election
from jaxecon.planners.registry import NEEDS_ENGINES, PLANNERS, PlannerInputs, make_planner
from jaxecon.planners.registry import with_retention as retained
from llm.agents.planner import LLMPlanner
from llm.bridge import Bridge
from llm.engines.simulated import SimulatedEngine
from llm.messages import Sampling
from llm.served import ServedModel
from llm.transcript.store import Transcript

YEARS = 3


def test_the_names_are_those_of_the_settings():
    assert set(PLANNERS) == set(names.PLANNERS)
    assert set(PLANNERS) >= NEEDS_ENGINES


def test_a_language_model_must_have_been_started():
    config = settings("llm")
    inputs = PlannerInputs(config, build_economy(config), first_schedule(config))
    with pytest.raises(ValueError, match="no language model has been started"):
        make_planner(inputs)


def settings(kind, **sections):
    population = {"cohorts": [{"name": "people", "rule": "rational", "size": 40}]}
    brackets = "us_federal" if kind == "us_federal" else "three"
    return load_config(
        {
            "years": YEARS,
            "population": population,
            "planner": {"kind": kind, "compared_with": []},
            "schedule": {"brackets": brackets},
            "elections": {"candidates": 2},
        }
        | sections
    )


@pytest.mark.parametrize("retention", [False, True], ids=["", "retention"])
@pytest.mark.parametrize("kind", names.PLANNERS)
def test_contract(kind, retention, tmp_path):
    """It starts, proposes valid schedules of the same brackets, and says who leads."""
    if retention and kind == "elected":
        pytest.skip("an elected worker cannot also be retained")
    elections = {"candidates": 2, "retention": retention}
    config = settings(kind, elections=elections)
    transcript = Transcript(tmp_path / "transcript.sqlite")
    bridge = Bridge(
        {"planner": ServedModel(SimulatedEngine())},
        transcript,
        seed=0,
        sampling=Sampling(),
        retries=0,
    )
    with compute_context(config):
        schedule, economy = first_schedule(config), build_economy(config)
        inputs = PlannerInputs(config, economy, schedule, partial(LLMPlanner, bridge, config))
        planner = retained(make_planner(inputs), inputs)
        check(planner, kind, retention, schedule)
    transcript.close()


def check(planner: Planner, kind, retention, schedule):
    key = jax.random.key(0)
    state = planner.init(PlannerContext(schedule, YEARS), key)
    form = form_of(state)
    assert planner.name == kind
    assert planner.asks == ()
    assert all(isinstance(leaf, jax.Array | np.ndarray) for leaf in jax.tree.leaves(state))
    zeros = np.zeros(schedule.brackets)
    for year in range(YEARS - 1):
        seen = YearObservation(year, YEARS, schedule, 1.0, 40.0, 5e4, 1e4, zeros, zeros, zeros)
        proposed, state = planner.propose(state, seen, jax.random.fold_in(key, year))
        np.testing.assert_array_equal(proposed.thresholds, schedule.thresholds)
        assert np.all((proposed.rates >= 0) & (proposed.rates <= 1))
        assert form_of(state) == form
        assert planner.leader(state)
        assert isinstance(planner.leader(state), str)
        votes = planner.election(state)
        assert isinstance(votes, Election) if retention or kind == "elected" else votes is None
        schedule = proposed


def form_of(state):
    leaves, structure = jax.tree.flatten(state)
    return structure, [jnp.shape(leaf) for leaf in leaves]
