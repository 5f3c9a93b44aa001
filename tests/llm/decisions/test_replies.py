"""Parsers: every decision inside its bounds, whatever the text."""

import json
from contextlib import suppress

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxecon.planners import possible_changes
from llm.decisions.base import Parsed, Unusable
from llm.decisions.candidacy import candidacy_schema, parse_candidacy
from llm.decisions.labor import labor_schema, parse_labor
from llm.decisions.rate_changes import parse_plan, plan_schema
from llm.decisions.vote import parse_vote, vote_schema

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
        ("40", 40, True),
    ],
)
def test_usable_labor(text, hours, repaired):
    assert parse_labor(text, CHOICES) == Parsed(hours, repaired)


PROSE = "I weigh what I earn against what it costs me, and I may {as they say} rest.\n"


@pytest.mark.parametrize("before", [300, 700, 2_500])
@pytest.mark.parametrize("after", [0, 100])
@pytest.mark.parametrize("thought", ["", "<think>{"])
def test_an_answer_far_from_the_beginning(before, after, thought):
    """In a draft of up to 190,000 characters, also where the thought is as long."""
    draft = PROSE.replace("{as they say} ", "") * before
    text = f"{thought}{draft}</think>{draft}" if thought else draft
    text += '{"hours": 30}' + "\nThat is it.\n" * after
    assert parse_labor(text, CHOICES) == Parsed(30, True)


def test_long_replies_that_say_several_things():
    for first, last in (("20", '{"hours": 30}'), ('{"hours": 20}', '{"hours": 30}')):
        with pytest.raises(Unusable):
            parse_labor(f"{first}\n{PROSE * 2_000}\nRather {last}\n or {{'hours': 40}}", CHOICES)
    with pytest.raises(Unusable):
        parse_labor("40" + " " * 30_000 + "or 50", CHOICES)


@pytest.mark.parametrize("space", ["", "\n", "\n  "])
@pytest.mark.parametrize("ending", [', "hours": 40}', ', "hours": 40'])
def test_the_end_of_a_long_object_is_no_answer(space, ending):
    for log in ("x" * 60_000, "x {" * 20_000, "{}" + "x" * 60_000, "} " * 30_000):
        long = f'{{"log": "{log}",{space} "draft":{space} {{"hours": 12}}{ending}'
        for text in (long, f"So: {long}", f"So: [{long}]", f"}}}} {long}"):
            if log[0] == "}" and ending[-1] != "}":
                continue  # where braces in a text close an object that never ends
            with suppress(Unusable):
                assert parse_labor(text, CHOICES).value == 40


@pytest.mark.parametrize(
    "text",
    [
        "",
        "40 or 50",
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


@given(st.lists(st.sampled_from(possible_changes()), min_size=1, max_size=9))
def test_plan_schema_and_parser_agree(changes):
    answer = {"changes": changes}
    jsonschema.validate(answer, plan_schema(len(changes)))
    assert parse_plan(json.dumps(answer), len(changes)) == Parsed(tuple(changes))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(answer, plan_schema(len(changes) + 1))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["hours", "changes", "x"]) | st.text(), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(
    st.text()
    | JSON.map(json.dumps)
    | st.tuples(st.text(), JSON.map(json.dumps), st.text()).map("".join)
)
def test_any_text_is_a_bounded_decision_or_unusable(text):
    for parse in (lambda t: parse_labor(t, CHOICES), lambda t: parse_plan(t, 2)):
        try:
            value = parse(text).value
        except Unusable:
            continue
        assert (
            value in CHOICES
            if isinstance(value, int)
            else all(c in possible_changes() for c in value)
        )


@given(st.binary(max_size=12), st.integers(0, 30))
def test_mutated_answers(noise, at):
    text = '{"changes":[-20,0,10]}'
    mutated = text[:at] + noise.decode("latin-1") + text[at + len(noise) :]
    try:
        value = parse_plan(mutated, 3).value
    except Unusable:
        return
    assert len(value) == 3
    assert all(c in possible_changes() for c in value)


# --- elections


VOTES = [
    ("plurality", '{"vote": 2}', (2,), False),
    ("plurality", '{"vote": 0}', (), False),
    ("plurality", '{"vote": null}', (), True),
    ("plurality", 'I choose {"vote": "3"}.', (3,), True),
    ("approval", '{"approve": [3, 1]}', (3, 1), False),
    ("approval", '{"approve": []}', (), False),
    ("borda", '{"ranking": [2, 2, 1]}', (2, 1), True),
    ("instant_runoff", '{"ranking": [1, 3, 2]}', (1, 3, 2), False),
]


@pytest.mark.parametrize(("method", "text", "value", "repaired"), VOTES)
def test_votes_are_read(method, text, value, repaired):
    assert parse_vote(text, method, 3) == Parsed(value, repaired)


@pytest.mark.parametrize(
    ("method", "text", "problem"),
    [
        ("plurality", '{"vote": 4}', "vote takes candidates' numbers, 1 to 3, or 0"),
        ("plurality", '{"vote": 1.5}', "vote takes candidates' numbers"),
        ("plurality", '{"vote": "worker_3"}', "vote must be a number"),
        ("plurality", '{"vote": [1, 2]}', "vote must be a number"),
        ("approval", '{"approve": 2}', "approve must be a list"),
        ("borda", '{"ranking": [1, 0]}', "ranking takes candidates' numbers, 1 to 3"),
        ("borda", "nobody", "answer with a JSON object"),
    ],
)
def test_what_is_no_vote_is_told(method, text, problem):
    with pytest.raises(Unusable, match=problem):
        parse_vote(text, method, 3)


@pytest.mark.parametrize(
    ("text", "value", "repaired"),
    [
        ('{"stand": true, "changes": [10, -20]}', (10, -20), False),
        ('{"stand": "yes", "changes": ["10", 0]}', (10, 0), True),
        (
            '{"stand": false, "changes": [999]}',
            None,
            False,
        ),  # who does not stand has nothing to announce
        ('{"stand": false}', None, False),
    ],
)
def test_candidacies_are_read(text, value, repaired):
    assert parse_candidacy(text, 2) == Parsed(value, repaired)


@pytest.mark.parametrize(
    "text",
    [
        '{"stand": true}',
        '{"stand": true, "changes": [5, 0]}',
        '{"stand": 1, "changes": [0, 0]}',
        "[]",
    ],
)
def test_what_is_no_candidacy_is_unusable(text):
    with pytest.raises(Unusable):
        parse_candidacy(text, 2)


@given(st.text(max_size=200), st.sampled_from(["plurality", "approval", "borda"]))
def test_whatever_is_said_is_a_ballot_or_unusable(text, method):
    for said in (text, f'{{"vote": {text}, "approve": {text}, "ranking": [{text}]}}'):
        try:
            found = parse_vote(said, method, 3).value
        except Unusable:
            continue
        assert len(set(found)) == len(found)
        assert set(found) <= {1, 2, 3}


def test_forms_of_ballots_hold_the_numbers_on_them():
    assert vote_schema("plurality", 2)["properties"]["vote"]["enum"] == [0, 1, 2]
    approve = vote_schema("approval", 2)["properties"]["approve"]
    assert (approve["items"]["enum"], approve["maxItems"]) == ([1, 2], 2)
    assert list(candidacy_schema(3, "cot")["properties"]) == ["reasoning", "stand", "changes"]
