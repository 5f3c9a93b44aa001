"""The transcript: every request and response of a run in one SQLite file, each text once."""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from jaxecon.errors import UserError
from llm.engine import Completion, Draw, Request, Usage

Status = Literal["ok", "repaired", "retried", "fallback"]

_APPLICATION = 0x6A784563  # "jxEc", SQLite's own field for telling one program's files from another's
_VERSION = 1
_CHUNK = 10_000
_SCHEMA = """
CREATE TABLE texts(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, text TEXT NOT NULL);
CREATE TABLE settings(id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, json TEXT NOT NULL);
CREATE TABLE requests(
    key TEXT PRIMARY KEY, seed INTEGER NOT NULL, kind TEXT NOT NULL, year INTEGER NOT NULL, day INTEGER NOT NULL,
    cohort TEXT NOT NULL, agent INTEGER NOT NULL, attempt INTEGER NOT NULL,
    messages TEXT NOT NULL, settings INTEGER NOT NULL REFERENCES settings(id),
    response TEXT NOT NULL, finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, seconds REAL NOT NULL, error TEXT
);
CREATE INDEX requests_by_day ON requests(kind, year, day);
CREATE TABLE decisions(
    seed INTEGER, kind TEXT, year INTEGER, day INTEGER, cohort TEXT, agent INTEGER,
    status TEXT NOT NULL, decision TEXT NOT NULL, attempts INTEGER NOT NULL,
    PRIMARY KEY (seed, kind, year, day, cohort, agent)
) WITHOUT ROWID;
"""
_ANSWER = "response, finish_reason, prompt_tokens, cached_tokens, completion_tokens, seconds, error"


@dataclass(frozen=True)
class StoredDecision:
    """What one agent did in the end. `decision` is JSON; `attempts` counts the replies it took."""

    status: Status
    decision: str
    attempts: int


@dataclass(frozen=True)
class Counts:
    """What a transcript holds; `decisions` by status, `errors` are requests that came back without text."""

    requests: int
    errors: int
    texts: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    decisions: dict[str, int]


class Conversation(TypedDict):
    """One request and its response, as a person reads it."""

    key: str
    seed: int
    kind: str
    year: int
    day: int
    cohort: str
    agent: int
    attempt: int
    messages: list[dict[str, str]]
    identity: dict[str, str]
    sampling: dict[str, float]
    schema: dict[str, Any] | None
    response: str
    finish_reason: str
    error: str | None
    usage: dict[str, int]
    seconds: float


class Transcript:
    """A transcript file; made where there is none, unless read_only.

    Every `put` is one commit to the write-ahead log, so what was put survives the death of this process at any
    moment; after a power cut the last commits may be missing, and the file is sound. Methods may be called from any thread.

    Raises:
        UserError: the file is not a transcript, is from a newer jaxecon, is not there (read_only), cannot be written.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        if read_only and not self.path.is_file():
            raise UserError(f"transcript: there is no file {self.path}")
        with self._explained():
            self._db = self._connect(read_only=read_only)
            try:
                self._prepare(read_only=read_only)
            except BaseException:
                self._db.close()
                raise

    def get_many(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The stored completions among these keys."""
        found = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = json.dumps(keys[start : start + _CHUNK])
            query = f"SELECT key, {_ANSWER} FROM requests WHERE key IN (SELECT value FROM json_each(?))"
            with self._lock, self._explained():
                rows = self._db.execute(query, (chunk,)).fetchall()
            found.update({key: _completion(answer) for key, *answer in rows})
        return found

    def put(self, key: str, identity: dict[str, str], request: Request, completion: Completion) -> None:
        """Store a response and commit. A key that is there keeps its first response, which the run has acted on."""
        setting = {"identity": identity, "sampling": vars(request.sampling), "schema": request.schema}
        draw, usage = request.draw, completion.usage
        with self._commit():
            messages = [[m.role, self._intern("texts", "text", m.content)] for m in request.messages]
            settings = self._intern("settings", "json", _compact(setting))
            row = (
                *(
                    key,
                    draw.seed,
                    draw.kind,
                    draw.year,
                    draw.day,
                    draw.cohort,
                    draw.agent,
                    draw.attempt,
                    _compact(messages),
                    settings,
                ),
                *(completion.text, completion.finish_reason, usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens),
                *(completion.seconds, completion.error),
            )
            self._db.execute(f"INSERT INTO requests VALUES ({', '.join('?' * len(row))}) ON CONFLICT DO NOTHING", row)

    def put_decision(self, draw: Draw, status: Status, decision: str, attempts: int) -> None:
        """Store what an agent did (JSON) and commit; draw.attempt plays no part. A fallback is stored like any other."""
        row = (draw.seed, draw.kind, draw.year, draw.day, draw.cohort, draw.agent, status, decision, attempts)
        with self._commit():
            self._db.execute("INSERT OR REPLACE INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)

    def get_decisions(self, *, seed: int, kind: str, year: int, day: int, cohort: str) -> dict[int, StoredDecision]:
        """One cohort's decisions of one kind and day, by agent."""
        query = "SELECT agent, status, decision, attempts FROM decisions WHERE (seed, kind, year, day, cohort) = (?, ?, ?, ?, ?)"
        with self._lock, self._explained():
            rows = self._db.execute(query, (seed, kind, year, day, cohort)).fetchall()
        return {agent: StoredDecision(status, decision, attempts) for agent, status, decision, attempts in rows}

    def counts(self) -> Counts:
        """Totals over the whole file."""
        sums = "SELECT count(*), count(error), total(prompt_tokens), total(cached_tokens), total(completion_tokens) FROM requests"
        with self._lock, self._explained():
            requests, errors, prompt, cached, completion = map(int, self._db.execute(sums).fetchone())
            (texts,) = self._db.execute("SELECT count(*) FROM texts").fetchone()
            decisions = dict(self._db.execute("SELECT status, count(*) FROM decisions GROUP BY status").fetchall())
        return Counts(requests, errors, texts, prompt, cached, completion, decisions)

    def conversations(
        self,
        *,
        kind: str | None = None,
        year: int | None = None,
        day: int | None = None,
        cohort: str | None = None,
        agent: int | None = None,
    ) -> Iterator[Conversation]:
        """Requests with their responses, by time and agent; one state of the file, also while a run adds to it."""
        wanted = {"kind": kind, "year": year, "day": day, "cohort": cohort, "agent": agent}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = :{name}" for name in given) or "TRUE"
        query = (
            f"SELECT key, seed, kind, year, day, cohort, agent, attempt, messages, settings, {_ANSWER} FROM requests"
            f" WHERE {where} ORDER BY year, day, kind, cohort, agent, attempt"
        )
        settings: dict[int, dict[str, Any]] = {}
        with self._explained(), closing(self._connect(read_only=True)) as db:
            db.execute("BEGIN")
            for row in db.execute(query, given):
                if row[9] not in settings:
                    (text,) = db.execute("SELECT json FROM settings WHERE id = ?", (row[9],)).fetchone()
                    settings[row[9]] = json.loads(text)
                yield _conversation(db, row, settings[row[9]])

    def close(self) -> None:
        """Fold the write-ahead log into the file. Safe to call twice."""
        with self._lock, self._explained():
            self._db.close()

    def _connect(self, *, read_only: bool) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        if read_only:
            # SQLite reads a WAL file with the help of another beside it. On read-only media there is none, and no writer.
            wal = self.path.with_name(self.path.name + "-wal")
            alone = not os.access(self.path.parent, os.W_OK) and not wal.exists()
            uri += "?immutable=1" if alone else "?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=30.0, isolation_level=None, check_same_thread=False)

    def _prepare(self, *, read_only: bool) -> None:
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (tables,) = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application != _APPLICATION and (read_only or application or tables):
            raise UserError(f"transcript: {self.path} is not a jaxecon transcript")
        if version > _VERSION:
            raise UserError(
                f"transcript: {self.path} has format {version}, this jaxecon reads up to {_VERSION}; install a newer jaxecon"
            )
        if read_only:
            return
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        if not tables:
            # One transaction, so that a crash leaves an empty file or a whole schema.
            fields = f"PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {_VERSION};"
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {fields} COMMIT;")

    @contextmanager
    def _commit(self) -> Iterator[None]:
        with self._lock, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _intern(self, table: str, column: str, text: str) -> int:
        """The id of a text that is stored once."""
        sha256 = hashlib.sha256(text.encode()).digest()
        row = self._db.execute(f"SELECT id FROM {table} WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            row = self._db.execute(f"INSERT INTO {table}(sha256, {column}) VALUES (?, ?) RETURNING id", (sha256, text)).fetchone()
        return cast(int, row[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """SQLite's errors as one line for the user."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise UserError(f"transcript: cannot use {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a subclass is our mistake, not the file's
                raise
            raise UserError(f"transcript: {self.path} is not a jaxecon transcript, or is damaged: {error}") from error


def _completion(answer: Sequence[Any]) -> Completion:
    text, finish_reason, prompt_tokens, cached_tokens, completion_tokens, seconds, error = answer
    return Completion(text, finish_reason, Usage(prompt_tokens, cached_tokens, completion_tokens), seconds, error)


def _conversation(db: sqlite3.Connection, row: Sequence[Any], setting: dict[str, Any]) -> Conversation:
    key, seed, kind, year, day, cohort, agent, attempt, messages, _, *answer = row
    completion = _completion(answer)
    return {
        "key": key,
        "seed": seed,
        "kind": kind,
        "year": year,
        "day": day,
        "cohort": cohort,
        "agent": agent,
        "attempt": attempt,
        "messages": [{"role": role, "content": _text(db, id_)} for role, id_ in json.loads(messages)],
        "identity": setting["identity"],
        "sampling": setting["sampling"],
        "schema": setting["schema"],
        "response": completion.text,
        "finish_reason": completion.finish_reason,
        "error": completion.error,
        "usage": dict(vars(completion.usage)),
        "seconds": completion.seconds,
    }


def _text(db: sqlite3.Connection, id_: int) -> str:
    (text,) = db.execute("SELECT text FROM texts WHERE id = ?", (id_,)).fetchone()
    return cast(str, text)


def _compact(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
