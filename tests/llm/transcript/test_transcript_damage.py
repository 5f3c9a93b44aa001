"""Full disks, read-only folders and damaged files."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.transcripts import ANSWER, IDENTITY, WRITER, as_user, ask, put

from jaxecon.core.errors import UserError
from llm.transcript.keys import request_key
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    program = WRITER.replace(
        "import sys",
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4_500_000,) * 2)",
        1,
    )
    program = "from jaxecon.core.errors import UserError\ntry:\n" + "".join(
        f"    {line}\n" for line in program.splitlines()
    )
    program += "except UserError as error:\n    print(error)\n"
    path = tmp_path / "t.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), "0"], capture_output=True, text=True, check=True
    )
    *lines, last = done.stdout.splitlines()
    assert last.startswith(f"transcript: cannot use {path}: ")
    promised = dict(line.split(" ", 1) for line in lines)
    assert len(promised) > 100
    transcript = Transcript(path)
    assert {key: c.text for key, c in transcript.get_many(list(promised)).items()} == promised
    assert transcript._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    put(transcript, ask(), ANSWER)
    transcript.close()


NOBODY = "if os.getuid() == 0: os.setuid(65534)"


def test_a_full_file_system_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    """On a tmpfs of one megabyte, in a mount namespace of its own."""
    program = "from jaxecon.core.errors import UserError\ntry:\n" + "".join(
        f"    {line}\n" for line in WRITER.splitlines()
    )
    program += "except UserError as error:\n    print(error)\n    transcript.close()\n"
    program += "    t = Transcript(sys.argv[1], read_only=True)\n"
    program += "    print(t._db.execute('PRAGMA integrity_check').fetchall())\n"
    program += "    print(t.counts().requests, sum(1 for _ in t.conversations()))\n"
    mount = 'mount -t tmpfs -o size=1m none "$1" || exit 77; exec "$2" -c "$3" "$1/t.sqlite" 0'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        mount,
        "sh",
        str(tmp_path),
        sys.executable,
        program,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip(f"no mounting here: {done.stderr}")
    *lines, error, check, counts = done.stdout.splitlines()
    assert error == f"transcript: cannot use {tmp_path}/t.sqlite: database or disk is full", (
        done.stderr
    )
    assert check == "[('ok',)]"
    requests, listed = map(int, counts.split())
    assert requests == listed
    # the decision of the last may be what found no room
    assert requests in (
        len(lines),
        len(lines) + 1,
    )
    assert requests > 10


def test_a_full_database_takes_more_once_there_is_room(tmp_path: Path) -> None:
    """SQLite's own limit: an honest SQLITE_FULL in the middle of a transaction, and the same
    Transcript goes on after it.
    """
    transcript = Transcript(tmp_path / "t.sqlite")
    first = put(transcript, ask(), ANSWER)
    (pages,) = transcript._db.execute("PRAGMA page_count").fetchone()
    transcript._db.execute(f"PRAGMA max_page_count = {pages + 4}")
    kept = {first}

    def fill() -> None:
        for agent in range(1, 1000):
            kept.add(put(transcript, ask(agent, text=f"{agent} " * 500), ANSWER))

    with pytest.raises(UserError, match="database or disk is full") as refused:
        fill()
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="database or disk is full"):
        transcript.put_decisions(
            [(ask(agent).draw, StoredDecision("ok", "x" * 1000, 1)) for agent in range(1000)]
        )
    assert set(transcript.get_many(list(kept))) == kept
    assert transcript.counts().requests == len(kept)
    transcript._db.execute("PRAGMA max_page_count = 1000000")
    last = put(transcript, ask(len(kept), text=f"{len(kept)} " * 500), ANSWER)
    assert transcript._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert last in [c["key"] for c in transcript.conversations()]
    transcript.close()


def test_a_read_only_folder_is_one_line(request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(folder))
    Transcript(folder / "t.sqlite").close()
    folder.chmod(0o555)
    for name in ("t.sqlite", "new.sqlite"):
        done = as_user("Transcript(sys.argv[1])", folder / name, prelude=NOBODY)
        assert (
            done.stdout == f"UserError transcript: cannot use {folder / name}: Permission denied\n"
        )
    folder.chmod(0o755)
    assert os.listdir(folder) == ["t.sqlite"]


METHODS: list[Callable[[Transcript], object]] = [
    lambda t: t.get_many([request_key(IDENTITY, ask(119, text="first 119\nsecond 119\n" * 3))]),
    lambda t: t.counts(),
    lambda t: t.totals(),
    lambda t: t.totals(year=0),
    lambda t: t.answers(),
    lambda t: t.identities(),
    lambda t: list(t.conversations()),
    lambda t: list(t.conversations(agent=60, status="ok")),
    lambda t: t.get_decisions(seed=3, kind="labor", year=0, day=0, cohort="w"),
]


WRITING_METHODS: list[Callable[[Transcript], object]] = [
    lambda t: put(t, ask(500, text="new"), ANSWER),
    lambda t: t.put_decision(ask(500).draw, "ok", "40", 1),
]


def test_damage_is_one_line(tmp_path: Path) -> None:
    """Bytes changed anywhere after the header: every method answers or says so in one line."""
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    for agent in range(120):
        put(transcript, ask(agent, text=f"first {agent}\nsecond {agent}\n" * 3), ANSWER)
        transcript.put_decision(ask(agent).draw, "ok", "40", 1)
    transcript.close()
    sound = path.read_bytes()
    reported: list[str] = []

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except UserError as error:
            reported.append(str(error))
            return None

    for start in range(100, len(sound), 1500):
        path.write_bytes(
            sound[:start]
            + bytes(b ^ 0x5A for b in sound[start : start + 700])
            + sound[start + 700 :]
        )
        for read_only in (True, False):
            opened = attempt(partial(Transcript, path, read_only=read_only))
            if opened is not None:
                for call in METHODS if read_only else (*METHODS, *WRITING_METHODS):
                    attempt(lambda call=call, opened=opened: call(opened))  # type: ignore[misc]
                opened.close()
        for beside in tmp_path.glob("t.sqlite-*"):
            beside.unlink()
    assert len(reported) > 50
    assert [line for line in reported if "\n" in line or str(path) not in line] == []
