"""A finished or stopped run goes on for more years, and says what that changes."""

import shutil

import pytest
from support.runs import HYBRID, MECHANICAL, ONE_DAY_YEARS, At, interrupt, snapshot

import jaxecon as je
from jaxecon.core.errors import Interrupted, UserError
from jaxecon.simulation.horizon import horizons
from jaxecon.storage.checkpoint_files import Position
from jaxecon.storage.digest import digest

FIXED = {**MECHANICAL, "planner": {"kind": "fixed", "compared_with": ["us_federal"]}}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A run of a planner that explores, of 10 years and then of 30; and what was told."""
    told = []
    run = je.run({**ONE_DAY_YEARS, "years": 10}, out=tmp_path_factory.mktemp("learnt") / "run")
    run = je.resume(run.path, overrides=["years=30"], tell=told.append)
    return run, told[0]


def test_where_nothing_depends_on_it_the_run_is_one_that_was_longer_from_the_start(tmp_path):
    short = je.run(FIXED, out=tmp_path / "short")
    told = []
    extended = je.resume(short.path, overrides=["years=5"], tell=told.append)
    whole = je.run({**FIXED, "years": 5}, out=tmp_path / "whole")
    assert digest(extended.path) == digest(whole.path)
    assert (told[0].years, told[0].effects, told[0].changed) == ((3, 5), (), ())
    assert extended.config == whole.config
    (entry,) = extended.manifest["resumed"]
    assert (entry["years"], entry["changed"], entry["from"]) == ([3, 5], [], [3, 0])
    assert extended.manifest["summary"]["realised"]["year"] == 4
    assert "stopped" not in extended.manifest


def test_it_says_what_a_planner_that_explores_will_do(learnt):
    run, told = learnt
    assert told.effects == (
        "year 9: simulated without exploration, as in the last tenth of 10 years; they stay as "
        "they are",
        "years 27 to 29: now the last tenth, without exploration",
    )
    assert horizons(run) == [(Position(0, 0), 10), (Position(10, 0), 30)]


def test_it_is_computed_again_with_the_number_of_years_that_each_day_had(learnt, tmp_path):
    run, _ = learnt
    assert je.replay(run.path).equal
    path = shutil.copytree(run.path, tmp_path / "run")
    for checkpoint in (path / "checkpoints").iterdir():
        if checkpoint.name != "00000005-000000":
            shutil.rmtree(checkpoint)
    (branch,) = je.branch(path, year=20, out=tmp_path / "branch")
    ours, theirs = (t.drop_columns(["seconds"]) for t in (branch.years, run.years.slice(20)))
    assert ours.equals(theirs)


def test_language_models_are_told_another_number(tmp_path):
    with pytest.raises(Interrupted):
        je.run({**HYBRID, "years": 1}, out=tmp_path / "run", listener=At(interrupt, year=0, day=2))
    told = []
    run = je.resume(tmp_path / "run", overrides=["years=2"], tell=told.append)
    assert told[0].effects == (
        "language models were told of 1 year, and from year 0, day 2 on of 2",
    )
    assert run.manifest["status"] == "complete"
    assert horizons(run) == [(Position(0, 0), 1), (Position(0, 2), 2)]
    assert je.replay(run.path).equal


def test_years_that_are_simulated_or_begun_cannot_be_taken_back(tmp_path):
    with pytest.raises(Interrupted):
        je.run(FIXED, out=tmp_path / "run", listener=At(interrupt, year=1, day=6))
    before = snapshot(tmp_path / "run")
    with pytest.raises(UserError, match=r"^years: 1; .* has already simulated or begun 2$"):
        je.resume(tmp_path / "run", overrides=["years=1"])
    assert snapshot(tmp_path / "run") == before
    assert je.resume(tmp_path / "run", overrides=["years=2"]).years.num_rows == 2


def test_the_horizon_of_what_was_simulated_again(learnt):
    """A run that lost its last checkpoints goes on from before an earlier change."""
    run = je.load(learnt[0].path)
    entries = [
        {"from": [3, 0], "years": [10, 20]},
        {"from": [8, 0], "years": None},
        {"from": [2, 0], "years": [20, 40]},
        {"from": [5, 1]},
    ]
    run.manifest = {**run.manifest, "resumed": entries}
    assert horizons(run) == [(Position(0, 0), 10), (Position(2, 0), 40)]
