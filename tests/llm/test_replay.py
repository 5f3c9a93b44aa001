"""The transcript: what was put is there, whatever happens to the process or the disk."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from jaxecon.errors import UserError
from llm.engine import Completion, Draw, Message, Request, Sampling, Usage, request_key
from llm.replay import StoredDecision, Transcript

IDENTITY = {"engine": "vllm", "model": "smollm2", "weights": "w", "template": "t"}


def ask(
    agent: int = 0, *, day: int = 0, year: int = 0, kind: str = "labor", text: str = "Wie viele Stunden? 你好 \x00 🙂"
) -> Request:
    schema: dict[str, Any] | None = {"type": "object"} if agent % 2 else None
    return Request((Message("system", "rules"), Message("user", text)), schema, Sampling(), Draw(3, kind, year, day, "w", agent))


def put(transcript: Transcript, asked: Request, completion: Completion) -> str:
    key = request_key(IDENTITY, asked)
    transcript.put(key, IDENTITY, asked, completion)
    return key


ANSWER = Completion('{"hours":40}', "stop", Usage(270, 128, 8), 1.25)


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


def test_each_text_is_stored_once(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    rules = "rules that all agents share. " * 1000
    for agent in range(200):
        asked = replace(ask(agent), messages=(Message("system", rules), Message("user", f"worker {agent % 10}")))
        put(transcript, asked, ANSWER)
    assert transcript.counts().requests == 200
    assert transcript.counts().texts == 11
    transcript.close()
    assert (tmp_path / "t.sqlite").stat().st_size < 200 * len(rules) / 20


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


def test_counts(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    assert transcript.counts().prompt_tokens == 0
    for agent in range(3):
        put(transcript, ask(agent), ANSWER)
    put(transcript, ask(3), Completion("", "error", error="why"))
    counts = transcript.counts()
    assert (counts.requests, counts.errors, counts.prompt_tokens, counts.cached_tokens, counts.completion_tokens) == (
        4,
        1,
        810,
        384,
        24,
    )
    transcript.close()


def test_conversations_read_well_while_the_run_goes_on(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    for year, day, agent in [(1, 0, 1), (0, 1, 0), (0, 0, 1), (0, 0, 0)]:
        put(transcript, ask(agent, day=day, year=year), ANSWER)
    put(transcript, ask(0, kind="plan", text="Rates?"), replace(ANSWER, text="{}"))
    reader = Transcript(tmp_path / "t.sqlite", read_only=True)
    listed = reader.conversations()
    first = next(listed)
    put(transcript, ask(5, day=9), ANSWER)  # a writer is not held up by a reader, nor the reader by the writer
    rest = list(listed)
    places = [(c["year"], c["day"], c["kind"], c["agent"]) for c in [first, *rest]]
    assert places == [(0, 0, "labor", 0), (0, 0, "labor", 1), (0, 0, "plan", 0), (0, 1, "labor", 0), (1, 0, "labor", 1)]
    assert json.loads(json.dumps(first)) == {
        "key": request_key(IDENTITY, ask()),
        "seed": 3,
        "kind": "labor",
        "year": 0,
        "day": 0,
        "cohort": "w",
        "agent": 0,
        "attempt": 0,
        "messages": [{"role": "system", "content": "rules"}, {"role": "user", "content": ask().messages[1].content}],
        "identity": IDENTITY,
        "sampling": {"temperature": 0.7, "top_p": 1.0, "max_tokens": 32},
        "schema": None,
        "response": '{"hours":40}',
        "finish_reason": "stop",
        "error": None,
        "usage": {"prompt_tokens": 270, "cached_tokens": 128, "completion_tokens": 8},
        "seconds": 1.25,
    }
    assert [c["kind"] for c in reader.conversations(kind="plan")] == ["plan"]
    assert [c["agent"] for c in reader.conversations(year=0, day=0, kind="labor", cohort="w")] == [0, 1]
    assert [c["day"] for c in reader.conversations(agent=5)] == [9]
    reader.close()
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
    plan = transcript._db.execute("EXPLAIN QUERY PLAN SELECT 1 FROM requests WHERE kind='labor' AND year=0 AND day=0").fetchall()
    assert "requests_by_day" in plan[0][3]
    transcript.close()


WRITER = """
import sys
from llm.engine import Completion, Draw, Message, Request, Sampling, Usage, request_key
from llm.replay import Transcript

transcript, turn = Transcript(sys.argv[1]), int(sys.argv[2])
for i in range(1_000_000):
    messages = (Message("system", "rules " * 100), Message("user", f"{turn} {i} " * 50))
    asked = Request(messages, {}, Sampling(), Draw(0, "labor", turn, i, "w", 0))
    key = request_key({"model": "m"}, asked)
    transcript.put(key, {"model": "m"}, asked, Completion(f"{turn} {i}"))
    transcript.put_decision(asked.draw, "ok", str(i), 1)
    print(key, f"{turn} {i}", flush=True)
"""


def test_kill_9_loses_and_breaks_nothing(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    promised: dict[str, str] = {}
    for turn in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(turn)], stdout=subprocess.PIPE, text=True) as writer:
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
        assert (tmp_path / "t.sqlite-wal").exists(), "killed without a log to recover: the test proves nothing"
        reader = Transcript(path, read_only=True)
        found = reader.get_many(list(promised))
        assert {key: completion.text for key, completion in found.items()} == promised
        counts = reader.counts()
        assert counts.requests - counts.decisions["ok"] in range(turn + 2)  # a kill may fall between the two puts
        assert sum(1 for _ in reader.conversations()) == counts.requests
        assert reader._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        reader.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    program = WRITER.replace("import sys", "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000,) * 2)", 1)
    program = "from jaxecon.errors import UserError\ntry:\n" + "".join(f"    {line}\n" for line in program.splitlines())
    program += "except UserError as error:\n    print(error)\n"
    path = tmp_path / "t.sqlite"
    done = subprocess.run([sys.executable, "-c", program, str(path), "0"], capture_output=True, text=True, check=True)
    *lines, last = done.stdout.splitlines()
    assert last.startswith(f"transcript: cannot use {path}: ")
    promised = dict(line.split(" ", 1) for line in lines)
    assert len(promised) > 100
    transcript = Transcript(path)
    assert {key: c.text for key, c in transcript.get_many(list(promised)).items()} == promised
    assert transcript._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    put(transcript, ask(), ANSWER)
    transcript.close()


def test_files_that_are_no_transcripts(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("not a database, but long enough for SQLite to look at its header, which it does at a hundred bytes or so")
    other = tmp_path / "other"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE people(name)")
    db.close()
    for path in (text, other):
        before = path.read_bytes()
        for read_only in (False, True):
            with pytest.raises(UserError, match="is not a jaxecon transcript") as refused:
                Transcript(path, read_only=read_only)
            assert "\n" not in str(refused.value)
        assert path.read_bytes() == before
    empty = tmp_path / "empty"
    empty.touch()
    with pytest.raises(UserError, match="is not a jaxecon transcript"):
        Transcript(empty, read_only=True)
    Transcript(empty).close()  # what a crash at the very start leaves
    with pytest.raises(UserError, match="there is no file"):
        Transcript(tmp_path / "absent", read_only=True)
    with pytest.raises(UserError, match="cannot use"):
        Transcript(tmp_path / "no" / "folder" / "t.sqlite")


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    Transcript(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    for read_only in (False, True):
        with pytest.raises(UserError, match="has format 2, this jaxecon reads up to 1; install a newer jaxecon"):
            Transcript(path, read_only=read_only)


def test_read_only_does_not_write(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    key = put(transcript, ask(), ANSWER)
    transcript.close()
    before = path.read_bytes()
    reader = Transcript(path, read_only=True)
    assert reader.get_many([key]) == {key: ANSWER}
    with pytest.raises(UserError, match="readonly"):
        put(reader, ask(1), ANSWER)
    reader.close()
    assert path.read_bytes() == before


def test_a_finished_transcript_on_read_only_media(request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp())  # not under tmp_path, which other users may not enter
    request.addfinalizer(lambda: shutil.rmtree(folder))
    transcript = Transcript(folder / "t.sqlite")
    put(transcript, ask(), ANSWER)
    transcript.close()
    folder.chmod(0o555)
    program = "import os, sys\nfrom llm.replay import Transcript\nif os.getuid() == 0: os.setuid(65534)\n"
    program += "t = Transcript(sys.argv[1], read_only=True); print(t.counts().requests, len(list(t.conversations())))"
    command = [sys.executable, "-c", program, str(folder / "t.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert done.stdout.split() == ["1", "1"], done.stderr
    assert os.listdir(folder) == ["t.sqlite"]
