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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxecon.core.errors import EngineError, UserError
from llm.bridge import Bridge, ServedModel
from llm.decisions.labor import Labor, LaborObservation
from llm.decisions.wording import Bracket
from llm.engines.base import Engine
from llm.engines.replayed import ReplayEngine
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.transcript.keys import request_key
from llm.transcript.rows import CONVERSATIONS, StoredDecision, Total, where_clause
from llm.transcript.store import Transcript

IDENTITY = {"engine": "vllm", "model": "smollm2", "weights": "w", "template": "t"}


def ask(
    agent: int = 0,
    *,
    day: int = 0,
    year: int = 0,
    kind: str = "labor",
    text: str = "Wie viele Stunden? 你好 \x00 🙂",
) -> Request:
    schema: dict[str, Any] | None = {"type": "object"} if agent % 2 else None
    return Request(
        (Message("system", "rules"), Message("user", text)),
        schema,
        Sampling(),
        Draw(3, kind, year, day, "w", agent),
    )


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
        asked = replace(
            ask(agent), messages=(Message("system", rules), Message("user", f"worker {agent % 10}"))
        )
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
    put(
        transcript, ask(5, day=9), ANSWER
    )  # a writer is not held up by a reader, nor the reader by the writer
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
        "response": '{"hours":40}',
        "finish_reason": "stop",
        "error": None,
        "usage": {"prompt_tokens": 270, "cached_tokens": 128, "completion_tokens": 8},
        "seconds": 1.25,
        "status": None,
        "decision": None,
    }
    assert [c["kind"] for c in reader.conversations(kind="plan")] == ["plan"]
    assert [c["agent"] for c in reader.conversations(year=0, day=0, kind="labor", cohort="w")] == [
        0,
        1,
    ]
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
    transcript.close()


WRITER = """
import sys
from llm.messages import Completion; from llm.messages import Draw; from llm.messages import Message; from llm.messages import Request; from llm.messages import Sampling; from llm.messages import Usage; from llm.transcript.keys import request_key
from llm.transcript.store import Transcript

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
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(turn)], stdout=subprocess.PIPE, text=True
        ) as writer:
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
        assert (tmp_path / "t.sqlite-wal").exists(), (
            "killed without a log to recover: the test proves nothing"
        )
        reader = Transcript(path, read_only=True)
        found = reader.get_many(list(promised))
        assert {key: completion.text for key, completion in found.items()} == promised
        counts = reader.counts()
        assert counts.requests - counts.decisions["ok"] in range(
            turn + 2
        )  # a kill may fall between the two puts
        assert sum(1 for _ in reader.conversations()) == counts.requests
        assert reader._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        reader.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    program = WRITER.replace(
        "import sys",
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (4_500_000,) * 2)",
        1,
    )
    program = "from jaxecon.core.errors import UserError\ntry:\n" + "".join(
        f"    {line}\n" for line in program.splitlines()
    )
    program += "except UserError as error:\n    print(error)\n"
    path = tmp_path / "t.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", program, str(path), "0"], capture_output=True, text=True, check=True
    )
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
    program = "import os, sys\nfrom llm.transcript.store import Transcript\nif os.getuid() == 0: os.setuid(65534)\n"
    program += "t = Transcript(sys.argv[1], read_only=True); print(t.counts().requests, len(list(t.conversations())))"
    command = [sys.executable, "-c", program, str(folder / "t.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    folder.chmod(0o755)
    assert done.stdout.split() == ["1", "1"], done.stderr
    assert os.listdir(folder) == ["t.sqlite"]


def as_user(
    program: str, *arguments: object, prelude: str = ""
) -> subprocess.CompletedProcess[str]:
    """A program that prints a UserError it meets; root becomes somebody whom permissions concern."""
    lines = [
        "import os, sys",
        "from jaxecon.core.errors import UserError",
        "from llm.transcript.store import Transcript",
        prelude,
    ]
    lines += [
        "try:",
        *(f"    {line}" for line in program.splitlines()),
        "except UserError as error: print('UserError', error)",
    ]
    command = [sys.executable, "-c", "\n".join(lines), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done


NOBODY = "if os.getuid() == 0: os.setuid(65534)"


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


# Texts


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.text(
            st.characters(exclude_categories=("Cs",)) | st.sampled_from("\r\n\x00\u2028\x85\x0c ab")
        ),
        max_size=6,
    )
)
def test_any_text_comes_back_as_it_was(texts: list[str]) -> None:
    roles: list[Any] = ["system", "user", "assistant"]
    messages = tuple(Message(roles[i % 3], text) for i, text in enumerate(texts))
    with tempfile.TemporaryDirectory() as folder:
        transcript = Transcript(Path(folder) / "t.sqlite")
        put(transcript, replace(ask(), messages=messages), replace(ANSWER, text="".join(texts)))
        (conversation,) = transcript.conversations()
        transcript.close()
    assert tuple(Message(m["role"], m["content"]) for m in conversation["messages"]) == messages  # type: ignore[arg-type]
    assert conversation["response"] == "".join(texts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "\r\n",
        "a\r\nb\rc\n",
        "no end",
        "\x00",
        "a\x00\n\x00",
        "\n" * 500,
        "é\u2028🙂\ufeff\ufffe",
    ],
)
def test_awkward_texts(tmp_path: Path, text: str) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    for agent in range(2):  # new lines, then known ones
        put(transcript, ask(agent, text=text), ANSWER)
    assert [c["messages"][1]["content"] for c in transcript.conversations()] == [text, text]
    transcript.close()


def test_a_lone_surrogate_cannot_be_asked_for() -> None:
    with pytest.raises(UnicodeEncodeError):
        request_key(IDENTITY, ask(text="\ud800"))


def test_a_history_that_grows_costs_its_new_lines(tmp_path: Path) -> None:
    """Bytes per request depend neither on the day nor on how long the history is."""
    transcript = Transcript(tmp_path / "t.sqlite")
    lines = [
        f"Year 1 day {day}: 40 hours, income {day * 7919:,}, utility {day * 104729:,}\n"
        for day in range(600)
    ]
    for day in range(600):
        put(
            transcript,
            ask(day=day, text="".join(lines[max(0, day - 100) : day]) + "How many hours?"),
            ANSWER,
        )
    assert transcript.counts().texts == 1 + 599 + 1
    transcript.close()
    assert (
        tmp_path / "t.sqlite"
    ).stat().st_size / 600 < 600  # the texts themselves have 5,000 characters each


def test_lines_of_a_failed_put_are_forgotten(tmp_path: Path) -> None:
    """A put that fails after its lines were stored takes them back; the next one stores them again."""
    transcript = Transcript(tmp_path / "t.sqlite")
    with pytest.raises(sqlite3.IntegrityError):
        put(transcript, ask(text="new line"), replace(ANSWER, finish_reason=None))  # type: ignore[arg-type]
    put(transcript, ask(1, text="another"), ANSWER)
    put(transcript, ask(2, text="new line"), ANSWER)
    assert [c["messages"][1]["content"] for c in transcript.conversations()] == [
        "another",
        "new line",
    ]
    transcript.close()


# Decisions and sums


def test_a_days_decisions_are_one_commit(tmp_path: Path) -> None:
    transcript = Transcript(tmp_path / "t.sqlite")
    committed: list[str] = []
    transcript._db.set_trace_callback(
        lambda statement: committed.append(statement) if statement == "COMMIT" else None
    )
    day = [(ask(agent).draw, StoredDecision("ok", str(agent), 1)) for agent in range(50)]
    transcript.put_decisions(day)
    transcript.put_decisions([])
    assert committed == ["COMMIT"]
    changed = [
        (ask(7).draw, StoredDecision("fallback", "0", 3)),
        (ask(8).draw, StoredDecision("ok", "9", 2)),
    ]
    transcript.put_decisions(changed)
    found = transcript.get_decisions(seed=3, kind="labor", year=0, day=0, cohort="w")
    assert found == {
        **{draw.agent: decision for draw, decision in day},
        7: changed[0][1],
        8: changed[1][1],
    }
    assert transcript.counts().decisions == {"ok": 49, "fallback": 1}
    with pytest.raises(sqlite3.IntegrityError):  # nothing at all of a day that fails
        transcript.put_decisions(
            [(ask(60).draw, day[0][1]), (ask(61).draw, StoredDecision("ok", None, 1))]
        )
    assert transcript.counts().decisions == {"ok": 49, "fallback": 1}
    transcript.put_decisions(
        [(ask(agent).draw, StoredDecision("retried", "1", 2)) for agent in range(50)]
    )
    assert transcript.counts().decisions == {"retried": 50}
    transcript.close()


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


def test_an_interruption_while_answers_are_committed_loses_none(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a commit: it is heard, the answers wait, and the next flush takes
    them.
    """
    transcript = Transcript(tmp_path / "t.sqlite")
    packed = transcript._pieces.pack

    def interrupted(chats: object) -> list[bytes]:
        transcript._pieces.pack = packed  # type: ignore[method-assign]
        raise KeyboardInterrupt

    assert transcript._writer is not None
    transcript._closing.set()
    transcript._arrived.set()
    transcript._writer.join()  # so that the flush below is the one who writes
    for agent in range(5):
        transcript.put_soon(request_key(IDENTITY, ask(agent)), IDENTITY, ask(agent), ANSWER)
    transcript._pieces.pack = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        transcript.flush()
    assert transcript.counts().requests == 0
    transcript.flush()
    assert transcript.counts().requests == 5
    transcript.close()


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
        where, parameters = where_clause(**filters)  # type: ignore[arg-type]
        steps = plans(transcript, [CONVERSATIONS.format(where=where)], parameters)
        assert index in steps[0]
        assert "SEARCH decisions USING PRIMARY KEY" in steps[1]
        assert not any("TEMP B-TREE FOR ORDER BY" in step for step in steps)
    assert sum(1 for _ in transcript.conversations(agent=5, year=3)) == 100
    transcript.close()


# One writer, many readers


def test_a_second_writer_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    key = put(transcript, ask(), ANSWER)
    message = f"transcript: {path} is being written by another process, which must end first"
    with pytest.raises(UserError) as refused:
        Transcript(path)
    assert str(refused.value) == message
    (tmp_path / "link").symlink_to(path)
    for name in (path, tmp_path / "link"):
        done = as_user("Transcript(sys.argv[1])", name)
        assert done.stdout == f"UserError {message.replace(str(path), str(name))}\n"
    done = as_user("print(Transcript(sys.argv[1], read_only=True).counts().requests)", path)
    assert done.stdout == "1\n"
    put(transcript, ask(1), ANSWER)  # the refused have not disturbed the writer
    transcript.close()
    again = Transcript(path)
    assert key in again.get_many([key])
    again.close()
    assert sorted(os.listdir(tmp_path)) == ["link", "t.sqlite"]


def test_the_lock_goes_with_a_killed_writer(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "0"], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(UserError, match="is being written by another process"):
            Transcript(path)
        writer.kill()
    Transcript(path).close()


def test_of_many_who_open_at_once_one_writes(tmp_path: Path) -> None:
    """Openings and closings that race: never two writers, and never a file without a lock."""
    path = tmp_path / "t.sqlite"
    program = """
import time
won = 0
while won < 15:
    try:
        t = Transcript(sys.argv[1])
    except UserError as error:
        assert "being written" in str(error)
        continue
    handle = os.open(sys.argv[1] + ".mine", os.O_CREAT | os.O_EXCL)  # fails where another holds it
    time.sleep(0.001)
    os.close(handle)
    os.unlink(sys.argv[1] + ".mine")
    t.close()
    time.sleep(0.001)
    won += 1
"""
    command = [
        sys.executable,
        "-c",
        "import os, sys\nfrom jaxecon.core.errors import UserError\nfrom llm.transcript.store "
        "import Transcript" + program,
    ]
    racers = [subprocess.Popen([*command, str(path)]) for _ in range(3)]
    assert [racer.wait() for racer in racers] == [0] * 3
    assert os.listdir(tmp_path) == ["t.sqlite"]


# Format 1

FORMAT_1 = """
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
    kill += "def stored_key(key, seen=[]):\n    seen.append(key)\n    if len(seen) == 20: os.kill(os.getpid(), 9)\n"
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


# Faults


def test_a_full_file_system_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    """On a tmpfs of one megabyte, in a mount namespace of its own."""
    program = "from jaxecon.core.errors import UserError\ntry:\n" + "".join(
        f"    {line}\n" for line in WRITER.splitlines()
    )
    program += "except UserError as error:\n    print(error)\n    transcript.close()\n"
    program += "    t = Transcript(sys.argv[1], read_only=True); print(t._db.execute('PRAGMA integrity_check').fetchall())\n"
    program += "    print(t.counts().requests, sum(1 for _ in t.conversations()))\n"
    mount = 'mount -t tmpfs -o size=1m none "$1" || exit 77; exec "$2" -c "$3" "$1/t.sqlite" 0'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        mount,
        "sh",
        str(tmp_path),
        sys.executable,
        program,
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode in (1, 77) and not done.stdout:
        pytest.skip(f"no mounting here: {done.stderr}")
    *lines, error, check, counts = done.stdout.splitlines()
    assert error == f"transcript: cannot use {tmp_path}/t.sqlite: database or disk is full", (
        done.stderr
    )
    assert check == "[('ok',)]"
    requests, listed = map(int, counts.split())
    assert requests == listed
    assert requests in (
        len(lines),
        len(lines) + 1,
    )  # the decision of the last may be what found no room
    assert requests > 10


def test_a_full_database_takes_more_once_there_is_room(tmp_path: Path) -> None:
    """SQLite's own limit: an honest SQLITE_FULL in the middle of a transaction, and the same
    Transcript goes on after it.
    """
    transcript = Transcript(tmp_path / "t.sqlite")
    first = put(transcript, ask(), ANSWER)
    (pages,) = transcript._db.execute("PRAGMA page_count").fetchone()
    transcript._db.execute(f"PRAGMA max_page_count = {pages + 4}")
    kept = {first}

    def fill() -> None:
        for agent in range(1, 1000):
            kept.add(put(transcript, ask(agent, text=f"{agent} " * 500), ANSWER))

    with pytest.raises(UserError, match="database or disk is full") as refused:
        fill()
    assert "\n" not in str(refused.value)
    with pytest.raises(UserError, match="database or disk is full"):
        transcript.put_decisions(
            [(ask(agent).draw, StoredDecision("ok", "x" * 1000, 1)) for agent in range(1000)]
        )
    assert set(transcript.get_many(list(kept))) == kept
    assert transcript.counts().requests == len(kept)
    transcript._db.execute("PRAGMA max_page_count = 1000000")
    last = put(transcript, ask(len(kept), text=f"{len(kept)} " * 500), ANSWER)
    assert transcript._db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert last in [c["key"] for c in transcript.conversations()]
    transcript.close()


def test_a_read_only_folder_is_one_line(request: pytest.FixtureRequest) -> None:
    folder = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(folder))
    Transcript(folder / "t.sqlite").close()
    folder.chmod(0o555)
    for name in ("t.sqlite", "new.sqlite"):
        done = as_user("Transcript(sys.argv[1])", folder / name, prelude=NOBODY)
        assert (
            done.stdout == f"UserError transcript: cannot use {folder / name}: Permission denied\n"
        )
    folder.chmod(0o755)
    assert os.listdir(folder) == ["t.sqlite"]


METHODS: list[Callable[[Transcript], object]] = [
    lambda t: t.get_many([request_key(IDENTITY, ask(119, text="first 119\nsecond 119\n" * 3))]),
    lambda t: t.counts(),
    lambda t: t.totals(),
    lambda t: t.totals(year=0),
    lambda t: t.identities(),
    lambda t: list(t.conversations()),
    lambda t: list(t.conversations(agent=60, status="ok")),
    lambda t: t.get_decisions(seed=3, kind="labor", year=0, day=0, cohort="w"),
]
WRITING_METHODS: list[Callable[[Transcript], object]] = [
    lambda t: put(t, ask(500, text="new"), ANSWER),
    lambda t: t.put_decision(ask(500).draw, "ok", "40", 1),
]


def test_damage_is_one_line(tmp_path: Path) -> None:
    """Bytes changed anywhere after the header: every method answers or says so in one line."""
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    for agent in range(120):
        put(transcript, ask(agent, text=f"first {agent}\nsecond {agent}\n" * 3), ANSWER)
        transcript.put_decision(ask(agent).draw, "ok", "40", 1)
    transcript.close()
    sound = path.read_bytes()
    reported: list[str] = []

    def attempt(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except UserError as error:
            reported.append(str(error))
            return None

    for start in range(100, len(sound), 1500):
        path.write_bytes(
            sound[:start]
            + bytes(b ^ 0x5A for b in sound[start : start + 700])
            + sound[start + 700 :]
        )
        for read_only in (True, False):
            opened = attempt(lambda read_only=read_only: Transcript(path, read_only=read_only))  # type: ignore[misc]
            if opened is not None:
                for call in METHODS if read_only else (*METHODS, *WRITING_METHODS):
                    attempt(lambda call=call, opened=opened: call(opened))  # type: ignore[misc]
                opened.close()
        for beside in tmp_path.glob("t.sqlite-*"):
            beside.unlink()
    assert len(reported) > 50
    assert [line for line in reported if "\n" in line or str(path) not in line] == []


# Replay


class Answers(list[tuple[int, Completion]]):
    def __call__(self, index: int, completion: Completion) -> None:
        self.append((index, completion))


def test_replay_answers_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    requests = [ask(agent) for agent in range(4)]
    for agent, asked in enumerate(requests):
        put(
            transcript,
            asked,
            replace(ANSWER, text=str(agent), error="too long" if agent == 3 else None),
        )
    transcript.close()
    before = path.read_bytes()
    engine = ReplayEngine(path)
    assert engine.identity == IDENTITY
    assert engine.description == {"replay_of": str(path)}
    got = Answers()
    engine.complete(requests[::-1], on_completion=got)
    assert [(i, c.text, c.error) for i, c in got] == [
        (0, "3", "too long"),
        (1, "2", None),
        (2, "1", None),
        (3, "0", None),
    ]
    unknown = Request(requests[0].messages, None, Sampling(), Draw(3, "labor", 2, 5, "llm", 3))
    nothing = Answers()
    with pytest.raises(EngineError) as missing:
        engine.complete([requests[0], unknown], on_completion=nothing)
    assert str(missing.value) == (
        f"replay: {path} has no answer for labor of llm agent 3, year 2, day 5, attempt 0 "
        "(the configuration, code or model differs from the recorded run)"
    )
    assert nothing == []
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.complete(requests, on_completion=got)
    assert path.read_bytes() == before


def test_a_replayed_cohort_decides_as_it_did(tmp_path: Path) -> None:
    """The bridge on a replay: the same decisions, retries and fallbacks included, and a transcript
    with the same contents.
    """
    replies = iter(['{"hours":10}', "no", '{"hours":30}', "{'hours': 40}", "no", "no"])
    observations = [
        LaborObservation(
            0,
            0,
            "llm",
            agent,
            (Bracket(0, 0.3),),
            100.0,
            0.0,
            (),
            last_hours=50,
            choices=(10, 30, 40, 50),
        )
        for agent in range(4)
    ]

    def live(engine: Engine, name: str) -> tuple[list[Any], list[Any]]:
        transcript = Transcript(tmp_path / name)
        bridge = Bridge(
            {"llm": ServedModel(engine)}, transcript, seed=0, sampling=Sampling(), retries=1
        )
        decisions = bridge.decide(Labor(), observations)
        listed = list(transcript.conversations())
        transcript.close()
        return decisions, listed

    first = live(ScriptedEngine(lambda request: Completion(next(replies))), "first")
    assert len({d.status for d in first[0]}) > 1
    engine = ReplayEngine(tmp_path / "first", ["llm"])
    assert isinstance(engine, Engine)
    assert live(engine, "second") == first
    engine.close()


def test_replay_wants_one_model(tmp_path: Path) -> None:
    path = tmp_path / "t.sqlite"
    transcript = Transcript(path)
    other = {**IDENTITY, "model": "larger"}
    put(transcript, ask(0), ANSWER)
    put(transcript, ask(1), ANSWER)  # another schema, the same model
    planned = replace(ask(), draw=replace(ask().draw, cohort="planner", kind="plan"))
    transcript.put(request_key(other, planned), other, planned, ANSWER)
    transcript.close()
    with pytest.raises(UserError) as several:
        ReplayEngine(path)
    assert str(several.value) == (
        f"replay: {path} holds answers of 2 models: engine vllm model smollm2 template t weights "
        "w; "
        "engine vllm model larger template t weights w"
    )
    for cohort, identity in (("w", IDENTITY), ("planner", other)):
        engine = ReplayEngine(path, [cohort])
        assert engine.identity == identity
        engine.close()
    with pytest.raises(UserError, match="holds no answers for absent, neither"):
        ReplayEngine(path, ["absent", "neither"])
    with pytest.raises(UserError, match=r"holds no answers for $"):
        ReplayEngine(path, [])
    with pytest.raises(UserError, match="there is no file"):
        ReplayEngine(tmp_path / "absent")
