"""Runs of economies that change by themselves: tables, resuming, branching, batches, devices."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pyarrow.compute as pc
import pytest
from support.dynamics import ALL, SAVING, SKILLS, config_of, words
from support.environment import QUICK_COMPILATION
from support.runs import HYBRID, MECHANICAL, assert_same_run, run_killed

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.economy.build import build_economy, skill_nodes
from jaxecon.economy.equilibrium import equilibrium_outcome
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import by_cohort
from jaxecon.simulation.batch import case, simulate_batch
from jaxecon.sweeps.rows import OF_WEALTH, STATISTICS

ROOT = Path(__file__).resolve().parents[2]


def test_agents_and_years_on_disk(tmp_path):
    run = je.run({**MECHANICAL, "dynamics": ALL}, out=tmp_path / "run")
    plain = je.run(MECHANICAL, out=tmp_path / "plain")
    for table, more in (("years", OF_WEALTH), ("agents", ("wealth", "saving"))):
        assert set(getattr(run, table).column_names) - set(
            getattr(plain, table).column_names
        ) == set(more)
    skills = run.agents["skill"].to_numpy().reshape(3, 30)
    base = plain.agents["skill"].to_numpy().reshape(3, 30)
    np.testing.assert_array_equal(skills[0], base[0])
    same = skills[1:] == base[1:]
    assert 5 < same.sum() < 40  # who has just entered
    np.testing.assert_allclose(
        run.agents["income"].to_numpy(), skills.ravel() * run.agents["hours"].to_numpy(), rtol=1e-5
    )
    for row in run.years.to_pylist():
        these = run.agents.filter(pc.field("year") == row["year"])
        weighted = (these["weight"].to_numpy() * these["income"].to_numpy()).sum() / these[
            "weight"
        ].to_numpy().sum()
        assert row["mean_income"] == pytest.approx(weighted, rel=1e-5)


@pytest.mark.parametrize("config", [MECHANICAL, HYBRID], ids=["mechanical", "hybrid"])
@pytest.mark.parametrize(("year", "day"), [(0, None), (1, 2)])
def test_a_killed_run_resumes_to_the_same_results(config, tmp_path, year, day):
    config = {**config, "dynamics": ALL}
    whole = je.run(config, out=tmp_path / "whole")
    killed = run_killed(config, tmp_path / "run", year=year, day=day)
    je.resume(killed)
    assert_same_run(killed, whole.path)


def test_a_branch_is_another_future_of_the_same_people(tmp_path):
    run = je.run({**HYBRID, "dynamics": ALL}, out=tmp_path / "run")
    (same,) = je.branch(run.path, year=1, out=tmp_path / "same")
    ours = run.agents.filter(pc.field("year") >= 1)
    assert same.agents["skill"].equals(ours["skill"])
    assert same.agents["hours"].equals(ours["hours"])
    (other,) = je.branch(
        run.path, year=1, out=tmp_path / "other", overrides=["dynamics.skills.shock=0"]
    )
    first = [
        table.filter(pc.field("year") == 1)["skill"].to_numpy()
        for table in (other.agents, run.agents)
    ]
    np.testing.assert_array_equal(*first)
    for setting in ("dynamics.skills.enabled=false", "dynamics.hours_inertia=0"):
        with pytest.raises(
            UserError,
            match=r"dynamics\..*; a branch keeps its run's people .* and what changes of itself",
        ) as said:
            je.branch(run.path, year=1, out=tmp_path / "no", overrides=[setting])
        assert "\n" not in str(said.value)
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("planner", ["in_context", "fixed"])
def test_a_batch_equals_its_runs_one_by_one(tmp_path, planner):
    """With numbers that differ from run to run in one program."""
    given = {
        **MECHANICAL,
        "population": {
            "cohorts": [{"name": "habit", "rule": "habit", "size": 20}]
        },  # less to compile
        "satisfaction": {"judged": True},
        "planner": {"kind": planner, "compared_with": []},
        "schedule": {"brackets": "flat"},
    }
    several = [
        {
            "skills": SKILLS | {"shock": shock, "working_years": years},
            "hours_inertia": inertia,
            "saving": SAVING | {"tax": tax},
        }
        for shock, years, inertia, tax in ((0.1, 3.0, 0.2, 0.0), (0.3, 20.0, 0.6, 0.7))
    ]
    configs = [
        load_config({**given, "dynamics": dynamics, "seed": i})
        for i, dynamics in enumerate(several)
    ]
    with compute_context(configs[0]):
        stacked = jax.tree.map(lambda *x: np.stack(x), *(case(config) for config in configs))
        outcomes = jax.device_get(simulate_batch(stacked, skill_nodes(configs[0])))
    for i, config in enumerate(configs):
        run = je.run(config, out=tmp_path / f"run-{i}")
        for name in (*STATISTICS, *OF_WEALTH):
            ours = run.years[name].to_numpy()
            np.testing.assert_allclose(
                getattr(outcomes.statistics, name)[i], ours, rtol=3e-5, atol=1e-6, err_msg=name
            )


def test_llm_workers_see_this_years_pay_and_forget_when_they_retire(tmp_path):
    from llm.transcript.store import Transcript

    config = {**HYBRID, "dynamics": {"skills": SKILLS}, "population": {"mechanical": 4, "llm": 12}}
    run = je.run(config, out=tmp_path / "run")
    skill = run.agents.filter(pc.field("cohort") == "llm")["skill"].to_numpy().reshape(3, 12)
    transcript = Transcript(run.path / "transcript.sqlite", read_only=True)
    told = {
        (c["kind"], c["year"], c["day"], c["agent"]): c["messages"][1]["content"]
        for c in transcript.conversations()
    }
    transcript.close()
    for (kind, year, _, agent), text in told.items():
        if kind in ("labor", "satisfaction"):
            assert f"Your pay: {skill[year, agent]:,.0f} dollars a year per weekly hour" in text
    new = skill[1:] == skill[0]
    assert 0 < new.sum() < 24
    for year in (1, 2):
        for agent in range(12):
            text = told["labor", year, 0, agent]
            remembers = [f"Year {y} day" in text for y in range(1, year + 1)]
            assert any(remembers) != new[year - 1, agent]
            assert ("What hours bring you" in text) != new[year - 1, agent]
            persona = text.split("Your pay")[0]
            assert told["labor", 0, 0, agent].split("Your pay")[0] == persona
            if new[year - 1, agent]:
                later = told["labor", year, 3, agent]
                # of the three days before, no more
                worked = re.findall(r"^\d+ hours: .* \((\d) days?\)$", later, re.MULTILINE)
                assert sum(map(int, worked)) == 3
                assert f"Year {year} day" not in later


def test_hours_of_llm_workers_adjust_with_a_lag_too(tmp_path):
    config = {**HYBRID, "years": 1, "dynamics": {"hours_inertia": 0.9}}
    stuck, free = (
        je.run(c, out=tmp_path / name)
        for name, c in (("a", config), ("b", {**config, "dynamics": {}}))
    )
    hours = [
        r.agents.filter(pc.field("cohort") == "llm")["hours"].to_numpy() for r in (stuck, free)
    ]
    assert not np.array_equal(*hours)
    economy = build_economy(load_config(config))
    exact = by_cohort(
        economy, equilibrium_outcome(economy, first_schedule(load_config(config))).hours
    )["llm"]
    draws = np.array(
        [words(0, "llm", "inertia", 0, day, 3)[2] < np.float32(0.9) for day in range(6)]
    )
    never = draws.all(axis=0)
    assert never.any()
    np.testing.assert_allclose(hours[0][never], np.asarray(exact)[never], rtol=1e-5)


TWO = """
    import json, sys
    import jaxecon as je

    given, folder = json.loads(sys.argv[1]), sys.argv[2]
    for devices in (1, 2):
        je.run(given, overrides=[f"devices={devices}"], out=f"{folder}/{devices}")
"""


def test_two_devices_compute_what_one_does(tmp_path):
    import textwrap

    config = {
        **MECHANICAL,
        "dynamics": ALL,
        "schedule": {"brackets": "flat"},
        "planner": {"kind": "fixed", "compared_with": []},
    }
    config["population"] = {
        "cohorts": [
            {"name": "q", "rule": "quantal", "size": 30},
            {"name": "h", "rule": "habit", "size": 20},
        ]
    }
    flags = f"--xla_force_host_platform_device_count=2 {QUICK_COMPILATION}"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", textwrap.dedent(TWO), json.dumps(config), str(tmp_path)]
    subprocess.run(command, env=environment, check=True, cwd=ROOT)
    one, two = (je.load(tmp_path / name) for name in ("1", "2"))
    assert two.manifest["hardware"]["economy_on"] == "2 devices"
    for name in ("skill", "hours", "income", "tax", "utility", "wealth", "saving"):
        a, b = (run.agents[name].to_numpy() for run in (one, two))
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=0.02, err_msg=name)
    skills = one.agents["skill"].to_numpy().reshape(3, 50)
    assert (skills[1:] != skills[0]).sum() > 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("hours_inertia=1", "dynamics.hours_inertia: 1; a number in [0, 1)"),
        ("hours_inertia=-0.1", "dynamics.hours_inertia: -0.1; a number in [0, 1)"),
        ("skills.persistence=1.1", "dynamics.skills.persistence: 1.1; a number in [0, 1]"),
        ("skills.shock=0.6", "dynamics.skills.shock: 0.6; a number in [0, 0.5]"),
        (
            "skills.working_years=0.5",
            "dynamics.skills.working_years: 0.5; a number in [1, 1,000,000,000] or unset",
        ),
        ("skills.learns=1", "dynamics.skills.learns: no such setting; did you mean 'learning'?"),
    ],
)
def test_mistakes_are_one_line(setting, message):
    with pytest.raises(UserError) as said:
        load_config({}, [f"dynamics.{setting}"])
    assert str(said.value).startswith(message)
    assert "\n" not in str(said.value)


def test_nobody_retires_without_working_years():
    config = config_of({"skills": {"enabled": True, "working_years": None}})
    assert float(build_economy(config).dynamics.skills.retirement) == 0
