"""Sweeps: that each point is the run that it stands for, and that nothing which happens on the way
changes that.
"""

import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import EngineError, Interrupted, UserError
from jaxecon.core.files import write_atomically
from jaxecon.simulation import batch
from jaxecon.simulation import prepare as simulation_prepare
from jaxecon.simulation import run as api
from jaxecon.simulation.language import start_engines
from jaxecon.storage import run as records
from jaxecon.sweeps.chunk import Task, _alike
from jaxecon.sweeps.design import read
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.sweep import sweep

sweeping = sys.modules[sweep.__module__]  # whose place in the package the function has

EXPONENT = "preferences.disutility_exponent"
DESIGN = {
    "run": {
        "years": 3,
        "year": {"days": 6},
        "population": {"mechanical": 12, "llm": 0, "sampling": "random"},
        "satisfaction": {"judged": True},
        "schedule": {"brackets": "three"},
        "planner": {"kind": "in_context", "compared_with": ["us_federal"]},
        "record": {"agents": "none"},
    },
    "grid": {EXPONENT: [3.5, 0.5, 3.0]},
    "seeds": 4,
}
FAILING = range(4, 8)  # 0.5 is refused


def swept(folder, design=None, **given):
    return sweep(design or DESIGN, out=folder, **{"lanes": 3} | given)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("sweep") / "whole")


class NoMemory(jax.errors.JaxRuntimeError):
    pass


NoMemory.__name__ = "JaxRuntimeError"


def assert_same(one, other):
    assert one.points.equals(other.points)
    assert one.years.equals(other.years)


class Heard(sweeping.Silent):
    def __init__(self, stop_after=None):
        self.chunks, self.halves, self.began, self.notes, self._stop_after = (
            [],
            [],
            None,
            [],
            stop_after,
        )

    def note(self, line):
        self.notes.append(line)

    def begin(self, total, done):
        self.began = (total, done)

    def lived(self, points, failed):
        self.chunks.append((points, failed))
        if len(self.chunks) == self._stop_after:
            raise KeyboardInterrupt

    def halved(self, chunk, lanes):
        self.halves.append((chunk.lanes, lanes))


# --- what a point is ------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [1, 11])
def test_a_point_is_the_run_of_its_configuration(whole, tmp_path, index):
    points = Points(read(DESIGN))
    run = je.run(points.config(points[index]), out=tmp_path / "run")
    ours = whole.years.filter(pc.field("point") == index)
    assert ours["year"].to_pylist() == [0, 1, 2]
    assert ours["leader"].to_pylist() == run.years["leader"].to_pylist() == ["in_context"] * 3
    for name in (*sweeping.FIGURES, "rate_0", "rate_1", "rate_2"):
        np.testing.assert_allclose(
            ours[name].to_numpy(), run.years[name].to_numpy(), rtol=2e-5, atol=1e-6, err_msg=name
        )
    assert len(set(run.years["swf"].to_pylist())) == 3
    assert any(share < 1 for share in run.years["satisfied_share"].to_pylist())


def test_points_differ(whole):
    ok = whole.points.filter(pc.field("status") == "ok")
    assert len(set(ok["swf"].to_pylist())) == 8


def test_a_row_of_points_is_the_last_year_with_the_settings(whole):
    table = whole.points
    assert table["point"].to_pylist() == list(range(12))
    assert table[EXPONENT].to_pylist() == [3.5] * 4 + [0.5] * 4 + [3.0] * 4
    assert table["seed"].to_pylist() == [0, 1, 2, 3] * 3
    last = whole.years.filter(pc.field("year") == 2)
    ok = table.filter(pc.field("status") == "ok")
    for name in (*sweeping.FIGURES, "rate_0", "leader", "point"):
        assert ok[name].equals(last[name]), name


def test_what_fails_says_why_and_stops_nothing(whole):
    assert whole.manifest["status"] == "complete"
    assert (whole.manifest["points"], whole.manifest["failed"]) == (12, 4)
    for row in whole.points.to_pylist():
        assert row["status"] == ("failed" if row["point"] in FAILING else "ok")
        if row["point"] in FAILING:
            assert row["error"].startswith("preferences.disutility_exponent: 0.5; a number")
            assert row["swf"] is None
    assert not set(whole.years["point"].to_pylist()) & set(FAILING)


def test_the_planners_that_announce_a_schedule(tmp_path):
    """Unless rates are given: then it is theirs from the second year on."""
    run = DESIGN["run"] | {
        "planner": {"kind": "uniform_50"},
        "satisfaction": {"judged": False},
        "years": 2,
        "year": {"days": 1},
    }
    found = swept(tmp_path / "a", {"run": run, "grid": {"schedule.rates": [0.3, 0.2]}})
    assert found.years["rate_1"].to_pylist() == [0.3, 0.5, 0.2, 0.5]
    assert set(found.years["leader"].to_pylist()) == {"uniform_50"}
    case = batch.case(load_config(run, ["schedule.brackets=us_federal", "planner.kind=us_federal"]))
    assert case.later is None
    np.testing.assert_array_equal(case.rates, np.float32(je.TaxSchedule.us_federal().rates))


def test_an_economy_that_there_is_not_fails_alone(tmp_path):
    """With curvature everybody must have something to consume; only the built economy tells."""
    run = DESIGN["run"] | {
        "planner": {"kind": "fixed"},
        "satisfaction": {"judged": False},
        "years": 1,
        "year": {"days": 1},
    }
    run |= {
        "population": {"mechanical": 4, "llm": 0},
        "preferences": {"consumption_curvature": 1.0},
    }
    found = swept(tmp_path / "a", {"run": run, "grid": {"budget.public_spending": [0.0, 1e6]}})
    errors = found.points["error"].to_pylist()
    assert errors[0] is None
    assert errors[1].startswith("budget.public_spending: 1e+06; leaves the poorest")


def test_a_rule_that_breaks_fails_its_points_alone(tmp_path, monkeypatch):
    (tmp_path / "breaking_rule.py").write_text(
        "from jaxecon.workers import Rational\n"
        "class Broken(Rational):\n"
        "    def act(self, *given):\n"
        "        raise ArithmeticError('cannot\\nact')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cohort = {"name": "a", "rule": "rational", "size": 4}
    run = {
        "years": 1,
        "year": {"days": 1},
        "planner": {"kind": "fixed"},
        "population": {"cohorts": [cohort]},
    }
    rules = {"population.cohorts.0.rule": ["breaking_rule:Broken", "fixed"]}
    found = swept(tmp_path / "a", {"run": run, "grid": rules})
    assert found.points["error"].to_pylist() == ["ArithmeticError: cannot", None]


def test_a_rule_that_refuses_its_parameters_in_its_own_way(tmp_path, monkeypatch):
    (tmp_path / "bold_rule.py").write_text(
        "from jaxecon.workers import Rational\n"
        "class Bold(Rational):\n"
        "    def parameters(self, **given):\n"
        "        return {}[given['x']] if given['x'] < 0 else super().parameters()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cohort = {"name": "a", "rule": "bold_rule:Bold", "size": 4, "parameters": {"x": 1.0}}
    run = {
        "years": 1,
        "year": {"days": 1},
        "planner": {"kind": "fixed"},
        "population": {"cohorts": [cohort]},
    }
    found = swept(
        tmp_path / "a", {"run": run, "grid": {"population.cohorts.0.parameters.x": [1.0, -1.0]}}
    )
    assert found.points["error"].to_pylist() == [None, "KeyError: -1.0"]


def test_another_rule_of_the_same_name_is_refused_unless_forced(tmp_path, monkeypatch):
    source = "from jaxecon.workers import Rational\nclass Mine(Rational):\n    pass\n"
    (tmp_path / "swept_rule.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    cohort = {"name": "a", "rule": "fixed", "size": 4}
    run = {
        "years": 1,
        "year": {"days": 1},
        "planner": {"kind": "fixed"},
        "population": {"cohorts": [cohort]},
    }
    design = {"run": run, "grid": {"population.cohorts.0.rule": ["fixed", "swept_rule:Mine"]}}
    files = swept(tmp_path / "a", design).manifest["files"]
    assert files == {"swept_rule:Mine": hashlib.sha256(source.encode()).hexdigest()}
    (tmp_path / "swept_rule.py").write_text(source + "# and more\n")
    with pytest.raises(
        UserError, match="not what the sweep began with: the content of swept_rule:Mine; --force"
    ):
        swept(tmp_path / "a", design)
    assert swept(tmp_path / "a", design, force=True).points["status"].to_pylist() == ["ok", "ok"]
    shared = run | {"population": {"cohorts": [cohort | {"rule": "swept_rule:Mine"}]}}
    whole_lists = {"population.cohorts": [[cohort], [cohort | {"rule": "swept_rule:Mine"}]]}
    for other in ({"run": shared, "seeds": 2}, {"run": run, "grid": whole_lists}):
        assert list(sweeping._outside_files(Points(read(other)))) == ["swept_rule:Mine"]


@pytest.fixture
def lm(tmp_path):
    run = {
        "years": 2,
        "year": {"days": 2},
        "population": {"mechanical": 4, "llm": 2},
        "llm": {"engine": "simulated"},
    }
    return {"run": run | {"planner": {"compared_with": ["us_federal"]}}, "seeds": 2}


def test_what_is_no_points_fault_ends_the_sweep_and_can_be_mended(tmp_path, lm, monkeypatch):
    create = simulation_prepare.create

    def full(prepared, served):
        if "00000001" in str(prepared.folder):
            raise UserError(
                f"--out: {prepared.folder}: cannot be written (No space left on device)"
            )
        return create(prepared, served)

    monkeypatch.setattr(api, "create", full)
    with pytest.raises(UserError, match="No space left on device"):
        swept(tmp_path / "a", lm)
    assert Sweep(tmp_path / "a").points.num_rows == 1
    monkeypatch.undo()
    (tmp_path / "a" / "runs" / "00000001" / "years.parquet").mkdir(
        parents=True
    )  # as a kill while it was made leaves it
    assert swept(tmp_path / "a", lm).points["status"].to_pylist() == ["ok", "ok"]


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A rule that raises what it is told to."""
    (tmp_path / "broken_rule.py").write_text(
        "from jaxecon.workers import Rational\n"
        "raised = ArithmeticError('cannot\\nact')\n"
        "class Broken(Rational):\n"
        "    def act(self, *given):\n"
        "        raise raised\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "broken_rule:Broken"


@pytest.fixture
def beside_lm(lm, broken):
    cohorts = [{"name": "a", "rule": "fixed", "size": 4}, {"name": "b", "rule": "llm", "size": 2}]
    run = lm["run"] | {"population": {"cohorts": cohorts}}
    return {"run": run, "grid": {"population.cohorts.0.rule": ["fixed", broken, "rational"]}}


def test_a_rule_that_breaks_beside_a_language_model_fails_its_points_alone(tmp_path, beside_lm):
    """The first time, and where its run is gone on with."""
    expected = [None, "ArithmeticError: cannot", None]
    assert swept(tmp_path / "a", beside_lm).points["error"].to_pylist() == expected
    (
        tmp_path / "a" / "points.parquet" / "part-00000001.parquet"
    ).unlink()  # killed before the point was written
    found = swept(tmp_path / "a", beside_lm)
    assert found.points["error"].to_pylist() == expected
    assert found.points["status"].to_pylist() == ["ok", "failed", "ok"]
    assert je.load(tmp_path / "a" / "runs" / "00000001").manifest["resumed"][0]["from"] == [0, 0]


@pytest.mark.parametrize(
    ("raised", "row"),
    [
        (
            UserError("cohort a, agent 0: its rule must return hours"),
            "cohort a, agent 0: its rule must return hours",
        ),
        (NoMemory("RESOURCE_EXHAUSTED: Out of memory"), "out of memory: lower the cohorts' sizes"),
        (OSError(28, "No space left on device"), None),
        (EngineError("gone"), None),
    ],
    ids=["hours", "memory", "disk", "engine"],
)
def test_what_is_a_points_own_beside_a_language_model(
    tmp_path, beside_lm, monkeypatch, raised, row
):
    importlib.import_module("broken_rule")
    monkeypatch.setattr("broken_rule.raised", raised)
    if row is None:
        with pytest.raises(
            (UserError, EngineError),
            match=r"No space left on device.*; finished chunks are kept|gone",
        ):
            swept(tmp_path / "a", beside_lm)
        assert Sweep(tmp_path / "a").points.num_rows == 1
    else:
        assert swept(tmp_path / "a", beside_lm).points["error"].to_pylist() == [None, row, None]


def test_a_disk_that_is_full_while_a_model_is_asked_ends_the_sweep(tmp_path, lm, monkeypatch):
    write = write_atomically

    def full(path, content):
        if (
            "00000001" in str(path)
            and path.parent.exists()
            and list(path.parent.glob("years.parquet/*"))
        ):
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr(records, "write_atomically", full)
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\)"):
        swept(tmp_path / "a", lm)
    monkeypatch.undo()
    assert swept(tmp_path / "a", lm).points["status"].to_pylist() == ["ok", "ok"]


def test_forced_sweeps_force_their_runs(tmp_path, lm):
    swept(tmp_path / "a", lm)
    for manifest in tmp_path.glob("a/**/manifest.json"):
        write_atomically(
            manifest, json.dumps(json.loads(manifest.read_text()) | {"code": "0" * 64}).encode()
        )
    (tmp_path / "a" / "points.parquet" / "part-00000001.parquet").unlink()
    with pytest.raises(UserError, match="jaxecon's code"):
        swept(tmp_path / "a", lm)
    assert swept(tmp_path / "a", lm, force=True).points["status"].to_pylist() == ["ok", "ok"]


def test_points_that_ask_the_same_model_share_it(tmp_path, lm, monkeypatch):
    started = []
    start = start_engines
    monkeypatch.setattr(api, "start_engines", lambda *given: started.append(given) or start(*given))
    swept(tmp_path / "a", lm | {"seeds": 1, "grid": {"llm.temperature": [0.0, 0.5]}})
    assert len(started) == 1


def test_points_with_a_language_model_are_runs_of_their_own(tmp_path):
    run = {
        "years": 2,
        "year": {"days": 2},
        "population": {"mechanical": 4, "llm": 2},
        "llm": {"engine": "simulated"},
    }
    run["planner"] = {"compared_with": ["us_federal"]}
    heard = Heard(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "a", {"run": run, "seeds": 2}, listener=heard)
    found = swept(tmp_path / "a", {"run": run, "seeds": 2})
    assert found.points["status"].to_pylist() == ["ok", "ok"]
    for i in (0, 1):
        alone = je.load(tmp_path / "a" / "runs" / f"{i:08d}")
        assert alone.config.seed == i
        ours = found.years.filter(pc.field("point") == i)
        assert ours["swf"].to_pylist() == alone.years["swf"].to_pylist()
        assert ours["llm_calls"].to_pylist() == alone.years["llm_calls"].to_pylist() != [0, 0]


# --- chunks ---------------------------------------------------------------------------------------


def test_chunks_of_a_form_are_one_program(whole, tmp_path):
    """Also the last one, which is not full."""
    compiled = batch.simulate_batch._cache_size()
    swept(tmp_path / "a", DESIGN | {"grid": {"budget.public_spending": [0.0, 10.0]}})
    assert batch.simulate_batch._cache_size() == compiled
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert [(len(c["points"]), c["lanes"]) for c in plan["chunks"]] == [(3, 3), (3, 3), (2, 3)]


def test_other_forms_are_other_chunks(tmp_path):
    design = DESIGN | {
        "grid": {"schedule.brackets": ["flat", "three"], "years": [1, 2]},
        "seeds": 2,
    }
    chunks, brackets = sweeping.plan(Points(read(design)), 8)
    assert [c.points for c in chunks] == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert brackets == 3


def test_many_programs_are_told_of_with_the_settings_that_make_them(tmp_path):
    """Here 17 lengths of a year, two of which are lived; what is a number in an array makes none."""
    design = DESIGN | {"grid": {"year.days": list(range(2, 19)), EXPONENT: [3.0, 3.5]}, "seeds": 1}
    points, heard = Points(read(design)), Heard()
    sweeping._new_plan(points, 8, heard)
    assert heard.notes == [
        "17 programs to compile, ten seconds and more each: each value of year.days makes another"
    ]
    sample = {
        "points": 40,
        "settings": {
            "year.days": {"low": 2, "high": 30},
            EXPONENT: {"low": 3.0, "high": 4.0},
            "years": [1, 2],
        },
    }
    points, heard = Points(read({"run": DESIGN["run"], "random": sample})), Heard()
    sweeping._new_plan(points, 8, heard)
    assert heard.notes[0].endswith(
        " programs to compile, ten seconds and more each: each value of year.days, years makes "
        "another"
    )
    few, heard = (
        Points(read(DESIGN | {"grid": {"year.days": list(range(2, 18))}, "seeds": 1})),
        Heard(),
    )
    sweeping._new_plan(few, 8, heard)
    assert heard.notes == []


def test_what_no_point_can_be_is_refused_before_anything_is_written(tmp_path):
    for wrong, message in (
        ({"devices": "all"}, "devices: all; a sweep spreads whole runs"),
        ({"years": 0}, "years: 0; a whole"),
    ):
        with pytest.raises(UserError, match=f"{message}.*none of 2 points can be lived"):
            swept(tmp_path / "a", {"run": DESIGN["run"] | wrong, "seeds": 2})
    assert not (tmp_path / "a").exists()


def test_the_size_of_a_chunk_follows_from_memory(monkeypatch):
    design = read(DESIGN | {"grid": {}, "seeds": 200_000})
    points = Points(design)
    drawn, config = batch.draft(points.config(points[0])), points.config(points[0])
    each = batch.bytes_of(drawn, sweeping.skill_nodes(config))
    held = (
        6 * (11 + 3 * 2 + 8) * 4
    )  # adaptive values, sums of two cohorts, some of the economy: at least
    assert held < each < 40 * held
    monkeypatch.setattr(sweeping, "_free_memory", lambda devices: 1000 * each)
    assert sweeping._lanes(drawn, config) == 166  # a half, and three times what a run holds
    monkeypatch.setattr(sweeping, "_free_memory", lambda devices: 1)
    assert sweeping._lanes(drawn, config) == 1
    monkeypatch.undo()
    assert sweeping._lanes(drawn, config) == (1 << 20) // 12
    monkeypatch.setitem(sweeping.AGENT_DAYS_A_CHUNK, "cpu", 12 * 18 * 5000)
    assert sweeping._lanes(drawn, config) == 5000
    monkeypatch.setitem(sweeping.AGENT_DAYS_A_CHUNK, "cpu", 1)
    assert sweeping._lanes(drawn, config) == (1 << 15) // 12


def test_runs_that_return_much_are_fewer_at_a_time():
    one, many = (load_config(DESIGN["run"], [f"years={years}"]) for years in (1, 10_000))
    nodes = sweeping.skill_nodes(one)
    grown = batch.bytes_of(batch.draft(many), nodes) - batch.bytes_of(batch.draft(one), nodes)
    assert grown == 9_999 * (len(sweeping.FIGURES) + 3) * 4


@pytest.mark.parametrize(
    "seeds",
    [
        [{"seed": 0}, {"seed": 1}],
        [{"seed": 0, "draw_seed": 3}, {"seed": 1, "draw_seed": 3}, {"seed": 1, "draw_seed": 5}],
    ],
)
@pytest.mark.parametrize("planner", ["flat", "in_context"])
def test_points_share_only_what_their_seeds_leave_alone(planner, seeds, tmp_path):
    """The case of each is what it would be made of alone: also where a schedule follows from the
    people.
    """
    points = sweeping.Points(
        read({"run": DESIGN["run"] | {"planner": {"kind": planner}}, "list": seeds})
    )
    task, failed = Task(points, tmp_path, 7), {}
    groups = _alike(task, list(points), failed)
    assert not failed
    assert [index for group in groups for index in group.indices] == list(range(len(seeds)))
    assert len(groups) == (len(seeds) if planner == "flat" else 1)
    counts = [len(group.indices) for group in groups]
    together = batch.stacked(
        [group.case for group in groups], counts, [pair for group in groups for pair in group.seeds]
    )
    alone = jax.tree.map(
        lambda *leaves: np.stack(leaves), *(batch.case(points.config(point)) for point in points)
    )
    for ours, theirs in zip(*map(jax.tree.leaves, (together, alone)), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    assert len(np.unique(alone.rates, axis=0)) == (
        2 if planner == "flat" else 1
    )  # of the two populations


@pytest.mark.parametrize("values", [[1, 2**63], [1, 10**20], [1, 1.5, 2**60]])
def test_a_number_beyond_a_column_is_a_row_with_its_error(values, tmp_path):
    """The others are lived, and the folder is finished."""
    run = DESIGN["run"] | {"years": 1, "planner": {"kind": "fixed"}}
    found = sweep({"run": run, "list": [{"seed": value} for value in values]}, out=tmp_path / "out")
    assert found.points["status"].to_pylist() == ["ok"] + ["failed"] * (len(values) - 1)
    assert found.points["seed"].to_pylist() == [json.dumps(value) for value in values]
    assert found.manifest["status"] == "complete"
    assert all("whole number" in error for error in found.points["error"].to_pylist()[1:])


def test_runs_are_spread_over_the_devices_of_a_machine(whole, tmp_path):
    """Four virtual ones here; the same runs."""
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(DESIGN, sort_keys=False))
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    command = sweep_command(tmp_path / "sweep.yaml", tmp_path / "out")
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | flags)
    assert done.returncode == 1, done.stderr
    found = Sweep(tmp_path / "out")
    assert len(found.manifest["hardware"]["devices"]) == 4
    for name in whole.years.column_names:
        ours, theirs = (x.years[name].to_pylist() for x in (found, whole))
        if isinstance(ours[0], float):
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6, err_msg=name)
        else:
            assert ours == theirs


def test_a_chunk_that_does_not_fit_is_halved(whole, tmp_path, monkeypatch):
    live = batch.simulate_batch

    def small(cases, nodes, mesh):
        if len(cases.rates) > 3:
            raise NoMemory("RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.")
        return live(cases, nodes, mesh)

    monkeypatch.setattr(batch, "live", small)
    heard = Heard()
    found = swept(tmp_path / "a", lanes=6, listener=heard)
    assert heard.halves == [(6, 3)]  # and so are all others of its form
    assert_same(found, whole)
    plan = json.loads((tmp_path / "a" / "plan.json").read_text())
    assert sorted(i for chunk in plan["chunks"] for i in chunk["points"]) == list(range(12))
    assert [c["lanes"] for c in plan["chunks"] if c["kind"] == "batch"] == [3, 3, 3]


def test_a_point_that_never_fits_fails(tmp_path, monkeypatch):
    def never(cases, nodes, mesh):
        raise NoMemory("RESOURCE_EXHAUSTED: Out of memory")

    monkeypatch.setattr(batch, "live", never)
    found = swept(tmp_path / "a", DESIGN | {"grid": {}, "seeds": 3})
    assert found.manifest["failed"] == 3
    assert set(found.points["error"].to_pylist()) == {"out of memory: lower the cohorts' sizes"}


# --- interruptions --------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [1, 3])
def test_an_interrupted_sweep_goes_on(whole, tmp_path, after):
    first = Heard(stop_after=after)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "a", listener=first)
    assert Sweep(tmp_path / "a").manifest["status"] == "running"
    second = Heard()
    found = swept(tmp_path / "a", listener=second, lanes=None)  # the chunks are those of the plan
    assert second.began == (12, sum(points for points, _ in first.chunks))
    assert sum(points for points, _ in first.chunks + second.chunks) == 12
    assert_same(found, whole)


def test_parts_that_belong_to_no_finished_chunk_do_not_count(whole, tmp_path):
    folder = shutil.copytree(whole.path, tmp_path / "a")
    (folder / "points.parquet" / "part-00000001.parquet").unlink()  # killed between the two
    shutil.copy(
        folder / "years.parquet" / "part-00000000.parquet",
        folder / "years.parquet" / "part-00000077.parquet",
    )
    assert set(Sweep(folder).years["point"].to_pylist()) < set(whole.years["point"].to_pylist())
    assert_same(swept(folder), whole)
    assert pq.read_table(folder / "years.parquet").num_rows == whole.years.num_rows


@pytest.mark.parametrize(
    "left",
    [[], ["manifest.json"], ["manifest.json", "plan.json", "points.parquet"]],
    ids=["lock", "manifest", "plan"],
)
def test_a_sweep_killed_while_it_began(whole, tmp_path, left):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / ".lock").touch()
    for name in left:
        if name == "points.parquet":
            (tmp_path / "a" / name).mkdir()
        else:
            shutil.copy(whole.path / name, tmp_path / "a" / name)
    assert_same(swept(tmp_path / "a"), whole)


def test_a_damaged_plan_is_one_line(whole, tmp_path):
    folder = shutil.copytree(whole.path, tmp_path / "a")
    (folder / "plan.json").write_text('{"brackets": 3, "chu')
    with pytest.raises(UserError, match=r"plan.json: damaged .*; give a new folder"):
        swept(folder)


def test_a_finished_sweep_has_nothing_to_do(whole, tmp_path):
    heard = Heard()
    assert_same(swept(whole.path, listener=heard), whole)
    assert heard.chunks == []


def sweep_command(path, out):
    return [sys.executable, "-m", "jaxecon", "sweep", str(path), "--out", str(out), "--chunk", "3"]


def test_killed_and_started_again(whole, tmp_path):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(DESIGN, sort_keys=False))
    out = tmp_path / "out"
    process = subprocess.Popen(
        sweep_command(tmp_path / "sweep.yaml", out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    while not list((out / "points.parquet").glob("part-*.parquet")) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = subprocess.run(
        sweep_command(tmp_path / "sweep.yaml", out), capture_output=True, text=True
    )
    assert again.returncode == 1, again.stderr  # four points fail
    assert "8 of 12 points lived, 4 failed" in again.stdout
    assert "FAILED: point 4 and 3 more: preferences.disutility_exponent: 0.5" in again.stdout
    assert_same(Sweep(out), whole)


@pytest.mark.parametrize("given", [False, True])
def test_an_interruption_says_how_to_go_on(tmp_path, monkeypatch, capsys, given):
    """Without --out the folder's name is the time, which the same command would not find again."""
    from jaxecon.cli.app import app

    def interrupted(config, out, **more):
        raise Interrupted(signal.SIGTERM) if given else KeyboardInterrupt

    arguments = ["sweep", "my sweep.yaml", *(["--out", "runs/a"] if given else [])]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeping, "sweep", interrupted)
    monkeypatch.setattr(sys, "argv", ["jaxecon", *arguments])
    with pytest.raises(SystemExit) as ended:
        app(arguments)
    assert ended.value.code == (143 if given else 130)
    folder = "runs/a" if given else r"runs/\d{8}-\d{6}"
    assert re.fullmatch(
        f"jaxecon: interrupted; go on with: jaxecon sweep 'my sweep.yaml' --out {folder}\n",
        capsys.readouterr().err,
    )


def test_a_full_disk_keeps_what_is_finished(whole, tmp_path, monkeypatch):
    write = sweeping._write

    def full(folder, chunk, table):
        if chunk.number == 1:
            raise OSError(28, "No space left on device")
        write(folder, chunk, table)

    monkeypatch.setattr(sweeping, "_write", full)
    with pytest.raises(
        UserError, match=r"cannot be written \(No space left on device\); finished chunks are kept"
    ):
        swept(tmp_path / "a")
    monkeypatch.undo()
    heard = Heard()
    assert_same(swept(tmp_path / "a", listener=heard), whole)
    assert heard.began[1] > 0


# --- folders and mistakes -------------------------------------------------------------------------


def test_the_folder_of_something_else(whole, tmp_path):
    with pytest.raises(UserError, match="holds another sweep; give a new folder"):
        swept(whole.path, DESIGN | {"seeds": 5})
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "manifest.json").write_text("{}")
    with pytest.raises(UserError, match="already holds a run"):
        swept(tmp_path / "run")
    with pytest.raises(UserError, match="holds no sweep"):
        Sweep(tmp_path / "run")
    with pytest.raises(UserError, match="holds a sweep, not a run"):
        je.load(whole.path)


def test_two_processes_on_one_sweep(whole):
    release = sweeping.lock_for_writing(whole.path / ".lock", "x")
    with pytest.raises(UserError, match="is being written by another process"):
        swept(whole.path)
    release()


def test_another_jaxecon_is_refused_unless_forced(whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "a", listener=Heard(stop_after=1))
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    manifest["code"] = "0" * 64
    manifest["versions"]["jax"] = "0.0.1"
    write_atomically(tmp_path / "a" / "manifest.json", json.dumps(manifest).encode())
    with pytest.raises(UserError, match=r"jaxecon's code: 000000000000 -> .*--force goes on"):
        swept(tmp_path / "a")
    heard = Heard()
    swept(tmp_path / "a", force=True, listener=heard)
    assert any("jaxecon's code" in line for line in heard.notes)
    assert any("jax: 0.0.1 ->" in line for line in heard.notes)


def test_too_many_points_are_refused_with_their_number(tmp_path):
    design = {
        "grid": {"years": list(range(1, 1001)), "year.days": list(range(1, 1001))},
        "seeds": 1000,
    }
    with pytest.raises(
        UserError,
        match="1,000,000,000 points; more than 1,000,000: --max-points 1000000000 if they are "
        "meant",
    ):
        swept(tmp_path / "a", design)
    assert not (tmp_path / "a").exists()


def test_mistakes_on_the_command_line(whole, tmp_path):
    (tmp_path / "bad.yaml").write_text("grid: {preferences.exponent: [1]}\n")

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "jaxecon", "sweep", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 2, done.stderr
        assert len(done.stderr.splitlines()) == 1
        return done.stderr

    assert "preferences.exponent: no such setting" in command("bad.yaml")
    assert "CONFIG" in command()
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="--out"):
        swept(tmp_path / "a")


# --- summary --------------------------------------------------------------------------------------


def test_the_summary_averages_over_seeds(whole):
    rows = whole.summary(["mean_hours", "rate_0"], level=0.9)
    counted = [(row[EXPONENT], row["points"], row["failed"], row["n"]) for row in rows]
    assert counted == [(3.5, 4, 0, 4), (0.5, 4, 4, 0), (3.0, 4, 0, 4)]
    table = whole.points
    x = table["mean_hours"].to_numpy()[:4]
    low, high = stats.t.interval(0.9, 3, x.mean(), stats.sem(x))
    assert rows[0]["mean_hours_mean"] == pytest.approx(x.mean())
    assert rows[0]["mean_hours_ci"] == pytest.approx((high - low) / 2)
    assert rows[1]["mean_hours_mean"] is None
    assert rows[1]["mean_hours_ci"] is None
    with pytest.raises(UserError, match="--figures: 'nothing'; any of swf"):
        whole.summary(["nothing"])


def test_people_count_once_in_the_summary(tmp_path):
    """Other draws of the same people are no further populations."""
    found = swept(tmp_path / "a", DESIGN | {"grid": {"draw_seed": [0, 1, 2]}, "seeds": 2})
    (row,) = found.summary(["mean_hours"])
    assert (row["points"], row["n"]) == (6, 2)
    x = found.points["mean_hours"].to_numpy().reshape(3, 2).mean(axis=0)
    low, high = stats.t.interval(0.95, 1, x.mean(), stats.sem(x))
    assert row["mean_hours_ci"] == pytest.approx((high - low) / 2)


def test_the_summary_of_a_folder(whole):
    command = [
        sys.executable,
        "-m",
        "jaxecon",
        "sweep",
        "--summary",
        "--out",
        str(whole.path),
        "--figures",
        "mean_hours",
    ]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert "disutility" in shown.stdout
    assert "0 (4 failed)" in shown.stdout
    rows = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True).stdout)[
        "summary"
    ]
    assert rows == whole.summary(["mean_hours"])


# --- Ray ------------------------------------------------------------------------------------------


def test_two_machines_of_a_cluster_one_of_which_is_lost(whole, tmp_path):
    pytest.importorskip("ray", reason="the extra ray is not installed")
    script = os.path.join(os.path.dirname(__file__), "ray_cluster.py")
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(DESIGN | {"seeds": 8}, sort_keys=False))
    done = subprocess.run(
        [sys.executable, script, str(tmp_path / "sweep.yaml"), str(tmp_path / "ray")],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "a machine is lost" in done.stdout
    assert_same(Sweep(tmp_path / "ray"), swept(tmp_path / "local", DESIGN | {"seeds": 8}))


class NoCluster:
    """Ray's module where no cluster answers; one on this machine can be begun."""

    def __init__(self, error):
        self.asked, self._error = [], error

    def is_initialized(self):
        return False

    def init(self, address, **settings):
        self.asked.append(address)
        if address != "local":
            raise self._error


@pytest.mark.parametrize(
    "error", [ConnectionError("nobody\nthere"), ValueError("Invalid address format: foo")]
)
@pytest.mark.parametrize("by", ["argument", "environment", None])
def test_a_cluster_that_does_not_answer(tmp_path, monkeypatch, by, error):
    """The one that was named; there is no other that would be meant."""
    from jaxecon.sweeps.ray_executor import RayExecutor

    ray = NoCluster(error)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if by == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "foo")
    executor = RayExecutor("foo" if by == "argument" else None)
    if by is None:
        executor.connect()
        assert ray.asked == ["auto", "local"]
        return
    with pytest.raises(
        UserError,
        match=r"^--executor ray: no Ray cluster answers at foo \((nobody|Invalid address.*)\)$",
    ):
        swept(tmp_path / "a", executor=executor)
    assert ray.asked == ["foo"]
    assert not (tmp_path / "a").exists()


def test_nothing_listens_where_a_cluster_should(monkeypatch):
    """Ray alone would try for many minutes."""
    from jaxecon.sweeps import ray_executor

    ray = NoCluster(AssertionError())
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_executor, "PATIENCE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        ray_executor._wait_for(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=rf"no Ray cluster answers at {address} \(.*refused"):
        ray_executor.RayExecutor().connect()
    assert ray.asked == []


def test_without_ray(monkeypatch):
    from jaxecon.sweeps.ray_executor import RayExecutor

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"needs the package ray; pip install 'jaxecon\[ray\]'"):
        RayExecutor()


def test_language_models_stay_on_one_machine(tmp_path):
    class Elsewhere:
        def connect(self):
            raise AssertionError

        def run(self, task, waiting):
            raise AssertionError

    run = {"population": {"mechanical": 4, "llm": 2}, "llm": {"engine": "simulated"}}
    with pytest.raises(UserError, match="--executor: points with language models need local"):
        sweep({"run": run, "seeds": 2}, out=tmp_path / "a", executor=Elsewhere())


def test_parts_are_readable_one_by_one(whole):
    """As any Parquet reader does."""
    assert pq.read_table(whole.path / "points.parquet").num_rows == 12
    assert pq.read_table(whole.path / "years.parquet").num_rows == 24
