"""Disks that are full, read-only or broken: one line, files whole or absent, nothing lost."""

import errno
import json
import logging
import os
import shutil

import pytest
from support.commands import ended, started
from support.runs import HYBRID

import jaxecon as je
from jaxecon.cli.errors import one_line_errors
from jaxecon.cli.output.transcript import export_lines
from jaxecon.core import files
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import atomically, write_atomically
from jaxecon.storage import checkpoint
from jaxecon.storage.checkpoint_files import newest, unsaid_late_writes

BROKEN = [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO, errno.EFBIG]


def failing(number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", BROKEN)
@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_a_file_is_its_old_content_or_its_new_one(tmp_path, monkeypatch, number, step):
    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(files.os, step, failing(number))
    with pytest.raises(OSError, match=os.strerror(number)) as failed:
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert (failed.value.errno, failed.value.filename) == (number, str(path))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("number", BROKEN)
def test_any_failed_file_of_a_command_is_one_line(tmp_path, monkeypatch, capsys, number):
    monkeypatch.setattr(files.os, "fsync", failing(number))
    with pytest.raises(SystemExit) as end, one_line_errors():
        write_atomically(tmp_path / "file", b"")
    assert end.value.code == 2
    assert capsys.readouterr().err == f"jaxecon: {tmp_path / 'file'}: {os.strerror(number)}\n"


def test_a_new_file_never_replaces_another(tmp_path, monkeypatch):
    path = tmp_path / "file"
    for links in (True, False):  # some file systems have no hard links
        if not links:
            monkeypatch.setattr(files.os, "link", failing(errno.EPERM))
        path.unlink(missing_ok=True)
        with atomically(path, new=True) as file:
            file.write(b"first")
        with pytest.raises(OSError), atomically(path, new=True) as file:  # noqa: PT011
            file.write(b"second")
        assert path.read_bytes() == b"first"
        assert os.listdir(tmp_path) == ["file"]


def test_an_export_has_its_name_only_once_it_is_whole(tmp_path):
    path = tmp_path / "out.jsonl"

    def rows():
        for i in range(3):
            assert not path.exists()
            yield {"row": i}

    export_lines(path, rows())
    assert [json.loads(line)["row"] for line in path.read_text().splitlines()] == [0, 1, 2]
    with pytest.raises(UserError, match="exists"):
        export_lines(path, rows())
    for number in BROKEN:

        def breaks(number=number):
            yield {}
            failing(number)()

        with pytest.raises(DiskError, match=os.strerror(number)):
            export_lines(tmp_path / "other", breaks())
    assert os.listdir(tmp_path) == ["out.jsonl"]


@pytest.mark.parametrize("number", BROKEN)
def test_a_checkpoint_that_fails_is_whole_or_absent(tmp_path, monkeypatch, number):
    """The run fails with one line; its manifest says so; what was written before is kept."""
    sync, synced = checkpoint._sync, 0

    def breaks(path):
        nonlocal synced
        synced += 1
        if synced > 40:  # some time after the first checkpoint
            failing(number)()
        sync(path)

    monkeypatch.setattr(checkpoint, "_sync", breaks)
    with pytest.raises(DiskError) as failed:
        je.run(HYBRID, out=tmp_path / "a")
    assert str(failed.value).endswith(
        f"no checkpoint can be written ({os.strerror(number)}); what was written before is kept"
    )
    run = je.load(tmp_path / "a")
    assert run.manifest["status"] == "failed"
    _, damaged = newest(tmp_path / "a" / "checkpoints")
    assert damaged == []
    assert not list((tmp_path / "a" / "checkpoints").glob(".*"))


SAVE = """if True:
    import resource, sys
    from pathlib import Path
    import numpy as np
    from jaxecon.cli.errors import one_line_errors
    from jaxecon.config.recording import CheckpointPolicy
    from jaxecon.storage.checkpoint import Checkpoints
    from jaxecon.storage.checkpoint_files import Position
    state = {f"x{i}": np.zeros(1 + 3000 * (i % 3)) for i in range(40)}
    checkpoints = Checkpoints(Path(sys.argv[1]), CheckpointPolicy())
    with one_line_errors():
        checkpoints.save(Position(1, 0), state, {})
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
        checkpoints.save(Position(2, 0), state, {})
        checkpoints.wait()
"""


def test_many_arrays_that_fail_at_once_are_one_line(tmp_path):
    """tensorstore's threads, orbax and asyncio would each print tracebacks of their own."""
    status, out, errors = ended(started("-c", SAVE, tmp_path / "c"))
    assert (status, out) == (2, "")
    assert errors == (
        f"jaxecon: {tmp_path / 'c'}: no checkpoint can be written (File too large); what was "
        "written before is kept\n"
    )
    assert os.listdir(tmp_path / "c") == ["00000001-000000"]
    found, damaged = newest(tmp_path / "c")
    assert found is not None
    assert damaged == []


def test_what_asyncio_says_of_late_writes(caplog):
    log = logging.getLogger("asyncio")
    late = [
        f"{of} exception was never retrieved\nfuture: x"
        for of in ("Future", "_GatheringFuture", "Task")
    ]
    with unsaid_late_writes():
        for words in (*late, "another error"):
            log.error(words)
    log.error(late[0])
    assert caplog.messages == ["another error", late[0]]


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 8, 32, 128])
def test_a_run_whose_files_may_not_grow(tmp_path, kilobytes):
    """ulimit -f: tables, transcript, manifest and checkpoints fail, whichever is first."""
    arguments = ["--set", "population.mechanical=500", "--set", "population.llm=8"]
    arguments += ["--set", "llm.engine=simulated", "--set", "checkpoint.every_days=3"]
    process = started(
        *("-m", "jaxecon", "run", *arguments, "--out", tmp_path / "a"),
        prelude=f"ulimit -f {2 * kilobytes}",  # blocks of 512 bytes
    )
    status, _, errors = ended(process)
    assert status == 2, errors
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith("jaxecon: ")
    manifest = tmp_path / "a" / "manifest.json"
    if manifest.exists():
        assert json.loads(manifest.read_text())["status"] in ("failed", "running")


def test_default_folders_are_never_shared(tmp_path, monkeypatch):
    """Three commands in one second."""
    code = (
        "from jaxecon.simulation.prepare import default_folder as f; both = [f(), f()]; "
        "[(folder / 'used').touch() for folder in both]; print(*both)"
    )
    several = [started("-c", f"import os; os.chdir({str(tmp_path)!r}); {code}") for _ in "12"]
    folders = " ".join(ended(process)[1] for process in several).split()
    assert len(set(folders)) == 4
    unused = started(
        "-c",
        f"import os; os.chdir({str(tmp_path)!r}); "
        "from jaxecon.simulation.prepare import default_folder as f; f()",
    )
    ended(unused)
    assert len(list((tmp_path / "runs").iterdir())) == 4  # one in which nothing was written is gone
    monkeypatch.chdir(tmp_path)
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").write_text("")
    from jaxecon.simulation.prepare import default_folder

    with pytest.raises(DiskError, match=r"^--out: runs: is a file"):
        default_folder()
