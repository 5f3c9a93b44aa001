"""`jaxecon transcript`: totals, conversations, export, and what goes wrong."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from jaxecon.cli.app import app
from llm.messages import Completion, Draw, Message, Request, Sampling, Usage
from llm.transcript.keys import request_key
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript

IDENTITY = {"engine": "scripted", "model": "none"}
ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["transcript", *map(str, arguments)])


def lines(*arguments: object) -> list[dict[str, Any]]:
    done = command(*arguments)
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


def store(transcript: Transcript, draw: Draw, question: str, answer: str, status: Any) -> None:
    request = Request(
        (Message("system", "rules"), Message("user", question)), None, Sampling(), draw
    )
    completion = Completion(
        answer, "stop", Usage(100, 25, 7), 0.5, None if answer else "the prompt has 9999 tokens"
    )
    transcript.put(request_key(IDENTITY, request), IDENTITY, request, completion)
    transcript.put_decisions([(draw, StoredDecision(status, "40", 1))])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Path]:
    """Two years of two days, three workers of two cohorts and a planner; the run is still going."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").write_text('{"format": 1, "status": "running"}')
    transcript = Transcript(folder / "transcript.sqlite")
    for year in range(2):
        for day in range(2):
            for agent in range(3):
                draw = Draw(0, "labor", year, day, "llm" if agent < 2 else "[bold]voices", agent)
                status = "fallback" if (year, day, agent) == (1, 0, 1) else "ok"
                store(
                    transcript,
                    draw,
                    f"day {day}?",
                    '{"hours":40}' if status == "ok" else "",
                    status,
                )
        store(
            transcript,
            Draw(0, "plan", year, 0, "planner", 0),
            "rates?",
            '{"changes":[0]}',
            "repaired",
        )
    yield folder
    transcript.close()


def test_totals_as_a_table(run: Path) -> None:
    done = command(run)
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["llm", "labor", "8", "1", "800", "25", "%", "56", "4"] in rows
    assert ["[bold]voices", "labor", "4", "0", "400", "25", "%", "28", "2"] in rows
    assert ["all", "14", "1", "1,400", "25", "%", "98", "7"] in rows
    assert ["llm", "labor", "7", "0", "0", "1"] in rows
    assert ["planner", "plan", "0", "2", "0", "0"] in rows
    assert ["llm", "labor", "7", "1", "40", "100", "%"] in rows  # of which one is a fallback
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_totals_as_json(run: Path) -> None:
    (found,) = lines(run, "--json")
    assert found["run"] == str(run)
    assert [(t["cohort"], t["kind"], t["requests"], t["errors"]) for t in found["totals"]] == [
        ("[bold]voices", "labor", 4, 0),
        ("llm", "labor", 8, 1),
        ("planner", "plan", 2, 0),
    ]
    assert found["totals"][1] == {
        "cohort": "llm",
        "kind": "labor",
        "requests": 8,
        "errors": 1,
        "prompt_tokens": 800,
        "cached_tokens": 200,
        "completion_tokens": 56,
        "seconds": 4.0,
        "statuses": {"fallback": 1, "ok": 7},
    }
    (answers,) = (a for a in found["answers"] if a["cohort"] == "llm")
    assert len(answers.pop("sequence")) == 64
    assert answers == {
        "cohort": "llm",
        "kind": "labor",
        "decisions": 8,
        "usable": 7,
        "distinct": 1,
        "most_frequent": "40",
        "most_frequent_count": 7,
    }
    (found,) = lines(run, "--json", "--status", "fallback")
    assert [(a["usable"], a["most_frequent"]) for a in found["answers"]] == [(0, None)]
    assert [(t["requests"], t["statuses"]) for t in found["totals"]] == [(1, {"fallback": 1})]
    (found,) = lines(run, "--json", "--year", 1, "--day", 1, "--agent", 0)
    assert [(t["cohort"], t["requests"]) for t in found["totals"]] == [("llm", 1)]


def test_show_reads_well(run: Path) -> None:
    assert command(run, "--show", "--year", 0, "--day", 1, "--agent", 1).stdout == (
        "=== year 0, day 1: labor of llm agent 1\n--- system\nrules\n--- user\nday 1?\n--- answer\n"
        '{"hours":40}\n--- decision 40, ok; 100 tokens in (25 cached), 7 out (stop), 0.50 s\n\n'
    )
    failed = command(run, "--show", "--status", "fallback").stdout
    assert "--- answer\n(none: the prompt has 9999 tokens)\n--- decision 40, fallback;" in failed
    assert failed.count("===") == 1
    everything = command(run, "--show").stdout
    assert everything.count("=== ") == 14
    assert "[bold]voices" in everything


DECIDED = {  # what was decided, as it is stored
    ("labor", 0): ('{"hours": 100}', "100"),
    ("labor", 1): ('{"hours": 0}', "0"),
    ("satisfaction", 0): ('{"satisfied": true}', "true"),
    ("plan", 0): ('{"reasoning": "More \\u001b[2J revenue.", "changes": [0, -10]}', "[0, -10]"),
    ("candidacy", 0): ('{"stand": false, "changes": [0, 0]}', "null"),
    ("persona", 0): ('{"persona": "A nurse."}', '"A nurse."'),
}


@pytest.fixture
def decided(tmp_path: Path) -> Path:
    """Decisions of several kinds; the planner gave its reason in its second attempt."""
    (tmp_path / "manifest.json").write_text("{}")
    transcript = Transcript(tmp_path / "transcript.sqlite")
    for (kind, agent), (answer, decision) in DECIDED.items():
        draw = Draw(0, kind, 1, 0, "llm", agent)
        for attempt, text in enumerate([*(["no"] if kind == "plan" else []), answer]):
            request = Request(
                (Message("user", kind),), None, Sampling(), replace(draw, attempt=attempt)
            )
            transcript.put(request_key(IDENTITY, request), IDENTITY, request, Completion(text))
        status: Any = "retried" if kind == "plan" else "ok"
        attempts = 2 if kind == "plan" else 1
        transcript.put_decisions([(draw, StoredDecision(status, decision, attempts))])
    transcript.close()
    return tmp_path


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ("100", ["labor"]),
        ("0", ["labor"]),
        ("true", ["satisfaction"]),
        ("[0,-10]", ["plan"]),
        ("null", ["candidacy"]),
        ("A nurse.", ["persona"]),
        ('"A nurse."', ["persona"]),
    ],
)
def test_decisions_are_selected_by_what_was_decided(
    decided: Path, value: str, kinds: list[str]
) -> None:
    listed = command(decided, "--list", "--decision", value).stdout.splitlines()
    assert [line.split()[4] for line in listed] == kinds
    found = lines(decided, "--export", "-", "--decision", value)
    assert sorted({row["kind"] for row in found}) == kinds
    (totals,) = lines(decided, "--json", "--decision", value)
    assert [total["kind"] for total in totals["totals"]] == kinds


def test_what_was_decided_most_often(decided: Path) -> None:
    shown = command(decided).stdout
    table = [line.split() for line in shown.partition("What was decided")[2].splitlines()]
    assert ["llm", "labor", "2", "2", "0", "50", "%"] in table  # as often as 100, and before it
    assert ["llm", "plan", "1", "1", "[0,", "-10]", "100", "%"] in table
    assert max(map(len, shown.splitlines())) <= 80
    transcript = Transcript(decided / "transcript.sqlite")
    told = "A [bold]nurse " * 20
    store(transcript, Draw(0, "persona", 0, 0, "llm", 1), "?", "{}", "ok")
    transcript.put_decisions(
        [(Draw(0, "persona", 0, 0, "llm", 1), StoredDecision("ok", json.dumps(told), 1))]
    )
    transcript.close()
    persona = command(decided, "--agent", 1, "--kind", "persona").stdout
    assert '"A [bold]nurse A [bold]nurse A..' in persona
    assert max(map(len, persona.splitlines())) <= 80


def test_a_line_a_decision_with_its_reason(decided: Path) -> None:
    assert command(decided, "--list").stdout.splitlines() == [
        "year 1, day 0: candidacy of llm 0: null",
        "year 1, day 0: labor of llm 0: 100",
        "year 1, day 0: labor of llm 1: 0",
        'year 1, day 0: persona of llm 0: "A nurse."',
        "year 1, day 0: plan of llm 0: [0, -10] (retried): More \\x1b[2J revenue.",
        "year 1, day 0: satisfaction of llm 0: true",
    ]
    reasons = {row["kind"]: row["reason"] for row in lines(decided, "--export", "-")}
    assert reasons["plan"] == "More \x1b[2J revenue."
    assert {kind for kind, reason in reasons.items() if reason is not None} == {"plan"}


def test_show_leaves_the_terminal_alone(tmp_path: Path) -> None:
    """What a model says is not obeyed by the terminal, and no encoding stops the command."""
    (tmp_path / "manifest.json").write_text("{}")
    transcript = Transcript(tmp_path / "transcript.sqlite")
    store(
        transcript,
        Draw(0, "labor", 0, 0, "llm", 0),
        "Wörter 你好\t🙂\r\n\x00",
        "\x1b[2J\x1b]0;title\x07\u202e\x9b",
        "ok",
    )
    transcript.close()
    shown = command(tmp_path, "--show").stdout
    assert "Wörter 你好\t🙂\\r\n\\x00\n" in shown
    assert "\\x1b[2J\\x1b]0;title\\x07\\u202e\\x9b\n" in shown
    narrow = process(tmp_path, "--show", PYTHONIOENCODING="ascii")
    assert narrow.returncode == 0
    assert "W\\xf6rter \\u4f60\\u597d" in narrow.stdout
    assert lines(tmp_path, "--export", "-")[0]["response"] == "\x1b[2J\x1b]0;title\x07\u202e\x9b"


def test_export(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    assert command(run, "--export", file).stdout == ""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    transcript = Transcript(run / "transcript.sqlite", read_only=True)
    assert rows == list(transcript.conversations())
    transcript.close()
    assert (rows[0]["status"], rows[0]["decision"]) == ("ok", 40)
    assert lines(run, "--export", "-") == rows
    assert lines(run, "--export", "-", "--kind", "plan", "--cohort", "planner") == [
        r for r in rows if r["kind"] == "plan"
    ]
    before = file.read_bytes()
    refused = command(run, "--export", file)
    assert (refused.exit_code, refused.stderr) == (
        2,
        f"jaxecon: --export: {file}: exists; give a new file\n",
    )
    assert file.read_bytes() == before
    for path, why in (
        (tmp_path / "no" / "out.jsonl", "No such file or directory"),
        ("/dev/full", "No space left on device"),
    ):
        assert (
            command(run, "--export", path).stderr
            == f"jaxecon: --export: {path}: cannot be written ({why})\n"
        )


def test_an_export_that_fails_leaves_no_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Iterator[object]:
        yield {}
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Transcript, "conversations", broken)
    file = tmp_path / "out.jsonl"
    done = command(run, "--export", file)
    assert (done.exit_code, done.stderr) == (
        2,
        f"jaxecon: --export: {file}: cannot be written (No space left on device)\n",
    )
    assert not file.exists()


def test_mistakes_are_one_line(run: Path, tmp_path: Path) -> None:
    mechanical = tmp_path / "mechanical"
    mechanical.mkdir()
    (mechanical / "manifest.json").write_text('{"format": 1, "status": "running"}')
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "transcript.sqlite").write_bytes(b"nonsense" * 1000)
    for arguments, message in (
        ((mechanical,), f"{mechanical}: this run has no transcript: no language model took part"),
        ((tmp_path / "absent",), f"{tmp_path / 'absent'}: not a run directory (no manifest.json)"),
        ((run, "--kind", "labour"), f"--kind: 'labour'; {run} holds labor, plan"),
        ((run, "--cohort", "LLM"), f"--cohort: 'LLM'; {run} holds [bold]voices, llm, planner"),
        ((run, "--show", "--json"), "--show, --list, --export and --json: give one of them"),
    ):
        done = command(*arguments)
        assert (done.exit_code, done.stderr, done.stdout) == (2, f"jaxecon: {message}\n", "")
    done = command(damaged)
    assert done.exit_code == 2
    assert done.stderr.startswith(
        f"jaxecon: transcript: {damaged / 'transcript.sqlite'} is not a jaxecon transcript"
    )
    assert done.stderr.count("\n") == 1
    for arguments in ((run, "--status", "good"), (run, "--year", -1), ()):
        assert command(*arguments).exit_code == 2


def test_it_reads_while_the_run_writes(run: Path) -> None:
    assert command(run, "--show", "--kind", "plan").exit_code == 0
    done = process(run, "--json")
    assert done.returncode == 0, done.stderr
    assert sum(t["requests"] for t in json.loads(done.stdout)["totals"]) == 14


def test_an_empty_transcript(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    Transcript(tmp_path / "transcript.sqlite").close()
    assert command(tmp_path).stdout == "No requests.\n"
    assert lines(tmp_path, "--json")[0]["totals"] == []
    assert (
        command(tmp_path, "--show", "--kind", "labor").stderr
        == f"jaxecon: --kind: 'labor'; {tmp_path} holds no requests yet\n"
    )


@pytest.mark.parametrize("options", ["--show", "--export -", "--export /dev/stdout", "--json", ""])
def test_a_reader_that_goes_away_is_no_error(run: Path, options: str) -> None:
    transcript = Transcript(run / "long.sqlite")
    for day in range(300):
        store(
            transcript,
            Draw(0, "labor", 0, day, "llm", 0),
            f"day {day}? " + "long " * 200,
            '{"hours":40}',
            "ok",
        )
    transcript.close()
    folder = run.parent / "long"
    folder.mkdir()
    (run / "long.sqlite").rename(folder / "transcript.sqlite")
    reader, writer = os.pipe()
    os.close(reader)  # gone before the first byte
    shell = [sys.executable, "-m", "jaxecon", "transcript", str(folder), *options.split()]
    done = subprocess.run(
        shell, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode in (0, 141)


def test_help_says_how_years_count() -> None:
    text = " ".join(command("--help").stdout.split())
    assert "count from 0" in text
    for option in (
        "--show",
        "--export",
        "--json",
        "--kind",
        "--year",
        "--day",
        "--cohort",
        "--agent",
        "--status",
    ):
        assert option in text


def process(*arguments: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    command_line = [sys.executable, "-m", "jaxecon", "transcript", *map(str, arguments)]
    return subprocess.run(
        command_line,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )
