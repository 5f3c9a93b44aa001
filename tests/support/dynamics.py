"""Economies that change by themselves, and the random numbers behind, for several tests."""

import jax.numpy as jnp
import numpy as np

from jaxecon.config.read import load_config
from jaxecon.core.draws import draw, named_key
from jaxecon.kernels.skills import SkillDynamics

SKILLS = {"enabled": True, "shock": 0.3, "learning": 0.1, "working_years": 3.0}
SAVING = {"enabled": True, "tax": 0.4, "adjustment": 0.3}
ALL = {"skills": SKILLS, "hours_inertia": 0.4, "saving": SAVING}
COHORTS = [
    {"name": rule, "rule": rule, "size": size}
    for rule, size in (("rational", 40), ("quantal", 60), ("adaptive", 50), ("habit", 30))
]

FEW = {
    "cohorts": [
        {"name": "rational", "rule": "rational", "size": 120},
        {"name": "habit", "rule": "habit", "size": 60},
    ]
}


def skill_dynamics(persistence=0.95, learning=0.0, shock=0.2, retirement=0.0):
    return SkillDynamics(*(jnp.float32(x) for x in (persistence, learning, shock, retirement)))


def config_of(dynamics, **sections):
    few = {"schedule": {"brackets": "flat"}}  # brackets: less to compile
    return load_config({"population": {"cohorts": COHORTS}, "dynamics": dynamics} | few | sections)


def words(seed, cohort, purpose, year, day, n):
    """The two words of each agent's draws, and the uniform number in the first."""
    draws = draw(named_key(seed, cohort, purpose), year, day, n)
    first, second = (np.asarray(word, np.uint64) for word in (draws.first, draws.second))
    return first, second, (first >> np.uint64(8)) / 2.0**24


def numpy_normal(first, second):
    return np.sqrt(-2 * np.log((first + 0.5) / 2.0**32)) * np.cos(
        2 * np.pi * (second >> np.uint64(8)) / 2.0**24
    )


def variance_by_recursion(persistence, shock, years):
    variance = 0.0
    for _ in range(years):
        variance = persistence**2 * variance + shock**2
    return variance
