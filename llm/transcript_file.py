"""The transcript's file: format 2, and the conversion of format 1.

A text is stored as its lines, each distinct line once: a prompt that repeats yesterday's history adds its new lines alone.
What a request keeps of its messages is a few bytes per line (`PieceWriter.pack`).
"""

import hashlib
import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast, get_args

from jaxecon.errors import UserError
from llm.engine import Message, Role

FORMAT = 2
APPLICATION = 0x6A784563  # "jxEc", SQLite's own field for telling one program's files from another's
_ROLES: tuple[Role, ...] = get_args(Role)  # stored by place: new ones go at the end

_SETTINGS = "CREATE TABLE settings(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, json TEXT NOT NULL)"
# Sums are kept as rows come, so that nobody ever waits for a million of them to be added up.
_SINCE_2 = (
    "CREATE TABLE pieces(id INTEGER PRIMARY KEY, hash INTEGER NOT NULL, text TEXT NOT NULL)",
    "CREATE INDEX pieces_by_hash ON pieces(hash)",
    """CREATE TABLE requests(
        id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE,
        seed INTEGER NOT NULL, kind TEXT NOT NULL, year INTEGER NOT NULL, day INTEGER NOT NULL,
        cohort TEXT NOT NULL, agent INTEGER NOT NULL, attempt INTEGER NOT NULL,
        messages BLOB NOT NULL, settings INTEGER NOT NULL REFERENCES settings(id),
        response TEXT NOT NULL, finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
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
        cohort TEXT, kind TEXT, settings INTEGER, requests INTEGER NOT NULL, errors INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL,
        PRIMARY KEY (cohort, kind, settings)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER request_summed AFTER INSERT ON requests BEGIN
        INSERT INTO sums VALUES (new.cohort, new.kind, new.settings, 1, new.error IS NOT NULL,
            new.prompt_tokens, new.cached_tokens, new.completion_tokens, new.seconds)
        ON CONFLICT DO UPDATE SET requests = requests + 1, errors = errors + excluded.errors,
            prompt_tokens = prompt_tokens + excluded.prompt_tokens, cached_tokens = cached_tokens + excluded.cached_tokens,
            completion_tokens = completion_tokens + excluded.completion_tokens, seconds = seconds + excluded.seconds;
    END""",
    """CREATE TABLE statuses(
        cohort TEXT, kind TEXT, status TEXT, decisions INTEGER NOT NULL, PRIMARY KEY (cohort, kind, status)
    ) WITHOUT ROWID""",
    """CREATE TRIGGER decision_counted AFTER INSERT ON decisions BEGIN
        INSERT INTO statuses VALUES (new.cohort, new.kind, new.status, 1) ON CONFLICT DO UPDATE SET decisions = decisions + 1;
    END""",
    """CREATE TRIGGER decision_recounted AFTER UPDATE ON decisions BEGIN
        UPDATE statuses SET decisions = decisions - 1 WHERE (cohort, kind, status) = (old.cohort, old.kind, old.status);
        INSERT INTO statuses VALUES (new.cohort, new.kind, new.status, 1) ON CONFLICT DO UPDATE SET decisions = decisions + 1;
    END""",
)


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    """A connection that begins no transaction by itself. Raises sqlite3.Error."""
    uri = path.absolute().as_uri()
    if read_only:
        # SQLite reads a WAL file with the help of another beside it. On read-only media there is none, and no writer.
        wal = path.with_name(path.name + "-wal")
        alone = not os.access(path.parent, os.W_OK) and not wal.exists()
        uri += "?immutable=1" if alone else "?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False)


def stored_format(db: sqlite3.Connection, path: Path) -> int:
    """The format of an open file, 0 where it is still empty.

    Raises:
        UserError: another program's file, or one from a newer jaxecon.
    """
    (application,) = db.execute("PRAGMA application_id").fetchone()
    (version,) = db.execute("PRAGMA user_version").fetchone()
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or tables):
        raise UserError(f"transcript: {path} is not a jaxecon transcript")
    if version > FORMAT:
        raise UserError(f"transcript: {path} has format {version}, this jaxecon reads up to {FORMAT}; install a newer jaxecon")
    return int(version)


def bring_up_to_date(db: sqlite3.Connection, version: int) -> None:
    """Make the tables, or convert an older format, in one transaction: a crash leaves the file as it was."""
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
    """Format 1 kept each message's text whole, and its messages as JSON: [[role, text id], ..]."""
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
    """As the column `key` holds it: SHA-256 in 32 bytes; anything else as it is."""
    if len(key) == 64:
        with suppress(ValueError):
            raw = bytes.fromhex(key)
            if raw.hex() == key:
                return raw
    return key


def shown_key(stored: bytes | str) -> str:
    """The inverse of `stored_key`."""
    return stored.hex() if isinstance(stored, bytes) else stored


class PieceWriter:
    """Adds lines to a file and packs messages into numbers of stored lines. `forget` after a transaction that came to nothing."""

    _MOST = 100_000  # numbers remembered: what some thousand agents' histories hold
    _MOST_RULES = 64

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._numbers: dict[str, int] = {}
        self._rules: dict[str, list[str]] = {}
        self._packed_rules: dict[str, tuple[bytes, int]] = {}

    def pack(self, chats: Sequence[Sequence[Message]]) -> list[bytes]:
        """Each chat's messages as `unpack` reads them; part of the caller's transaction.

        Per message its role, how many lines, and each line's distance from the line before: neighbours in a prompt were
        mostly stored within a day of each other, so that two bytes will do.
        """
        if len(self._numbers) >= self._MOST:
            self.forget()
        split = [[self._lines(message) for message in chat] for chat in chats]
        self._store(dict.fromkeys(line for chat in split for lines in chat for line in lines if line not in self._numbers))
        return [self._packed(chat, lines) for chat, lines in zip(chats, split, strict=True)]

    def _lines(self, message: Message) -> list[str]:
        known = self._rules.get(message.content)
        if known is None:
            known = message.content.splitlines(keepends=True)
            if message.role == "system":  # rules that thousands of requests share
                if len(self._rules) >= self._MOST_RULES:
                    self._rules.clear()
                    self._packed_rules.clear()
                self._rules[message.content] = known
        return known

    def _packed(self, chat: Sequence[Message], split: Sequence[list[str]]) -> bytes:
        packed, last = bytearray(), 0
        for i, (message, lines) in enumerate(zip(chat, split, strict=True)):
            known = self._packed_rules.get(message.content) if i == 0 else None
            if known is not None:
                packed, last = bytearray(known[0]), known[1]
                continue
            _append_number(packed, _ROLES.index(message.role))
            _append_number(packed, len(lines))
            for line in lines:
                piece = self._numbers[line]
                distance = piece - last
                _append_number(packed, 2 * distance if distance >= 0 else -2 * distance - 1)
                last = piece
            if i == 0 and message.content in self._rules:
                self._packed_rules[message.content] = bytes(packed), last
        return bytes(packed)

    def forget(self) -> None:
        """Numbers of lines that may not be there."""
        self._numbers.clear()
        self._rules.clear()
        self._packed_rules.clear()

    def _store(self, lines: Collection[str]) -> None:
        """Number these lines, and add those that the file lacks: a few statements for all."""
        if not lines:
            return
        # A short hash, because it is stored twice (here and in the index); the text decides.
        hashes = {line: int.from_bytes(hashlib.blake2b(line.encode(), digest_size=4).digest(), signed=True) for line in lines}
        wanted = json.dumps(list(hashes.values()))
        held = self._db.execute("SELECT id, text FROM pieces WHERE hash IN (SELECT value FROM json_each(?))", (wanted,))
        self._numbers.update({text: id_ for id_, text in held if text in hashes})
        (last,) = self._db.execute("SELECT coalesce(max(id), 0) FROM pieces").fetchone()
        new = [(last + i, hashes[line], line) for i, line in enumerate((x for x in hashes if x not in self._numbers), 1)]
        insert_rows(self._db, "INSERT INTO pieces VALUES", new)
        self._numbers.update({line: id_ for id_, _, line in new})


def insert_rows(db: sqlite3.Connection, insert: str, rows: Sequence[tuple[object, ...]], then: str = "") -> None:
    """INSERT INTO .. VALUES with many rows a statement: while SQLite runs one, other threads have the interpreter.

    then: what follows the rows (ON CONFLICT ..).
    """
    start = 0
    for size in (64, 8, 1):  # three statements in SQLite's cache, whatever the number of rows
        while len(rows) - start >= size:
            block = rows[start : start + size]
            one = f"({', '.join('?' * len(block[0]))})"
            db.execute(f"{insert} {', '.join([one] * size)} {then}", [value for row in block for value in row])
            start += size


def unpack(db: sqlite3.Connection, packed: bytes) -> list[Message]:
    """The inverse of `PieceWriter.pack`. Raises ValueError or LookupError where the bytes are not a pack of this file's."""
    numbers, last = _numbers(packed), 0
    chat: list[tuple[Role, list[int]]] = []
    for role in numbers:
        pieces = []
        for _ in range(_next(numbers)):
            zigzag = _next(numbers)
            last += zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2
            pieces.append(last)
        chat.append((_ROLES[role], pieces))
    wanted = json.dumps(sorted({piece for _, pieces in chat for piece in pieces}))
    lines = dict(db.execute("SELECT id, text FROM pieces WHERE id IN (SELECT value FROM json_each(?))", (wanted,)))
    return [Message(role, "".join(lines[piece] for piece in pieces)) for role, pieces in chat]


def _append_number(packed: bytearray, number: int) -> None:
    """Seven bits a byte, lowest first; the eighth says that more follow."""
    while number >= 0x80:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


def _numbers(packed: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("a number without an end")


def _next(numbers: Iterator[int]) -> int:
    for number in numbers:
        return number
    raise ValueError("fewer numbers than promised")
