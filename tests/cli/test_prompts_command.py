"""`jaxecon prompts`."""

import re

import pytest
from typer.testing import CliRunner

from jaxecon.cli.app import app
from llm.decisions.prompts import FOLDER, Prompts
from llm.decisions.template_check import KIND_OF_TEMPLATE
from llm.engines import models


def command(*arguments):
    return CliRunner().invoke(app, ["prompts", *map(str, arguments)])


@pytest.fixture
def no_model(monkeypatch, tmp_path):
    """A machine without models."""
    monkeypatch.setenv("JAXECON_MODELS", str(tmp_path / "models"))


def test_show_lists_templates_and_prints_them():
    listed = command("show").stdout
    assert [line.split()[0] for line in listed.splitlines() if re.match(r" [a-z_]+  ", line)] == [
        "template",
        *Prompts().names,
    ]
    assert "What becomes of the taxes." in listed
    assert command("show", "vote").stdout == (FOLDER / "vote.jinja").read_text()


@pytest.mark.parametrize("template", list(KIND_OF_TEMPLATE))
def test_show_prints_a_prompt_and_what_its_template_knows(template):
    example = command("show", template, "--example").stdout
    assert example.startswith("--- system\n")
    assert "\n--- user\n" in example
    assert "JSON" in example
    values = command("show", template, "--values").stdout
    kind = KIND_OF_TEMPLATE[template]
    for name in kind.rules:
        assert re.search(rf"^ {name} +system, user ", values, re.MULTILINE)
    assert re.search(r"^ agent +user ", values, re.MULTILINE)


def test_the_complaint_about_an_answer_and_parts_of_ones_own_are_shown(tmp_path):
    again = command("show", "again", "--example").stdout
    assert "cannot be used: hours must be a number" in again
    assert re.search(r"^ problem +user ", command("show", "again", "--values").stdout, re.MULTILINE)
    command("copy", tmp_path, "labor")
    (tmp_path / "mine.jinja").write_text("{# My part. #}\nMine.\n")
    assert "My part." in command("show", "--prompts", tmp_path).stdout
    assert command("show", "mine", "--prompts", tmp_path).stdout.endswith("Mine.\n")


def test_copies_are_those_that_were_asked_for_and_are_never_overwritten(tmp_path):
    folder = tmp_path / "a" / "b"
    assert command("copy", folder, "labor", "person").exit_code == 0
    (folder / "labor.jinja").write_text("mine")
    refused = command("copy", folder, "vote", "labor")
    assert refused.exit_code == 2
    assert refused.stderr.count("\n") == 1
    assert "labor.jinja: exists" in refused.stderr
    assert {path.name for path in folder.iterdir()} == {"labor.jinja", "person.jinja"}
    assert (folder / "labor.jinja").read_text() == "mine"
    assert command("copy", tmp_path / "all").exit_code == 0
    assert {path.stem for path in (tmp_path / "all").iterdir()} == {*Prompts().names}


def test_what_is_shown_is_the_users_own(tmp_path):
    (tmp_path / "brackets.jinja").write_text("A tax.\n")
    assert command("show", "brackets", "--prompts", tmp_path).stdout == "A tax.\n"
    assert "A tax." in command("show", "labor", "--example", "--prompts", tmp_path).stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("show", "labour"), "labour: no such template; did you mean 'labor'? one of again, "),
        (("show", "--example"), "--example, --values: give the name of a template"),
        (("show", "labor", "--example", "--values"), "give one of them"),
        (("show", "person", "--example"), "person is a part of other templates; give one of labor"),
        (("show", "--prompts", "nowhere"), "llm.prompts: nowhere: no such folder"),
        (("copy", "nowhere", "labour"), "labour: no such template"),
        (("check", "--model", "."), "--model: llm.model: the folder '.' has no config.json"),
        (("copy", "/proc/nowhere"), "/proc/nowhere: cannot be written"),
        (("check", "nowhere"), "llm.prompts: nowhere: no such folder"),
        (("check", "--model", "unheard/of"), "--model: "),
    ],
)
def test_mistakes_are_one_line(arguments, expected, no_model):
    result = command(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("jaxecon: ")
    assert result.stderr.count("\n") == 1
    assert expected in result.stderr


def test_check_prints_every_mistake(tmp_path):
    command("copy", tmp_path, "labor", "plan")
    labor, plan = tmp_path / "labor.jinja", tmp_path / "plan.jinja"
    labor.write_text(labor.read_text().replace("choices|join", "choice|join"))
    plan.write_text(plan.read_text().replace('"changes"', "changes"))
    result = command("check", tmp_path)
    assert result.exit_code == 2
    assert [line.split(": ")[2].split(",")[0] for line in result.stderr.splitlines()] == [
        str(labor),
        str(plan),
    ]


def test_check_counts_characters_where_no_model_is_here(no_model):
    result = command("check")
    assert result.exit_code == 0
    assert result.stdout.endswith("No mistakes.\n")
    rows = {line.split()[0]: line.split()[1:] for line in result.stdout.splitlines() if "%" in line}
    assert set(rows) == set(KIND_OF_TEMPLATE)
    assert re.search(r"In\s+characters, since tokens cannot be counted", result.stdout)


@pytest.mark.slow
def test_check_counts_tokens_as_a_local_model_does():
    assert models.resolve("smollm2").is_dir()
    result = command("check", "--model", "smollm2")
    assert "tokens of smollm2" in result.stdout
    (labor,) = (line.split() for line in result.stdout.splitlines() if line.startswith(" labor"))
    rules, first, longest = (int(n.replace(",", "")) for n in labor[1:4])
    assert 200 < rules < first < longest < 2048


def test_check_names_values_that_are_left_out(tmp_path, no_model):
    command("copy", tmp_path, "labor")
    path = tmp_path / "labor.jinja"
    path.write_text(path.read_text().replace(" Yesterday's rebate: {{ rebate|whole }}.", ""))
    result = command("check", tmp_path)
    assert result.exit_code == 0
    assert "labor: does not use rebate" in result.stdout
