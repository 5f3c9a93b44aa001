"""Answers in other forms than the one asked for: read where they can mean one thing only."""

import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.near_misses import (
    ANSWER_FORMS,
    ASKED,
    BARE,
    DRAFTS,
    ENVELOPES,
    OBJECT_FORMS,
    SURROUNDINGS,
    json_text,
)

from jaxecon.config.survey import Question
from llm.decisions.base import Parsed, Unusable
from llm.decisions.drafts import refuse_cut
from llm.decisions.replies import reason_in
from llm.decisions.survey import parse_answer
from llm.messages import UNFINISHED, Completion

KINDS = list(ASKED)


def read(kind: str, text: str) -> Parsed[Any] | None:
    """What is read, None for what is unusable; always in a short time."""
    begun, parsed, problem = time.thread_time(), None, "none"
    try:
        parsed = ASKED[kind].parse(text)
    except Unusable as unusable:
        problem = str(unusable)
    assert time.thread_time() - begun < 1.0
    assert 0 < len(problem) < 200
    assert "\n" not in problem
    return parsed


def assert_read(kind: str, text: str) -> None:
    assert read(kind, text) == Parsed(ASKED[kind].value, repaired=True), (kind, text)


@pytest.mark.parametrize("kind", KINDS)
def test_every_form_of_an_answer_is_the_answer(kind: str) -> None:
    answer = ASKED[kind].answer
    plain = json_text(answer)
    assert read(kind, f" \n{plain}\n") == Parsed(ASKED[kind].value)
    for make in ANSWER_FORMS.values():
        parsed = read(kind, make(answer))
        assert parsed == Parsed(ASKED[kind].value, make(answer) != plain), make(answer)
    for form in (*OBJECT_FORMS.values(), *ENVELOPES.values(), *SURROUNDINGS.values()):
        assert_read(kind, form(plain))
    draft = json_text(ASKED[kind].other)
    for thought in DRAFTS.values():
        assert_read(kind, thought(plain, draft))
    twice_encoded = json_text({"": plain})[len('{"": ') : -1]
    assert_read(kind, twice_encoded)
    for text in (
        f"{{{plain}}}",
        plain.replace('"', '\\"'),
        "{\u200b" + plain[1:],
        f"\u200b{plain}",
    ):
        assert_read(kind, text)
    assert_read(kind, json_text({"name": "f", "arguments": plain}))
    if len(answer) == 1:
        ((name, value),) = answer.items()
        assert_read(kind, json_text({name: {"value": value}}))


@pytest.mark.parametrize("kind", KINDS)
def test_two_answers_are_none(kind: str) -> None:
    asked = ASKED[kind]
    one, other = json_text(asked.answer), json_text(asked.other)
    inner = f'"draft": {one}'
    for text in (
        f"{one}\n{other}",
        f"{one} or {other}",
        f"[{one}, {other}]",
        f'{{"answer": {one}, "response": {other}}}',
        f"{one[:-1]}, {other[1:]}",
        f"{one[:-1]}, {other[1:]}".replace('"', "'"),
        f"```json\n{one}\n```\n```json\n{other}\n```",
        f"<think>a</think>{one}<think>no</think>{other} {one}",
        # in an object that is cut, or cannot be read
        f"{{{inner}, {other[1:-2]}",
        f"{{{inner}, oh, {other[1:]}",
    ):
        assert read(kind, text) is None, text


@pytest.mark.parametrize("kind", KINDS)
def test_no_answer_is_made_up(kind: str) -> None:
    asked = ASKED[kind]
    one, name = json_text(asked.answer), next(iter(asked.answer))
    for text in (
        "",
        "{}",
        "I will not answer",
        "I'm sorry, I cannot help with that.",
        f"<think>Maybe {one}",
        f"{one} <think> but then",
        f"◁think▷ {one}",
        f"[THINK] {one}",
        f"<|channel|>analysis<|message|>{one}",
        f"<think>{one}</think>",
        f'{{"example": {one}}}',
        f'{{"previous": {one}, "next": null}}',
        f'{{"type": "object", "properties": {{"{name}": {{"type": "integer", "enum": [40]}}}}}}',
        *(f'{{"{name}": {value}}}' for value in ("null", "[]", "{}", '""', "[[]]", '{"a": 40}')),
        *(one[:end] for end in range(1, len(one))),
        one.replace(name, f"{name}s"),
    ):
        if kind in ("approval", "ranking") and text.endswith("[]}"):
            continue  # a ballot for nobody
        if kind == "vote" and text.endswith("null}"):
            continue
        assert read(kind, text) is None, text


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_that_is_taken_back_is_none(kind: str) -> None:
    asked = ASKED[kind]
    draft, answer = json_text(asked.other), json_text(asked.answer)
    for text in (
        f"{draft} is wrong",
        f"{draft} is far too low.",
        f"{draft} would be a lie",
        f"{draft}. That is only a first idea.",
        f"{draft}? No.",
        f"{draft}\n\nWait, I should think again.",
        f"Not {draft} but another",
        f"Maybe {draft}",
        f"For example: {draft}",
        # what cannot be read may be the answer
        f"{draft} is my first idea.\n\nFinal answer:\n{answer[:-1]}",
        f'{{"reasoning": "a "quoted" word", {answer[1:]} {draft}',
        f"{{{draft}, {answer[1:]}",
    ):
        assert read(kind, text) is None, text


def test_an_object_before_words_that_are_not_searched() -> None:
    draft, words = '{"hours": 20}', " and so on" * 3_000
    for answer in ('{"hours": 40}', "Final answer: 40", ""):
        assert read("labor", f"{draft}{words}\n{answer}\n{words}") is None
    assert_read("labor", f"{words}{words}{words} {json_text({'hours': 40})}")


@pytest.mark.parametrize("kind", [*BARE, "satisfaction"])
def test_another_value_behind_an_object(kind: str) -> None:
    asked = ASKED[kind]
    draft, same = json_text(asked.other), json_text(asked.answer)
    ((name, value),) = asked.answer.items()
    for claim in (
        *(f"\n\nFinal answer: {value}", f"\n**{value}**", f" So: {json.dumps(value)}"),
        *(f" so: {value}", f", final_answer: {value}", f"\n\nCorrection: {value}."),
        *(f". I mean {value}", f" or rather {value}, I think", f" {name}: {value}}}"),
        f'{{"value": {json.dumps(value)}}}',
    ):
        assert read(kind, f"I weigh it. {draft}{claim}") is None, claim
        assert read(kind, f"I weigh it. {same}{claim}") == Parsed(asked.value, True), claim


@pytest.mark.parametrize(
    "around",
    [
        "Sure! {} is my choice.",
        "{} I will work 30 hours since I earn $15,000.",
        "{}\n\nExplanation: 50 hours is too much, 20 is not enough.",
        "{} is not too much for me.",
        "I could work 20 hours, or 30. My answer: {}",
        "I {{as they say}} rest 20 hours. {}",
        "{} // 8 hours a day",
        "**Answer:** {}\n\nIncome: 46000\nTax: 30%",
        "{}\n\n1. I earn more.\n2. It is my first choice.",
    ],
)
def test_words_around_an_answer(around: str) -> None:
    assert_read("labor", around.format('{"hours": 40}'))


def read_cut(kind: str, text: str) -> Parsed[Any] | None:
    try:
        refuse_cut(text)
    except Unusable:
        return None
    return read(kind, text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reply_that_was_cut(kind: str) -> None:
    one, other = json_text(ASKED[kind].answer), json_text(ASKED[kind].other)
    for ending in ("length", UNFINISHED):
        assert Completion(one, ending).may_be_cut
    for text in (
        *(one, f"My answer: {one}\n", f"```json\n{one}\n```", f"<answer>{one}</answer>"),
        *(f"<think>{other}</think>{one}<|im_end|>", f"{one}\n\nExplanation: I earn 15,000 and"),
    ):
        assert read_cut(kind, text) == Parsed(ASKED[kind].value, text != one), text
    for text in (
        f"Let me see. It could be {one} but that may be too",
        f"{one} is my first idea.\n\nFinal answer:\n{other[:-3]}",
        f"{one}\n\nBut I may also",
        f"{one} I",
        *("hours: 2", "40", "forty", "true", "10, -20", f"<think>{one}", f"{one[:-1]}"),
    ):
        assert read_cut(kind, text) is None, text


def test_numbers_in_comments_are_none() -> None:
    for comment in ("//", "#"):
        for kind, name in (("approval", "approve"), ("ranking", "ranking")):
            for listed in (f"[\n {comment} 1,\n 3\n]", f"[3, {comment}1\n 2]", f"[{comment} 1]"):
                assert read(kind, f'{{"{name}": {listed}}}') is None
        for words in ("best for me", "1 is the best", "8 hours a day, 5 days"):
            text = f'{{"ranking": [3, {comment} {words}\n 1]}}'
            assert read("ranking", text) == Parsed((3, 1), repaired=True)
    assert read("approval", '{"approve": [\n  #1,\n  #3\n]}') == Parsed((1, 3), repaired=True)


def test_nothing_is_no_vote_for_nobody() -> None:
    for text in ("null", "None", '{"message": null}', '{"content": []}', "```\nnull\n```", "[]"):
        for kind in ("vote", "approval", "ranking"):
            assert read(kind, text) is None, (kind, text)
    assert read("vote", '{"vote": null}') == Parsed((), repaired=True)


def test_candidacies_that_differ_in_their_changes() -> None:
    one, other = '{"stand": true, "changes": [10, 0]}', '{"stand": true, "changes": [0, 10]}'
    assert_read("candidacy", '{"stand": true, "changes": [10, -20]}\n' * 2)
    for text in (f"{one} {other}", f'{{"stand": true}} {one}', f'{one} {{"stand": true}}'):
        assert read("candidacy", text) is None, text


def test_points_that_may_group_digits() -> None:
    for number in ("5.600", "12.500", "0,500", "1.234,56", "1050,500"):
        for text in (f'{{"answer": "{number}"}}', f"{{answer: {number}}}", number):
            assert read("number", text) is None, text
    assert read("number", '{"answer": "5600.50"}') == Parsed(5600, repaired=True)


NO_NUMBERS = [
    *("between 30 and 40", "40 or 50", "not 40", "40-50", "30 to 40", "40/50", "about 40", "~40"),
    *("4O", "40,5", "40 50", "40 minutes", "40 hours per day", "40 hours a year", "40 days", "x40"),
    *("forty or fifty", "forty fifty", "not forty", "fourty", "several", "a", "hundred and", "and"),
    *("true", "yes", "NaN", "inf", "-inf", "1e999", "0x28", "4_0", "4²", "½", "IV", "", "-", "+"),
    *("--40", "+-40", "40 %%", "40k", "forty thousand thousand", "9" * 5_000, "40 40"),
]


@pytest.mark.parametrize("kind", BARE)
def test_what_may_be_another_number_is_none(kind: str) -> None:
    name = next(iter(ASKED[kind].answer))
    is_list = isinstance(ASKED[kind].answer[name], list)
    length = len(ASKED[kind].answer[name]) if is_list else 1
    for number in NO_NUMBERS + (["$40", "40 dollars"] if kind != "number" else []):
        for quote in ('"', "", "'"):
            values = ", ".join([f"{quote}{number}{quote}"] * length)
            value = f"[{values}]" if is_list else values
            if is_list and not number:
                continue
            for text in (f'{{"{name}": {value}}}', value):
                assert read(kind, text) is None, text
    for other in ("true", "[true]", "False", "null, null", '{"hours": true}'):
        assert read(kind, f'{{"{name}": {other}}}') is None


@pytest.mark.parametrize(
    ("kind", "texts", "value"),
    [
        (
            "labor",
            [
                *("40 hours", "40h", "40 h", "40 hrs", "40 hours per week", "40 hours a week"),
                *(
                    "forty",
                    "40 h/week",
                    "Forty hours",
                    "40.0",
                    "40.",
                    "+40",
                    "４０",
                    "40 Hours.",
                    "４０ｈ",
                ),
            ],
            40,
        ),
        ("labor", ["a hundred", "one hundred", "100", "1e2", "one-hundred"], 100),
        ("labor", ["zero", "0", "-0", "0.0", "0 hours"], 0),
        (
            "number",
            ["5,600", "five thousand six hundred", "5600.0", "$5,600", "5,600 dollars", "$5600"],
            5600,
        ),
        ("number", ["twenty-five", "twenty five", "25"], 25),
        ("number", ["one hundred and five", "a hundred five", "105"], 105),
        ("vote", ["2", "two", "candidate 2", "Candidate two", "#2", "No. 2", "Candidate #2"], (2,)),
    ],
)
def test_words_and_units(kind: str, texts: list[str], value: Any) -> None:
    name = next(iter(ASKED[kind].answer))
    for text in texts:
        parsed = read(kind, json_text({name: text}))
        assert parsed == Parsed(value, repaired=True), text
    assert read(kind, f"{{{name}: {texts[0].replace(',', '')}}}") == Parsed(value, repaired=True)


@pytest.mark.parametrize(
    "changes",
    [
        '["+10%", "-20 %", "0%"]',
        "[+10%, -20%, 0%]",
        '["ten", "minus twenty", "zero"]',
        '["10 percentage points", "-20 points", "0 pp"]',
        "(10, -20, 0)",
        '"[10, -20, 0]"',
        "[10, −20, 0,]",
        '["10", "-20", "no change"]',
        '[10, -20, "Unchanged"]',
    ],
)
def test_changes_in_words_and_with_signs(changes: str) -> None:
    assert_read("plan", f'{{"changes": {changes}}}')
    if not changes.startswith('"'):
        assert_read("plan", changes)


@pytest.mark.parametrize(
    "changes", ["0.1, -0.2, 0", "5, 0, 0", "10 hours, 0, 0", "10, 0", "30,0,0"]
)
def test_changes_that_are_not_allowed(changes: str) -> None:
    quoted = ", ".join(f'"{change.strip()}"' for change in changes.split(","))
    for text in (f'{{"changes": [{changes}]}}', f'{{"changes": [{quoted}]}}', f"[{changes}]"):
        assert read("plan", text) is None


@pytest.mark.parametrize("kind", BARE)
def test_a_value_alone(kind: str) -> None:
    ((name, value),) = ASKED[kind].answer.items()
    for text in (
        f"{value}",
        f"  {value}\n",
        f"**{value}**",
        f"```\n{value}\n```",
        f"{name}: {value}",
        f'"{name}": {value}',
        f"{name.upper()} = {value}",
        f'{{"answer": {value}}}',
        f"<think>40 or 50?</think>{value}",
        f"<answer>{value}</answer>",
        f"$\\boxed{{{value}}}$",
        f"**{name.capitalize()}:** {value}",
        f"Final answer: {value}",
        f"{value}<|im_end|>",
        f"\u200b{value}",
    ):
        parsed = read(kind, text)
        assert parsed is not None, text
        assert parsed.value == ASKED[kind].value
        assert parsed.repaired or text == json_text(ASKED[kind].answer)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (*BARE, "choice")])
def test_a_value_alone_where_it_may_mean_something_else(kind: str) -> None:
    for text in ("no", "yes", "40", "[10, -20]", "A welder", "I am satisfied.", "null", "0"):
        assert read(kind, text) is None, text


def test_a_choice() -> None:
    question = Question(name="q", ask="?", choices=("Yes", "No", "Don't know", "no"))
    for said, choice in {"yes.": "Yes", "Don’t know": "Don't know", "no": "no", "No": "No"}.items():
        assert parse_answer(json_text({"answer": said}), question).value == choice
        assert parse_answer(said, question) == Parsed(choice, repaired=True)
    for text in ("Yes or No", "Yes, because", "null", "", '{"answer": "Yes"}\n\nDecision: No'):
        with pytest.raises(Unusable):
            parse_answer(text, question)


def test_a_list_with_words_behind_it_is_none() -> None:
    for kind, name in (("approval", "approve"), ("ranking", "ranking")):
        for value in ("[1] or [2]", "[1], no", "[1][2]"):
            assert read(kind, json_text({name: value})) is None


def test_a_reason_is_found_in_repaired_replies() -> None:
    text = "<think>a</think>{'answer': {'Reasoning': 'It pays', 'hours': 40}}"
    assert read("labor", text) == Parsed(40, repaired=True)
    assert reason_in(text) == "It pays"


FORMS = st.tuples(
    st.sampled_from(list(ANSWER_FORMS.values())),
    st.sampled_from([lambda t: t, *OBJECT_FORMS.values()]),
    st.lists(st.sampled_from(list(ENVELOPES.values())), max_size=2),
    st.lists(st.sampled_from(list(SURROUNDINGS.values())), max_size=2),
    st.sampled_from([lambda t, _: t, *DRAFTS.values()]),
)


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(KINDS), FORMS)
def test_any_composition_of_forms_is_the_answer(kind: str, forms: tuple[Any, ...]) -> None:
    make, change, envelopes, surroundings, thought = forms
    plain = json_text(ASKED[kind].answer)
    text = change(make(ASKED[kind].answer))
    around: list[Callable[[str], str]] = [*envelopes, *surroundings]
    for wrap in around:
        text = wrap(text)
    text = thought(text, json_text(ASKED[kind].other))
    assert read(kind, text) == Parsed(ASKED[kind].value, repaired=text != plain), text


PIECES = st.sampled_from(
    [
        *('{"hours": ', '{"changes": [', "[", "]", "{", "}", ",", ":", '"', "'", "40", "-10", "0"),
        *("forty", "hours", " or ", "%", "<think>", "</think>", "```", "//", "/*", "*/", "#", "\n"),
        *("true", "None", "nan", "(", ")", "\\", "\\u12", "“", "９", "\0", "\u202e", '"answer": '),
        *('"stand": true', '"vote": 2', '"satisfied": ', '"persona": "A"', "=", "hundred"),
    ]
)


@settings(deadline=None, max_examples=500)
@given(st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60))
def test_any_text_is_in_range_or_unusable(text: str) -> None:
    allowed = {
        "labor": lambda v: type(v) is int and v in range(0, 101, 10),
        "plan": lambda v: len(v) == 3 and set(v) <= {-20, -10, 0, 10, 20},
        "vote": lambda v: v in ((), (1,), (2,), (3,)),
        "approval": lambda v: len(set(v)) == len(v) and set(v) <= {1, 2, 3},
        "ranking": lambda v: len(set(v)) == len(v) and set(v) <= {1, 2, 3},
        "candidacy": lambda v: v is None or (len(v) == 2 and set(v) <= {-20, -10, 0, 10, 20}),
        "satisfaction": lambda v: type(v) is bool,
        "choice": lambda v: v in ("yes", "no"),
        "number": lambda v: type(v) is int and 0 <= v <= 500_000,
        "persona": lambda v: isinstance(v, str) and 0 < len(v) <= 600,
        "text": lambda v: isinstance(v, str) and 0 < len(v) <= 200,
    }
    for kind in KINDS:
        parsed = read(kind, text)
        assert parsed is None or allowed[kind](parsed.value), (kind, text, parsed)


HUGE = [
    *("x", " ", "\n", "{", "[", "(", '"', "'", "\\", "9", "/*", "//", "#", "a:", '{"', "{'", "{a"),
    *("<", "</", "</a", "<think>", "</think>", "[/", "◁", "<|channel|>final", "analysis", "```\n"),
    *("{}", "{a: 1}", '{"hours": 40}', "forty ", "a hundred ", "1,000", "- ", "\ufeff", "a b "),
    *("{a:", "{a b", "{“", "{/*", "{ ", '{"a\\', "assistant final", "“", "=", "% "),
]


@pytest.mark.parametrize("piece", HUGE)
def test_much_of_anything(piece: str) -> None:
    """Five megabytes; as much as is read; and as much as is searched."""
    most = piece * (5_000_000 // len(piece))
    huge, short = most[:499_900], most[:19_000]
    answer = '{"hours": 40}'
    texts = (most, huge, huge + answer, "{" + huge, short + answer, "[" + short, short)
    for kind, text in itertools.product(("labor", "plan"), texts):
        parsed = read(kind, text)
        assert parsed is None or (kind == "labor" and parsed.value == 40)
