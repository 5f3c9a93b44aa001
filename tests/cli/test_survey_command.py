"""`jaxecon survey`: counts, answers, JSON, and what goes wrong; and the closing lines of a run."""

import json
from pathlib import Path

import pytest
from support.runs import HYBRID
from typer.testing import CliRunner, Result

import jaxecon as je
from jaxecon.cli.app import app
from jaxecon.storage.run import Run
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Request

QUESTIONS = [
    {"name": "support", "ask": "Do you [b]support this tax?", "choices": ["yes", "no"]},
    {"name": "expected", "ask": "What tax do you expect?", "number": [0, 9000], "years": [1]},
    {"name": "reason", "ask": "Why these hours?", "text": 40, "years": [0, 2]},
]
ASKING = {**HYBRID, "survey": {"questions": QUESTIONS}}


def answer(request: Request) -> Completion:
    """Agent 0 says yes and expects nothing usable; the others say no and expect 1,000 an agent."""
    draw = request.draw
    answers = {
        "labor": {"hours": 40},
        "plan": {"reasoning": "So.", "changes": [0] * 7},
        "satisfaction": {"satisfied": True},
        "survey:support": {"answer": "no" if draw.agent else "yes"},
        "survey:expected": {"answer": 1_000 * draw.agent or "much"},
        "survey:reason": {"answer": f"[b]Of \x1bagent {draw.agent}."},
    }
    return Completion(json.dumps(answers[draw.kind]))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("survey") / "run"
    return je.run(ASKING, out=out, engine=ScriptedEngine(answer))


def command(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["survey", *map(str, arguments)])


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_counts(run: Run) -> None:
    done = command(run.path)
    assert done.exit_code == 0, done.output
    assert "support: Do you [b]support this tax?" in done.stdout
    assert "expected: What tax do you expect?" in done.stdout
    lines = words(done.stdout)
    for year in "012":
        at = lines.index([year, "3", "0", "33", "%", "yes"])
        assert lines[at + 1] == ["67", "%", "no"]
        assert ([year, "2", "1", "1,500", "500", "1,000", "2,000"] in lines) == (year == "1")
    assert "[b]Of \\x1bagent 2." in done.stdout
    assert "\x1b" not in done.stdout


def test_many_long_choices_fit_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    choices = [f"choice {n}, {'which is long, ' * 8}" for n in range(50)]
    question = {"name": "many", "ask": "Which?", "choices": choices}
    asking = {**HYBRID, "years": 1, "llm": {"engine": "simulated", "max_model_len": 8192}}
    je.run({**asking, "survey": {"questions": [question]}}, out=tmp_path / "run")
    printed = command(tmp_path / "run").stdout
    assert max(map(len, printed.splitlines())) <= 80
    taken = set(je.load(tmp_path / "run").survey["choice"].to_pylist())
    for number, choice in enumerate(choices):
        assert (f"choice {number}," in printed) == (choice in taken)
    assert printed.count(" %") == len(taken)


def test_one_question(run: Run) -> None:
    done = command(run.path, "--question", "reason", "--list")
    assert len(done.stdout.splitlines()) == 6
    assert done.stdout.startswith("year 0: reason: llm 0: ")
    assert "support" not in command(run.path, "--question", "expected").stdout
    listed = command(run.path, "--question", "expected", "--list").stdout.splitlines()
    assert listed == [
        "year 1: expected: llm 0: no usable answer",
        "year 1: expected: llm 1: 1000",
        "year 1: expected: llm 2: 2000",
    ]


def test_json(run: Run) -> None:
    counted = json.loads(command(run.path, "--json").stdout)["questions"]
    assert [(c["question"], c["year"], c["answers"], c["missing"]) for c in counted] == [
        *(("support", year, 3, 0) for year in range(3)),
        ("expected", 1, 2, 1),
        *(("reason", year, 3, 0) for year in (0, 2)),
    ]
    assert counted[0]["shares"] == pytest.approx({"yes": 1 / 3, "no": 2 / 3})
    assert counted[3]["numbers"] == {
        "mean": 1_500,
        "deviation": 500,
        "least": 1_000,
        "largest": 2_000,
    }


def test_the_closing_lines_say_what_was_answered_last(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    from jaxecon.cli.output.run import print_summary

    print_summary(run)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Survey, year 3, support: no 67 %, yes 33 % (3 answers)." in printed
    assert (
        "year 2, expected: mean 1,500, standard deviation 500, from 1,000 to 2,000 (2 answers, 1"
        in (printed)
    )
    assert "Survey, year 3, reason: 3 different texts (3 answers)." in printed


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--question", "suport"], "--question: 'suport'; did you mean 'support'? one of"),
        (["--list", "--json"], "--list and --json: give one of them"),
    ],
)
def test_mistakes(run: Run, arguments: list[str], line: str) -> None:
    done = command(run.path, *arguments)
    assert (done.exit_code, done.stderr.startswith(f"jaxecon: {line}")) == (2, True), done.stderr


def test_a_run_without_answers(tmp_path: Path) -> None:
    silent = {**HYBRID, "years": 1}
    je.run(silent, out=tmp_path / "silent")
    assert "nobody was asked: its settings have no survey.questions" in (
        command(tmp_path / "silent").stderr
    )
    later = {**HYBRID, "years": 2, "survey": {"questions": [QUESTIONS[0] | {"years": [1]}]}}
    from support.runs import run_killed

    killed = run_killed(later, tmp_path / "killed", year=0)
    assert "nobody was asked yet" in command(killed).stderr
    (never,) = je.branch(
        run_killed(
            later | {"survey": {"questions": [QUESTIONS[0] | {"years": [0]}]}},
            tmp_path / "r",
            year=1,
        ),
        year=1,
        out=tmp_path / "never",
    )
    assert "nobody was asked: no question was due" in command(never.path).stderr
    assert "not a run directory" in command(tmp_path).stderr
    assert "not a run directory" in command(never.path / "config.yaml").stderr
