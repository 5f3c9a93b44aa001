"""A pipe in place of a file, which its reader would wait for forever, is one line."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from support.runs import HYBRID

import jaxecon as je
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import check_regular
from jaxecon.simulation.repair import repair
from jaxecon.storage.digest import digest

CONFIG = {**HYBRID, "years": 2, "year": {"days": 4}}
SECONDS = 60  # for all readers of one file


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("pipes") / "run"
    je.run(CONFIG, out=path)
    return path


@pytest.fixture(autouse=True)
def _no_waiting():
    def fail(number, frame):
        raise AssertionError("it waits for the pipe")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


READERS = {
    "tables": lambda path: (je.load(path).years, je.load(path).agents),
    "digest": lambda path: digest(path),
    "replay": je.replay,
    "resume": je.resume,
    "branch": lambda path: je.branch(path, year=1, out=path.with_name("branch")),
    "repair": repair,
}


@pytest.mark.parametrize(
    "name",
    [
        *("manifest.json", "config.yaml", "parts.jsonl", "years.parquet/*", "agents.parquet/*"),
        *("checkpoints/*/SHA256SUMS", "checkpoints/*/checkpoint.json", "transcript.sqlite"),
    ],
)
def test_a_pipe_in_a_run_is_one_line(whole, tmp_path, name):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    replaced = sorted(path.glob(name))[-1]
    replaced.unlink()
    os.mkfifo(replaced)
    said = []
    for read in READERS.values():
        try:
            read(path)
        except (DiskError, UserError) as error:
            said.append(str(error))
    assert said, "nothing read it"
    assert all("\n" not in line for line in said)
    if replaced.parent.parent.name != "checkpoints":  # an earlier one takes its place
        assert any(replaced.name in line for line in said), said


def test_a_pipe_in_place_of_a_lock(whole, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    os.mkfifo(path / ".lock")
    assert digest(path) == digest(whole)


def test_a_pipe_among_templates(tmp_path):
    os.mkfifo(tmp_path / "labor.jinja")
    with pytest.raises(UserError, match=r"^llm\.prompts: .*labor\.jinja: not a file"):
        je.run({**CONFIG, "llm": {"engine": "simulated", "prompts": str(tmp_path)}})


def test_what_is_no_file(tmp_path):
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(OSError, match="not a file"):
            check_regular(path)
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    check_regular(tmp_path / "b")


def test_a_folder_called_like_the_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run = je.run(CONFIG, out="~/run")
    assert (tmp_path / "~" / "run" / "manifest.json").exists()
    assert digest("~/run") == digest(run.path)
    assert len(je.load("~/run").agents) == len(run.agents) > 0
