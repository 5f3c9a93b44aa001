"""Files of another sweep, and runs of other points, in place of a sweep's own."""

import shutil

import pyarrow.parquet as pq
import pytest
from support.runs import snapshot, without_git
from support.sweeps import RecordingListener, assert_same, swept
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.core.errors import DiskError

DESIGN = {
    "run": {
        "years": 2,
        "year": {"days": 1},
        "population": {"mechanical": 8, "llm": 0},
        "schedule": {"brackets": "three"},
        "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
        "record": {"agents": "none"},
    },
    "grid": {"preferences.disutility_exponent": [3.5, 3.0]},
}
OTHERS = {
    "other values": DESIGN | {"grid": {"preferences.disutility_exponent": [2.5, 2.0]}},
    "other settings": DESIGN | {"run": DESIGN["run"] | {"seed": 7}},
}
ASKING = {
    "run": DESIGN["run"]
    | {"population": {"mechanical": 4, "llm": 2}, "llm": {"engine": "simulated"}},
    "seeds": 2,
}
TABLES = ("points.parquet", "years.parquet")


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """A sweep, others with as many points, and one with language models."""
    folder = tmp_path_factory.mktemp("sweeps")
    with without_git():
        designs = {"whole": DESIGN, **OTHERS, "asking": ASKING}
        yield {name: swept(folder / name, design, chunk_size=1) for name, design in designs.items()}


def copy(sweeps, name, tmp_path):
    return shutil.copytree(sweeps[name].path, tmp_path / "a")


@pytest.mark.parametrize("tables", [TABLES, TABLES[:1], TABLES[1:]])
@pytest.mark.parametrize("other", OTHERS)
def test_tables_of_another_sweep(sweeps, tmp_path, other, tables):
    """They are neither read nor removed."""
    folder = copy(sweeps, "whole", tmp_path)
    for table in tables:
        shutil.copytree(sweeps[other].path / table, folder / table, dirs_exist_ok=True)
    before, line = (
        snapshot(folder),
        rf"({'|'.join(tables)})/part-0000000\d.parquet: another sweep's",
    )
    for read in (
        lambda: swept(folder, DESIGN),
        lambda: je.Sweep(folder).years,
    ):
        with pytest.raises(DiskError, match=line):
            read()
    assert snapshot(folder) == before


def test_sweeps_that_were_begun_without_an_id_go_on(sweeps, tmp_path):
    folder = copy(sweeps, "whole", tmp_path)
    manifest = folder / "manifest.json"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if '"sweep_id"' not in line))
    for table in TABLES:
        for path in (folder / table).iterdir():
            pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    (folder / "points.parquet" / "part-00000001.parquet").unlink()
    assert_same(swept(folder, DESIGN), sweeps["whole"])
    assert_same(je.Sweep(folder), sweeps["whole"])


def swap_runs(folder):
    runs = folder / "runs"
    (runs / "00000000").rename(runs / "x")
    (runs / "00000001").rename(runs / "00000000")
    (runs / "x").rename(runs / "00000001")


def test_runs_of_other_points(sweeps, tmp_path):
    folder = copy(sweeps, "asking", tmp_path)
    swap_runs(folder)
    with pytest.raises(DiskError, match="runs/00000000: not the run of its point"):
        je.Sweep(folder).answers  # noqa: B018
    for path in (folder / "points.parquet").iterdir():
        path.unlink()
    before = snapshot(folder / "runs")
    with pytest.raises(DiskError, match=r"runs/00000000: not the run of point 0 \(seed: 1 -> 0\)"):
        swept(folder, ASKING)
    assert {p: c for p, c in snapshot(folder / "runs").items() if p in before} == before
    swap_runs(folder)
    assert_same(swept(folder, ASKING), sweeps["asking"])


def test_a_lost_run_is_said_and_can_be_simulated_again(sweeps, tmp_path):
    folder = copy(sweeps, "asking", tmp_path)
    shutil.rmtree(folder / "runs" / "00000000")
    part = folder / "points.parquet" / "part-00000000.parquet"
    with pytest.raises(DiskError, match=f"runs/00000000: missing; remove {part}, and the command"):
        je.Sweep(folder).answers  # noqa: B018
    part.unlink()
    assert swept(folder, ASKING).answers.equals(sweeps["asking"].answers)


def test_lost_tables_of_a_complete_sweep(sweeps, tmp_path):
    folder = copy(sweeps, "whole", tmp_path)
    for path in (folder / "points.parquet").iterdir():
        path.unlink()
    done = CliRunner().invoke(app, ["sweep", "--out", str(folder), "--summary"])
    assert done.exit_code == 2
    assert "points.parquet: files are lost: has 0 of 2 points; the command that" in done.stderr
    listener = RecordingListener()
    assert_same(swept(folder, DESIGN, listener=listener), sweeps["whole"])
    assert listener.began == (2, 0)
