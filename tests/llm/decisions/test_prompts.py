"""What every template holds to, and what the shared parts of prompts say."""

import json
import re
import shutil

import pytest
from jinja2 import DictLoader
from support.decisions import chat, labor

from llm.decisions.base import Parsed, Unusable
from llm.decisions.labor import Labor
from llm.decisions.persona import DescribePersona, PersonaObservation, parse_persona
from llm.decisions.prompts import FOLDER, Prompts
from llm.decisions.registry import KINDS
from llm.decisions.satisfaction import (
    Satisfaction,
    SatisfactionObservation,
    parse_satisfaction,
)
from llm.decisions.shared import Bracket, EconomyFacts, merged
from llm.decisions.template_check import KIND_OF_TEMPLATE
from llm.decisions.template_language import TemplateEnvironment, joined

BRACKETS = (Bracket(0, 0.1), Bracket(20_000, 0.1), Bracket(90_000, 0.5))


def rendered(source: str, **values: object) -> str:
    """What a template of this text says."""
    environment = TemplateEnvironment(DictLoader({}))
    return joined(environment.from_string(source).render(**values))


def test_every_kind_has_a_template_that_begins_with_what_it_asks():
    assert {kind.template for both in KINDS.values() for kind in both} <= {*Prompts().names}
    for path in FOLDER.glob("*.jinja"):
        assert path.read_text().startswith("{# "), path
        assert max(map(len, path.read_text().splitlines())) <= 100, path


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("One line\n and its end.\nAnother.", "One line and its end.\nAnother."),
        ("{# a\ncomment #}\n\nText\n\n\nmore\n", "Text\nmore"),
        ("a\n{% if x %}\nb\n{% endif %}\nc", "a\nb\nc"),
        ("a\n{% if not x %}\nb\n{% endif %}\nc", "a\nc"),
        ("a\n  {% if x %}\n b\n  {% endif %}\nc", "a b\nc"),
        ("a\n {% if x %}b{% endif %}\nc", "a b\nc"),
        ("{% if x %}{% if x %}\na\n{% endif %}{% endif %}\n", "a"),
        ("{{ 0.125|percent }} {{ 0.1|percent }} {{ [0, 0.5, 1]|percents }}", "12.5 10 0/50/100 %"),
        ("{{ 1234.5|whole }} {{ 12.3456789|amount }} {{ 2|amount(3) }}", "1,234 12.346 2.000"),
    ],
)
def test_how_templates_are_read(source, expected):
    assert rendered(source, x=True) == expected


@pytest.mark.parametrize(
    "source",
    [
        "{{ unknown }}",
        "{{ x.unknown }}",
        "{% if unknown %}a{% endif %}",
        "{{ x.__class__.__mro__ }}",
        "{{ values.append(1) }}",
        "{{ range(3) }}",
    ],
)
def test_a_template_sees_what_it_is_given_and_nothing_else(source):
    from jinja2 import TemplateError

    with pytest.raises(TemplateError):
        rendered(source, x=True, values=[])


def test_an_error_names_the_line_of_the_file():
    from jinja2 import TemplateSyntaxError

    with pytest.raises(TemplateSyntaxError) as caught:
        rendered("{# one\ntwo #}\n\n{% if x %}\n{{ 1 + }}\n{% endif %}")
    assert caught.value.lineno == 5


def test_the_digest_is_of_every_word(tmp_path):
    before = Prompts().digest()
    for name in Prompts().names:
        shutil.copyfile(FOLDER / f"{name}.jinja", tmp_path / f"{name}.jinja")
    assert Prompts(tmp_path).digest() == before
    assert list(Prompts(tmp_path).own) == Prompts().names
    for path in tmp_path.glob("*.jinja"):
        text = path.read_text()
        path.write_text(text + "x")
        changed = Prompts(tmp_path)
        assert changed.digest() != before
        for template in KIND_OF_TEMPLATE:
            says = path.stem in changed.parts(template)
            assert (changed.digest_of(template) != Prompts().digest_of(template)) == says
            says = says or path.stem == "again"
            assert (changed.digest_of(template, 1) != Prompts().digest_of(template, 1)) == says
        # a comment is no word, nor are lines that leave none in a prompt
        path.write_text(
            text.replace("{# ", "{# Of\nold:\n\n", 1).replace("#}\n", "#}\n\n{# x #}\n")
        )
        assert Prompts(tmp_path).digest() == before
        path.write_text(text)
    labor = tmp_path / "labor.jinja"
    labor.write_text(
        labor.read_text().replace("{% block user %}", '{% block user %}{% include "mine.jinja" %}')
    )
    digests = set()
    for words in ("a", "b"):
        (tmp_path / "mine.jinja").write_text(words)
        digests |= {Prompts(tmp_path).digest(), Prompts(tmp_path).digest_of("labor")}
    assert len(digests) == 4  # a part of one's own counts, too


def test_asking_again_keeps_the_chat_and_bounds_the_reply():
    messages = chat(Labor(), labor())
    again = Prompts().try_again(messages, "x" * 10_000, "hours must be a number")
    assert again[:2] == messages
    assert [m.role for m in again] == ["system", "user", "assistant", "user"]
    assert len(again[2].content) == 300
    assert "hours must be a number" in again[3].content


def test_neighbours_of_one_rate_are_one_bracket():
    assert merged(BRACKETS) == (Bracket(0, 0.1), Bracket(90_000, 0.5))
    assert merged(BRACKETS[1:2] * 3) == (Bracket(20_000, 0.1),)


def satisfaction(**changes):
    observation = SatisfactionObservation(
        year=0,
        day=6,
        economy=EconomyFacts(days=8),
        cohort="llm",
        agent=0,
        brackets=BRACKETS,
        skill=1000.0,
        persona="You are a 30-year-old.",
        hours=40.0,
        income=40_000.0,
        tax=4_000.0,
        rebate=9_000.0,
        satisfied=True,
    )
    return chat(Satisfaction(), SatisfactionObservation(**vars(observation) | changes))


def test_satisfaction_is_asked_of_the_days_that_are_over():
    system, user = satisfaction()
    assert user.content.startswith("You are a 30-year-old.")
    assert (
        "In the first 7 of the 8 days of year 1, on average and at yearly rates, you worked 40 "
        "hours a week, earned 40,000 dollars, paid 4,000 in tax (10 % of it), and got a rebate of "
        "9,000." in user.content
    )
    assert "In all you got 5,000 more than you paid." in user.content
    assert "10 % on income from 0 to 90,000\n50 % on income from 90,000 up" in system.content
    assert "In year 1, on average and at yearly rates, you" in satisfaction(day=7)[1].content
    owed = satisfaction(rebate=-3_069.0)[1].content
    assert "and paid a further 3,069 that everyone pays.\nIn all you paid 7,069 more" in owed
    assert "In all you paid 1,000 more" in satisfaction(tax=10_000.0)[1].content
    assert "% of it" not in satisfaction(income=0.0, tax=0.0)[1].content


def test_satisfaction_and_persona_are_read():
    assert parse_satisfaction('{"satisfied": false}') == Parsed(False)
    assert parse_satisfaction('Well: {"satisfied": "Yes"}') == Parsed(True, True)
    for wrong in ('{"satisfied": 1}', '{"satisfied": null}', "no", '{"satisfied": [true]}'):
        with pytest.raises(Unusable):
            parse_satisfaction(wrong)
    asked = chat(DescribePersona(), PersonaObservation("llm", 0, "A 30-year-old."))
    assert asked[1].content == "A 30-year-old."
    assert parse_persona('{"persona": "You are\\n Ann."}') == Parsed("You are Ann.", True)
    assert len(parse_persona(json.dumps({"persona": "x" * 5_000})).value) == 600
    for wrong in ('{"persona": ""}', '{"persona": 3}', "You are Ann"):
        with pytest.raises(Unusable):
            parse_persona(wrong)


def test_reasoning_comes_before_the_answer():
    system = chat(Labor(), labor(style="cot"))[0].content
    assert '{"reasoning": R, "hours": H}, R one short' in system
    kind, observation = Labor(), labor(style="cot")
    assert list(kind.schema(observation)["properties"]) == ["reasoning", "hours"]
    assert kind.parse('{"reasoning": "More pays.", "hours": 20}', observation).value == 20
    assert kind.tokens(observation) > kind.tokens(labor()) + 80
    assert not re.search("reasoning", chat(Labor(), labor())[0].content)
