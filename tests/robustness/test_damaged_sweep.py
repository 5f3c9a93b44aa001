"""Damaged and foreign files of sweeps and experiments: the right result, or one line."""

import json
import shutil

import pytest
from support.damaged_folders import (
    BYTES,
    JSON,
    PARTS,
    damaged,
    deeper,
    flip,
    flip_middle,
    names,
    other_values,
    outcome,
)
from support.runs import without_git
from support.sweeps import RecordingListener, assert_same, swept

import jaxecon as je
from experiments.suite.checks import open_folder
from experiments.suite.study import Study, write_parquet
from jaxecon.core.errors import DiskError, UserError
from jaxecon.sweeps.folder import stored_plan
from jaxecon.sweeps.stored import read_manifest

DESIGN = {
    "run": {
        "years": 2,
        "year": {"days": 2},
        "population": {"mechanical": 8, "llm": 0, "sampling": "random"},
        "schedule": {"brackets": "three"},
        "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
        "record": {"agents": "none"},
    },
    "grid": {"preferences.disutility_exponent": [3.5, 3.0]},
    "seeds": 2,
}
POINTS = 4


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with without_git():
        yield swept(tmp_path_factory.mktemp("sweep") / "a", DESIGN, chunk_size=2)


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole.path, tmp_path / "a")


def read(folder):
    sweep = je.Sweep(folder)
    return sweep.points, sweep.years, sweep.summary(), sweep.manifest["failed"]


FILES = {
    "manifest.json": JSON,
    "sweep.yaml": BYTES,
    "points.parquet/part-00000000.parquet": PARTS,
    "points.parquet/part-00000001.parquet": PARTS,
    "years.parquet/part-00000001.parquet": PARTS,
}


@pytest.mark.parametrize("file", FILES)
def test_every_damage(whole, folder, file):
    right, failed = read(whole.path), 0
    for damage in FILES[file]:
        with damaged(folder / file, damage):
            found = outcome(read, folder)
            if isinstance(found, UserError):
                assert names(found, folder / file) or "holds no sweep" in str(found)
                failed += 1
            else:
                assert found == right, damage.__name__
    assert failed >= (1 if file == "sweep.yaml" else len(FILES[file]) - 4)


@pytest.mark.parametrize("file", ["manifest.json", "plan.json"])
def test_every_entry(folder, file):
    """Without it, or with other types in it: read, or one line that names the file."""

    def reads(_):
        return stored_plan(folder, POINTS) if file == "plan.json" else read_manifest(folder)

    path = folder / file
    content = json.loads(path.read_text())
    first, others = content.get("chunks", [{}])[0], content.get("chunks", [])[1:]
    changed = other_values(content) + [
        content | {"chunks": [chunk, *others]} for chunk in other_values(first)
    ] * (file == "plan.json")
    lines = []
    for wrong in changed:
        path.write_text(json.dumps(wrong))
        found = outcome(reads, folder)
        if isinstance(found, UserError):
            lines.append(str(found))
    assert len(lines) > len(changed) / 2
    assert all(str(path) in line or "format" in line for line in lines)
    for damage in JSON:
        if damage is flip_middle:  # another digit may be as good
            continue
        path.write_text(json.dumps(content))
        with damaged(path, damage):
            assert file in str(outcome(reads, folder)), damage.__name__
    path.write_text(deeper(content, 900))
    assert "nested too deeply; give a new folder" in str(outcome(reads, folder)).replace(")", "")


def test_plans_of_other_points(folder):
    path = folder / "plan.json"
    content = json.loads(path.read_text())
    with pytest.raises(DiskError, match=r"plan.json: damaged \(not every point is in one chunk\)"):
        stored_plan(folder, POINTS + 1)
    content["chunks"][1]["number"] = content["chunks"][0]["number"]
    path.write_text(json.dumps(content))
    with pytest.raises(DiskError, match=r"plan.json: damaged \(two chunks of one number\)"):
        stored_plan(folder, POINTS)


def test_damaged_chunks_are_simulated_again(whole, folder):
    """Each of them, however it is damaged; the others are kept."""
    flip(folder / "years.parquet" / "part-00000001.parquet", 60)
    (folder / "points.parquet" / "part-00000000.parquet").write_bytes(b"")
    listener = RecordingListener()
    assert_same(swept(folder, DESIGN, listener=listener), whole)
    notes = [note for note in listener.notes if "simulated again" in note]
    assert len(notes) == 2
    assert any("years.parquet/part-00000001.parquet: damaged" in note for note in notes)


def test_a_chunk_in_place_of_another(whole, folder):
    """Its points would count twice."""
    parts = [folder / "points.parquet" / f"part-0000000{number}.parquet" for number in (0, 1)]
    shutil.copy(parts[0], parts[1])
    with pytest.raises(DiskError, match=r"part-00000001.parquet: damaged \(.*of another chunk\)"):
        read(folder)
    assert_same(swept(folder, DESIGN), whole)


def test_a_sweep_that_has_lost_its_design_is_not_begun_again(folder):
    (folder / "sweep.yaml").unlink()
    with pytest.raises(DiskError, match=r"sweep.yaml: missing; give a new folder"):
        swept(folder, DESIGN)
    (folder / "sweep.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="holds another sweep; give a new folder"):
        swept(folder, DESIGN)


def test_rows_that_an_experiment_computed(tmp_path):
    study = Study("voting", "quick", tmp_path, {}, None, False, None)
    rows = [{"a": 1.5 * i, "b": f"row {i}"} for i in range(50)]
    assert study.computed("some", lambda: rows) == rows
    (path,) = (tmp_path / "computed").iterdir()
    for place in (0, 10, path.stat().st_size // 3, path.stat().st_size - 3):
        write_parquet(path, rows)
        flip(path, place)
        found = outcome(lambda _: study.computed("some", list), tmp_path)
        assert found == rows or f"{path}: damaged" in str(found)
    path.write_bytes(b"")
    with pytest.raises(DiskError, match=r"damaged .*; remove it to compute it again"):
        study.computed("some", list)


def test_an_experiment_whose_file_is_damaged(tmp_path):
    open_folder(tmp_path / "a", "experiment: x\n")
    (tmp_path / "a" / "experiment.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="holds another experiment"):
        open_folder(tmp_path / "a", "experiment: x\n")
