"""Damaged and foreign files of a run: the right result, or one line that names the file."""

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damaged_folders import (
    BYTES,
    JSON,
    PARTS,
    copy_beside,
    damaged,
    deeper,
    flip,
    flip_middle,
    halve,
    lose,
    names,
    not_text,
    other_values,
    outcome,
    rename,
)
from support.runs import HYBRID, as_earlier_run, run_killed, unchanged_by_reading
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.core.errors import DiskError, UserError
from jaxecon.simulation.changes import continuable, refuse_edited
from jaxecon.simulation.language import open_transcript

pytestmark = pytest.mark.usefixtures("no_git")

CONFIG = {
    **HYBRID,
    "years": 2,
    "year": {"days": 4},
    "satisfaction": {"judged": True, "every_days": 2},
    "checkpoint": {"every_days": 2, "every_minutes": None, "keep_last": 100},
    "survey": {"questions": [{"name": "view", "ask": "Is it fair?", "choices": ["yes", "no"]}]},
}
TABLES = ("years", "agents", "survey", "elections", "ballots", "past")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that is complete, and as it was on the third day of its second year."""
    killed = run_killed(CONFIG, tmp_path_factory.mktemp("runs") / "run", year=1, day=3)
    return killed.with_name("run"), killed


@pytest.fixture(scope="module")
def whole(runs):
    return runs[0]


@pytest.fixture(scope="module")
def spare(whole, tmp_path_factory):
    """A copy to be damaged and put right."""
    return shutil.copytree(whole, tmp_path_factory.mktemp("spare") / "run")


def copied(folder, target):
    shutil.rmtree(target, ignore_errors=True)
    return shutil.copytree(folder, target)


def load(folder):
    run = je.load(folder)
    return {name: getattr(run, name) for name in TABLES}, run.last_year, run.diagnostics


def digest(folder):
    return je.digest(folder).combined


def transcript(folder):
    with closing(open_transcript(folder / "transcript.sqlite")) as opened:
        return opened.totals(), opened.counts(), opened.answers(), list(opened.decisions())


def survey(folder):
    return command("survey", folder, "--json")


def command(*arguments):
    """What a command prints; its one line where it fails."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code in (0, 2), (done.exception, done.output)
    if done.exit_code:
        raise UserError(done.stderr.splitlines()[-1])
    return done.stdout.replace(str(arguments[1]), "RUN")


def resume(folder):
    """Of a run that is complete: nothing is simulated."""
    before = unchanged_by_reading(folder)
    try:
        run = je.resume(folder)
    finally:
        assert unchanged_by_reading(folder) == before
    return run.manifest["status"]


READERS = (load, transcript, survey, digest, resume)


@pytest.fixture(scope="module")
def right(whole):
    """What each reader returns of the whole run."""
    return {reader: reader(whole) for reader in READERS}


# with which the last two readers are tried too, which take a tenth of a second each
FEW = (lose, halve, flip_middle, rename, copy_beside)

FILES = {
    "manifest.json": JSON,
    "config.yaml": BYTES,
    "parts.jsonl": JSON,
    "transcript.sqlite": BYTES,
    "years.parquet/part-00000001.parquet": PARTS,
    "agents.parquet/part-00000001.parquet": PARTS,
    "survey.parquet/part-00000000.parquet": PARTS,
    "checkpoints/00000002-000000/checkpoint.json": FEW[:3],
    "checkpoints/00000002-000000/SHA256SUMS": (*FEW[:4], not_text),
}


@pytest.mark.parametrize("file", FILES)
def test_every_damage_and_every_reader(whole, right, tmp_path, file):
    """What a reader does not need may be damaged. Bytes of a transcript have no checksum."""
    failed, folder = 0, shutil.copytree(whole, tmp_path / "run")
    for damage in FILES[file]:
        with damaged(folder / file, damage):
            for reader in READERS if damage in (*FEW, not_text) else READERS[:3]:
                found = outcome(reader, folder)
                if isinstance(found, UserError):
                    assert names(found, folder / file), (damage.__name__, reader.__name__, found)
                    failed += 1
                elif reader is not transcript:
                    assert found == right[reader], (damage.__name__, reader.__name__)
    assert failed >= len(FILES[file]) - 1  # a last byte, or a copy, may not be needed


def test_every_entry_of_a_manifest(whole, tmp_path):
    """Without it, or with other types in it: it is read, or the line names the file."""

    def opened(folder):
        run = continuable(folder)
        refuse_edited(run)
        return run.years

    right = opened(whole)
    folder = shutil.copytree(whole, tmp_path / "run")
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    summary = content["summary"]
    inner = {
        "summary": other_values(summary),
        "hardware": other_values(content["hardware"]),
        "branched_from": other_values({"run": "a", "year": 0, "answers": True}),
        "resumed": [
            [entry]
            for entry in other_values(
                {"from": [0, 1], "changed": [], "inexact": [], "years": [1, 2]}
            )
        ],
    }
    lines = []
    for wrong in other_values(content) + [
        content | {entry: value} for entry, values in inner.items() for value in values
    ]:
        path.write_text(json.dumps(wrong))
        found = outcome(opened, folder)
        if isinstance(found, UserError):
            lines.append(str(found))
        else:
            assert found == right
    for name in content:
        path.write_text(json.dumps({k: v for k, v in content.items() if k != name}))
        found = outcome(resume, folder)
        assert isinstance(found, UserError) or found == "complete"
    for entry in (
        *("status", "code", "identities", "files", "versions", "hardware"),
        *("summary.policies", "summary.realised", "branched_from.year", "resumed.0.changed"),
        *("resumed.0.from", "resumed.0.years"),
    ):
        assert any(f"manifest.json: damaged ({entry} is" in line for line in lines), entry
    for entry in ("status", "code", "files", "identities"):
        assert any(f"manifest.json: damaged (has no {entry})" in line for line in lines), entry
    for depth in (70, 200, 900, 100_000):
        path.write_text(deeper(content, depth))
        assert "nested too deeply" in str(outcome(load, folder))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_any_byte_of_any_file(whole, right, spare, data):
    """Tables and digest are right, or a line says why not."""
    files = sorted(p.relative_to(whole) for p in whole.rglob("*") if p.is_file())
    file = data.draw(st.sampled_from([f for f in files if f.name != ".lock"]))
    size = (whole / file).stat().st_size
    place = data.draw(st.integers(0, size - 1))
    bit = data.draw(st.one_of(st.none(), st.integers(0, 7)))
    with damaged(
        spare / file,
        lambda path: os.truncate(path, place) if bit is None else flip(path, place, bit),
    ):
        tables = outcome(lambda path: load(path)[0], spare)
        assert isinstance(tables, UserError) or tables == right[load][0]
        found = outcome(digest, spare)
        assert isinstance(found, UserError) or found == right[digest]
        outcome(transcript, spare)


def test_values_of_other_types_in_a_transcript(whole, tmp_path):
    """SQLite lets every column hold any type."""
    import sqlite3

    changes = (
        "UPDATE requests SET response = x'ff'",
        "UPDATE requests SET prompt_tokens = 'abc'",
        "UPDATE requests SET messages = 'text'",
        "UPDATE requests SET cohort = x'00' WHERE agent = 1",
        "UPDATE requests SET finish_reason = x'00'",
        "UPDATE decisions SET status = 'other'",
        "UPDATE decisions SET attempts = 'many'",
        "UPDATE decisions SET decision = x'31'",
        "UPDATE sums SET prompt_tokens = 'abc'",
        "UPDATE settings SET json = '[]'",
        "DROP TABLE pieces",
        "DROP TABLE decisions",
    )
    folder = shutil.copytree(whole, tmp_path / "run")
    for change in changes:
        shutil.copy(whole / "transcript.sqlite", folder)
        with closing(sqlite3.connect(folder / "transcript.sqlite")) as db:
            db.execute(change)
            db.commit()
        lines = []
        for arguments in ([], ["--json"], ["--list"], ["--year", "0"], ["--export", "-"]):
            try:
                command("transcript", folder, *arguments)
            except UserError as error:
                lines.append(str(error))
        assert lines, change
        assert all("transcript.sqlite" in line for line in lines), (change, lines)


def test_a_year_that_is_lost_before_a_resume(runs, tmp_path):
    folder = copied(runs[1], tmp_path / "run")
    (folder / "years.parquet" / "part-00000000.parquet").unlink()
    before = unchanged_by_reading(folder)
    line = "years.parquet/part-00000000.parquet: missing; jaxecon repair .* computes it again"
    with pytest.raises(DiskError, match=line):
        je.resume(folder)
    assert unchanged_by_reading(folder) == before


def test_swapped_and_foreign_files_before_a_resume(runs, tmp_path):
    """A file of another year is said; a file that is not in the list is not read."""
    folder = copied(runs[1], tmp_path / "run")
    agents = folder / "agents.parquet"
    shutil.copy(runs[0] / "agents.parquet" / "part-00000001.parquet", agents / "part-x.parquet")
    shutil.copy(agents / "part-x.parquet", agents / "part-00000000 copy.parquet")
    shutil.copy(agents / "part-x.parquet", agents / "part-00000000-00000001.parquet")
    assert je.load(folder).agents["year"].unique().to_pylist() == [0]
    assert digest(je.resume(folder).path) == digest(runs[0])
    folder = copied(runs[1], tmp_path / "run")
    shutil.copy(
        runs[0] / "agents.parquet" / "part-00000001.parquet", agents / "part-00000000.parquet"
    )
    with pytest.raises(DiskError, match=r"part-00000000.parquet: not what was written"):
        je.resume(folder)


def test_replay_and_branch_of_damaged_runs(whole, tmp_path):
    for file in ("agents.parquet/part-00000001.parquet", "years.parquet/part-00000000.parquet"):
        folder = copied(whole, tmp_path / "run")
        flip(folder / file, 100)
        with pytest.raises(DiskError, match=f"{file}: not what was .*; jaxecon repair .* again"):
            je.replay(folder)
    with pytest.raises(DiskError, match=f"{file}: not what was written"):
        je.branch(folder, year=1, out=tmp_path / "branch")
    (folder / "transcript.sqlite").unlink()
    with pytest.raises(DiskError, match=f"{file}: not what was written [^;]*$"):
        je.replay(folder)  # no model's answers: it cannot be computed again
    assert not (tmp_path / "branch").exists()


def test_an_edited_configuration(whole, tmp_path):
    folder = copied(whole, tmp_path / "run")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("seed: 0", "seed: 1", 1))
    line = "config.yaml: not what the run was simulated with: seed: 0 -> 1"
    with pytest.raises(UserError, match=line):
        je.replay(folder)
    with pytest.raises(UserError, match=line):
        je.branch(folder, year=1, out=tmp_path / "branch")


def test_the_digest_says_what_is_damaged_and_how_far_a_run_came(runs, tmp_path):
    folder = copied(runs[0], tmp_path / "run")
    flip(folder / "checkpoints" / "00000002-000000" / "checkpoint.json", 20)
    with pytest.raises(DiskError) as refused:
        je.digest(folder)
    assert "00000002-000000: checkpoint.json is not what was written" in str(refused.value)
    shutil.rmtree(folder / "checkpoints" / "00000002-000000")
    shutil.copytree(runs[1], tmp_path / "killed")
    assert f"up to year 1, day 2 the digest is {digest(folder)}" in str(refused.value)
    done = CliRunner().invoke(app, ["digest", str(runs[1])])
    assert done.exit_code == 0
    assert "running, not complete: the digest is of what came before year" in done.stderr
    assert "not complete" not in CliRunner().invoke(app, ["digest", str(runs[0])]).stderr


def test_runs_of_earlier_versions_have_no_list_of_files(whole, tmp_path):
    """They open; lost years, swapped and unreadable files are said."""
    folder = copied(whole, tmp_path / "run")
    as_earlier_run(folder)
    assert load(folder) == load(whole)
    assert digest(folder) == digest(whole)
    earlier = copied(folder, tmp_path / "earlier")
    years = [earlier / "years.parquet" / f"part-{year:08d}.parquet" for year in (0, 1)]
    for damage in (*FEW[:4], lambda path: shutil.copy(years[0], path)):
        copied(folder, earlier)
        damage(years[1])
        for reader in (load, digest, survey, resume):
            found = outcome(reader, earlier)
            if isinstance(found, UserError):
                assert names(found, years[1])
            elif reader in (load, digest):
                assert found == reader(whole)
    copied(folder, earlier)
    table = pq.read_table(years[1])
    text = table.set_column(1, "swf", pa.array(["x"]))
    pq.write_table(text, years[1])
    with pytest.raises(DiskError, match=r"part-00000001.parquet: damaged .*swf"):
        je.load(earlier).years  # noqa: B018
    pq.write_table(table.drop_columns(["gain_realised"]), years[1])
    with pytest.raises(DiskError, match=r"part-00000001.parquet: damaged .*gain_realised"):
        je.load(earlier).diagnostics  # noqa: B018


def test_a_checkpoint_with_another_name(whole, tmp_path):
    folder = copied(whole, tmp_path / "run")
    checkpoints = folder / "checkpoints"
    shutil.copytree(checkpoints / "00000002-000000", checkpoints / "00000009-000000")
    with pytest.raises(DiskError, match="00000009-000000: holds year 2, day 0; up to year 2, day"):
        je.digest(folder)
    assert Path(je.load(folder).path) == folder
