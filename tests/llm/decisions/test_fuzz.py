"""Whatever a model says: a value in range or Unusable, in bounded time; and each agent gets what
its own reply said.

The replies in real_replies.json are the local model's, made by make_real_replies.py.
"""

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.damage import ASKED, DAMAGES, GROSS, HOURS, REPLIES, Damage, damaged, read

from jaxecon.planners import possible_changes
from llm.decisions.base import Parsed

NAMES = st.sampled_from(list(ASKED))


def test_real_replies() -> None:
    usable = Counter(reply["kind"] for reply in REPLIES if read(reply["kind"], reply["text"]))
    asked = Counter(reply["kind"] for reply in REPLIES)
    assert len(REPLIES) == 192
    assert set(asked) == set(ASKED)
    assert all(0 < usable[kind] < asked[kind] for kind in asked), usable
    assert {reply["finish_reason"] for reply in REPLIES} == {"stop", "length"}


def test_damaged_replies() -> None:
    """Half of them made from usable replies: every damage is survived, and some leaves the answer
    readable.
    """
    draw = random.Random(0)
    good = [reply for reply in REPLIES if read(reply["kind"], reply["text"])]
    usable = 0
    for i in range(10_000):
        reply = draw.choice(good if i % 2 else REPLIES)
        usable += read(reply["kind"], damaged(draw, reply["text"], gross=0.05)) is not None
    assert 800 < usable < 9_000


@pytest.mark.parametrize(
    "damage", [*dict.fromkeys(DAMAGES), *GROSS], ids=lambda damage: damage.__name__
)
def test_every_damage_to_a_plain_answer(damage: Damage) -> None:
    """`read` asserts: in time, within the range or one short line."""
    answers = {
        "labor": '{"hours": 40}',
        "plan_3": '{"changes": [10, 0, -20]}',
        "satisfaction": '{"satisfied": true}',
        "persona": '{"persona": "You weld."}',
        "survey_choice": '{"answer": "no"}',
        "survey_number": '{"answer": 5600}',
        "survey_text": '{"answer": "I like it."}',
    }
    for seed in range(15 if damage in GROSS else 60):
        for name, text in answers.items():
            read(name, damage(random.Random(seed), text))


@pytest.mark.parametrize("name", ASKED)
def test_no_depth_is_too_much(name: str) -> None:
    """Near the recursion limit, too, where a decoder may still read what an encoder or a comparison
    cannot.
    """
    fields = {"labor": "hours", "plan": "changes", "survey": "answer"}
    field = fields.get(name.split("_")[0], name)
    for depth in (150, 3_000, 10_000, *range(880, 1_000)):
        lists = "[" * depth + "]" * depth
        objects = '{"a":' * depth + "1" + "}" * depth
        for text in (
            lists,
            objects,
            f'{{"{field}":{lists}}}',
            f'{{"{field}":{lists}}}' * 2,
            '{"a":' * depth,
            '[{"a":' * depth,
        ):
            assert read(name, text) is None
        answers = '"hours":40,"satisfied":true,"persona":"me","changes":[0,0,0],"answer":"no"'
        read(name, f'{{{answers},"x":{lists}}}')


def test_numbers_beyond_a_float_and_half_characters() -> None:
    for digits in (308, 309, 4300, 4301):
        assert read("labor", f'{{"hours": {"9" * digits}}}') is None
        assert read("plan_3", f'{{"changes": [0, 0, -{"9" * digits}]}}') is None
    assert read("persona", '{"persona": "You \\ud83d weld."}') == Parsed(
        "You ? weld.", repaired=True
    )
    assert read("persona", '{"persona": "You \\ud83d\\ude42 weld."}') == Parsed("You 🙂 weld.")


FIELDS = ("hours", "changes", "satisfied", "persona", "answer", "reasoning")


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from((40, -20, "yes", " No ", 10**310)),
    lambda inner: (
        st.lists(inner, max_size=7)
        | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=300)
@given(
    NAMES,
    st.text()
    | JSON.map(json.dumps)
    | st.tuples(st.text(), JSON.map(json.dumps), st.text()).map("".join),
)
def test_anything_at_all(name: str, text: str) -> None:
    """`read` asserts: in time, within the range or one short line."""
    read(name, text)


LINES = st.text(
    st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")), min_size=1, max_size=40
)


def answer(value: str | int) -> dict[str, Any]:
    return {"answer": value}


ANSWERS = st.one_of(
    st.tuples(st.just("labor"), st.sampled_from(HOURS).map(lambda hours: {"hours": hours})),
    *(
        st.tuples(
            st.just(f"plan_{n}"),
            st.lists(st.sampled_from(possible_changes()), min_size=n, max_size=n).map(
                lambda c: {"changes": c}
            ),
        )
        for n in (3, 7)
    ),
    st.tuples(st.just("satisfaction"), st.booleans().map(lambda yes: {"satisfied": yes})),
    st.tuples(
        st.just("persona"),
        st.lists(LINES, min_size=1, max_size=4).map(lambda words: {"persona": " ".join(words)}),
    ),
    st.tuples(st.just("survey_choice"), st.sampled_from(("yes", "no")).map(answer)),
    st.tuples(st.just("survey_number"), st.integers(0, 500_000).map(answer)),
    st.tuples(
        st.just("survey_text"),
        st.lists(LINES, min_size=1, max_size=4).map(lambda words: answer(" ".join(words))),
    ),
)


SPACE = st.text(" \t\r\n", max_size=3)


@settings(deadline=None, max_examples=300)
@given(
    ANSWERS,
    st.none() | st.text(max_size=240),
    st.booleans(),
    st.booleans(),
    st.sampled_from((None, 0, 3, "\t")),
    st.tuples(SPACE, SPACE),
    st.tuples(SPACE, SPACE),
)
def test_a_right_answer_in_any_style_is_itself(
    right: tuple[str, dict[str, Any]],
    reasoning: str | None,
    reasoning_last: bool,
    escaped: bool,
    indent: int | str | None,
    around: tuple[str, str],
    colon: tuple[str, str],
) -> None:
    name, given_ = right
    thought = {} if reasoning is None else {"reasoning": reasoning}
    whole = {**given_, **thought} if reasoning_last else {**thought, **given_}
    separators = ("," + colon[0], colon[0] + ":" + colon[1])
    text = (
        around[0]
        + json.dumps(whole, ensure_ascii=escaped, indent=indent, separators=separators)
        + around[1]
    )
    (value,) = given_.values()
    assert read(name, text) == Parsed(
        tuple(value) if isinstance(value, list) else value, repaired=False
    )
