"""Reads a transcript: answers by key, decisions, totals, conversations."""

import json
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Literal, Unpack

from jaxecon.core.errors import UserError
from llm.failures import Reason, reason
from llm.messages import Completion, Draw
from llm.transcript.answers import GROUPED_BY, Answers, counted
from llm.transcript.errors import decoded, explained
from llm.transcript.format import (
    FORMAT,
    bring_up_to_date,
    connect,
    shown_key,
    stored_format,
    stored_key,
)
from llm.transcript.rows import (
    ANSWER,
    CONVERSATIONS,
    JOIN,
    NOT_NUMBERS,
    Conversation,
    Counts,
    Selection,
    StoredDecision,
    Total,
    check_types,
    completion_of,
    conversation_of,
    decision_of,
    where_clause,
)

_DECISION = "seed, kind, year, day, cohort, agent, status, decision, attempts"
_CHUNK = 10_000  # keys in one query: SQLite takes 32,766 parameters


class TranscriptReader:
    """A transcript file, for reading; another process may be writing it.

    A file of format 1 is read from a converted copy. Methods may be called from any thread.

    Raises:
        UserError: the file is not there, is not a transcript, or is from a newer jaxecon. All
            methods raise it where the file cannot be used or is damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = self._file = Path(path)
        self._lock = threading.Lock()
        with ExitStack() as opened, explained(self.path):
            self._db = self._open(opened)
            self._resources = opened.pop_all()

    def _open(self, opened: ExitStack) -> sqlite3.Connection:
        if not self.path.is_file():
            raise UserError(f"transcript: there is no file {self.path}")
        db = opened.enter_context(closing(connect(self.path, read_only=True)))
        version = stored_format(db, self.path)
        if version == 0:
            raise UserError(f"transcript: {self.path} is not a jaxecon transcript")
        if version < FORMAT:
            folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="jaxecon-transcript-"))
            self._file = Path(folder) / self.path.name
            with closing(connect(self._file)) as copy, decoded(self.path):
                db.backup(copy)
                bring_up_to_date(copy, version)
            db = opened.enter_context(closing(connect(self._file, read_only=True)))
        return db

    def close(self) -> None:
        """Close the file. Safe to call twice."""
        with self._lock, explained(self.path):
            self._resources.close()

    @property
    def run_id(self) -> object:
        """The id of the run that wrote the file; None where it was written without one."""
        with self._lock, explained(self.path):
            (kept,) = self._db.execute(
                "SELECT count(*) FROM sqlite_master WHERE name = 'run'"
            ).fetchone()
            found = self._db.execute("SELECT id FROM run").fetchone() if kept else None
        return None if found is None else found[0]

    def get_many(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The stored completions for these keys, by key."""
        completions = {}
        for start in range(0, len(keys), _CHUNK):
            chunk = [stored_key(key) for key in keys[start : start + _CHUNK]]
            query = (
                f"SELECT key, {ANSWER} FROM requests WHERE key IN ({', '.join('?' * len(chunk))})"
            )
            with self._lock, explained(self.path):
                rows = self._db.execute(query, chunk).fetchall()
            with decoded(self.path):
                completions.update({shown_key(key): completion_of(answer) for key, *answer in rows})
        return completions

    def get_decisions(
        self, *, seed: int, kind: str, year: int, day: int, cohort: str
    ) -> dict[int, StoredDecision]:
        """One cohort's decisions of one kind and day, by agent."""
        query = (
            f"SELECT {_DECISION} FROM decisions"
            " WHERE (seed, kind, year, day, cohort) = (?, ?, ?, ?, ?)"
        )
        with self._lock, explained(self.path), decoded(self.path):
            rows = self._db.execute(query, (seed, kind, year, day, cohort)).fetchall()
            return {draw.agent: decision for draw, decision in map(decision_of, rows)}

    def undecided(self, *, seed: int, kind: str, year: int, day: int) -> set[tuple[str, int]]:
        """Cohort and agent of those who were asked on a day and whose decision is not recorded.

        Answers that were set aside do not count.
        """
        query = (
            f"SELECT DISTINCT cohort, agent FROM requests {JOIN} WHERE status IS NULL"
            " AND (seed, kind, year, day) = (?, ?, ?, ?) AND typeof(key) = 'blob'"
        )
        with self._lock, explained(self.path):
            return {tuple(row) for row in self._db.execute(query, (seed, kind, year, day))}

    def last_statuses(
        self, *, kind: str, cohort: str, before: tuple[int, int], most: int
    ) -> list[str]:
        """How the last decisions of a kind and cohort before a year and day were reached.

        The newest is the first; at most so many.
        """
        query = (
            "SELECT status FROM decisions WHERE (kind, cohort) = (?, ?) AND (year, day) < (?, ?)"
            " ORDER BY year DESC, day DESC LIMIT ?"
        )
        with self._lock, explained(self.path):
            return [status for (status,) in self._db.execute(query, (kind, cohort, *before, most))]

    def fallback_reasons(
        self, years: tuple[int, int] | None = None, **selection: Unpack[Selection]
    ) -> Iterator[tuple[str, str, Reason]]:
        """Cohort, kind and reason of each fallback, in order of time.

        years: the first and the last that are wanted.
        """
        where, wanted = where_clause(selection)
        if years is not None:
            where += " AND year BETWEEN :first AND :last"
            wanted |= {"first": years[0], "last": years[1]}
        # of a group's columns, those of the row with the largest id: the last answer
        query = (
            "SELECT cohort, kind, response, finish_reason, error, max(requests.id)"
            " FROM decisions CROSS JOIN requests USING (seed, kind, year, day, cohort, agent)"
            f" WHERE status = 'fallback' AND {where}"
            " GROUP BY year, day, kind, cohort, agent, seed"
        )
        with explained(self.path), closing(connect(self._file, read_only=True)) as db:
            for cohort, kind, text, finish_reason, error, _ in db.execute(query, wanted):
                with decoded(self.path):
                    check_types([cohort, kind, text, finish_reason], str)
                    check_types([] if error is None else [error], str)
                yield cohort, kind, reason(text, finish_reason, error)

    def decisions(self) -> Iterator[tuple[Draw, StoredDecision]]:
        """All decisions in order of time and agent, from one snapshot of the file."""
        query = f"SELECT {_DECISION} FROM decisions ORDER BY year, day, kind, cohort, agent, seed"
        with explained(self.path), closing(connect(self._file, read_only=True)) as db:
            for row in db.execute(query):
                with decoded(self.path):
                    decision = decision_of(row)
                yield decision

    def conversations(self, **selection: Unpack[Selection]) -> Iterator[Conversation]:
        """Requests with their responses, in order of time and agent.

        They are one snapshot of the file, even while a run adds to it.
        """
        where, wanted = where_clause(selection)
        settings: dict[int, dict[str, Any]] = {}
        with explained(self.path), closing(connect(self._file, read_only=True)) as db:
            db.execute("BEGIN")
            for row in db.execute(CONVERSATIONS.format(where=where), wanted):
                with decoded(self.path):
                    conversation = conversation_of(db, row, settings)
                yield conversation

    def answers(
        self, by: Sequence[str] = GROUPED_BY, **selection: Unpack[Selection]
    ) -> dict[tuple[str, ...], Answers]:
        """Count different answers by cohort and kind, or by one of them alone (`by`).

        Every decision of the selection is read.
        """
        where, wanted = where_clause(selection)
        query = (
            f"SELECT {', '.join(by)}, {_DECISION}"
            f" FROM decisions WHERE {where} ORDER BY year, day, kind, cohort, agent, seed"
        )
        groups = len(by)
        with (
            explained(self.path),
            decoded(self.path),
            closing(connect(self._file, read_only=True)) as db,
        ):
            rows = ((row[:groups], decision_of(row[groups:])) for row in db.execute(query, wanted))
            return counted(
                (
                    (
                        *group,
                        d.year,
                        d.day,
                        d.kind,
                        d.cohort,
                        d.agent,
                        stored.status,
                        stored.decision,
                    )
                    for group, (d, stored) in rows
                ),
                groups,
            )

    def identities(self, cohorts: Sequence[str] | None = None) -> list[dict[str, str]]:
        """The distinct identities of what answered the requests of these cohorts (None: of all)."""
        query = (
            "SELECT DISTINCT json FROM settings WHERE id IN (SELECT settings FROM sums WHERE TRUE"
        )
        query += (
            f" AND cohort IN ({', '.join('?' * len(cohorts))}))" if cohorts is not None else ")"
        )
        with self._lock, explained(self.path), decoded(self.path):
            identities = [
                dict(json.loads(text)["identity"])
                for (text,) in self._db.execute(query, tuple(cohorts or ()))
            ]
        return [identity for i, identity in enumerate(identities) if identity not in identities[:i]]

    def values(self, column: Literal["year", "day", "agent", "decision"]) -> list[Any]:
        """What a column holds, each value once, sorted. Decisions are JSON."""
        table = "decisions" if column == "decision" else "requests"
        query = f"SELECT DISTINCT {column} FROM {table} ORDER BY 1"
        with self._lock, explained(self.path):
            return [value for (value,) in self._db.execute(query)]

    def counts(self) -> Counts:
        """Totals over the whole file."""
        columns = ("requests", "errors", "prompt_tokens", "cached_tokens", "completion_tokens")
        summed = ", ".join(f"coalesce(sum({column}), 0)" for column in columns)
        sums = f"SELECT {summed}, total({NOT_NUMBERS}) FROM sums"
        statuses = (
            "SELECT status, sum(decisions) FROM statuses GROUP BY status HAVING sum(decisions)"
        )
        lines = "SELECT coalesce(max(id), 0) FROM pieces"  # none is ever deleted
        with self._snapshot():
            *summed_up, odd = self._db.execute(sums).fetchone()
            _check_numbers(odd)
            requests, errors, prompt, cached, completion = map(int, summed_up)
            (texts,) = self._db.execute(lines).fetchone()
            decisions = dict(self._db.execute(statuses))
        return Counts(requests, errors, texts, prompt, cached, completion, decisions)

    def totals(self, **selection: Unpack[Selection]) -> list[Total]:
        """Totals per cohort and kind, sorted by name.

        If year, day, agent, status or decision select a part of the file, its rows are summed.
        """
        where, wanted = where_clause(selection)
        tokens = "sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(seconds)"
        if wanted.keys() <= {"kind", "cohort"}:
            columns, table = "sum(requests), sum(errors)", "sums"
            counts = (
                f"SELECT cohort, kind, status, decisions FROM statuses WHERE decisions AND {where}"
            )
        else:
            columns = "count(*), count(error)"
            table = f"requests {JOIN}" if wanted.keys() & {"status", "decision"} else "requests"
            counts = (
                f"SELECT cohort, kind, status, count(*) FROM decisions WHERE {where}"
                " GROUP BY cohort, kind, status"
            )
        sums = (
            f"SELECT cohort, kind, {columns}, {tokens}, total({NOT_NUMBERS}) FROM {table}"
            f" WHERE {where}"
            " GROUP BY cohort, kind ORDER BY cohort, kind"
        )
        statuses: dict[tuple[str, str], dict[str, int]] = {}
        with self._snapshot():
            rows = self._db.execute(sums, wanted).fetchall()
            _check_numbers(sum(odd for *_, odd in rows))
            check_types([name for row in rows for name in row[:2]], str)
            for its_cohort, its_kind, its_status, count in self._db.execute(counts, wanted):
                statuses.setdefault((its_cohort, its_kind), {})[its_status] = count
        return [
            Total(
                c,
                k,
                requests,
                errors,
                prompt,
                cached,
                completion,
                seconds,
                statuses.get((c, k), {}),
            )
            for c, k, requests, errors, prompt, cached, completion, seconds, _ in rows
        ]

    @contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Keep one snapshot of the file over several queries."""
        with self._lock, explained(self.path), decoded(self.path):
            self._db.execute("BEGIN")
            try:
                yield
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _check_numbers(odd: float) -> None:
    """Raise TypeError where rows that were added up have values that are no numbers."""
    if odd:
        raise TypeError(f"{odd:.0f} rows whose numbers of tokens or seconds are no numbers")
