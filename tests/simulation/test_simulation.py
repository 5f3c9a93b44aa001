"""Runs in memory and on disk, without a language model."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import InvariantError, UserError
from jaxecon.core.files import write_atomically
from jaxecon.economy.build import build_economy
from jaxecon.economy.first_schedule import first_schedule
from jaxecon.economy.microdata import read_microdata
from jaxecon.economy.precision import compute_context
from jaxecon.planners import Fixed, Planner, changed_schedule
from jaxecon.simulation.journal import Journal
from jaxecon.simulation.loop import Simulation
from jaxecon.simulation.ports import SilentListener
from jaxecon.storage.recorder import Recorder

SMALL = {
    "years": 3,
    "year": {"days": 40},
    "population": {"mechanical": 60, "llm": 0},
    "planner": {"compared_with": ["us_federal"]},
}

YEAR_COLUMNS = [
    *(
        "year",
        "swf",
        "swf_window",
        "swf_private",
        "swf_counted",
        "swf_equilibrium",
        "swf_choices",
        "swf_paper",
        "gain_realised",
        "gain_equilibrium",
        "gain_choices",
    ),
    *(
        "utilitarian",
        "gini_income",
        "gini_consumption",
        "revenue",
        "rebate",
        "mean_hours",
        "mean_income",
        "satisfied_share",
    ),
    "settling_days",
    *(f"rate_{k}" for k in range(7)),
    *("leader", "llm_calls", "llm_fallbacks", "prompt_tokens", "completion_tokens", "seconds"),
    *("llm_decisions", "spread_adaptive", "exact_spread_adaptive"),
]
AGENT_COLUMNS = [
    "year",
    "cohort",
    "agent",
    "skill",
    "weight",
    "hours",
    "income",
    "tax",
    "consumption",
    "utility",
    "satisfied",
]


class Raise(Planner):
    """A planner that adds ten points a year, and remembers what it was shown."""

    name = "raise"

    def __init__(self):
        self.seen = []

    def init(self, context, key):
        assert context.years == 3
        return 0

    def propose(self, state, observation, key):
        self.seen.append(observation)
        return changed_schedule(
            observation.schedule, [10] * observation.schedule.brackets
        ), state + 1


class Rows(SilentListener):
    """A listener that keeps the rows of years.parquet."""

    def __init__(self):
        self.rows = []

    def on_year(self, row, usage):
        self.rows.append(row)


def rows_of(simulation):
    simulation.listener = listener = Rows()
    simulation.run()
    return listener.rows


def test_run_directory(tmp_path):
    run = je.run(SMALL, out=tmp_path / "run")
    assert sorted(p.name for p in run.path.iterdir()) == [
        *("agents.parquet", "checkpoints", "config.yaml", "manifest.json"),
        *("parts.jsonl", "years.parquet"),
    ]
    assert run.years.column_names == YEAR_COLUMNS
    assert run.agents.column_names == AGENT_COLUMNS
    assert run.agents.num_rows == 3 * 60
    again = je.load(run.path)
    assert again.config == load_config(SMALL)
    assert again.manifest["status"] == "complete"
    assert again.years.equals(run.years)
    # parts make one table for any Parquet reader
    assert pq.read_table(run.path / "agents.parquet").num_rows == 180


def test_tables_agree_with_each_other(tmp_path):
    run = je.run(SMALL, out=tmp_path / "run")
    agents = {
        name: np.asarray(run.agents[name])
        for name in ("year", "weight", "hours", "income", "tax", "consumption", "utility")
    }
    for row in run.years.to_pylist():
        these = {name: values[agents["year"] == row["year"]] for name, values in agents.items()}

        def mean(name, these=these):
            return (these["weight"] * these[name]).sum() / these["weight"].sum()

        assert mean("hours") == pytest.approx(row["mean_hours"], rel=1e-5)
        assert mean("income") == pytest.approx(row["mean_income"], rel=1e-5)
        assert mean("tax") == pytest.approx(row["revenue"], rel=1e-5)
        assert mean("utility") == pytest.approx(row["utilitarian"], rel=1e-5)
        assert row["revenue"] == pytest.approx(row["rebate"], rel=1e-6)
        mad = (
            np.abs(these["income"][:, None] - these["income"][None])
            * these["weight"][:, None]
            * these["weight"][None]
        )
        assert row["gini_income"] == pytest.approx(
            mad.sum() / these["weight"].sum() ** 2 / 2 / mean("income"), rel=1e-4
        )


def test_same_seed_same_run_and_another_seed_another(tmp_path):
    runs = [
        je.run(SMALL, overrides=[f"seed={seed}"], out=tmp_path / name)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    years = [run.years.drop_columns(["seconds"]) for run in runs]
    assert years[0].equals(years[1])
    assert runs[0].agents.equals(runs[1].agents)
    assert not years[0]["swf"].equals(years[2]["swf"])


def test_the_planner_is_shown_the_year_and_obeyed(tmp_path):
    config = load_config(SMALL, ["schedule.brackets=three"])
    planner = Raise()
    with compute_context(config):
        economy = build_economy(config)
    rows = rows_of(Simulation(config, economy, first_schedule(config), planner))
    assert [row["rate_0"] for row in rows] == pytest.approx([0.5, 0.6, 0.7])
    assert [o.year for o in planner.seen] == [0, 1]
    first = planner.seen[0]
    assert first.welfare == rows[0]["swf_window"]
    assert first.people.sum() == pytest.approx(1)
    assert (first.people * first.income).sum() == pytest.approx(rows[0]["mean_income"], rel=1e-5)
    assert rows[0]["leader"] == "raise"


def test_workers_learn_over_years():
    """Under a new tax welfare approaches what it is worth once all have learnt (from above: habit
    keeps them at work).
    """
    config = load_config(
        {
            "years": 4,
            "year": {"days": 48},
            "population": {
                "cohorts": [
                    {"name": "h", "rule": "habit", "size": 300, "parameters": {"speed": 0.02}}
                ]
            },
        }
    )
    with compute_context(config):
        economy = build_economy(config)
    rows = rows_of(Simulation(config, economy, first_schedule(config), Raise2()))
    after = [row["swf_window"] - row["swf_equilibrium"] for row in rows[1:]]
    assert after[0] > 2 * after[1] > 4 * after[2] > 0


class Raise2(Fixed):
    """To 60 % everywhere after the first year, and then nothing."""

    def propose(self, state, observation, key):
        if observation.year == 0:
            return je.TaxSchedule(observation.schedule.thresholds, [0.6] * 7), state
        return observation.schedule, state


def test_planner_actions_stay_in_bounds():
    schedule = je.TaxSchedule.three_bracket([0.1, 0.5, 0.95])
    np.testing.assert_allclose(changed_schedule(schedule, [-20, 10, 20]).rates, [0, 0.6, 1])
    with pytest.raises(
        ValueError, match=r"changes: \[5, 0, 0\]; 3 values, each one of -20, -10, 0, 10, 20"
    ):
        changed_schedule(schedule, [5, 0, 0])


@pytest.mark.parametrize("record", ["sample", "none"])
def test_recording_fewer_agents(tmp_path, record):
    run = je.run(
        SMALL, overrides=[f"record.agents={record}", "record.sample=7"], out=tmp_path / "run"
    )
    if record == "none":
        assert run.agents.num_rows == 0
    else:
        table = run.agents.filter(pa.compute.equal(run.agents["year"], 0))
        assert table["agent"].to_pylist() == [0, 5, 10, 14, 19, 24, 29] * 2


def test_microdata(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("income,weight\n40000,1\n80000,3\n")
    skill, weights = read_microdata(path)
    np.testing.assert_array_equal(skill, [1000, 2000])
    np.testing.assert_array_equal(weights, [1, 3])
    config = load_config(
        {
            "population": {
                "skills": "file",
                "file": str(path),
                "cohorts": [{"name": "a", "rule": "fixed", "size": 8}],
            }
        }
    )
    np.testing.assert_array_equal(
        build_economy(config).cohorts["a"].skill, [1000, 1000, *[2000] * 6]
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("income\n-5\n", "column income, line 2: -5; must be finite and above 0"),
        ("skill\n1\nnan\n", "column skill, line 3: nan; must be finite and above 0"),
        ("skill,weight\n1,0\n", "column weight, line 2: 0"),
        ("wage\n5\n", "1 column wage; needs skill"),
        ("skill\nmany\n", "column skill, line 2: 'many'; a number is needed"),
        ("skill\n", "holds no rows"),
        ("skill,skill\n1,2\n", "column skill is given 2 times"),
        ("skill\n1e39\n", "column skill, line 2: 1e\\+39; must be finite"),
        ('skill,"x\n1', "cannot be read as CSV"),
        (None, "no such file"),
    ],
)
def test_bad_microdata(tmp_path, text, message):
    path = tmp_path / "people.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        build_economy(
            load_config(
                {"population": {"skills": "file", "file": str(path), "mechanical": 4, "llm": 0}}
            )
        )
    assert "\n" not in str(caught.value)


def test_an_existing_run_is_not_overwritten(tmp_path):
    je.run(SMALL, overrides=["years=1"], out=tmp_path / "run")
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(UserError, match="already holds a run"):
        je.run(SMALL, out=tmp_path / "run")
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_a_failed_run_says_so(tmp_path):
    config = load_config(SMALL)

    class Broken(Fixed):
        def propose(self, state, observation, key):
            raise RuntimeError("the planner broke")

    recorder = Recorder.create(tmp_path / "run", config, {})
    with compute_context(config):
        economy = build_economy(config)
    journal = Journal(recorder, begun=True)
    with pytest.raises(RuntimeError, match="the planner broke"), journal.final_status():
        Simulation(config, economy, first_schedule(config), Broken(), recorder=recorder).run()
    run = je.load(tmp_path / "run")
    assert (run.manifest["status"], run.manifest["error"]) == ("failed", "the planner broke")
    assert run.years.num_rows == 1  # what was simulated is there
    with pytest.raises(UserError, match="status 'failed'"):
        _ = run.summary


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    write_atomically(path, b"old")

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", [None, "{", json.dumps({"format": 99})])
def test_loading_what_is_no_run(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(UserError, match=r"not a run directory|manifest.json: damaged|format 99"):
        je.load(tmp_path)


def test_parameters_of_a_rule_are_checked_where_they_stand(tmp_path):
    config = {
        "population": {
            "cohorts": [{"name": "a", "rule": "quantal", "size": 3, "parameters": {"precison": 3}}]
        }
    }
    with pytest.raises(
        UserError,
        match=r"population.cohorts.0.parameters.precison: quantal has no such parameter; one of "
        r"precision",
    ):
        je.run(config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_rule_that_returns_nonsense_stops_the_run(tmp_path, monkeypatch):
    (tmp_path / "nonsense_rule.py").write_text(
        "from jaxecon.workers.fixed import Fixed\n"
        "class NaN(Fixed):\n"
        "    def act(self, params, plan, state, draws, observation):\n"
        "        return plan * float('nan'), state\n"
    )
    monkeypatch.chdir(tmp_path)  # found beside the configuration
    config = {
        "years": 2,
        "population": {"cohorts": [{"name": "a", "rule": "nonsense_rule:NaN", "size": 3}]},
    }
    with pytest.raises(
        InvariantError, match="cohort a, agent 0, year 0, day 0: its rule must return hours"
    ):
        je.run(config, out=tmp_path / "run")
    assert je.load(tmp_path / "run").manifest["status"] == "failed"


def test_a_folder_of_somebody_else(tmp_path):
    """Real permissions, as an ordinary user meets them."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    code = (
        "import os; import jaxecon as je; run = je.run; os.setuid(65534); "
        f"run({SMALL!r}, out={str(locked / 'run')!r})"
    )
    if os.getuid() != 0:
        code = code.replace("os.setuid(65534); ", "")
    # pytest's own folders, closed to others
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "DiskError: --out:" in done.stderr, done.stderr
    assert "is not a folder that can be written (Permission denied)" in done.stderr


def test_curvature_needs_consumption(tmp_path):
    config = {
        **SMALL,
        "preferences": {"consumption_curvature": 1.0},
        "budget": {"public_spending": 40_000.0},
    }
    with pytest.raises(UserError, match=r"budget.public_spending: 40000; leaves the poorest"):
        je.run(config, out=tmp_path / "run")
