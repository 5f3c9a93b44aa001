"""Files that somebody removes or replaces while a run writes them: one line, and nothing lost."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.damaged_folders import flip
from support.runs import HYBRID, At, decisions, without_git
from support.transcripts import ANSWER, ask, put

import jaxecon as je
from jaxecon.config.recording import CheckpointPolicy
from jaxecon.core import processes
from jaxecon.core.errors import DiskError
from jaxecon.storage import paths
from jaxecon.storage.checkpoint import Checkpoints
from jaxecon.storage.checkpoint_files import Position
from jaxecon.storage.paths import CHECKPOINTS, RunFolder, lock_run
from llm.messages import Completion
from llm.transcript.store import Transcript

CONFIG = {**HYBRID, "years": 2, "year": {"days": 3}, "satisfaction": {"judged": False}}


def test_a_transcript_that_is_removed_is_put_back(tmp_path: Path) -> None:
    """With everything that was stored until the writer noticed, also what came after."""
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    keys = [put(transcript, ask(0), ANSWER)]
    path.unlink()
    with pytest.raises(DiskError, match=r"t.sqlite was removed while .*put back as the run ends"):
        keys.append(put(transcript, ask(1), ANSWER))
    with pytest.raises(DiskError, match=r"t.sqlite was removed while it was being written"):
        transcript.sync()
    with pytest.raises(DiskError, match=r"t.sqlite was removed while it was being written"):
        transcript.close()
    with closing(Transcript(path)) as again:
        assert again.counts().requests == 2
        assert len(again.get_many(keys)) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["t.sqlite"]


@pytest.mark.parametrize("when", ["put_soon", "close"])
def test_a_transcript_that_is_replaced_is_kept_beside(tmp_path: Path, when: str) -> None:
    """The file that took its place stays as it is."""
    path, other = tmp_path / "t.sqlite", tmp_path / "other.sqlite"
    with closing(Transcript(other)) as another:
        put(another, ask(7), Completion('{"hours": 10}'))
    content = other.read_bytes()
    transcript = Transcript(path)
    key = put(transcript, ask(0), ANSWER)
    os.replace(other, path)
    if when == "put_soon":
        transcript.put_soon("k", {"engine": "x"}, ask(1), ANSWER)
        with pytest.raises(DiskError, match=r"was replaced .*kept in t.sqlite.kept"):
            transcript.flush()
    with pytest.raises(DiskError, match=r"was replaced .*kept in t.sqlite.kept"):
        transcript.close()
    assert path.read_bytes() == content
    with closing(Transcript(tmp_path / "t.sqlite.kept", read_only=True)) as kept:
        assert kept.get_many([key]) == {key: ANSWER}
        assert kept.counts().requests == (2 if when == "put_soon" else 1)


def test_a_transcript_that_is_overwritten_in_place(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    put(transcript, ask(0), ANSWER)
    transcript.sync()
    path.write_bytes(b"something else")
    with pytest.raises(DiskError, match=r"t.sqlite was replaced while it was being written$"):
        transcript.sync()
    with pytest.raises(DiskError):
        transcript.close()


def test_a_transcript_that_is_left_alone(tmp_path: Path) -> None:
    """Commits, checkpoints of the log and readers are no replacement."""
    transcript = Transcript(tmp_path / "t.sqlite")
    for agent in range(300):
        put(transcript, ask(agent, text=f"{agent} " * 2000), ANSWER)
        if agent % 100 == 0:
            transcript.sync()
            with closing(Transcript(tmp_path / "t.sqlite", read_only=True)) as reader:
                assert reader.counts().requests == agent + 1
    transcript.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with without_git():
        return Path(je.run(CONFIG, out=tmp_path_factory.mktemp("whole") / "run").path)


WITHOUT_MODELS = {**CONFIG, "population": {"mechanical": 10, "llm": 0}, "satisfaction": {}}

REMOVED: dict[str, Callable[[Path], object]] = {
    "transcript.sqlite": lambda run: (run / "transcript.sqlite").unlink(),
    "manifest.json": lambda run: (run / "manifest.json").unlink(),
    "config.yaml": lambda run: (run / "config.yaml").unlink(),
    "years.parquet": lambda run: shutil.rmtree(run / "years.parquet"),
    "parts.jsonl": lambda run: (run / "parts.jsonl").unlink(),
}


@pytest.mark.parametrize("file", REMOVED)
def test_a_run_ends_with_one_line_and_goes_on_where_it_was(
    whole: Path, tmp_path: Path, file: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(DiskError, match=r"while (it|the run) was being written") as ended:
        je.run(CONFIG, out=run, listener=At(lambda: REMOVED[file](run), year=1, day=1))
    assert file in str(ended.value)
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["status"], manifest["error"]) == (
        "failed",
        str(ended.value).replace(str(run), "."),
    )
    if file in ("years.parquet", "parts.jsonl"):
        with pytest.raises(DiskError, match=r"missing.*; jaxecon repair"):
            je.resume(run)
        je.repair(run)
    je.resume(run)
    assert je.digest(run) == je.digest(whole)
    assert decisions(run) == decisions(whole)


def replace(path: Path, same: bool) -> None:
    """Replace a file, or those in a folder, by files with the same or with other bytes."""
    for file in [path] if path.is_file() else list(path.iterdir()):
        copy = file.with_name("copy")
        shutil.copy(file, copy)
        if not same:
            flip(copy, 30)
        os.replace(copy, file)


REPLACED = ["parts.jsonl", "years.parquet/part-00000000.parquet", "agents.parquet"]


@pytest.mark.parametrize("file", REPLACED)
def test_a_file_that_another_one_replaces_ends_the_run(
    whole: Path, tmp_path: Path, file: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(DiskError, match=rf"{file}.*: removed or changed by something else while"):
        je.run(CONFIG, out=run, listener=At(lambda: replace(run / file, False), year=1, day=1))
    with pytest.raises(DiskError, match=r"jaxecon repair"):
        je.resume(run)
    je.repair(run)
    je.resume(run)
    assert je.digest(run) == je.digest(whole)


@pytest.fixture(scope="module")
def mechanical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(je.run(WITHOUT_MODELS, out=tmp_path_factory.mktemp("mechanical") / "run").path)


@pytest.mark.parametrize("what", [*REPLACED, "inodes"])
def test_what_has_the_same_content_is_no_other(
    mechanical: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Some file systems give folders and files other inodes while a run goes on."""
    run, stat = tmp_path / "run", os.stat
    moved: list[int] = []

    def unstable(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        if isinstance(path, int) or not str(path).startswith(str(run)):
            return found
        names = [name for name in dir(found) if name.startswith("st_")]
        fields = {name: getattr(found, name) for name in names}
        numbers = (found.st_mode, found.st_ino + len(moved), found.st_dev + len(moved), *found[3:])
        return os.stat_result(numbers, fields)

    def change() -> None:
        if what == "inodes":
            moved.append(1)
        else:
            replace(run / what, same=True)

    monkeypatch.setattr(os, "stat", unstable)
    je.run(WITHOUT_MODELS, out=run, listener=At(change, year=1, day=1))
    assert bool(moved) == (what == "inodes")
    assert je.digest(run) == je.digest(mechanical)
    monkeypatch.undo()
    assert je.resume(run).manifest["status"] == "complete"


@pytest.mark.parametrize("agents", [0, 3])
@pytest.mark.parametrize("instead", ["nothing", "a copy", "a file"])
@pytest.mark.parametrize("day", [1, None])  # None: after the last
def test_a_folder_that_is_moved_away_ends_the_run(
    tmp_path: Path, agents: int, instead: str, day: int | None
) -> None:
    """What took its place stays as it is, and the run goes on where it is now."""
    config = {**CONFIG, "population": {"mechanical": 10, "llm": agents}}
    run, moved = tmp_path / "run", tmp_path / "moved"

    def move() -> None:
        run.rename(moved)
        if instead == "a copy":
            shutil.copytree(moved, run)
        elif instead == "a file":
            run.touch()

    with pytest.raises(DiskError, match=rf"{run}\S*:? (was )?(removed|replaced|changed)") as ended:
        je.run(config, out=run, listener=At(move, year=1, day=day))
    assert len(str(ended.value).splitlines()) == 1
    manifests = [json.loads((p / "manifest.json").read_text()) for p in tmp_path.glob("*/")]
    assert {manifest["status"] for manifest in manifests} == {"running"}
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()].count("moved") == 1
    assert run.exists() == (instead != "nothing")
    assert je.resume(moved).manifest["status"] == "complete"


@pytest.mark.parametrize("instead", ["nothing", "a copy"])
def test_a_folder_that_is_moved_away_during_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, instead: str
) -> None:
    """Nothing is made anew where the folder was, and no copy gets a checkpoint."""
    run, moved = tmp_path / "run", tmp_path / "moved"
    (run / CHECKPOINTS).mkdir(parents=True)
    (run / "manifest.json").touch()
    broadcast = processes.broadcast_from_main

    def move(made: str) -> str:
        run.rename(moved)
        if instead == "a copy":
            shutil.copytree(moved, run)
        return broadcast(made)

    monkeypatch.setattr(processes, "broadcast_from_main", move)
    with closing(Checkpoints(run / CHECKPOINTS, CheckpointPolicy())) as checkpoints:
        checkpoints.save(Position(1, 0), {"hours": np.zeros(3)}, {})
        with pytest.raises(DiskError, match=rf"{run}: removed or replaced by something else"):
            checkpoints.wait()
    assert run.exists() == (instead == "a copy")
    assert not any((run / CHECKPOINTS).glob("*"))


def test_a_folder_with_another_inode_is_the_run_s_while_its_lock_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = lock_run(tmp_path)
    folder = RunFolder(tmp_path)
    for held in (True, False):
        inode = 10 + held
        monkeypatch.setattr(paths, "identity", lambda path, inode=inode: (1, inode))
        assert folder.is_in_place() == held
        if held:
            release()
    monkeypatch.setattr(paths, "identity", lambda path: None)
    assert not folder.is_in_place()
