"""Rows after the newest sound checkpoint that are lost or damaged: they are computed again."""

import shutil
from pathlib import Path

import pytest
from support.damaged_folders import flip, halve, lose
from support.runs import MECHANICAL, as_earlier_run, decisions

import jaxecon as je
from jaxecon.core.errors import DiskError, UserError

pytestmark = pytest.mark.usefixtures("no_git")

CONFIG = {
    **MECHANICAL,
    "years": 3,
    "year": {"days": 2},
    "population": {"mechanical": 12, "llm": 2},
    "llm": {"engine": "simulated"},
    "checkpoint": {"every_days": 3, "every_minutes": None, "keep_last": 100},
}
SOUND = "00000001-000001"  # the newest sound checkpoint


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return Path(je.run(CONFIG, out=tmp_path_factory.mktemp("whole") / "run").path)


@pytest.fixture(scope="module")
def future(whole):
    """A branch of the whole run, which began in its second year."""
    (branched,) = je.branch(whole, year=1, out=whole.with_name("future"))
    return branched.path


@pytest.fixture
def run(whole, tmp_path):
    """The complete run, of which all checkpoints after the second year's first day are damaged."""
    folder = shutil.copytree(whole, tmp_path / "run")
    later = [path for path in (folder / "checkpoints").iterdir() if path.name > SOUND]
    assert later
    for path in later:
        flip(path / "checkpoint.json", 20)
    return folder


def part(run, table, year):
    return run / table / f"part-{year:08d}.parquet"


def swap(path):
    shutil.copy(path.with_name("part-00000000.parquet"), path)


def cut_list(path):
    """As if its last lines had been lost."""
    listed = path.parents[1] / "parts.jsonl"
    lines = listed.read_text().splitlines(keepends=True)
    kept = [line for line in lines if path.name not in line]
    assert len(kept) < len(lines)
    listed.write_text("".join(kept))


DAMAGES = (lose, halve, swap, cut_list)
PLACES = [("years.parquet", 1), ("years.parquet", 2), ("agents.parquet", 2)]


def set_status(run, status):
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"complete"', f'"{status}"', 1))


def assert_resumed(run, whole):
    told = []
    assert je.resume(run, tell=told.append).manifest["status"] == "complete"
    assert told[0].position.name == SOUND
    assert je.digest(run) == je.digest(whole)
    assert decisions(run) == decisions(whole)
    return told[0].damaged


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("table", "year"), PLACES)
def test_a_resumption_computes_them_again(run, whole, damage, table, year):
    """Of a run that is complete too, which says why."""
    damage(part(run, table, year))
    *checkpoints, line = assert_resumed(run, whole)
    assert all("/checkpoints/" in line for line in checkpoints)
    assert line.startswith(f"{run}/")
    assert "parquet" in line


@pytest.mark.parametrize("damage", DAMAGES)
def test_the_end_of_a_run_that_is_not_complete(run, whole, damage):
    set_status(run, "failed")
    damage(part(run, "years.parquet", 1))
    assert_resumed(run, whole)


@pytest.mark.parametrize("damage", DAMAGES[:3])
def test_a_run_of_an_earlier_version(run, whole, damage):
    """Which has no list of its files."""
    as_earlier_run(run)
    for year in (1, 2):
        damage(part(run, "years.parquet", year))
    assert_resumed(run, whole)


def test_fewer_years_than_were_recorded_are_refused(run):
    """However many of them are lost."""
    part(run, "years.parquet", 1).unlink()
    with pytest.raises(UserError, match=r"years: 2; .* has already simulated 3"):
        je.resume(run, overrides=["years=2"])


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(("table", "year"), PLACES)
def test_a_branch_needs_none_of_them(run, future, tmp_path, damage, table, year):
    damage(part(run, table, year))
    (branched,) = je.branch(run, year=1, out=tmp_path / "future")
    assert je.digest(branched.path) == je.digest(future)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_branch_from_years_that_are_lost(run, tmp_path, damage):
    damage(part(run, "years.parquet", 1))
    with pytest.raises(DiskError, match=r"years.parquet"):
        je.branch(run, year=2, out=tmp_path / "future")
    assert not (tmp_path / "future").exists()
