"""Writes a transcript: every request and response of a run, in one SQLite file."""

import hashlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import cast

from jaxecon.config.names import Status
from jaxecon.core.locks import lock_for_writing
from llm.messages import Completion, Draw, Request
from llm.transcript.displaced import OpenFile
from llm.transcript.errors import decoded, explained
from llm.transcript.format import bring_up_to_date, connect, stored_format, stored_key
from llm.transcript.keys import compact_json
from llm.transcript.pieces import PieceWriter, insert_rows
from llm.transcript.reader import TranscriptReader
from llm.transcript.rows import REQUEST, SET_ASIDE, StoredDecision

# key, the engine's identity, what was asked and answered
_Entry = tuple[str, dict[str, str], Request, Completion]

_GATHERED = 0.005  # seconds that the writer waits for more answers, to commit them together


class Transcript(TranscriptReader):
    """A transcript file; created where there is none, unless read_only.

    One process writes; others may read at the same time.

    Every `put` is one commit to the write-ahead log, so what was put survives the death of this
    process at any moment; after a power cut the last commits may be missing, but the file is sound.
    Methods may be called from any thread. A file of format 1 is converted when it is opened for
    writing, and otherwise read from a converted copy.

    Raises:
        UserError: the file is not a transcript, is from a newer jaxecon, is not there (read_only),
            cannot be written, or is being written by another process. All methods raise it where
            the file cannot be used or is damaged.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self._read_only = read_only
        super().__init__(path)
        self._open_file = OpenFile(self.path)
        self._pieces = PieceWriter(self._db)
        self._setting_ids: dict[tuple[object, ...], tuple[int, object]] = {}
        self._turn = threading.Lock()  # held while pending entries are written
        self._pending: list[_Entry] = []
        self._arrived = threading.Event()
        self._closing = threading.Event()
        self._failure: BaseException | None = None
        self._failure_raised = False
        self._writer: threading.Thread | None = None
        if not read_only:
            self._writer = threading.Thread(
                target=self._write_as_it_comes, name="jaxecon-transcript", daemon=True
            )
            self._writer.start()

    def keep_run_id(self, run_id: str) -> None:
        """Store the id of the run that writes the file, unless it holds one already."""
        if self.run_id is None:
            with self._commit():
                self._db.execute("CREATE TABLE IF NOT EXISTS run(id TEXT NOT NULL)")
                self._db.execute("INSERT INTO run VALUES (?)", (run_id,))

    def put(
        self, key: str, identity: dict[str, str], request: Request, completion: Completion
    ) -> None:
        """Store a response and commit.

        A key that is already stored keeps its first response, on which the run has acted.
        """
        with self._commit():
            self._insert([(key, identity, request, completion)])

    def put_soon(
        self, key: str, identity: dict[str, str], request: Request, completion: Completion
    ) -> None:
        """Store a response soon: a thread commits together what comes within a few milliseconds.

        `flush` commits it at once.
        """
        self._pending.append((key, identity, request, completion))
        self._arrived.set()

    def flush(self) -> None:
        """Commit what `put_soon` took. Raises the error that kept it or the thread from that."""
        self._write_pending()
        if self._failure is not None:
            self._failure_raised = True
            raise self._failure

    def put_decision(self, draw: Draw, status: Status, decision: str, attempts: int) -> None:
        """Store one decision, as `put_decisions` does."""
        self.put_decisions([(draw, StoredDecision(status, decision, attempts))])

    def put_decisions(self, decisions: Sequence[tuple[Draw, StoredDecision]]) -> None:
        """Store agents' decisions (JSON) in one commit; draw.attempt is ignored.

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

    def set_aside(self, keys: Sequence[str]) -> None:
        """Keep the answers under these keys for reading alone, so that they are asked again.

        They stay in totals and among the conversations, under keys that no request has.
        """
        query = "UPDATE requests SET key = ? || id WHERE key = ?"
        if keys:
            with self._commit():
                self._db.executemany(query, [(SET_ASIDE, stored_key(key)) for key in keys])

    def sync(self) -> int:
        """Make what was put survive a power cut too. Returns how many requests the file holds."""
        self.flush()
        with self._lock, explained(self.path):
            self._open_file.note()
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._open_file.accept()
            self._open_file.check()
            (requests,) = self._db.execute("SELECT coalesce(sum(requests), 0) FROM sums").fetchone()
            return cast(int, requests)

    def close(self) -> None:
        """Merge the write-ahead log into the file and let others write. Safe to call twice.

        Raises DiskError where the file was removed or replaced; what it held is saved first.
        """
        if self._writer is None:
            super().close()
            return
        self._closing.set()
        self._arrived.set()
        self._writer.join()
        self._writer = None
        self._write_pending()
        try:
            with self._lock, explained(self.path):
                self._open_file.note()
                name_copy = self._open_file.save(self._db)
        finally:
            super().close()
        with explained(self.path):
            name_copy()
        if self._failure is not None and not self._failure_raised:
            self.flush()
        self._open_file.check()

    def _open(self, opened: ExitStack) -> sqlite3.Connection:
        if self._read_only:
            return super()._open(opened)
        # The lock is a file beside the transcript: closing any handle of the transcript itself
        # would drop SQLite's own locks.
        beside = Path(f"{self.path.resolve()}-lock")
        opened.callback(lock_for_writing(beside, f"transcript: {self.path}"))
        db = opened.enter_context(closing(connect(self.path)))
        version = stored_format(db, self.path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        with decoded(self.path):
            bring_up_to_date(db, version)
        return db

    def _write_as_it_comes(self) -> None:
        while not self._closing.is_set():
            self._arrived.wait()
            self._closing.wait(_GATHERED)
            self._arrived.clear()
            self._write_pending()

    def _write_pending(self) -> None:
        """Commit pending entries; if that is interrupted at any moment, they stay pending.

        Entries are removed once they are committed; to commit one twice does no harm. After a
        failure nothing more is written, and every flush raises it.
        """
        with self._turn:
            try:
                while self._pending and self._failure is None:
                    batch = self._pending[:]
                    with self._commit():
                        self._insert(batch)
                    del self._pending[: len(batch)]
            except Exception as error:
                self._failure = error

    def _insert(self, entries: Sequence[_Entry]) -> None:
        packed = self._pieces.pack([request.messages for _, _, request, _ in entries])
        rows: list[tuple[object, ...]] = []
        for (key, identity, request, completion), messages in zip(entries, packed, strict=True):
            d, usage = request.draw, completion.usage
            # in the order of REQUEST
            draw = (d.seed, d.kind, d.year, d.day, d.cohort, d.agent, d.attempt)
            reply = (completion.text, completion.finish_reason)
            tokens = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
            setting = self._setting_id(identity, request)
            ends = (completion.seconds, completion.error)
            rows.append((stored_key(key), *draw, messages, setting, *reply, *tokens, *ends))
        insert_rows(
            self._db, f"INSERT INTO requests({REQUEST}) VALUES", rows, "ON CONFLICT DO NOTHING"
        )

    @contextmanager
    def _commit(self) -> Iterator[None]:
        with self._lock, explained(self.path):
            self._open_file.note()
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
            self._open_file.accept()
            self._open_file.check()

    def _setting_id(self, identity: dict[str, str], request: Request) -> int:
        """The id of a request's identity, sampling, schema and template, which are stored once.

        Schemas are shared objects, known by their id; the schema is kept, so that no other object
        can get its id.
        """
        known = (
            tuple(identity.items()),
            request.sampling,
            id(request.schema),
            request.template,
        )
        if known not in self._setting_ids:
            text = compact_json(
                {
                    "identity": identity,
                    "sampling": vars(request.sampling),
                    "schema": request.schema,
                    "template": request.template,
                }
            )
            self._setting_ids[known] = self._intern_setting(text), request.schema
        return self._setting_ids[known][0]

    def _intern_setting(self, text: str) -> int:
        sha256 = hashlib.sha256(text.encode()).digest()
        row = self._db.execute("SELECT id FROM settings WHERE sha256 = ?", (sha256,)).fetchone()
        if row is None:
            insert = "INSERT INTO settings(sha256, json) VALUES (?, ?)"
            row = (self._db.execute(insert, (sha256, text)).lastrowid,)
        return cast(int, row[0])
