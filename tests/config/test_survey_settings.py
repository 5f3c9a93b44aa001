"""What is refused of a survey's settings, in one line each."""

from typing import Any

import pytest

from jaxecon.config.read import load_config
from jaxecon.core.errors import UserError

QUESTION: dict[str, Any] = {"name": "support", "ask": "Do you support it?", "choices": ["a", "b"]}


def survey(*questions: Any) -> dict[str, Any]:
    return {"years": 3, "survey": {"questions": list(questions)}}


def changed(**settings: Any) -> dict[str, Any]:
    """The question with other settings, without those that are None."""
    return {name: x for name, x in (QUESTION | settings).items() if x is not None}


@pytest.mark.parametrize(
    ("questions", "line"),
    [
        ([changed(number=[0, 1])], "0: has choices and number; exactly one of choices, number, te"),
        ([changed(choices=None)], "0: has no form of an answer; exactly one of"),
        ([changed(choices=["a"])], "0.choices: ['a']; 2 to 50 different texts"),
        ([changed(choices=["a", " A "])], "0.choices: ['a', ' A ']; 2 to 50 different texts"),
        ([changed(choices=["a", " "])], "0.choices: ['a', ' ']; 2 to 50 different texts"),
        ([changed(choices=[*map(str, range(51))])], "0.choices: ['0', '1',"),
        ([changed(choices=[True, False])], "0.choices.0: True; text"),
        ([changed(choices=None, number=[5, 5])], "0.number: [5, 5]; the least, then the largest"),
        ([changed(choices=None, number=[0, 1.5])], "0.number.1: 1.5; a whole number in [-1e+15, "),
        ([changed(choices=None, number=3)], "0.number: 3; a list of 2"),
        ([changed(choices=None, number=[0])], "0.number.1: missing; a whole number"),
        ([changed(choices=None, text=0)], "0.text: 0; a whole number or unset in [1, 1,000]"),
        ([changed(years=[3])], "0.years: 3; the last year is 2 (the first is 0)"),
        ([changed(years=[-1])], "0.years.0: -1; a whole number of at least 0"),
        ([changed(years=[])], "0.years: []; one year at least, or unset for all"),
        ([changed(name="A b")], "0.name: 'A b'; lower-case letters"),
        ([changed(ask="")], "0.ask: ''; text"),
        ([changed(question="x")], "0.question: no such setting; one of name, ask, choices, number"),
        ([QUESTION, QUESTION], "1.name: 'support'; is given twice"),
        ([3], "0: 3; a section with name, ask, choices, number, text, years"),
    ],
)
def test_a_mistake_gets_one_line(questions: list[Any], line: str) -> None:
    with pytest.raises(UserError) as caught:
        load_config(survey(*questions))
    assert str(caught.value).startswith(f"survey.questions.{line}"), str(caught.value)
    assert "\n" not in str(caught.value)


def test_somebody_must_be_there_to_answer() -> None:
    with pytest.raises(UserError, match=r"survey\.questions: 1 and nobody who answers; needs"):
        load_config(survey(QUESTION), ["population.llm=0"])


def test_an_answer_must_fit_the_model() -> None:
    text = changed(choices=None, text=200)
    with pytest.raises(UserError, match=r"text: 200; at most half of llm.max_model_len \(256\)"):
        load_config(survey(text), ["llm.max_model_len=256"])


def test_when_questions_are_asked() -> None:
    often, once = QUESTION, changed(name="once", years=[2, 0])
    asked = load_config(survey(often, once)).survey
    assert [[q.name for q in asked.asked_in(year)] for year in range(3)] == [
        ["support", "once"],
        ["support"],
        ["support", "once"],
    ]
