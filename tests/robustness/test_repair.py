"""`jaxecon repair`: what is computed again, what is refused, and a repair that is interrupted."""

import errno
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.damaged_folders import flip, halve
from support.runs import MECHANICAL, as_earlier_run, decisions, run_killed, snapshot, without_git
from typer.testing import CliRunner

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.core import locks
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.locks import lock_for_writing
from jaxecon.simulation import repair
from jaxecon.storage.part_list import PartList
from jaxecon.storage.recorder import Recorder

CONFIG = {
    **MECHANICAL,
    "years": 3,
    "year": {"days": 3},
    "population": {"mechanical": 12, "llm": 2},
    "llm": {"engine": "simulated"},
    "checkpoint": {"every_days": 2, "every_minutes": None, "keep_last": 100},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that is complete, and as it was on the second day of its last year."""
    with without_git():
        killed = run_killed(CONFIG, tmp_path_factory.mktemp("runs") / "run", year=2, day=2)
    return killed.with_name("run"), killed


@pytest.fixture
def run(runs, tmp_path):
    return shutil.copytree(runs[0], tmp_path / "run")


def part(run, table, year):
    return run / table / f"part-{year:08d}.parquet"


def assert_whole(run, original):
    assert je.digest(run) == je.digest(original)
    assert je.load(run).agents.equals(je.load(original).agents)
    assert je.load(run).diagnostics == je.load(original).diagnostics
    assert decisions(run) == decisions(original)
    with pytest.raises(UserError, match="nothing to repair"):
        je.repair(run)


def test_lost_damaged_and_swapped_files(run, runs):
    part(run, "years.parquet", 1).unlink()
    halve(part(run, "agents.parquet", 0))
    shutil.copy(part(run, "agents.parquet", 1), part(run, "agents.parquet", 2))
    kept = part(run, "years.parquet", 0).read_bytes()
    done = je.repair(run)
    assert done.repaired == (
        "years.parquet/part-00000001.parquet",
        "agents.parquet/part-00000000.parquet",
        "agents.parquet/part-00000002.parquet",
    )
    assert (done.remaining, done.compared) == ((), 3)
    assert part(run, "years.parquet", 0).read_bytes() == kept
    assert_whole(run, runs[0])


@pytest.mark.parametrize("lost", ["all", "half"])
def test_a_list_of_files_that_is_lost(run, runs, lost):
    """Together with a file: all that can be read is compared with the repetition."""
    path = run / "parts.jsonl"
    path.unlink() if lost == "all" else halve(path)
    shutil.rmtree(run / "agents.parquet")
    line = CliRunner().invoke(app, ["digest", str(run)]).stderr
    assert len(line.splitlines()) == 1
    done = CliRunner().invoke(app, ["repair", str(run)])
    assert done.exit_code == 0, done.output
    assert "equal to 3 files of tables, the state and the decisions" in done.stdout
    assert "repaired: agents.parquet/part-00000000-00000002.parquet" in done.stdout
    assert_whole(run, runs[0])


def test_a_configuration_is_written_again_from_the_manifest(run, runs):
    config = run / "config.yaml"
    original = config.read_bytes()
    config.write_bytes(b"seed: [")
    assert je.repair(run).repaired == ("config.yaml",)
    assert config.read_bytes() == original
    assert (run / "config.yaml.damaged").read_bytes() == b"seed: ["
    assert_whole(run, runs[0])


def test_nothing_is_written_while_another_process_writes(run):
    config = run / "config.yaml"
    config.write_bytes(b"seed: [")
    release = lock_for_writing(run / ".lock", "the run")
    try:
        refused(run, "is being written by another process")
    finally:
        release()
    assert je.repair(run).repaired == ("config.yaml",)


@pytest.mark.parametrize("go", [je.repair, je.resume])
def test_a_folder_that_cannot_be_written_is_one_line(run, monkeypatch, go):
    """Permissions do not tell root; a file system that is read only would."""

    def refuse(self, **_):
        raise OSError(errno.EROFS, "Read-only file system")

    (run / "config.yaml").write_bytes(b"seed: [") if go is je.repair else None
    before = snapshot(run)
    with monkeypatch.context() as patch:
        patch.setattr(locks.FileLock, "acquire", refuse)
        with pytest.raises(DiskError, match=rf"^{run}: cannot be written \(Read-only file system"):
            go(run)
    assert snapshot(run) == before


def test_a_disk_that_is_full_for_the_configuration_is_one_line(run, runs, monkeypatch):
    config = run / "config.yaml"
    config.write_bytes(b"seed: [")

    def refuse(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(repair, "write_atomically", refuse)
        with pytest.raises(DiskError, match=r"config.yaml: cannot be written \(No space left"):
            je.repair(run)
    assert (run / "config.yaml.damaged").read_bytes() == b"seed: ["
    assert je.repair(run).repaired == ("config.yaml",)
    assert config.read_bytes() == (runs[0] / "config.yaml").read_bytes()


def test_a_run_of_an_earlier_version(run, runs):
    as_earlier_run(run)
    part(run, "years.parquet", 0).unlink()
    assert je.repair(run).repaired == ("years.parquet/part-00000000.parquet",)
    assert_whole(run, runs[0])


def test_a_run_that_is_not_complete_goes_on(runs, tmp_path):
    run = shutil.copytree(runs[1], tmp_path / "run")
    part(run, "years.parquet", 0).unlink()
    part(run, "agents.parquet", 0).unlink()
    with pytest.raises(UserError, match="missing; jaxecon repair"):
        je.resume(run)
    assert len(je.repair(run).repaired) == 2
    je.resume(run)
    assert_whole(run, runs[0])


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["second file", "list"])
def test_a_repair_that_is_killed_can_be_repeated(run, runs, monkeypatch, moment):
    for year in (0, 2):
        part(run, "years.parquet", year).unlink()
    write_part, write_anew, written = Recorder._write_part, PartList.write_anew, []

    def write(self, *arguments):
        if self.path == run:
            written.append(arguments)
            if moment == "second file" and len(written) == 2:
                raise Killed
        return write_part(self, *arguments)

    def write_list(self, records):
        if self._run == run:
            list(records)
            raise Killed
        write_anew(self, records)

    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "_write_part", write)
        patch.setattr(PartList, "write_anew", write_list)
        with pytest.raises(Killed):
            je.repair(run)
    with pytest.raises(UserError, match=r"part-0000000\d.parquet: (missing|not what was written)"):
        je.digest(run)
    assert je.repair(run).repaired
    assert_whole(run, runs[0])


def refused(run, line):
    """A repair is refused with this line, and changes nothing."""
    before = snapshot(run)
    with pytest.raises(UserError, match=line):
        je.repair(run)
    assert snapshot(run) == before


def test_what_cannot_be_computed_again_is_refused(run):
    part(run, "years.parquet", 1).unlink()
    transcript = (run / "transcript.sqlite").read_bytes()
    (run / "transcript.sqlite").unlink()
    refused(run, r"cannot be computed again: requests in transcript.sqlite: \d+ -> 0")
    with pytest.raises(UserError, match=r"part-00000001.parquet: missing$"):
        je.replay(run)
    (run / "transcript.sqlite").write_bytes(transcript)
    for checkpoint in (run / "checkpoints").iterdir():
        flip(checkpoint / "checkpoint.json", 20)
    refused(run, "cannot be repaired: no checkpoint is sound")


def test_a_whole_file_that_the_repetition_does_not_have_is_not_touched(run):
    """In a run of an earlier version nobody knows which of the two is right."""
    as_earlier_run(run)
    part(run, "years.parquet", 0).unlink()
    path = part(run, "years.parquet", 1)
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "swf", pa.array([1.0])), path)
    whole = path.read_bytes()
    refused(run, r"other rows than .*years.parquet/part-00000001.parquet")
    assert path.read_bytes() == whole


def test_a_damaged_checkpoint_remains(run):
    flip(run / "checkpoints" / "00000003-000000" / "checkpoint.json", 20)
    part(run, "years.parquet", 0).unlink()
    done = CliRunner().invoke(app, ["repair", str(run)])
    assert done.exit_code == 2
    assert "repaired: years.parquet/part-00000000.parquet" in done.stdout
    assert "cannot be repaired: " in done.stderr
    assert "00000003-000000: checkpoint.json is not what was written" in done.stderr
