"""Settings by name: what may change when a run goes on, and one list for each kind of names."""

import json
import subprocess
import sys

import pytest

from jaxecon.config import names
from jaxecon.config.base import Section, annotation_members
from jaxecon.config.describe import accepted_values
from jaxecon.config.diagnostics import Diagnostics
from jaxecon.config.field_marks import Mark
from jaxecon.config.fields import changes_results, decides_people, marked
from jaxecon.config.read import load_config, to_yaml
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError

FREE = [
    "device",
    "devices",
    "planner.compared_with",
    "llm.kv_cache_gib",
    "llm.gpu_memory_share",
    "llm.api_key_env",
    "llm.headers",
    "llm.query",
    "llm.max_connections",
    "llm.requests_per_minute",
    "llm.tokens_per_minute",
    "llm.timeout_seconds",
    "llm.transport_retries",
    "llm.patience_seconds",
    "llm.transcript",
    "llm.price",
    "llm.prompts",
    "llm.fallback_limit",
    "llm.budget_tokens",
    "llm.budget_usd",
    "diagnostics",
    "checkpoint",
]


def test_marks():
    assert marked(Mark.FREE) == FREE
    assert marked(Mark.PEOPLE) == ["seed", "precision", "population", "labor", "llm.memory.window"]


@pytest.mark.parametrize(
    "name",
    [
        *FREE,
        "checkpoint.keep_last",
        "diagnostics.fallback_rate.limit",
        "llm.price.prompt",
        "llm.others.big.max_connections",
        "llm.others.price.price.cached",
        "llm.others.gpt-4.1 mini.transcript",
    ],
)
def test_free_settings(name):
    assert not changes_results(name)
    assert not decides_people(name)


@pytest.mark.parametrize(
    "name",
    [
        "seed",
        "years",
        "schedule.rates",
        "planner.llm",
        "planner.memory.best",
        "llm.memory.best",
        "population.cohorts.0.size",
        "llm.model",
        "llm.others.price.model",
        "llm.others.big",
        "no.such.setting",
    ],
)
def test_settings_that_change_results(name):
    assert changes_results(name)
    assert decides_people(name) == name.startswith(("seed", "population"))


def test_names_are_those_of_the_table():
    for setting, table in (("planner.kind", names.PLANNERS), ("llm.engine", names.ENGINES)):
        for name in table:
            more = ["llm.transcript=x"] if name == "replay" else []
            assert name in to_yaml(load_config(None, [f"{setting}={name}", *more]))
            assert name in accepted_values(setting.split("."))
    policies = load_config({"planner": {"compared_with": list(names.POLICIES)}})
    assert policies.planner.compared_with == tuple(names.POLICIES)
    assert list(Diagnostics.model_fields) == list(names.DIAGNOSTICS)


@pytest.mark.parametrize(
    "module", ["jaxecon", "jaxecon.config", "jaxecon.cli.app", "jaxecon.simulation.language"]
)
def test_imports_that_need_no_heavy_library(module):
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jax", "numpy", "pyarrow", "scipy"} & set(json.loads(done.stdout))


def _numbers(model=Config, path=()):
    """The dotted name of every setting that takes a number and neither true nor false."""
    for name, field in model.model_fields.items():
        members = annotation_members(field.annotation)
        section = next((m for m in members if isinstance(m, type) and issubclass(m, Section)), None)
        if section is not None:
            yield from _numbers(section, (*path, name))
        elif {int, float} & set(members) and bool not in members:
            yield ".".join((*path, name))


@pytest.mark.parametrize("name", list(_numbers()))
@pytest.mark.parametrize("value", ["true", "false"])
def test_true_and_false_are_no_numbers(name, value):
    """True and false would be 1 and 0."""
    with pytest.raises(UserError) as caught:
        load_config(None, [f"{name}={value}"])
    assert str(caught.value).startswith(f"{name}: {value == 'true'}; ")


@pytest.mark.parametrize(
    "setting",
    [
        "labor.choices=[0, yes]",
        "planner.rate_bounds=[false, true]",
        "population.shares={adaptive: true}",
        "population.cohorts=[{name: a, rule: quantal, size: 1, parameters: {precision: true}}]",
        "schedule.rates=[yes]",
    ],
)
def test_nor_are_they_in_lists_and_mappings(setting):
    with pytest.raises(UserError):
        load_config(None, [setting])
