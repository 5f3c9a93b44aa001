"""Locks: one writer at a time, gone with its process, nothing left behind."""

import subprocess
import sys

import pytest

from jaxecon.core.errors import UserError
from jaxecon.core.locks import lock_for_writing, refuse_locked

HOLDER = """
import sys, time
from pathlib import Path
from jaxecon.core.locks import lock_for_writing
release = lock_for_writing(Path(sys.argv[1]), "it")
print("locked", flush=True)
time.sleep(60)
"""
TAKEN = "^x: is being written by another process, which must end first$"


def assert_taken(path):
    for attempt in (lock_for_writing, refuse_locked):
        with pytest.raises(UserError, match=TAKEN):
            attempt(path, "x:")


def test_a_second_writer_of_this_process_is_refused(tmp_path):
    path = tmp_path / ".lock"
    refuse_locked(path, "x:")
    release = lock_for_writing(path, "x:")
    assert_taken(path)
    release()
    assert not list(tmp_path.iterdir())
    lock_for_writing(path, "x:")()
    assert not list(tmp_path.iterdir())


def test_a_lock_goes_with_a_killed_process(tmp_path):
    path = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        assert_taken(path)
        holder.kill()
    refuse_locked(path, "x:")
    lock_for_writing(path, "x:")()
    assert not list(tmp_path.iterdir())


def test_a_place_where_no_file_can_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        lock_for_writing(tmp_path / "file" / ".lock", "x:")
