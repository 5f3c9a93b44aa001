"""Totals, conversations and lookups, at size and while a run goes on."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.transcripts import ANSWER, IDENTITY, ask, put

from jaxecon.core.errors import UserError
from llm.messages import Completion, Usage
from llm.transcript.keys import request_key
from llm.transcript.rows import CONVERSATIONS, Total, where_clause
from llm.transcript.store import Transcript


def test_counts(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    assert transcript.counts().prompt_tokens == 0
    for agent in range(3):
        put(transcript, ask(agent), ANSWER)
    put(transcript, ask(3), Completion("", "error", error="why"))
    counts = transcript.counts()
    assert (
        counts.requests,
        counts.errors,
        counts.prompt_tokens,
        counts.cached_tokens,
        counts.completion_tokens,
    ) == (
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
    # a writer is not held up by a reader, nor the reader by the writer
    put(transcript, ask(5, day=9), ANSWER)
    rest = list(listed)
    places = [(c["year"], c["day"], c["kind"], c["agent"]) for c in [first, *rest]]
    assert places == [
        (0, 0, "labor", 0),
        (0, 0, "labor", 1),
        (0, 0, "plan", 0),
        (0, 1, "labor", 0),
        (1, 0, "labor", 1),
    ]
    assert json.loads(json.dumps(first)) == {
        "key": request_key(IDENTITY, ask()),
        "seed": 3,
        "kind": "labor",
        "year": 0,
        "day": 0,
        "cohort": "w",
        "agent": 0,
        "attempt": 0,
        "messages": [
            {"role": "system", "content": "rules"},
            {"role": "user", "content": ask().messages[1].content},
        ],
        "identity": IDENTITY,
        "sampling": {"temperature": 0.7, "top_p": 1.0, "max_tokens": 32},
        "schema": None,
        "template": "",
        "response": '{"hours":40}',
        "finish_reason": "stop",
        "error": None,
        "usage": {"prompt_tokens": 270, "cached_tokens": 128, "completion_tokens": 8},
        "seconds": 1.25,
        "status": None,
        "decision": None,
        "reason": None,
        "set_aside": False,
    }
    assert [c["kind"] for c in reader.conversations(kind="plan")] == ["plan"]
    assert [c["agent"] for c in reader.conversations(year=0, day=0, kind="labor", cohort="w")] == [
        0,
        1,
    ]
    assert [c["day"] for c in reader.conversations(agent=5)] == [9]
    reader.close()
    transcript.close()


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
    program = "import os, sys\nfrom llm.transcript.store import Transcript\n"
    program += (
        "if os.getuid() == 0: os.setuid(65534)\nt = Transcript(sys.argv[1], read_only=True)\n"
    )
    program += "print(t.counts().requests, len(list(t.conversations())))"
    command = [sys.executable, "-c", program, str(folder / "t.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert done.stdout.split() == ["1", "1"], done.stderr
    assert os.listdir(folder) == ["t.sqlite"]


def test_totals_are_the_sums_of_the_conversations(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    assert transcript.totals() == []
    expected: dict[tuple[str, str], list[Any]] = {}
    for i in range(60):
        asked = ask(i % 5, day=i % 3, year=i % 2, kind="labor" if i % 4 else "plan", text=f"{i}")
        asked = replace(asked, draw=replace(asked.draw, cohort="wx"[i % 7 == 0], attempt=i))
        answer = Completion(
            f"{i}", usage=Usage(i, i // 2, 1), seconds=i / 8, error="why" if i % 9 == 0 else None
        )
        for _ in range(2):  # a response that is there already counts once
            put(transcript, asked, answer)
        status: Any = "fallback" if asked.draw.agent == 2 else "ok"
        transcript.put_decision(asked.draw, status, "40", 1)
    listed = list(transcript.conversations())
    for c in listed:
        row = expected.setdefault((c["cohort"], c["kind"]), [0, 0, 0, 0, 0, 0.0, set()])
        figures = (
            1,
            c["error"] is not None,
            *(c["usage"][n] for n in ("prompt_tokens", "cached_tokens", "completion_tokens")),
        )
        row[:6] = [a + b for a, b in zip(row[:6], (*figures, c["seconds"]), strict=True)]
        row[6].add((c["year"], c["day"], c["agent"], c["status"]))

    def total(cohort: str, kind: str) -> Total:
        *figures, decided = expected[cohort, kind]
        counts = {s: n for s in ("ok", "fallback") if (n := sum(d[3] == s for d in decided))}
        return Total(cohort, kind, *figures, statuses=counts)

    assert transcript.totals() == [total(*names) for names in sorted(expected)]
    assert transcript.totals(cohort="w", kind="plan") == [total("w", "plan")]
    assert transcript.totals(kind="vote") == []
    for name, value in {"year": 1, "day": 2, "agent": 2, "status": "fallback"}.items():
        part = [c for c in listed if c[name] == value]  # type: ignore[literal-required]
        found = transcript.totals(**{name: value})  # type: ignore[arg-type]
        assert (
            sum(t.requests for t in found)
            == len(part)
            == len(list(transcript.conversations(**{name: value})))
        )  # type: ignore[arg-type]
        assert sum(t.prompt_tokens for t in found) == sum(c["usage"]["prompt_tokens"] for c in part)
        decided = {(c["year"], c["day"], c["agent"], c["cohort"], c["kind"]) for c in part}
        assert sum(n for t in found for n in t.statuses.values()) == len(decided)
    transcript.close()


def test_conversations_carry_their_decision(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    for agent in range(3):
        put(transcript, ask(agent), ANSWER)
    second = replace(ask(1), draw=replace(ask(1).draw, attempt=1))
    put(transcript, second, ANSWER)
    transcript.put_decision(ask(0).draw, "ok", "40", 1)
    transcript.put_decision(ask(1).draw, "fallback", "[0, 10]", 2)
    listed = [
        (c["agent"], c["attempt"], c["status"], c["decision"]) for c in transcript.conversations()
    ]
    assert listed == [
        (0, 0, "ok", 40),
        (1, 0, "fallback", [0, 10]),
        (1, 1, "fallback", [0, 10]),
        (2, 0, None, None),
    ]
    assert [c["attempt"] for c in transcript.conversations(status="fallback")] == [0, 1]
    transcript.close()


def plans(
    transcript: Transcript, statements: list[str], parameters: dict[str, Any] | None = None
) -> list[str]:
    """The steps SQLite would take."""
    return [
        step
        for s in statements
        for *_, step in transcript._db.execute(f"EXPLAIN QUERY PLAN {s}", parameters or {})
    ]


def test_lookups_among_100_000_use_indices(tmp_path: Path) -> None:
    """Whatever a run or `jaxecon transcript` looks up is found through an index: no scan of
    requests, no sort of all.
    """
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    put(transcript, ask(), ANSWER)
    copied = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 99999) INSERT "
        "INTO requests"
        " SELECT NULL, cast(printf('%032d', i) AS BLOB), seed, kind, i / 10000, i / 100 % 100, "
        "cohort, i % 100,"
        " attempt, messages, settings, response, finish_reason, prompt_tokens, cached_tokens, "
        "completion_tokens,"
        " seconds, error FROM requests, n"
    )
    transcript._db.execute(copied)
    transcript._open_file.accept()  # a change by the transcript's own connection
    assert transcript.counts().requests == 100_000
    traced: list[str] = []
    transcript._db.set_trace_callback(traced.append)
    key = request_key(IDENTITY, ask())
    assert transcript.get_many([key, "ab" * 32, "absent"]) == {key: ANSWER}
    transcript.counts()
    transcript.totals(cohort="w")
    transcript.totals(year=3, agent=5)
    transcript.totals(year=3, status="fallback")
    transcript.identities(["w"])
    transcript.get_decisions(seed=3, kind="labor", year=0, day=0, cohort="w")
    put(transcript, ask(7, text="a line that is new"), ANSWER)
    transcript._db.set_trace_callback(None)
    steps = plans(transcript, [t for t in traced if t.startswith("SELECT")])
    assert len(steps) > 10
    # a row per cohort and kind, or the hashes that are looked up
    assert {s for s in steps if s.startswith("SCAN")} <= {
        "SCAN sums",
        "SCAN statuses",
        "SCAN json_each VIRTUAL TABLE INDEX 1:",
    }
    for filters, index in (
        ({"year": 1}, "SEARCH requests USING INDEX requests_by_time (year=?)"),
        (
            {"year": 3, "day": 4, "kind": "labor", "cohort": "w"},
            "requests_by_time (year=? AND day=? AND kind=? AND cohort=?",
        ),
        (
            {"agent": 5, "year": 3},
            "SEARCH requests USING INDEX requests_by_agent (agent=? AND year=?)",
        ),
        ({"agent": 5}, "SEARCH requests USING INDEX requests_by_agent (agent=?)"),
        ({}, "SCAN requests USING INDEX requests_by_time"),  # everything, already in order
    ):
        where, parameters = where_clause(filters)  # type: ignore[arg-type]
        steps = plans(transcript, [CONVERSATIONS.format(where=where)], parameters)
        assert index in steps[0]
        assert "SEARCH decisions USING PRIMARY KEY" in steps[1]
        assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
    assert sum(1 for _ in transcript.conversations(agent=5, year=3)) == 100
    transcript.close()
