"""What is found in templates that do not work, and that samples reach all of those that do."""

import re
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from jaxecon.core.errors import UserError
from llm.decisions import template_check
from llm.decisions.prompts import FOLDER, Prompts
from llm.decisions.samples import in_order, samples
from llm.decisions.template_check import (
    AGAIN_VALUES,
    KIND_OF_TEMPLATE,
    check_templates,
    problems,
    sizes,
    unused_values,
)

NAMES = Prompts().names
TAG = re.compile(r"\{[{%].*?[%}]\}")
STRING = re.compile(r'"[^"]*"')


def characters(chat):
    return "".join(message.content for message in chat)


def changed(folder: Path, template: str, *replacements: tuple[str, str]) -> Prompts:
    """The package's words, with replacements in one template."""
    text = (FOLDER / f"{template}.jinja").read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    (folder / f"{template}.jinja").write_text(text)
    return Prompts(folder)


def write_all(prompts):
    for template, kind in KIND_OF_TEMPLATE.items():
        for observation in samples(template):
            prompts.messages(kind, observation)
    prompts.text("again", "user", AGAIN_VALUES)


def test_samples_reach_every_line_of_every_template():
    reached = defaultdict(set)

    def trace(frame, event, argument):
        template = frame.f_globals.get("__jinja_template__")
        if template is not None and event == "line":
            reached[template.name].add(frame.f_lineno)
        return trace

    prompts, before = Prompts(), sys.gettrace()
    sys.settrace(trace)
    try:
        write_all(prompts)
    finally:
        sys.settrace(before)
    for name in NAMES:
        file = f"{name}.jinja"
        code = prompts.environment.compile(prompts.source(name), file, file, raw=True)
        words = {
            number
            for number, line in enumerate(code.splitlines(), 1)
            if re.match(r"\s*yield (['\"]|str\()", line)
        }
        assert words <= reached[file], name


def test_the_package_has_no_mistakes_and_leaves_nothing_out():
    assert problems(Prompts()) == []
    assert unused_values(Prompts()) == {}


PART = ("{% block user %}", '{% block user %}\n{% include "rebate.jinja" %}\n')


@pytest.mark.parametrize(
    ("template", "replacement", "expected"),
    [
        (
            "labor",
            ("choices|join", "choicess|join"),
            "line 50: 'choicess' is unknown; did you mean ",
        ),
        ("labor", ("You may change", "{{ skill }} You may change"), "in the block `user` only"),
        (
            "labor",
            ("d.rebate|whole", "d.rebates|whole"),
            "from line 67: '.*' has no attribute 'reb",
        ),
        ("labor", ("{% endblock %}", ""), "Unexpected end of template"),
        ("labor", ("block user", "block users"), "has no block `user`"),
        ("labor", ('{"hours": H}', "H"), r'JSON that holds "hours" \("hours": missing\)'),
        ("labor", ("with JSON only", "shortly"), r"\(JSON: missing\)"),
        ("labor", ('"reasoning": R, ', ""), r'style=cot .*\("reasoning": missing\)'),
        (
            "labor",
            ("{% block system %}", "Be good.\n{% block system %}"),
            "line 2: is said nowhere",
        ),
        (
            "labor",
            ("{% block user %}", "{% block more %}{% endblock %}{% block user %}"),
            "nowhere",
        ),
        ("labor", ("Today is", "{{ d.day }} Today is"), "'d' is unknown"),
        (
            "labor",
            ("Today is", '{{ "x" * 300000 }} Today is'),
            "makes a prompt of 30.,... characters",
        ),
        ("labor", ("rebate|whole", "rebate|hole"), "No filter named 'hole'"),
        ("labor", ("brackets.jinja", "bracket.jinja"), "no template bracket.jinja"),
        ("labor", ("brackets.jinja", "parts/brackets.jinja"), "no template parts/brackets.jinja"),
        (
            "labor",
            ('"brackets.jinja"', 'style ~ ".jinja"'),
            "line 53: a template may include others",
        ),
        ("labor", ("{% block system %}", '{% extends "vote.jinja" %}'), "unknown tag 'endblock'"),
        ("labor", ('|join(", ")', ""), "line 50: a tuple cannot be said"),
        ("labor", ("{{ choices|join(", '{{ choices|map("string")|join('), None),
        ("labor", ('choices|join(", ")', 'choices|map("string")'), "a generator cannot be said"),
        (
            "labor",
            ('choices|join(", ")', "choices.index"),
            "a builtin_function_or_method cannot be",
        ),
        ("labor", ("choices|first", "choices|random"), "No filter named 'random'"),
        ("labor", ("{{ rebate|whole }}.", "{{ last_change }}."), "a NoneType cannot be said"),
        ("persona", PART, "persona.jinja, line 1., includes rebate: 'economy' is unknown; one of"),
        ("persona", ("Describe", '{% include "brackets.jinja" %}Describe'), "knows no names"),
        (
            "vote",
            ("{% if planners %}", "{% set brackets = 5 %}{% if planners %}"),
            "vote.jinja, in the package's brackets, from line 2: 'int' object is not iter",
        ),
        ("person", ("{{ persona }}", "{{ persona"), "line 4: "),
        ("person", ("{# What", '{% include "person.jinja" %}{# What'), "line 1: includes itself"),
        ("brackets", ("bracket.rate", "brackets.rate"), "line 3: .* has no attribute 'rate'"),
        ("brackets", ("in brackets", "in taxes"), "line 2: 'taxes' is unknown"),
        (
            "welfare",
            ("economy.epsilon", "economy.epsilons"),
            "from line 8: .* attribute 'epsilons'",
        ),
        ("plan", ("noise.deviation|amount", "(1 / 0)|amount"), "from line 54: division by zero"),
        (
            "plan",
            ("noise.repeats }}", "economy.__class__ }}"),
            "from line 55: access to attribute '__c",
        ),
        ("again", ("problem", "reply"), "line 3: 'reply' is unknown; one of problem"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, template, replacement, expected):
    prompts = changed(tmp_path / "words", template, replacement)
    lines = problems(prompts)
    if expected is None:
        assert lines == []
        return
    assert all("\n" not in line and str(tmp_path / "words") in line for line in lines)
    assert re.search(expected, lines[0]), lines[0]
    with pytest.raises(UserError) as caught:
        check_templates(str(tmp_path / "words"))
    assert str(caught.value).startswith(lines[0])


def misspelt():
    """Every use of a value or of its field in every template, as (template, line, column)."""
    for name in NAMES:
        for number, line in enumerate((FOLDER / f"{name}.jinja").read_text().splitlines()):
            plain = STRING.sub(lambda text: " " * len(text[0]), line)
            for tag in TAG.finditer(plain):
                for word in re.finditer(r"(?<![|\w])[a-z_]+(?!\w)", tag[0]):
                    keywords = "if elif else endif for in endfor set block endblock include and or"
                    if (
                        word[0]
                        in f"{keywords} not is none loop last index nextitem user system".split()
                    ):
                        continue
                    yield name, number, tag.start() + word.end()


@pytest.mark.parametrize("name", NAMES)
def test_every_misspelt_name_is_found(tmp_path, name):
    """Each name gets two further letters, one at a time."""
    places = [(number, end) for template, number, end in misspelt() if template == name]
    kinds = [k for t, k in KIND_OF_TEMPLATE.items() if name in Prompts().parts(t)]
    lines = (FOLDER / f"{name}.jinja").read_text().splitlines()
    assert places or name in ("election", "election_economy", "satisfaction")
    for number, end in places:
        line = lines[number]
        if re.match(r"\{% (set|for) ", line) and end <= line.find("=" if "set" in line else " in "):
            continue  # a name that the template gives: all its uses are then unknown
        (tmp_path / f"{name}.jinja").write_text(
            "\n".join([*lines[:number], line[:end] + "zz" + line[end:], *lines[number + 1 :], ""])
        )
        found = problems(Prompts(tmp_path))
        assert found, (name, number + 1, line)
        assert f"{name}.jinja" in found[0]
        assert "zz" in found[0], found[0]
        assert kinds or name == "again"


def test_a_folder_that_holds_no_readable_template(tmp_path):
    def refused(what):
        with pytest.raises(UserError, match=what) as caught:
            Prompts(tmp_path / "words")
        assert str(caught.value).startswith(f"llm.prompts: {tmp_path / 'words'}")
        assert "\n" not in str(caught.value)

    refused("no such folder")
    (tmp_path / "words").write_text("x")
    refused("not a folder")
    (tmp_path / "words").unlink()
    (tmp_path / "words").mkdir()
    refused("holds no template, such as labor.jinja")
    labor = tmp_path / "words" / "labor.jinja"
    labor.mkdir()
    refused("labor.jinja: not a file")
    labor.rmdir()
    labor.symlink_to(tmp_path / "nowhere")
    refused("labor.jinja: No such file")
    labor.unlink()
    labor.write_bytes("Löhne".encode("latin-1"))
    refused("labor.jinja: not a text file in UTF-8")


def test_unknown_files_are_named(tmp_path):
    (tmp_path / "labour.jinja").write_text("x")
    assert problems(Prompts(tmp_path))[0].endswith(
        "labour.jinja: no template includes it, and the package has none of that name; did you "
        "mean 'labor'? one of " + ", ".join(NAMES)
    )
    # a part of one's own is none of the package's, but a template includes it
    prompts = changed(
        tmp_path, "labor", ("You may change", '{% include "labour.jinja" %}\nYou may')
    )
    assert problems(prompts) == []


def test_files_of_windows_editors_are_read(tmp_path):
    text = (FOLDER / "labor.jinja").read_text()
    (tmp_path / "labor.jinja").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    kind, observation = KIND_OF_TEMPLATE["labor"], samples("labor")[0]
    assert Prompts(tmp_path).messages(kind, observation) == Prompts().messages(kind, observation)
    assert Prompts(tmp_path).digest() == Prompts().digest()


def test_values_that_are_left_out_are_named(tmp_path):
    prompts = changed(tmp_path, "labor", (" Yesterday's rebate: {{ rebate|whole }}.", ""))
    assert problems(prompts) == []
    assert unused_values(prompts) == {"labor": ["rebate"]}


def test_a_part_is_replaced_in_all_templates_that_include_it(tmp_path):
    (tmp_path / "brackets.jinja").write_text("A tax.\n")
    for template in ("labor", "satisfaction", "vote"):
        kind, observation = KIND_OF_TEMPLATE[template], samples(template)[0]
        assert Prompts(tmp_path).messages(kind, observation)[0].content.endswith("A tax.")


@pytest.mark.parametrize("template", list(KIND_OF_TEMPLATE))
def test_the_rules_are_the_same_for_all_agents_of_a_day(template):
    """The layout that prefix caches need, for any words: the rules see nothing of one agent."""
    prompts, kind = Prompts(), KIND_OF_TEMPLATE[template]
    systems = {prompts.messages(kind, o)[0] for o in in_order(template)}
    assert len(systems) == 1


def test_how_much_a_cache_can_serve_is_measured_of_any_words(tmp_path):
    def shared(prompts):
        return {size.template: size.shared for size in sizes(prompts, characters)}

    day_first = changed(
        tmp_path,
        "labor",
        ('{% include "person.jinja" %}', 'Day {{ day + 1 }}.\n{% include "person.jinja" %}'),
    )
    assert shared(Prompts())["labor"] > 0.6
    assert shared(day_first)["labor"] < shared(Prompts())["labor"] - 0.15
    assert {**shared(day_first), "labor": 0} == {**shared(Prompts()), "labor": 0}


def test_lengths_are_those_of_the_samples():
    by_template = {size.template: size for size in sizes(Prompts(), characters)}
    first = Prompts().messages(KIND_OF_TEMPLATE["vote"], samples("vote")[0])
    assert by_template["vote"].rules == len(first[0].content)
    assert by_template["vote"].first == len(characters(first)) <= by_template["vote"].longest


def test_templates_are_read_once(tmp_path):
    """A run keeps to the words it began with, whatever becomes of the files."""
    prompts = changed(tmp_path, "labor", ("You are a worker", "You are the worker"))
    shutil.rmtree(tmp_path)
    write_all(prompts)
    assert prompts.digest_of("labor") != Prompts().digest_of("labor")


def test_the_runs_of_a_sweep_check_their_words_once(tmp_path, monkeypatch):
    """Once for the same words, in whatever folder; again after an edit."""
    looked: list[Prompts] = []

    def look(prompts):
        looked.append(prompts)
        return problems(prompts)

    monkeypatch.setattr(template_check, "problems", look)
    monkeypatch.setattr(template_check, "_sound", set())
    changed(tmp_path / "a", "labor", ("You are a worker", "You are the worker"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    for folder in ("a", "a", "b"):
        check_templates(str(tmp_path / folder))
    assert len(looked) == 1
    changed(tmp_path / "a", "labor", ("choices|join", "choicse|join"))
    for _ in range(2):
        with pytest.raises(UserError, match="'choicse' is unknown"):
            check_templates(str(tmp_path / "a"))
    check_templates(str(tmp_path / "b"))
    assert len(looked) == 3
