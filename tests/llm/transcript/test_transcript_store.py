"""Writing: one commit an answer, one writer, and no answer lost."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from support.transcripts import ANSWER, IDENTITY, WRITER, as_user, ask, put

from jaxecon.core.errors import UserError
from llm.messages import Completion, Draw
from llm.transcript.keys import request_key
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript


def test_round_trip_over_a_reopening(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    failed = Completion("", "error", error="the prompt has 3269 tokens")
    keys = [put(transcript, ask(0), ANSWER), put(transcript, ask(1), failed)]
    assert transcript.get_many([*keys, "absent"]) == {keys[0]: ANSWER, keys[1]: failed}
    transcript.close()
    transcript.close()
    assert [p.name for p in tmp_path.iterdir()] == ["t.sqlite"]
    again = Transcript(tmp_path / "t.sqlite")
    assert again.get_many(keys) == {keys[0]: ANSWER, keys[1]: failed}
    again.close()


def test_the_first_response_stands(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    key = put(transcript, ask(), ANSWER)
    put(transcript, ask(), replace(ANSWER, text='{"hours":10}'))
    assert transcript.get_many([key]) == {key: ANSWER}
    transcript.close()


def test_decisions(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    transcript.put_decision(Draw(3, "labor", 1, 2, "w", 0), "ok", "40", 1)
    transcript.put_decision(Draw(3, "labor", 1, 2, "w", 1, attempt=2), "fallback", "30", 3)
    transcript.put_decision(Draw(3, "labor", 1, 2, "other", 0), "retried", "50", 2)
    found = transcript.get_decisions(seed=3, kind="labor", year=1, day=2, cohort="w")
    assert found == {0: StoredDecision("ok", "40", 1), 1: StoredDecision("fallback", "30", 3)}
    assert transcript.get_decisions(seed=4, kind="labor", year=1, day=2, cohort="w") == {}
    assert transcript.counts().decisions == {"ok": 1, "fallback": 1, "retried": 1}
    transcript.close()


def test_lookups_and_puts_at_size_and_from_threads(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    requests = [ask(agent, text=f"worker {agent}") for agent in range(4000)]
    keys = [request_key(IDENTITY, asked) for asked in requests]

    def work(part: int) -> None:
        for key, asked in zip(keys[part::4], requests[part::4], strict=True):
            transcript.put(key, IDENTITY, asked, ANSWER)

    threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    absent = [f"absent {i}" for i in range(21_000)]
    assert set(transcript.get_many(absent + keys)) == set(keys)
    transcript.close()


def test_kill_9_loses_and_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    promised: dict[str, str] = {}
    for turn in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(turn)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for _ in range(150 + 37 * turn):
                key, answer = writer.stdout.readline().rstrip("\n").split(" ", 1)
                promised[key] = answer
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:  # what it had printed before it died counts as well
                if line.endswith("\n"):
                    key, answer = line.rstrip("\n").split(" ", 1)
                    promised[key] = answer
        assert writer.returncode == -signal.SIGKILL
        assert (tmp_path / "t.sqlite-wal").exists(), (
            "killed without a log to recover: the test proves nothing"
        )
        reader = Transcript(path, read_only=True)
        found = reader.get_many(list(promised))
        assert {key: completion.text for key, completion in found.items()} == promised
        counts = reader.counts()
        # a kill may fall between the two puts
        assert counts.requests - counts.decisions["ok"] in range(turn + 2)
        assert sum(1 for _ in reader.conversations()) == counts.requests
        assert reader._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        reader.close()


def test_a_days_decisions_are_one_commit(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    committed: list[str] = []
    transcript._db.set_trace_callback(
        lambda statement: committed.append(statement) if statement == "COMMIT" else None
    )
    day = [(ask(agent).draw, StoredDecision("ok", str(agent), 1)) for agent in range(50)]
    transcript.put_decisions(day)
    transcript.put_decisions([])
    assert committed == ["COMMIT"]
    changed = [
        (ask(7).draw, StoredDecision("fallback", "0", 3)),
        (ask(8).draw, StoredDecision("ok", "9", 2)),
    ]
    transcript.put_decisions(changed)
    found = transcript.get_decisions(seed=3, kind="labor", year=0, day=0, cohort="w")
    assert found == {
        **{draw.agent: decision for draw, decision in day},
        7: changed[0][1],
        8: changed[1][1],
    }
    assert transcript.counts().decisions == {"ok": 49, "fallback": 1}
    with pytest.raises(sqlite3.IntegrityError):  # nothing at all of a day that fails
        transcript.put_decisions(
            [(ask(60).draw, day[0][1]), (ask(61).draw, StoredDecision("ok", None, 1))]
        )
    assert transcript.counts().decisions == {"ok": 49, "fallback": 1}
    transcript.put_decisions(
        [(ask(agent).draw, StoredDecision("retried", "1", 2)) for agent in range(50)]
    )
    assert transcript.counts().decisions == {"retried": 50}
    transcript.close()


def test_an_interruption_while_answers_are_committed_loses_none(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a commit: it is heard, the answers wait, and the next flush takes
    them.
    """
    transcript = Transcript(tmp_path / "t.sqlite")
    packed = transcript._pieces.pack

    def interrupted(chats: object) -> list[bytes]:
        transcript._pieces.pack = packed  # type: ignore[method-assign]
        raise KeyboardInterrupt

    assert transcript._writer is not None
    transcript._closing.set()
    transcript._arrived.set()
    transcript._writer.join()  # so that the flush below is the one who writes
    for agent in range(5):
        transcript.put_soon(request_key(IDENTITY, ask(agent)), IDENTITY, ask(agent), ANSWER)
    transcript._pieces.pack = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        transcript.flush()
    assert transcript.counts().requests == 0
    transcript.flush()
    assert transcript.counts().requests == 5
    transcript.close()


def test_a_second_writer_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    key = put(transcript, ask(), ANSWER)
    message = f"transcript: {path} is being written by another process, which must end first"
    with pytest.raises(UserError) as refused:
        Transcript(path)
    assert str(refused.value) == message
    (tmp_path / "link").symlink_to(path)
    for name in (path, tmp_path / "link"):
        done = as_user("Transcript(sys.argv[1])", name)
        assert done.stdout == f"UserError {message.replace(str(path), str(name))}\n"
    done = as_user("print(Transcript(sys.argv[1], read_only=True).counts().requests)", path)
    assert done.stdout == "1\n"
    put(transcript, ask(1), ANSWER)  # the refused have not disturbed the writer
    transcript.close()
    again = Transcript(path)
    assert key in again.get_many([key])
    again.close()
    assert sorted(os.listdir(tmp_path)) == ["link", "t.sqlite"]


def test_the_lock_goes_with_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "0"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(UserError, match="is being written by another process"):
            Transcript(path)
        writer.kill()
    Transcript(path).close()


def test_of_many_who_open_at_once_one_writes(tmp_path: Path) -> None:
    """Openings and closings that race: never two writers, and never a file without a lock."""
    path = tmp_path / "t.sqlite"
    program = """
import time
won = 0
while won < 15:
    try:
        t = Transcript(sys.argv[1])
    except UserError as error:
        assert "being written" in str(error)
        continue
    handle = os.open(sys.argv[1] + ".mine", os.O_CREAT | os.O_EXCL)  # fails where another holds it
    time.sleep(0.001)
    os.close(handle)
    os.unlink(sys.argv[1] + ".mine")
    t.close()
    time.sleep(0.001)
    won += 1
"""
    command = [
        sys.executable,
        "-c",
        "import os, sys\nfrom jaxecon.core.errors import UserError\nfrom llm.transcript.store "
        "import Transcript" + program,
    ]
    racers = [subprocess.Popen([*command, str(path)]) for _ in range(3)]
    assert [racer.wait() for racer in racers] == [0] * 3
    assert os.listdir(tmp_path) == ["t.sqlite"]
