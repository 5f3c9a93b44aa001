"""The transcript: bytes and time per request, and lookups among a million entries.

Both are beside naive storage.

    python -m experiments.benchmarks.transcript [--agents 100] [--days 200] [--window 4 32]
    [--entries 1000000]

Requests are a hybrid run's: labor prompts with the worker's memory, one commit each. "whole
messages" stores each request's messages and answer as JSON beside its key, in SQLite with the same
journal; "distinct messages" stores each message once.
"""

import argparse
import hashlib
import json
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np

from experiments.benchmarks.timing import describe_machine, report, seconds
from llm.agents.memory import WorkerMemory
from llm.decisions.labor import Labor, LaborObservation, labor_schema
from llm.decisions.prompts import Prompts
from llm.decisions.shared import Bracket, EconomyFacts
from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.transcript.format import connect
from llm.transcript.keys import request_key
from llm.transcript.pieces import PieceWriter
from llm.transcript.store import Transcript

IDENTITY = {"engine": "vllm", "model": "smollm2", "weights": "0" * 64, "template": "1" * 64}
HOURS = tuple(range(0, 101, 10))
DAYS_A_YEAR = 50
Put = Callable[[str, Request, Completion], None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--window", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--entries", type=int, default=1_000_000)
    arguments = parser.parse_args()
    describe_machine()
    for window in arguments.window:
        for storage in (
            measure_format_2,
            partial(measure_naive, distinct=True),
            partial(measure_naive, distinct=False),
        ):
            with tempfile.TemporaryDirectory() as folder:
                storage(Path(folder) / "t.sqlite", arguments, window)
    with tempfile.TemporaryDirectory() as folder:
        measure_lookups(Path(folder) / "t.sqlite", arguments)


def days_of_requests(agents: int, days: int, window: int) -> Iterator[list[Request]]:
    """What a cohort asks, day by day; pay, hours and what follows from them are random."""
    rng = np.random.default_rng(0)
    memory = WorkerMemory(agents, window, HOURS)
    skill = rng.lognormal(7.0, 0.7, agents)
    words = Prompts()
    for total in range(days):
        year, day = divmod(total, DAYS_A_YEAR)
        if day == 0:
            brackets = tuple(
                Bracket(t, round(rng.uniform(), 1))
                for t in (0.0, 11_600.0, 47_150.0, 100_525.0, 191_950.0, 243_725.0, 609_350.0)
            )
        rebate = rng.uniform(9_000, 11_000)
        recalled = memory.recall(year)
        yield [
            Request(
                words.messages(
                    Labor(),
                    LaborObservation(
                        year=year,
                        day=day,
                        cohort="llm",
                        agent=agent,
                        economy=EconomyFacts(years=1000, days=DAYS_A_YEAR),
                        brackets=brackets,
                        skill=skill[agent],
                        rebate=rebate,
                        history=recalled[agent].days,
                        last_hours=40,
                        choices=HOURS,
                    ),
                ),
                labor_schema(HOURS),
                Sampling(),
                Draw(0, "labor", year, day, "llm", agent),
            )
            for agent in rng.permutation(agents).tolist()  # as answers arrive
        ]
        hours = rng.choice(HOURS, agents).astype(float)
        income = skill * hours
        memory.append(
            year,
            day,
            hours=hours,
            income=income,
            tax=0.3 * income,
            rebate=np.full(agents, rebate),
            effort=0.1 * income,
            welfare=np.asarray(0.6),
        )


def measure(
    storage: str,
    path: Path,
    put: Put,
    close: Callable[[], None],
    arguments: argparse.Namespace,
    window: int,
) -> None:
    """One line: what storing a run's requests one by one takes. Keys are made outside the time."""
    spent, computing, characters = 0.0, 0.0, 0
    answer = Completion('{"hours":40}', "stop", Usage(640, 512, 8), 1.25)
    for requests in days_of_requests(arguments.agents, arguments.days, window):
        keys = [request_key(IDENTITY, request) for request in requests]
        characters += sum(len(m.content) for request in requests for m in request.messages)
        begun, computing_begun = time.perf_counter(), time.process_time()
        for key, request in zip(keys, requests, strict=True):
            put(key, request, answer)
        spent += time.perf_counter() - begun
        computing += time.process_time() - computing_begun
    close()
    count = arguments.agents * arguments.days
    report(
        benchmark="storage",
        storage=storage,
        agents=arguments.agents,
        days=arguments.days,
        window=window,
        prompt_characters=characters / count,
        bytes_per_request=path.stat().st_size / count,
        puts_per_s=count / spent,
        puts_per_cpu_s=count / computing,
    )


def measure_format_2(path: Path, arguments: argparse.Namespace, window: int) -> None:
    transcript = Transcript(path)

    def put(key: str, request: Request, answer: Completion) -> None:
        transcript.put(key, IDENTITY, request, answer)

    measure("format 2", path, put, transcript.close, arguments, window)


def measure_naive(
    path: Path, arguments: argparse.Namespace, window: int, *, distinct: bool
) -> None:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("CREATE TABLE texts(sha256 BLOB PRIMARY KEY, text TEXT) WITHOUT ROWID")
    db.execute(
        "CREATE TABLE requests(key TEXT PRIMARY KEY, draw TEXT, messages TEXT, sampling TEXT, "
        "answer TEXT)"
    )

    def put(key: str, request: Request, answer: Completion) -> None:
        db.execute("BEGIN IMMEDIATE")
        messages = [[m.role, m.content] for m in request.messages]
        if distinct:
            hashes = [hashlib.sha256(m.content.encode()).digest() for m in request.messages]
            texts = [(hash_, m.content) for hash_, m in zip(hashes, request.messages, strict=True)]
            db.executemany("INSERT INTO texts VALUES (?, ?) ON CONFLICT DO NOTHING", texts)
            messages = [
                [m.role, hash_.hex()] for hash_, m in zip(hashes, request.messages, strict=True)
            ]
        row = (
            vars(request.draw),
            messages,
            vars(request.sampling),
            {**vars(answer), "usage": vars(answer.usage)},
        )
        db.execute("INSERT INTO requests VALUES (?, ?, ?, ?, ?)", (key, *map(json.dumps, row)))
        db.execute("COMMIT")

    measure(
        "distinct messages" if distinct else "whole messages",
        path,
        put,
        db.close,
        arguments,
        window,
    )


def measure_lookups(path: Path, arguments: argparse.Namespace) -> None:
    """One line: what is looked up among many entries of one line each, by agents x days, 50 days a
    year.
    """
    agents, entries = arguments.agents, arguments.entries
    filled = fill(path, agents, entries)
    transcript = Transcript(path, read_only=True)
    keys = [_key(int(i)).hex() for i in np.random.default_rng(0).integers(entries, size=100)]
    years = entries // agents // DAYS_A_YEAR
    assert len(transcript.get_many(keys)) == len(set(keys))
    assert transcript.counts().requests == entries + 1
    assert len(list(transcript.conversations(agent=agents // 2, year=years // 2))) == DAYS_A_YEAR
    report(
        benchmark="lookups",
        entries=entries,
        bytes_per_entry=path.stat().st_size / entries,
        fill_s=filled,
        open_ms=_milliseconds(lambda: Transcript(path, read_only=True).close()),
        get_100_ms=_milliseconds(lambda: transcript.get_many(keys)),
        conversations_agent_year_ms=_milliseconds(
            lambda: list(transcript.conversations(agent=agents // 2, year=years // 2))
        ),
        conversations_day_ms=_milliseconds(
            lambda: list(transcript.conversations(year=years // 2, day=DAYS_A_YEAR // 2))
        ),
        decisions_of_a_day_ms=_milliseconds(
            lambda: transcript.get_decisions(
                seed=0, kind="labor", year=years // 2, day=1, cohort="llm"
            )
        ),
        counts_ms=_milliseconds(transcript.counts),
        totals_ms=_milliseconds(transcript.totals),
        totals_of_a_year_ms=_milliseconds(lambda: transcript.totals(year=years // 2)),
    )
    transcript.close()


def fill(path: Path, agents: int, entries: int) -> float:
    """Write entries past the store, which would take hours one by one; the seconds that took."""
    with closing(Transcript(path)) as transcript:  # makes the tables, and one setting to refer to
        draw = Draw(0, "labor", 0, 0, "llm", 0)
        request = Request((Message("user", "h?"),), None, Sampling(), draw)
        transcript.put("", IDENTITY, request, Completion('{"hours":40}'))
    begun = time.perf_counter()
    with closing(connect(path)) as db:
        (settings,) = db.execute("SELECT id FROM settings").fetchone()
        db.execute("BEGIN")
        rows = request_rows(PieceWriter(db), settings, agents, entries)
        db.executemany(f"INSERT INTO requests VALUES (NULL, {', '.join('?' * 17)})", rows)
        decided = ((*divmod(i // agents, DAYS_A_YEAR), i % agents) for i in range(entries))
        db.executemany(
            "INSERT INTO decisions VALUES (0, 'labor', ?, ?, 'llm', ?, 'ok', '40', 1)", decided
        )
        db.execute("COMMIT")
    return time.perf_counter() - begun


def request_rows(
    writer: PieceWriter, settings: int, agents: int, entries: int
) -> Iterator[tuple[object, ...]]:
    """Rows of the table of requests, with a short message each."""
    answer = ('{"hours":40}', "stop", 640, 512, 8, 1.25, None)
    for i in range(entries):
        total, agent = divmod(i, agents)
        year, day = divmod(total, DAYS_A_YEAR)
        (messages,) = writer.pack([[Message("user", f"year {year} day {day} agent {agent}")]])
        when = (0, "labor", year, day, "llm", agent, 0)
        yield (_key(i), *when, messages, settings, *answer)


def _key(i: int) -> bytes:
    return hashlib.sha256(str(i).encode()).digest()


def _milliseconds(call: Callable[[], object]) -> list[float]:
    return [1000 * s for s in seconds(call)]


if __name__ == "__main__":
    main()
