"""The transcript's file: format 2, and the conversion of format 1.

A text is stored as its lines, each distinct line once, so that a prompt that repeats yesterday's
history adds only its new lines. A request stores its messages in a few bytes per line
(`PieceWriter.pack`).
"""

import json
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import cast

from jaxecon.core.errors import UserError
from llm.messages import Message
from llm.transcript.pieces import PieceWriter

FORMAT = 2

APPLICATION = 0x6A784563  # "jxEc", in SQLite's field that tells one program's files from another's


_SETTINGS = (
    "CREATE TABLE settings(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, json TEXT NOT NULL)"
)

# Sums are updated with each row, so that nobody waits for a million rows to be added up.
_SINCE_2 = (
    "CREATE TABLE pieces(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL)",
    "CREATE INDEX pieces_by_hash ON pieces(hash)",
    """CREATE TABLE requests(
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,
        seed INTEGER NOT NULL, kind TEXT NOT NULL, year INTEGER NOT NULL, day INTEGER NOT NULL,
        cohort TEXT NOT NULL, agent INTEGER NOT NULL, attempt INTEGER NOT NULL,
        messages BLOB NOT NULL, settings INTEGER NOT NULL REFERENCES settings(id),
        response TEXT NOT NULL, finish_reason TEXT NOT NULL,
        prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL, error TEXT
    )""",
    "CREATE INDEX requests_by_time ON requests(year, day, kind, cohort, agent, attempt)",
    "CREATE INDEX requests_by_agent ON requests(agent, year, day, kind, cohort, attempt)",
    """CREATE TABLE decisions(
        seed INTEGER, kind TEXT, year INTEGER, day INTEGER, cohort TEXT, agent INTEGER,
        status TEXT NOT NULL, decision TEXT NOT NULL, attempts INTEGER NOT NULL,
        PRIMARY KEY (year, day, kind, cohort, agent, seed)
    ) WITHOUT ROWID""",
    """CREATE TABLE sums(
        cohort TEXT, kind TEXT, settings INTEGER,
        requests INTEGER NOT NULL, errors INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
        PRIMARY KEY (cohort, kind, settings)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER request_summed AFTER INSERT ON requests BEGIN
        INSERT INTO sums VALUES (new.cohort, new.kind, new.settings, 1, new.error IS NOT NULL,
            new.prompt_tokens, new.cached_tokens, new.completion_tokens, new.seconds)
        ON CONFLICT DO UPDATE SET requests = requests + 1, errors = errors + excluded.errors,
            prompt_tokens = prompt_tokens + excluded.prompt_tokens,
            cached_tokens = cached_tokens + excluded.cached_tokens,
            completion_tokens = completion_tokens + excluded.completion_tokens,
            seconds = seconds + excluded.seconds;
    END""",
    """CREATE TABLE statuses(
        cohort TEXT, kind TEXT, status TEXT, decisions INTEGER NOT NULL,
        PRIMARY KEY (cohort, kind, status)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER decision_counted AFTER INSERT ON decisions BEGIN
        INSERT INTO statuses VALUES (new.cohort, new.kind, new.status, 1)
        ON CONFLICT DO UPDATE SET decisions = decisions + 1;
    END""",
    """CREATE TRIGGER decision_recounted AFTER UPDATE ON decisions BEGIN
        UPDATE statuses SET decisions = decisions - 1
        WHERE (cohort, kind, status) = (old.cohort, old.kind, old.status);
        INSERT INTO statuses VALUES (new.cohort, new.kind, new.status, 1)
        ON CONFLICT DO UPDATE SET decisions = decisions + 1;
    END""",
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that begins no transaction by itself. Raises sqlite3.Error."""
    uri = path.absolute().as_uri()
    if read_only:
        # SQLite reads a database in WAL mode with the help of files beside it. On read-only media
        # there are none, and no writer.
        wal = path.with_name(path.name + "-wal")
        alone = not os.access(path.parent, os.W_OK) and not wal.exists()
        uri += "?immutable=1" if alone else "?mode=ro"
    return sqlite3.connect(
        uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False
    )


def stored_format(db: sqlite3.Connection, path: Path) -> int:
    """The format of an open file, 0 where it is still empty.

    Raises:
        UserError: the file is another program's, or from a newer jaxecon.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or tables):
        raise UserError(f"transcript: {path} is not a jaxecon transcript")
    if version > FORMAT:
        raise UserError(
            f"transcript: {path} has format {version}, this jaxecon reads up to {FORMAT}; install "
            "a newer jaxecon"
        )
    return int(version)


def bring_up_to_date(db: sqlite3.Connection, version: int) -> None:
    """Create the tables, or convert an older format, in one transaction.

    A crash leaves the file as it was.
    """
    if version == FORMAT:
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        if version == 0:
            for statement in (_SETTINGS, *_SINCE_2):
                db.execute(statement)
        else:
            _convert_1(db)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _convert_1(db: sqlite3.Connection) -> None:
    """Convert format 1, with whole texts, and with chats as JSON: [[role, text id], ..]."""
    db.execute("DROP INDEX requests_by_day")
    db.execute("ALTER TABLE requests RENAME TO requests_1")
    db.execute("ALTER TABLE decisions RENAME TO decisions_1")
    for statement in _SINCE_2:
        db.execute(statement)
    db.execute("INSERT INTO decisions SELECT * FROM decisions_1")
    pieces = PieceWriter(db)
    for row_1 in db.execute("SELECT * FROM requests_1 ORDER BY rowid"):
        key, *draw, messages = row_1[:9]
        chat = [Message(role, _text_1(db, text)) for role, text in json.loads(messages)]
        (packed,) = pieces.pack([chat])
        row = (stored_key(key), *draw, packed, *row_1[9:])
        db.execute(f"INSERT INTO requests VALUES (NULL, {', '.join('?' * len(row))})", row)
    for table in ("requests_1", "decisions_1", "texts"):
        db.execute(f"DROP TABLE {table}")


def _text_1(db: sqlite3.Connection, id_: int) -> str:
    (text,) = db.execute("SELECT text FROM texts WHERE id = ?", (id_,)).fetchone()
    return cast(str, text)


def stored_key(key: str) -> bytes | str:
    """A key as the column `key` holds it: SHA-256 in 32 bytes; anything else as it is."""
    if len(key) == 64:
        with suppress(ValueError):
            raw = bytes.fromhex(key)
            if raw.hex() == key:
                return raw
    return key


def shown_key(stored: bytes | str) -> str:
    """The inverse of `stored_key`. Raises TypeError where it is no key."""
    if not isinstance(stored, bytes | str):
        raise TypeError(f"{stored!r} is no key")
    return stored.hex() if isinstance(stored, bytes) else stored
