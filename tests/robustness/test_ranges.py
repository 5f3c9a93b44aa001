"""The accepted range of every number: bounded on both sides, and right at its ends."""

import math
import typing

import annotated_types
import jax
import numpy as np
import pydantic
import pytest

from jaxecon.config.base import annotation_members
from jaxecon.config.fields import section_of
from jaxecon.config.read import load_config
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy, skill_nodes
from jaxecon.economy.precision import compute_context
from jaxecon.kernels.labor import best_response
from jaxecon.kernels.preferences import Preferences
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.simulation import batch
from jaxecon.simulation.invariants import Budget, violations

# Limits of what a run may take, which enter no formula of the economy; none is a limit, too.
UNBOUNDED = {
    "llm.requests_per_minute",
    "llm.tokens_per_minute",
    "llm.others.requests_per_minute",
    "llm.others.tokens_per_minute",
    "survey.questions.years",
    "population.cohorts.parameters",  # a rule checks its own (`workers.base.checked`)
    "schedule.brackets",  # `checks._brackets`
    "record.sample",  # at most all agents are
    "devices",  # as many as there are
}


def numbers_of(model, above=""):
    """Names of all settings that are numbers, and the bounds that hold for them."""
    for name, field in model.model_fields.items():
        section = next(filter(None, map(section_of, annotation_members(field.annotation))), None)
        if isinstance(section, type) and issubclass(section, pydantic.BaseModel):
            yield from numbers_of(section, f"{above}{name}.")
        else:
            yield from bounds_of(f"{above}{name}", field.annotation, field.metadata)


def bounds_of(name, annotation, metadata):
    """The bounds of each number within an annotation."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        more = [m for x in inner[1:] for m in getattr(x, "metadata", [x])]
        yield from bounds_of(name, inner[0], [*metadata, *more])
    elif annotation in (int, float):
        kinds = {type(m) for m in metadata}
        low = kinds & {annotated_types.Ge, annotated_types.Gt}
        high = kinds & {annotated_types.Le, annotated_types.Lt}
        yield name, bool(low and high)
    elif origin is not typing.Literal:
        for part in inner:
            yield from bounds_of(name, part, metadata)


def test_every_number_has_two_bounds():
    found = list(numbers_of(Config))
    assert len(found) > 60
    assert {name for name, bounded in found if not bounded} <= UNBOUNDED


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("preferences.disutility_exponent=20", "at most 18.96 with preferences.max_hours 100"),
        ("welfare.floor=1e300", "a number in"),
        ("welfare.floor=1e-300", "a number in"),
        ("budget.rebate_floor=1e308", "a number in"),
        ("schedule.brackets=[0,1e300]", r"at most 1e\+12"),
        ("satisfaction.tolerance=[0,1e300]", "a number in"),
        ("satisfaction.width=1e-300", "a number in"),
        ("planner.elasticity=1e-300", "in"),
        ("population.shares={adaptive: 1e-300}", "share must be at least 1e-09"),
        ("llm.price={prompt: 1e308}", "a number in"),
        ("dynamics.saving.return_rate=1e-300", "a number in"),
    ],
)
def test_a_value_that_overflows_is_refused_with_its_range(setting, message):
    with pytest.raises(UserError, match=message) as refused:
        load_config({}, [setting])
    name = setting.split("=")[0]
    assert str(refused.value).startswith(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["calibrated", "annualised", "paper"])
def test_the_least_exponent_is_named_and_works(kind, precision):
    """A disutility exponent near 1 is refused; the one that the message names gives hours."""
    workers = {"name": "workers", "rule": "rational", "size": 20}
    given = {
        "population": {"cohorts": [workers]},
        "preferences": {"set": kind, "disutility_exponent": 1.0001},
        "precision": precision,
    }
    with pytest.raises(UserError, match=f"at least .* in {precision}") as refused:
        build_economy_of(given)
    least = float(str(refused.value).split("at least ")[1].split()[0])
    given["preferences"]["disutility_exponent"] = least
    economy = build_economy_of(given)
    assert np.isfinite(float(economy.reference_welfare))
    assert np.isfinite(np.asarray(economy.reference.utility)).all()


def build_economy_of(given):
    config = load_config(given)
    with compute_context(config):
        return build_economy(config)


def test_responses_near_the_least_exponent_are_those_of_float64():
    exponent, skill = 1.02, np.array([300.0, 1_000.0, 4_000.0])
    hours = {}
    for dtype in (np.float32, np.float64):
        with jax.enable_x64(dtype is np.float64):
            schedule = TaxSchedule(np.array([0.0, 6e4], dtype), np.array([0.101, 0.119], dtype))
            preferences = Preferences.calibrated(skill.astype(dtype), dtype(exponent))
            hours[dtype] = np.asarray(best_response(schedule, skill.astype(dtype), preferences))
    np.testing.assert_allclose(hours[np.float32], hours[np.float64], rtol=2e-3)


EXTREMES = {
    "preferences.disutility_exponent": (1.4, 18.9),
    "preferences.max_hours": (10.0, 168.0),
    "budget.public_spending": (0.0, 1e9),
    "welfare.penalty": (0.0, 1.0),
    "satisfaction.width": (1e-6, 1e6),
    "satisfaction.tolerance": ([-1e6, -1e6], [1e6, 1e6], [-1e6, 1e6]),
    "schedule.brackets": ([0, 1e-6], [0, 1e12]),
    "schedule.rates": (0.0, 1.0),
}


def test_the_ends_of_the_ranges_break_no_invariant():
    """Each setting at each end, as one batch of runs in float32; a setting of its own per run."""
    base = {
        "years": 1,
        "year": {"days": 2},
        "population": {"mechanical": 12, "llm": 0},
        "satisfaction": {"judged": True},
        "schedule": {"brackets": [0, 40_000], "rates": 0.4},
        "planner": {"kind": "fixed"},
    }
    changes = [f"{name}={value}" for name, values in EXTREMES.items() for value in values]
    configs = [load_config(base, [change]) for change in changes]
    with compute_context(configs[0]):
        each = [batch.case(config) for config in configs]
        cases = batch.stacked(each, [1] * len(each), [(0, 0)] * len(each))
        outcomes = jax.device_get(batch.simulate_batch(cases, skill_nodes(configs[0])))
    assert outcomes.right_hours.all()
    budget = Budget(np.asarray(cases.economy.public_spending)[:, None], None, False)
    for violation in violations(vars(outcomes.statistics), budget, are_means=True):
        wrong = [f"{changes[i]}: {violation.say((i, y))}" for i, y in np.argwhere(violation.where)]
        assert wrong == []
    assert math.isfinite(float(np.sum(outcomes.statistics.utilitarian)))
