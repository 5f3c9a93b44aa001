"""The tables of a run over many years: files that are joined, and taken back."""

import shutil

import pyarrow.parquet as pq
import pytest
from support.runs import MECHANICAL, as_earlier_run, assert_same_run, run_killed

import jaxecon as je
from jaxecon.storage import recorder
from jaxecon.storage.checkpoint_files import Position
from jaxecon.storage.digest import digest


def test_parts_become_one_and_are_taken_back(tmp_path, monkeypatch):
    """Many years' files are joined; a resume takes years back out of a joined one."""
    monkeypatch.setattr(recorder, "_MANY_PARTS", 4)
    config = {
        **MECHANICAL,
        "years": 10,
        "checkpoint": {"every_years": 3, "every_minutes": None, "keep_last": 9},
    }
    whole = je.run(config, out=tmp_path / "whole")
    names = sorted(p.name for p in (whole.path / "years.parquet").iterdir())
    assert names == [
        *(
            "part-00000000-00000003.parquet",
            "part-00000004-00000007.parquet",
            "part-00000008.parquet",
            "part-00000009.parquet",
        )
    ]
    assert whole.years["year"].to_pylist() == list(range(10))
    killed = run_killed(config, tmp_path / "run", year=8)
    for position in (Position(9, 0), Position(6, 0)):
        shutil.rmtree(killed / "checkpoints" / position.name, ignore_errors=True)
    je.resume(killed)  # from year 3, in the middle of the first joined file
    assert_same_run(killed, whole.path)


def test_a_crash_while_parts_are_joined(tmp_path):
    """The larger file and the ones it covers are there: every year counts once."""
    run = je.run(MECHANICAL, out=tmp_path / "run")
    before = digest(run.path)
    folder = run.path / "years.parquet"
    pq.write_table(run.years.slice(0, 2), folder / "part-00000000-00000001.parquet")
    assert je.load(run.path).years["year"].to_pylist() == [0, 1, 2]
    assert digest(run.path) == before


def without_columns(folder, names):
    """Rewrite the parts of a table as a jaxecon that did not know these columns left them."""
    as_earlier_run(folder.parent)
    for part in folder.iterdir():
        pq.write_table(pq.read_table(part).drop_columns(names), part)


@pytest.mark.parametrize("joined", [256, 2])
def test_a_run_that_lacks_the_columns_of_choices_goes_on(tmp_path, monkeypatch, joined):
    """It has the digest of today's run, also when its old and its new years are joined."""
    monkeypatch.setattr(recorder, "_MANY_PARTS", joined)
    config = {**MECHANICAL, "years": 4, "checkpoint": {"every_years": 1, "every_minutes": None}}
    whole = je.run(config, out=tmp_path / "whole")
    killed = run_killed(config, tmp_path / "run", year=3)
    without_columns(killed / "years.parquet", ["swf_choices", "gain_choices"])
    je.resume(killed)
    found, expected = (je.load(path).years for path in (killed, whole.path))
    assert found["gain_choices"].to_pylist()[:2] == [None, None]
    assert found["gain_choices"].to_pylist()[3:] == expected["gain_choices"].to_pylist()[3:]
    assert digest(killed) == digest(whole.path)
    without_columns(whole.path / "years.parquet", ["swf_choices", "gain_choices"])
    assert digest(killed) == digest(whole.path)
    (branch,) = je.branch(whole.path, year=2, out=tmp_path / "branch")
    assert len(branch.years["gain_choices"].to_pylist()) == 2
