"""What a sweep's tables hold: the rows of its points, and their summary over seeds."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from scipy import stats
from support.sweeps import DESIGN, EXPONENT, FAILING, RecordingListener, sweep_command, swept

import jaxecon as je
from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError
from jaxecon.simulation import batch
from jaxecon.sweeps.design import read
from jaxecon.sweeps.points import Points
from jaxecon.sweeps.results import Sweep
from jaxecon.sweeps.rows import STATISTICS
from jaxecon.sweeps.sweep import sweep


@pytest.mark.parametrize("index", [1, 11])
def test_a_point_is_the_run_of_its_configuration(whole, tmp_path, index):
    points = Points(read(DESIGN))
    run = je.run(points.config(points[index]), out=tmp_path / "run")
    ours = whole.years.filter(pc.field("point") == index)
    assert ours["year"].to_pylist() == [0, 1, 2]
    assert ours["leader"].to_pylist() == run.years["leader"].to_pylist() == ["in_context"] * 3
    for name in (*STATISTICS, "rate_0", "rate_1", "rate_2"):
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
    for name in (*STATISTICS, "rate_0", "leader", "point"):
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


def test_points_with_a_language_model_are_runs_of_their_own(tmp_path):
    run = {
        "years": 2,
        "year": {"days": 2},
        "population": {"mechanical": 4, "llm": 2},
        "llm": {"engine": "simulated"},
    }
    run["planner"] = {"compared_with": ["us_federal"]}
    listener = RecordingListener(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path / "a", {"run": run, "seeds": 2}, listener=listener)
    found = swept(tmp_path / "a", {"run": run, "seeds": 2})
    assert found.points["status"].to_pylist() == ["ok", "ok"]
    for i in (0, 1):
        alone = je.load(tmp_path / "a" / "runs" / f"{i:08d}")
        assert alone.config.seed == i
        ours = found.years.filter(pc.field("point") == i)
        assert ours["swf"].to_pylist() == alone.years["swf"].to_pylist()
        assert ours["llm_calls"].to_pylist() == alone.years["llm_calls"].to_pylist() != [0, 0]
        asked = found.answers.filter(pc.field("point") == i)
        assert asked["kind"].to_pylist() == ["labor", "plan"]
        assert asked["decisions"].to_pylist() == [2 * 2 * 2, 1]
        assert sum(asked["usable"].to_pylist()) == sum(ours["llm_calls"].to_pylist())
    (tmp_path / "a/runs/00000000/transcript.sqlite").unlink()
    with pytest.raises(UserError, match=r"there is no file .*00000000/transcript.sqlite"):
        found.answers  # noqa: B018  a point that is left out would not be noticed


def test_nobody_answers_in_a_mechanical_sweep(whole):
    assert whole.answers.num_rows == 0


@pytest.mark.parametrize("values", [[1, 2**63], [1, 10**20], [1, 1.5, 2**60]])
def test_a_number_beyond_a_column_is_a_row_with_its_error(values, tmp_path):
    """The others are simulated, and the folder is finished."""
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


def test_parts_are_readable_one_by_one(whole):
    """As any Parquet reader does."""
    assert pq.read_table(whole.path / "points.parquet").num_rows == 12
    assert pq.read_table(whole.path / "years.parquet").num_rows == 24


def test_chunks_of_an_earlier_jaxecon_lack_columns(whole, tmp_path):
    """Those that it finished have none, the others do; without any, a summary says why."""
    folder = tmp_path / "sweep"
    shutil.copytree(whole.path, folder)
    parts = sorted((folder / "points.parquet").iterdir())
    for count, part in enumerate(parts):
        pq.write_table(pq.read_table(part).drop_columns(["gain_choices"]), part)
        if count == 0:
            mixed = Sweep(folder).points
            missing = pc.is_null(mixed["gain_choices"]).to_pylist()
            assert missing == [
                row["point"] < 3 or row["status"] != "ok" for row in mixed.to_pylist()
            ]
            assert mixed["swf"].equals(whole.points["swf"])
            assert Sweep(folder).settings == whole.settings
    with pytest.raises(UserError, match="'gain_choices'; the jaxecon that simulated these points"):
        Sweep(folder).summary(["gain_choices"])


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
    with pytest.raises(UserError, match="--statistics: 'nothing'; any of swf"):
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
        "--statistics",
        "mean_hours",
    ]
    shown = subprocess.run(command, capture_output=True, text=True)
    assert "disutility" in shown.stdout
    assert "0 (4 failed)" in shown.stdout
    rows = json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True).stdout)[
        "summary"
    ]
    assert rows == whole.summary(["mean_hours"])
