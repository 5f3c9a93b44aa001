"""What is read from replies to questions of a survey, and how they are asked."""

import json
from dataclasses import replace

import pytest
from support.decisions import chat

from jaxecon.config.survey import MAX_NUMBER, Question
from llm.decisions.base import Parsed, Unusable
from llm.decisions.samples import in_order
from llm.decisions.survey import AnswerQuestion, parse_answer

CHOICE = Question(name="support", ask="Do you?", choices=("yes", "no", 'I "do" not know'))
NUMBER = Question(name="tax", ask="How much?", number=(-5, 500_000))
TEXT = Question(name="why", ask="Why?", text=20)


@pytest.mark.parametrize(
    ("question", "reply", "value", "repaired"),
    [
        (CHOICE, '{"answer": "no"}', "no", False),
        (CHOICE, '{"answer": " NO "}', "no", True),
        (CHOICE, 'Well: {"answer": "yes"}', "yes", True),
        (CHOICE, '{"answer": "I \\"do\\" not know"}', 'I "do" not know', False),
        (NUMBER, '{"answer": 5600}', 5_600, False),
        (NUMBER, '{"answer": -5}', -5, False),
        (NUMBER, '{"answer": 5600.4}', 5_600, True),
        (NUMBER, '{"answer": 500000.4}', 500_000, True),
        (NUMBER, '{"answer": "5600"}', 5_600, True),
        (TEXT, '{"answer": "Because."}', "Because.", False),
        (TEXT, '{"answer": "one\\n two"}', "one two", True),
        (TEXT, '{"answer": "a text of more than twenty"}', "a text of more than ", True),
    ],
)
def test_answers(question, reply, value, repaired):
    parsed = parse_answer(reply, question)
    assert parsed == Parsed(value, repaired)
    assert type(parsed.value) is type(value)


@pytest.mark.parametrize(
    ("question", "reply", "told"),
    [
        (CHOICE, '{"answer": "maybe"}', 'answer must be one of "yes", "no", "I \\"do\\" not know"'),
        (CHOICE, '{"answer": true}', "answer must be one of"),
        (NUMBER, '{"answer": 500001}', "answer must be between -5 and 500000"),
        (NUMBER, '{"answer": -6}', "answer must be between"),
        (NUMBER, '{"answer": "a lot"}', "answer must be a number"),
        (NUMBER, '{"answer": true}', "answer must be a number"),
        (TEXT, '{"answer": ""}', "answer must be a text"),
        (TEXT, '{"answer": ["a"]}', "answer must be a text"),
        (TEXT, '{"reply": "a"}', "answer with a JSON object such as"),
    ],
)
def test_no_answers(question, reply, told):
    with pytest.raises(Unusable) as caught:
        parse_answer(reply, question)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        (CHOICE, 'A one of "yes", "no", "I \\"do\\" not know".'),
        (NUMBER, "N any whole number from -5 to 500000."),
        (TEXT, "in your own words, at most 20 characters."),
    ],
)
def test_the_prompt_asks_for_what_is_read(question, asked):
    observation = replace(in_order("survey")[0], question=question)
    system, user = chat(AnswerQuestion(), observation)
    assert user.content.endswith(asked)
    assert f"Question: {question.ask}\n" in user.content
    assert question.ask not in system.content  # the rules are the same for all questions
    assert "You are 34 years old, a nurse" in user.content


@pytest.mark.parametrize("choice", ['I "do" not know', '"' * 50, "税" * 50, "x" * 200])
def test_the_longest_choices_have_room(choice):
    """In tokens of a byte each."""
    question = CHOICE.model_copy(update={"choices": ("yes", choice)})
    answer = json.dumps({"answer": choice}, ensure_ascii=False, separators=(",", ":"))
    assert room_for(question) >= len(answer.encode())


@pytest.mark.parametrize("bounds", [(0, MAX_NUMBER), (-MAX_NUMBER, 0)])
def test_the_longest_numbers_have_room(bounds):
    question = NUMBER.model_copy(update={"number": bounds})
    longest = max((json.dumps({"answer": bound}) for bound in bounds), key=len)
    assert room_for(question) >= len(longest)


def test_texts_have_room_in_tokens_of_half_a_character():
    assert room_for(TEXT) >= 2 * 20 + len('{"answer":""}')


def room_for(question):
    return AnswerQuestion().tokens(replace(in_order("survey")[0], question=question))


def test_two_questions_of_a_day_are_two_decisions():
    assert AnswerQuestion("support").name == "survey:support" != AnswerQuestion("tax").name
