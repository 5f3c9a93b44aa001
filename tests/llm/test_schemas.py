"""Parsers: every decision inside its bounds, whatever the text."""

import json

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxecon.planners import CHANGES
from llm.schemas import Parsed, Unusable, labor_schema, parse_labor, parse_plan, plan_schema

CHOICES = tuple(range(0, 101, 10))


@pytest.mark.parametrize(
    ("text", "hours", "repaired"),
    [
        ('{"hours":40}', 40, False),
        ('{ "hours": 0 }', 0, False),
        ('{"hours": 44}', 40, True),
        ('{"hours": 45.1}', 50, True),
        ('{"hours": "60"}', 60, True),
        ('Sure! {"hours": 30} is my choice.', 30, True),
        ('```json\n{"hours": 30}\n```', 30, True),
        ('{"hours": 30} {"hours": 30}', 30, True),
        ('{"reason": "é{", "hours": 70}', 70, False),
        ('{not json} {"hours": 20}', 20, True),
    ],
)
def test_usable_labor(text, hours, repaired):
    assert parse_labor(text, CHOICES) == Parsed(hours, repaired)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "40",
        "{",
        '{"hours": 4',
        '{"hours": 101}',
        '{"hours": -1}',
        '{"hours": true}',
        '{"hours": null}',
        '{"hours": [40]}',
        '{"hours": "many"}',
        '{"hours": NaN}',
        '{"hours": 1e999}',
        '{"hour": 40}',
        '{"hours": 40, "hours": 50}',
        '{"hours": 40} or {"hours": 50}',
        "[" * 100_000,
        '{"a":' * 100_000,
        "x" * 1_000_000,
    ],
)
def test_unusable_labor(text):
    with pytest.raises(Unusable) as caught:
        parse_labor(text, CHOICES)
    assert "\n" not in str(caught.value)


def test_a_cap_on_hours_is_a_smaller_choice():
    with pytest.raises(Unusable, match="between 0 and 60"):
        parse_labor('{"hours": 70}', CHOICES[:7])


@pytest.mark.parametrize(
    ("text", "changes", "repaired"),
    [
        ('{"changes":[-20,0,10]}', (-20, 0, 10), False),
        ('{"changes":["10", 0.0, 20]}', (10, 0, 20), True),
        ('I think {"changes": [0, 0, 0]}', (0, 0, 0), True),
    ],
)
def test_usable_plan(text, changes, repaired):
    assert parse_plan(text, 3) == Parsed(changes, repaired)


@pytest.mark.parametrize(
    "text",
    [
        '{"changes":[0,0]}',
        '{"changes":[0,0,0,0]}',
        '{"changes":[5,0,0]}',
        '{"changes":0}',
        '{"changes":[true,0,0]}',
        '{"changes":[[0],0,0]}',
    ],
)
def test_unusable_plan(text):
    with pytest.raises(Unusable):
        parse_plan(text, 3)


@given(st.sampled_from(CHOICES))
def test_labor_schema_and_parser_agree(hours):
    answer = {"hours": hours}
    jsonschema.validate(answer, labor_schema(CHOICES))
    assert parse_labor(json.dumps(answer), CHOICES) == Parsed(hours)


@given(st.lists(st.sampled_from(CHANGES), min_size=1, max_size=9))
def test_plan_schema_and_parser_agree(changes):
    answer = {"changes": changes}
    jsonschema.validate(answer, plan_schema(len(changes)))
    assert parse_plan(json.dumps(answer), len(changes)) == Parsed(tuple(changes))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, plan_schema(len(changes) + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["hours", "changes", "x"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.text() | JSON.map(json.dumps) | st.tuples(st.text(), JSON.map(json.dumps), st.text()).map("".join))
def test_any_text_is_a_bounded_decision_or_unusable(text):
    for parse in (lambda t: parse_labor(t, CHOICES), lambda t: parse_plan(t, 2)):
        try:
            value = parse(text).value
        except Unusable:
            continue
        assert value in CHOICES if isinstance(value, int) else all(c in CHANGES for c in value)


@given(st.binary(max_size=12), st.integers(0, 30))
def test_mutated_answers(noise, at):
    text = '{"changes":[-20,0,10]}'
    mutated = text[:at] + noise.decode("latin-1") + text[at + len(noise) :]
    try:
        value = parse_plan(mutated, 3).value
    except Unusable:
        return
    assert len(value) == 3
    assert all(c in CHANGES for c in value)
