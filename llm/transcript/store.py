"""The transcript: every request and response of a run in one SQLite file, each line of text once;
and its replay.
"""

import hashlib
import json
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, cast

from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.locks import lock_for_writing
from llm.messages import Completion, Draw, Request
from llm.transcript.format import (
    FORMAT,
    bring_up_to_date,
    connect,
    shown_key,
    stored_format,
    stored_key,
)
from llm.transcript.keys import compact_json
from llm.transcript.pieces import PieceWriter, insert_rows
from llm.transcript.rows import (
    ANSWER,
    CONVERSATIONS,
    JOIN,
    REQUEST,
    Conversation,
    Counts,
    Status,
    StoredDecision,
    Total,
    completion_of,
    conversation_of,
    where_clause,
)

_Entry = tuple[
    str, dict[str, str], Request, Completion
]  # key, the engine's identity, what was asked and answered


_GATHERED = 0.005  # seconds in which the writer waits for company

_CHUNK = 10_000  # SQLite takes 32,766 parameters


class Transcript:
    """A transcript file; made where there is none, unless read_only.

    One process writes, others may read meanwhile.

    Every `put` is one commit to the write-ahead log, so what was put survives the death of this
    process at any moment; after a power cut the last commits may be missing, and the file is sound.
    Methods may be called from any thread. A file of format 1 is converted when it is opened for
    writing, and read by way of a converted copy.

    Raises:
        UserError: the file is not a transcript, is from a newer jaxecon, is not there (read_only),
        cannot be written, is
            being written by another process. All methods raise it where the file cannot be used or
            is damaged.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = self._file = Path(path)
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # of those who write what is pending
        self._pending: list[_Entry] = []
        self._arrived = threading.Event()
        self._closing = threading.Event()
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._heard = False  # whether somebody was told of it
        self._setting_ids: dict[tuple[object, ...], tuple[int, object]] = {}
        if read_only and not self.path.is_file():
            raise UserError(f"transcript: there is no file {self.path}")
        with ExitStack() as opened, self._explained():
            self._db = (
                self._open_for_reading(opened) if read_only else self._open_for_writing(opened)
            )
            self._pieces = PieceWriter(self._db)
            self._resources = opened.pop_all()
        if not read_only:
            self._writer = threading.Thread(
                target=self._write_as_it_comes, name="jaxecon-transcript", daemon=True
            )
            self._writer.start()

    def get_many(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The stored completions among these keys."""
        found = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = [stored_key(key) for key in keys[start : start + _CHUNK]]
            query = (
                f"SELECT key, {ANSWER} FROM requests WHERE key IN ({', '.join('?' * len(chunk))})"
            )
            with self._lock, self._explained():
                rows = self._db.execute(query, chunk).fetchall()
            found.update({shown_key(key): completion_of(answer) for key, *answer in rows})
        return found

    def put(
        self, key: str, identity: dict[str, str], request: Request, completion: Completion
    ) -> None:
        """Store a response and commit.

        A key that is there keeps its first response, which the run has acted on.
        """
        with self._commit():
            self._insert([(key, identity, request, completion)])

    def put_soon(
        self, key: str, identity: dict[str, str], request: Request, completion: Completion
    ) -> None:
        """`put` by a thread that commits what comes within a few milliseconds in one go.

        `flush` does not wait for it.
        """
        self._pending.append((key, identity, request, completion))
        self._arrived.set()

    def flush(self) -> None:
        """Commit what `put_soon` took. Raises what kept it, or the thread, from that."""
        self._write_pending()
        if self._failure is not None:
            self._heard = True
            raise self._failure

    def _write_as_it_comes(self) -> None:
        while not self._closing.is_set():
            self._arrived.wait()
            self._closing.wait(_GATHERED)
            self._arrived.clear()
            self._write_pending()

    def _write_pending(self) -> None:
        """An interruption at any moment leaves entries pending: they go once they are committed,
        and twice is no harm.
        """
        with self._turn:
            try:
                while (
                    self._pending and self._failure is None
                ):  # after a failure nothing is written, and every flush says so
                    batch = self._pending[:]
                    with self._commit():
                        self._insert(batch)
                    del self._pending[: len(batch)]
            except Exception as error:
                self._failure = error

    def _insert(self, entries: Sequence[_Entry]) -> None:
        packed = self._pieces.pack([request.messages for _, _, request, _ in entries])
        rows = []
        for (key, identity, request, completion), messages in zip(entries, packed, strict=True):
            draw, usage = request.draw, completion.usage
            rows.append(
                (
                    stored_key(key),
                    *(
                        draw.seed,
                        draw.kind,
                        draw.year,
                        draw.day,
                        draw.cohort,
                        draw.agent,
                        draw.attempt,
                    ),
                    *(
                        messages,
                        self._setting_id(identity, request),
                        completion.text,
                        completion.finish_reason,
                    ),
                    *(
                        usage.prompt_tokens,
                        usage.cached_tokens,
                        usage.completion_tokens,
                        completion.seconds,
                        completion.error,
                    ),
                )
            )
        insert_rows(
            self._db, f"INSERT INTO requests({REQUEST}) VALUES", rows, "ON CONFLICT DO NOTHING"
        )

    def put_decision(self, draw: Draw, status: Status, decision: str, attempts: int) -> None:
        """`put_decisions` for one."""
        self.put_decisions([(draw, StoredDecision(status, decision, attempts))])

    def put_decisions(self, decisions: Sequence[tuple[Draw, StoredDecision]]) -> None:
        """Store what agents did (JSON), in one commit; draw.attempt plays no part.

        A fallback is stored like any other.
        """
        rows = [
            (d.seed, d.kind, d.year, d.day, d.cohort, d.agent, s.status, s.decision, s.attempts)
            for d, s in decisions
        ]
        query = (
            "INSERT INTO decisions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET status = excluded.status, decision = excluded.decision, attempts = "
            "excluded.attempts"
        )
        if rows:
            with self._commit():
                self._db.executemany(query, rows)

    def get_decisions(
        self, *, seed: int, kind: str, year: int, day: int, cohort: str
    ) -> dict[int, StoredDecision]:
        """One cohort's decisions of one kind and day, by agent."""
        query = "SELECT agent, status, decision, attempts FROM decisions WHERE (seed, kind, year, day, cohort) = (?, ?, ?, ?, ?)"
        with self._lock, self._explained():
            rows = self._db.execute(query, (seed, kind, year, day, cohort)).fetchall()
        return {
            agent: StoredDecision(status, decision, attempts)
            for agent, status, decision, attempts in rows
        }

    def decisions(self) -> Iterator[tuple[Draw, StoredDecision]]:
        """All of them, by time and agent; one state of the file."""
        query = (
            "SELECT seed, kind, year, day, cohort, agent, status, decision, attempts FROM decisions"
            " ORDER BY year, day, kind, cohort, agent, seed"
        )
        with self._explained(), closing(connect(self._file, read_only=True)) as db:
            for *draw, status, decision, attempts in db.execute(query):
                yield Draw(*draw), StoredDecision(status, decision, attempts)

    def counts(self) -> Counts:
        """Totals over the whole file."""
        columns = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens")
        sums = f"SELECT {', '.join(f'coalesce(sum({column}), 0)' for column in columns)} FROM sums"
        with self._snapshot():
            requests, errors, prompt, cached, completion = self._db.execute(sums).fetchone()
            (texts,) = self._db.execute(
                "SELECT coalesce(max(id), 0) FROM pieces"
            ).fetchone()  # none is ever deleted
            decisions = dict(
                self._db.execute(
                    "SELECT status, sum(decisions) FROM statuses GROUP BY status HAVING "
                    "sum(decisions)"
                )
            )
        return Counts(requests, errors, texts, prompt, cached, completion, decisions)

    def totals(
        self,
        *,
        kind: str | None = None,
        year: int | None = None,
        day: int | None = None,
        cohort: str | None = None,
        agent: int | None = None,
        status: str | None = None,
    ) -> list[Total]:
        """Totals per cohort and kind, by name.

        Of part of the file (year, day, agent, status) they are added up anew.
        """
        where, given = where_clause(
            kind=kind, year=year, day=day, cohort=cohort, agent=agent, status=status
        )
        tokens = "sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(seconds)"
        if given.keys() <= {"kind", "cohort"}:
            sums = (
                f"SELECT cohort, kind, sum(requests), sum(errors), {tokens} FROM sums WHERE {where}"
            )
            counts = (
                f"SELECT cohort, kind, status, decisions FROM statuses WHERE decisions AND {where}"
            )
        else:
            joined = f"requests {JOIN}" if status is not None else "requests"
            sums = (
                f"SELECT cohort, kind, count(*), count(error), {tokens} FROM {joined} WHERE {where}"
            )
            counts = f"SELECT cohort, kind, status, count(*) FROM decisions WHERE {where} GROUP BY cohort, kind, status"
        with self._snapshot():
            rows = self._db.execute(
                f"{sums} GROUP BY cohort, kind ORDER BY cohort, kind", given
            ).fetchall()
            statuses: dict[tuple[str, str], dict[str, int]] = {}
            for its_cohort, its_kind, its_status, count in self._db.execute(counts, given):
                statuses.setdefault((its_cohort, its_kind), {})[its_status] = count
        return [
            Total(
                c, k, requests, errors, prompt, cached, completion, spent, statuses.get((c, k), {})
            )
            for c, k, requests, errors, prompt, cached, completion, spent in rows
        ]

    def identities(self, cohorts: Sequence[str] | None = None) -> list[dict[str, str]]:
        """What answered the requests of these cohorts (of all without), each once."""
        query = (
            "SELECT DISTINCT json FROM settings WHERE id IN (SELECT settings FROM sums WHERE TRUE"
        )
        query += (
            f" AND cohort IN ({', '.join('?' * len(cohorts))}))" if cohorts is not None else ")"
        )
        with self._lock, self._explained(), self._decoded():
            found = [
                json.loads(text)["identity"]
                for (text,) in self._db.execute(query, tuple(cohorts or ()))
            ]
        return [identity for i, identity in enumerate(found) if identity not in found[:i]]

    def conversations(
        self,
        *,
        kind: str | None = None,
        year: int | None = None,
        day: int | None = None,
        cohort: str | None = None,
        agent: int | None = None,
        status: str | None = None,
    ) -> Iterator[Conversation]:
        """Requests with their responses, by time and agent; one state of the file, also while a run
        adds to it.
        """
        where, given = where_clause(
            kind=kind, year=year, day=day, cohort=cohort, agent=agent, status=status
        )
        settings: dict[int, dict[str, Any]] = {}
        with self._explained(), closing(connect(self._file, read_only=True)) as db:
            db.execute("BEGIN")
            for row in db.execute(CONVERSATIONS.format(where=where), given):
                with self._decoded():
                    conversation = conversation_of(db, row, settings)
                yield conversation

    def sync(self) -> int:
        """Make what was put survive a power cut too. Returns how many requests the file holds."""
        self.flush()
        with self._lock, self._explained():
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            return cast(
                int, self._db.execute("SELECT coalesce(sum(requests), 0) FROM sums").fetchone()[0]
            )

    def close(self) -> None:
        """Fold the write-ahead log into the file and let others write. Safe to call twice."""
        if self._writer is not None:
            self._closing.set()
            self._arrived.set()
            self._writer.join()
            self._writer = None
            self._write_pending()
        with self._lock, self._explained():
            self._resources.close()
        if self._failure is not None and not self._heard:
            self.flush()

    def _open_for_writing(self, opened: ExitStack) -> sqlite3.Connection:
        # Beside the transcript: closing any handle of the transcript itself would drop SQLite's own
        # locks.
        beside = Path(f"{self.path.resolve()}-lock")
        opened.callback(lock_for_writing(beside, f"transcript: {self.path}"))
        db = opened.enter_context(closing(connect(self.path)))
        version = stored_format(db, self.path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        with self._decoded():
            bring_up_to_date(db, version)
        return db

    def _open_for_reading(self, opened: ExitStack) -> sqlite3.Connection:
        db = opened.enter_context(closing(connect(self.path, read_only=True)))
        version = stored_format(db, self.path)
        if version == 0:
            raise UserError(f"transcript: {self.path} is not a jaxecon transcript")
        if version < FORMAT:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-transcript-"))
            self._file = Path(folder) / self.path.name
            with closing(connect(self._file)) as copy, self._decoded():
                db.backup(copy)
                bring_up_to_date(copy, version)
            db = opened.enter_context(closing(connect(self._file, read_only=True)))
        return db

    @contextmanager
    def _commit(self) -> Iterator[None]:
        with self._lock, self._explained():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._pieces.forget()
                self._setting_ids.clear()
                if self._db.in_transaction:  # a full disk ends a transaction by itself
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """One state of the file over several queries."""
        with self._lock, self._explained(), self._decoded():
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def _setting_id(self, identity: dict[str, str], request: Request) -> int:
        """The id of what the request was asked with, which is stored once.

        Schemas are shared objects, known by themselves.
        """
        known = (tuple(identity.items()), request.sampling, id(request.schema))
        if known not in self._setting_ids:
            text = compact_json(
                {"identity": identity, "sampling": vars(request.sampling), "schema": request.schema}
            )
            self._setting_ids[known] = (
                self._intern_setting(text),
                request.schema,
            )  # which keeps its id from another's use
        return self._setting_ids[known][0]

    def _intern_setting(self, text: str) -> int:
        sha256 = hashlib.sha256(text.encode()).digest()
        row = self._db.execute("SELECT id FROM settings WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            row = (
                self._db.execute(
                    "INSERT INTO settings(sha256, json) VALUES (?, ?)", (sha256, text)
                ).lastrowid,
            )
        return cast(int, row[0])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """The disk's and SQLite's errors as one line for the user."""
        try:
            yield
        except OSError as error:
            raise DiskError(
                f"transcript: cannot use {self.path}: {error.strerror or error}"
            ) from error
        except sqlite3.OperationalError as error:
            raise DiskError(f"transcript: cannot use {self.path}: {error}") from error
        except sqlite3.DatabaseError as error:
            if (
                type(error) is not sqlite3.DatabaseError
            ):  # a subclass is our mistake, not the file's
                raise
            raise DiskError(
                f"transcript: {self.path} is not a jaxecon transcript, or is damaged: {error}"
            ) from error

    @contextmanager
    def _decoded(self) -> Iterator[None]:
        """What comes of stored values that jaxecon never stored, as one line for the user."""
        try:
            yield
        except (ValueError, TypeError, LookupError) as error:
            raise DiskError(f"transcript: {self.path} is damaged: {error!r}") from error
