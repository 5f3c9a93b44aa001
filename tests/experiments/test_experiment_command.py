"""`jaxecon experiment`: what it prints, and what a user is told of a mistake."""

import copy
import importlib.util
import json
import sys
import types
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.small_designs import small_designs
from typer.testing import CliRunner

from experiments.suite import checks, conduct
from experiments.suite.report import Report
from experiments.suite.tables import Table
from jaxecon.cli.app import app
from jaxecon.cli.errors import USER_ERROR
from jaxecon.cli.output.experiment import print_experiment

RUNNER = CliRunner()


def assert_one_line(result, message):
    assert result.exit_code == USER_ERROR
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")  # so that no heading of the table is folded
    designs = small_designs("population_mix")
    monkeypatch.setattr(
        conduct,
        "load_designs",
        lambda name, size: (
            copy.deepcopy(designs) | {"llm": {"objectives": {"run": {}, "seeds": 1}}}
        ),
    )
    done = RUNNER.invoke(
        app,
        ["experiment", "population_mix", "--quick", "--no-llm", "--out", "out", "--set", "years=2"],
    )
    assert done.exit_code == 0, done.output
    for expected in (
        "egotists alone",
        "gain at equilibrium",
        "Figure: out/figures/mixes.png",
        "left out (--no-llm)",
        "report.md",
    ):
        assert expected in done.stdout
    assert json.loads((tmp_path / "out/manifest.json").read_text())["llm"] == "left out (--no-llm)"
    years = pq.read_table(tmp_path / "out/mechanical/mixes/years.parquet")
    assert set(years["year"].to_pylist()) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tax_yeer"], "jaxecon: experiment: 'tax_yeer'; one of tax_year, planner_prompt,"),
        (["tax_year", "--quick", "--full"], "--quick and --full: give one of them"),
        (
            ["tax_year", "--no-llm", "--set", "yeers=3"],
            "yeers: no such setting; did you mean 'years'?",
        ),
        (
            ["tax_year", "--no-llm", "--set", "years=1"],
            "jaxecon: years: 1; at least 3 in tax_year.mechanical.arms",
        ),
        (
            ["voting", "--no-llm", "--set", "years=2"],
            "jaxecon: years: 2; at least 3 in voting.mechanical.elections",
        ),
        (
            ["baselines", "--no-llm", "--set", "years=1"],
            "jaxecon: years: 1; at least 2 in baselines.mechanical.panel",
        ),
        (
            ["empirical_saez", "--set", "years=1"],
            "jaxecon: years: 1; at least 2 in empirical_saez.mechanical.panel",
        ),
        (
            ["tax_year", "--no-llm", "--out", "taken"],
            "--out: taken: is not empty; give a new folder",
        ),
        (["tax_year", "--no-llm", "--out", "file"], "--out: file: is a file; give a new folder"),
    ],
)
def test_mistakes(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/something").touch()
    (tmp_path / "file").touch()
    assert_one_line(RUNNER.invoke(app, ["experiment", *arguments]), message)
    assert not list((tmp_path / "runs").glob("*/*"))  # an empty folder goes when the process ends


def test_without_vllm_the_line_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "vllm" else found(name, *more),
    )
    monkeypatch.setattr(checks, "check_engines", lambda config: None)
    result = RUNNER.invoke(app, ["experiment", "planner_prompt", "--out", "out"])
    assert_one_line(result, "planner_prompt.llm.planner: needs vLLM: pip install 'jaxecon[vllm]'")
    assert "--no-llm" in result.stderr
    assert not (tmp_path / "out").exists()


def test_somebody_elses_experiments(tmp_path, monkeypatch):
    other = types.ModuleType("experiments")
    other.__file__ = str(tmp_path / "experiments/__init__.py")
    monkeypatch.setitem(sys.modules, "experiments", other)
    assert_one_line(RUNNER.invoke(app, ["experiment", "tax_year"]), "is not jaxecon's")
    monkeypatch.setitem(sys.modules, "experiments", None)
    assert_one_line(
        RUNNER.invoke(app, ["experiment", "tax_year"]), "experiments: this installation of jaxecon"
    )


def test_no_arm_is_cut_off_at_eighty_characters(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    arms = ["all four", *(f"without {name}" for name in ("exploration", "exploitation", "bound"))]
    arms.insert(3, "without direction hint")
    cells = [["change of a rate, points a year", *(f"{i}.25" for i in range(5))]]
    table = Table("t", "T", [], ["", *arms], cells)
    print_experiment(Report("n", "Why?", Path("out"), [table], [], [], 0), 1.0)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    (line,) = (line for line in shown.splitlines() if "0.25" in line)
    assert [word for word in line.split() if word.endswith(".25")] == cells[0][1:]
    for word in " ".join(arms).split():
        assert word in shown.split()
