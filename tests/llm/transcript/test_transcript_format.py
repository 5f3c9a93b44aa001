"""Files that are no transcripts, newer ones, and the conversion of format 1."""

import json
import signal
import sqlite3
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from support.transcripts import ANSWER, IDENTITY, as_user, ask, put

from jaxecon.core.errors import UserError
from llm.engines.replayed import ReplayEngine
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript


def test_files_that_are_no_transcripts(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text(
        "not a database, but long enough for SQLite to look at its header, which it does at a "
        "hundred bytes or so"
    )
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
        db.execute("PRAGMA user_version = 3")
    db.close()
    for read_only in (False, True):
        with pytest.raises(
            UserError, match="has format 3, this jaxecon reads up to 2; install a newer jaxecon"
        ):
            Transcript(path, read_only=read_only)


def contents(path: Path) -> tuple[object, ...]:
    """All that a transcript holds."""
    transcript = Transcript(path, read_only=True)
    listed = list(transcript.conversations())
    found = transcript.get_many([c["key"] for c in listed])
    decided = transcript.get_decisions(seed=3, kind="labor", year=0, day=0, cohort="w")
    counts = replace(transcript.counts(), texts=0)
    totals = transcript.totals()
    transcript.close()
    return listed, found, decided, counts, totals


FORMAT_1 = """
CREATE TABLE texts(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE settings(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, json TEXT NOT NULL);
CREATE TABLE requests(
    key TEXT PRIMARY KEY, seed INTEGER NOT NULL, kind TEXT NOT NULL,
    year INTEGER NOT NULL, day INTEGER NOT NULL,
    cohort TEXT NOT NULL, agent INTEGER NOT NULL, attempt INTEGER NOT NULL,
    messages TEXT NOT NULL, settings INTEGER NOT NULL REFERENCES settings(id),
    response TEXT NOT NULL, finish_reason TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL, error TEXT
);
CREATE INDEX requests_by_day ON requests(kind, year, day);
CREATE TABLE decisions(
    seed INTEGER, kind TEXT, year INTEGER, day INTEGER, cohort TEXT, agent INTEGER,
    status TEXT NOT NULL, decision TEXT NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (seed, kind, year, day, cohort, agent)
) WITHOUT ROWID;
PRAGMA application_id = 0x6A784563;
PRAGMA user_version = 1;
"""


@pytest.fixture
def format_1(tmp_path: Path) -> tuple[Path, tuple[object, ...]]:
    """A file as format 1 had it, and what `contents` of the same answers is."""
    folder = tmp_path / "old"
    folder.mkdir()
    fresh = Transcript(tmp_path / "fresh.sqlite")
    with sqlite3.connect(folder / "t.sqlite") as db:
        db.executescript(FORMAT_1)
        for agent in range(30):
            asked = ask(
                agent, day=agent % 3, text="rules\n" * (agent % 4) + f"wörter {agent}\r\n\x00"
            )
            answer = replace(ANSWER, error="why" if agent == 9 else None)
            setting = json.dumps(
                {"identity": IDENTITY, "sampling": vars(asked.sampling), "schema": asked.schema},
                sort_keys=True,
            )
            messages = []
            for m in asked.messages:
                db.execute(
                    "INSERT INTO texts(sha256, text) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    (m.content.encode(), m.content),
                )
                (id_,) = db.execute("SELECT id FROM texts WHERE text = ?", (m.content,)).fetchone()
                messages.append([m.role, id_])
            db.execute(
                "INSERT INTO settings(sha256, json) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (setting.encode(), setting),
            )
            (id_,) = db.execute("SELECT id FROM settings WHERE json = ?", (setting,)).fetchone()
            draw = asked.draw
            row = (
                request_key(IDENTITY, asked),
                draw.seed,
                draw.kind,
                draw.year,
                draw.day,
                draw.cohort,
                draw.agent,
                draw.attempt,
            )
            row += (
                json.dumps(messages),
                id_,
                answer.text,
                answer.finish_reason,
                *vars(answer.usage).values(),
                answer.seconds,
            )  # type: ignore[assignment]
            db.execute(f"INSERT INTO requests VALUES ({','.join('?' * 17)})", (*row, answer.error))
            db.execute(
                "INSERT INTO decisions VALUES (?,?,?,?,?,?,?,?,?)", (*row[1:7], "ok", "40", 1)
            )
            put(fresh, asked, answer)
            fresh.put_decision(draw, "ok", "40", 1)
    db.close()
    fresh.close()
    return folder / "t.sqlite", contents(tmp_path / "fresh.sqlite")


def test_format_1_is_read_without_being_touched(
    tmp_path: Path, format_1: tuple[Path, tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = format_1
    before = path.read_bytes()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert contents(path) == expected
    assert not list(tmp_path.glob("jaxecon-transcript-*"))
    assert path.read_bytes() == before
    engine = ReplayEngine(path)
    assert engine.identity == IDENTITY
    engine.close()


def test_format_1_is_converted_when_it_is_written(
    format_1: tuple[Path, tuple[object, ...]],
) -> None:
    path, expected = format_1
    transcript = Transcript(path)
    assert transcript._db.execute("PRAGMA user_version").fetchone() == (2,)
    assert transcript._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    transcript.close()
    assert contents(path) == expected
    transcript = Transcript(path)
    put(transcript, ask(4, day=1), ANSWER)
    assert transcript.counts().requests == 31
    transcript.close()


def test_a_conversion_that_is_cut_short_leaves_format_1(
    format_1: tuple[Path, tuple[object, ...]],
) -> None:
    path, expected = format_1
    before = path.read_bytes()
    kill = "import llm.transcript.format as f\nold = f.stored_key\n"
    kill += "def stored_key(key, seen=[]):\n    seen.append(key)\n"
    kill += "    if len(seen) == 20: os.kill(os.getpid(), 9)\n"
    kill += "    return old(key)\n"
    done = as_user("Transcript(sys.argv[1])", path, prelude=kill + "f.stored_key = stored_key")
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes()[100:] == before[100:]  # the header says WAL now
    assert contents(path) == expected
    with sqlite3.connect(path) as db:
        db.execute("UPDATE requests SET messages = '[[\"user\", 999]]' WHERE agent = 20")
    db.close()
    with pytest.raises(UserError, match="is damaged"):
        Transcript(path)
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
    db.close()
