"""A run computed again from its transcript is what was recorded, and what was changed is found."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.runs import HYBRID, MECHANICAL, At, as_earlier_run, interrupt, run_killed

import jaxecon as je
from jaxecon.core.errors import Interrupted
from jaxecon.storage.checkpoint_files import Position, newest
from jaxecon.storage.differences import _difference
from jaxecon.storage.digest import digest


def test_a_run_is_what_it_says(whole):
    replayed = je.replay(whole.path)
    assert replayed.equal
    assert replayed.differences == ()
    assert replayed.recorded.combined == digest(whole.path).combined


def test_an_interrupted_run_is_replayed_as_far_as_it_got(config, tmp_path):
    with pytest.raises(Interrupted):
        je.run(config, out=tmp_path / "run", listener=At(interrupt, year=1, day=6))
    assert je.replay(tmp_path / "run", out=tmp_path / "again").equal
    assert je.load(tmp_path / "again").manifest["replay_of"] == "../run"


def test_a_run_with_a_changed_table_is_found_out(whole, tmp_path):
    """In a run of an earlier version, whose files have no SHA-256."""
    path = shutil.copytree(whole.path, tmp_path / "run")
    as_earlier_run(path)
    part = sorted((path / "years.parquet").iterdir())[-1]
    table = pq.read_table(part)
    at = table.column_names.index("swf")
    better = table.set_column(at, "swf", [[table["swf"][0].as_py() * 1.01]])
    pq.write_table(better, part)
    replayed = je.replay(path)
    assert not replayed.equal
    (difference,) = replayed.differences
    assert (difference.where, difference.column, difference.decided) == (
        "years.parquet",
        "swf",
        False,
    )
    assert difference.relative == pytest.approx(0.0099, abs=1e-4)


def test_an_answer_that_was_changed_is_found_out(tmp_path):
    import sqlite3

    je.run(HYBRID, out=tmp_path / "run")
    with sqlite3.connect(tmp_path / "run" / "transcript.sqlite") as db:
        db.execute(
            """UPDATE requests SET response = '{"hours": 0}'
            WHERE kind = 'labor' AND year = 1 AND day = 2 AND agent = 1"""
        )
    done = subprocess.run(
        [sys.executable, "-m", "jaxecon", "replay", str(tmp_path / "run")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3  # other hours lead to prompts that nobody ever asked
    assert "jaxecon: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_replay_of_a_run_that_was_killed_after_its_first_election(tmp_path):
    """Its newest checkpoint is from before any."""
    config = {
        **MECHANICAL,
        "planner": {"kind": "elected", "compared_with": []},
        "checkpoint": {"every_years": 1},
    }
    killed = run_killed(config, tmp_path / "run", year=1)
    assert newest(killed / "checkpoints")[0].position == Position(1, 0)
    assert je.load(killed).elections.num_rows
    replayed = je.replay(killed)
    assert (replayed.equal, replayed.differences) == (True, ())
    assert digest(killed).elections is None
    assert digest(tmp_path / "run").elections is not None


def test_a_replay_says_that_the_run_had_changed_machines(tmp_path):
    killed = run_killed(MECHANICAL, tmp_path / "run", year=1)
    manifest = json.loads((killed / "manifest.json").read_text())
    hardware = manifest["hardware"] | {"cpu": "another"}
    (killed / "manifest.json").write_text(json.dumps(manifest | {"hardware": hardware}))
    je.resume(killed)
    assert any(note.startswith("cpu: another -> ") for note in je.replay(killed).notes)


def test_differences_leave_out_what_neither_has():
    nan = float("nan")
    assert list(_difference("years", "x", False, np.array([nan, 1.0]), np.array([nan, 1.0]))) == []
    (found,) = _difference(
        "years", "x", False, np.array([nan, 1.0, 2.0]), np.array([nan, 1.0, 2.5])
    )
    assert (found.absolute, found.relative) == (0.5, 0.25)
