"""New runs from the state in which a run began a year."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from support.damaged_folders import flip
from support.runs import HYBRID, MECHANICAL, ONE_DAY_YEARS, At, flighty, interrupt

import jaxecon as je
from jaxecon.core.errors import DiskError, Interrupted, UserError
from jaxecon.storage import parts
from jaxecon.storage.checkpoint_files import Position, positions
from jaxecon.storage.digest import digest


def test_a_branch_without_changes_is_the_run_itself(config, whole, tmp_path):
    (branch,) = je.branch(whole.path, year=1, out=tmp_path / "branch")
    ours, theirs = (
        branch.years.drop_columns(["seconds"]),
        whole.years.slice(1).drop_columns(["seconds"]),
    )
    assert ours.equals(theirs)
    assert digest(branch.path).state == digest(whole.path).state
    assert (branch.path / branch.manifest["branched_from"]["run"]).samefile(whole.path)
    assert (
        branch.manifest["branched_from"]["year"],
        branch.manifest["branched_from"]["changed"],
    ) == (1, [])


def test_a_branch_from_a_year_without_a_checkpoint(config, whole, tmp_path):
    """It is computed again from an earlier one."""
    path = shutil.copytree(whole.path, tmp_path / "run")
    for position in positions(path / "checkpoints"):
        if position != Position(0, 4):
            shutil.rmtree(path / "checkpoints" / position.name)
    (branch,) = je.branch(path, year=2, out=tmp_path / "branch")
    assert branch.years.drop_columns(["seconds"]).equals(
        whole.years.slice(2).drop_columns(["seconds"])
    )


def test_a_branch_under_another_policy(config, whole, tmp_path):
    overrides = ["planner.kind=fixed", "schedule.rates=0.7", "years=4"]
    (branch,) = je.branch(whole.path, year=1, out=tmp_path / "branch", overrides=overrides)
    rows = branch.years.to_pylist()
    assert [row["year"] for row in rows] == [1, 2, 3]
    assert {row["rate_3"] for row in rows} == {0.7}
    assert branch.manifest["branched_from"]["changed"] == [
        "years: 3 -> 4",
        *[c for c in branch.manifest["branched_from"]["changed"] if c.startswith("planner.kind")],
        "schedule.rates: None -> 0.7",
    ]
    assert whole.years["rate_3"][1].as_py() != 0.7
    # it can be resumed and replayed like any run
    assert je.replay(branch.path).equal


def test_another_planner_takes_over(whole, tmp_path):
    (branch,) = je.branch(
        whole.path, year=1, out=tmp_path / "branch", overrides=["planner.kind=uniform_50"]
    )
    assert {row[f"rate_{k}"] for row in branch.years.to_pylist() for k in range(7)} == {0.5}
    assert branch.years["leader"].to_pylist() == ["uniform_50", "uniform_50"]


def test_common_random_numbers(tmp_path):
    """Two branches under one policy that differ in the planner's name alone draw the same; with
    another seed, others.
    """
    run = je.run(MECHANICAL, out=tmp_path / "run")
    same = [
        je.branch(
            run.path,
            year=1,
            out=tmp_path / name,
            overrides=["planner.kind=fixed", "schedule.rates=0.4", *more],
        )[0]
        for name, more in (("a", []), ("b", ["planner.max_change=50"]), ("c", ["draw_seed=9"]))
    ]
    hours = [np.asarray(branch.agents["hours"]) for branch in same]
    np.testing.assert_array_equal(hours[0], hours[1])
    assert not np.array_equal(hours[0], hours[2])
    skills = [np.asarray(branch.agents["skill"]) for branch in same]
    np.testing.assert_array_equal(skills[0], skills[2])  # the people are the same


def test_many_futures(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "jaxecon",
                "branch",
                str(run.path),
                "--year",
                "2",
                "--out",
                str(tmp_path / "b"),
            ),
            *("--seeds", "3", "--set", "years=4"),
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "standard error" in done.stdout
    futures = [je.load(tmp_path / "b" / f"future-{i}") for i in range(3)]
    assert [f.config.seed_of_draws for f in futures] == [0, 1, 2]
    first = [f.years["swf"][0].as_py() for f in futures]
    assert len(set(first)) == 3
    assert first[0] == run.years["swf"][2].as_py()


def test_a_branch_is_nothing_before_it_began(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run")
    (branch,) = je.branch(
        run.path, year=2, out=tmp_path / "branch", overrides=["planner.kind=fixed"]
    )
    with pytest.raises(UserError, match=r"--year: 1; .* can be branched in years 2 to 3"):
        je.branch(branch.path, year=1, out=tmp_path / "more")
    manifest = json.loads((branch.path / "manifest.json").read_text())
    (branch.path / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    first = branch.path / "checkpoints" / "00000002-000000" / "SHA256SUMS"
    first.write_text(first.read_text() + "x")
    with pytest.raises(UserError, match=r"SHA256SUMS|cannot be computed again"):
        je.replay(branch.path)
    shutil.rmtree(branch.path / "checkpoints")
    with pytest.raises(UserError, match="a branch whose first checkpoint is lost"):
        je.resume(branch.path)


def test_a_branch_that_is_resumed_has_its_runs_answers(tmp_path):
    """Of an engine that answers otherwise when it is asked again."""
    engine = flighty()
    run = je.run(HYBRID, out=tmp_path / "run", engine=engine)
    asked = len(engine.asked)
    with pytest.raises(Interrupted):
        je.branch(
            run.path,
            year=1,
            out=tmp_path / "branch",
            engine=engine,
            listener=At(interrupt, year=1, day=2),
        )
    assert je.resume(tmp_path / "branch", engine=engine).manifest["resumed"][0]["inexact"] == []
    assert len(engine.asked) == asked
    ours, theirs = (
        je.load(tmp_path / "branch").years.drop_columns(["seconds"]),
        run.years.slice(1).drop_columns(["seconds"]),
    )
    assert ours.equals(theirs)
    with pytest.raises(Interrupted):
        je.branch(
            run.path,
            year=1,
            out=tmp_path / "orphan",
            engine=engine,
            listener=At(interrupt, year=1, day=2),
        )
    shutil.move(run.path, tmp_path / "moved")
    (gone,) = je.resume(tmp_path / "orphan", engine=engine).manifest["resumed"][0]["inexact"]
    assert "run/transcript.sqlite: not there" in gone
    assert len(engine.asked) > asked


def test_futures_of_another_seed_are_all_others(tmp_path):
    run = je.run(MECHANICAL, out=tmp_path / "run", overrides=["draw_seed=8"])
    futures = je.branch(
        run.path, year=2, out=tmp_path / "futures", overrides=["draw_seed=7"], seeds=3
    )
    assert [future.config.seed_of_draws for future in futures] == [7, 8, 9]
    assert [future.manifest["branched_from"]["changed"] for future in futures] == [
        ["draw_seed: 8 -> 7"],
        [],
        ["draw_seed: 8 -> 9"],
    ]


def test_a_planner_that_sees_agents_needs_only_their_last_year(tmp_path, monkeypatch):
    """Each file of it is read once, however many cohorts there are."""
    cohorts = [{"name": "many", "rule": "rational", "size": 4}]
    cohorts += [{"name": name, "rule": "llm", "size": 2} for name in "ab"]
    config = {
        **ONE_DAY_YEARS,
        "years": 3,
        "population": {"cohorts": cohorts},
        "planner": {"kind": "fixed", "compared_with": ["us_federal"]},
        "llm": {"engine": "simulated"},
    }
    run = je.run(config, out=tmp_path / "run")
    agents = run.path / "agents.parquet"
    flip(agents / "part-00000000.parquet", 100)
    read, read_part = [], parts.read_part

    def counted(part):
        read.append(part.path)
        return read_part(part)

    monkeypatch.setattr(parts, "read_part", counted)
    overrides = ["planner.kind=elected", "elections.eligible=[a, b]"]
    (branch,) = je.branch(run.path, year=2, out=tmp_path / "branch", overrides=overrides)
    assert branch.manifest["status"] == "complete"
    with pytest.raises(UserError, match=r"year 1 of a is not in its agents.parquet"):
        je.branch(
            je.branch(run.path, year=2, out=tmp_path / "same")[0].path,
            year=2,
            out=tmp_path / "of_a_branch",
            overrides=overrides,
        )
    ours = [path for path in read if path.is_relative_to(agents)]
    assert ours == [agents / "part-00000001.parquet"]
    flip(ours[0], 100)
    with pytest.raises(DiskError, match=r"part-00000001.parquet: not what was written"):
        je.branch(run.path, year=2, out=tmp_path / "other", overrides=overrides)


def test_a_branch_that_cannot_be_what_was_recorded_is_refused(tmp_path):
    """A run that was forced to go on otherwise: its first years came about by other rules."""
    config = {**MECHANICAL, "checkpoint": {"every_minutes": None, "keep_last": 1}}
    run = je.run(config, out=tmp_path / "run")
    je.resume(run.path, force=True, overrides=["years=4", "preferences.disutility_exponent=2"])
    with pytest.raises(UserError, match="computed again, is not what was recorded"):
        je.branch(run.path, year=2, out=tmp_path / "branch")


@pytest.mark.parametrize(
    ("year", "overrides", "message"),
    [
        (9, [], r"--year: 9; .* can be branched in years 0 to 3"),
        (
            1,
            ["preferences.consumption_curvature=0.5"],
            r"precision: float32 -> float64; a branch keeps",
        ),
        (-1, [], r"--year: -1"),
        (
            1,
            ["population.mechanical=99"],
            r"population.mechanical: 30 -> 99; a branch keeps its run's people",
        ),
        (1, ["seed=5"], r"seed: 0 -> 5; a branch keeps"),
        (3, [], r"years: 3; a branch from year 3 needs more, such as --set years=7"),
        (1, ["planner.kind=nobody"], r"planner.kind"),
    ],
)
def test_branches_that_make_no_sense(tmp_path, year, overrides, message):
    path = tmp_path / "run"
    je.run(MECHANICAL, out=path)
    with pytest.raises(UserError, match=message):
        je.branch(path, year=year, out=tmp_path / "branch", overrides=overrides)
    assert not (tmp_path / "branch").exists()
