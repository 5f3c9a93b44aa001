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
        ([changed(choices=["a"])], "0.choices: 1 texts; 2 to 50"),
        ([changed(choices=["a", " A "])], "0.choices.1: ' A '; another text than those before it"),
        ([changed(choices=["a", " "])], "0.choices.1: ' '; another text than those before it, and"),
        ([changed(choices=[*map(str, range(51))])], "0.choices: 51 texts; 2 to 50"),
        ([changed(choices=["a", "x" * 201])], "0.choices.1: 'xxx"),
        ([changed(choices=[True, False])], "0.choices: [True, False]; a list of texts or unset"),
        ([changed(choices=[1, 2])], "0.choices.0: 1; text of 1 to 200 characters"),
        ([changed(choices=None, number=[5, 5])], "0.number: [5, 5]; the least, then the largest"),
        ([changed(choices=None, number=[0, 1.5])], "0.number.1: 1.5; a whole number in [-1e+15, "),
        ([changed(choices=None, number=3)], "0.number: 3; a list of 2 whole numbers or unset"),
        ([changed(choices=None, number=[0])], "0.number.1: missing; a whole number"),
        ([changed(choices=None, text=True)], "0.text: True; a whole number in [1, 1,000] or unset"),
        ([changed(choices=None, text=0)], "0.text: 0; a whole number in [1, 1,000] or unset"),
        ([changed(years=[3])], "0.years: 3; the last year is 2 (the first is 0)"),
        ([changed(years=[-1])], "0.years.0: -1; a whole number of at least 0"),
        ([changed(years=[])], "0.years: []; one year at least, or unset for all"),
        ([changed(name="A b")], "0.name: 'A b'; lower-case letters"),
        ([changed(ask="")], "0.ask: ''; text of 1 to 2,000 characters"),
        ([changed(ask="  ")], "0.ask: '  '; a question in words"),
        ([changed(ask="x" * 2001)], "0.ask: 'xxxxx"),
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
    assert len(str(caught.value)) < 300


def test_somebody_must_be_there_to_answer() -> None:
    with pytest.raises(UserError, match=r"survey\.questions: 1 and nobody who answers; needs"):
        load_config(survey(QUESTION), ["population.llm=0"])


FEW = {"engine": "simulated", "max_model_len": 256}
ROOMY = {"engine": "simulated", "max_model_len": 8192}


@pytest.mark.parametrize(
    ("question", "tokens"),
    [
        (changed(choices=None, text=200), 422),
        (changed(ask="x" * 900), 320),
        (changed(choices=["x" * 150, "y" * 150]), 274),
    ],
)
def test_a_question_must_fit_the_model_that_is_asked(question: dict[str, Any], tokens: int) -> None:
    cohorts = [{"name": "a", "rule": "llm", "size": 2, "llm": "few"}]
    asked = survey(question) | {
        "population": {"cohorts": cohorts},
        "llm": ROOMY | {"others": {"few": FEW}},
    }
    with pytest.raises(UserError) as caught:
        load_config(asked)
    assert str(caught.value) == (
        f"survey.questions.0: question and answer need some {tokens} tokens; at most half of "
        "llm.others.few.max_model_len (256)"
    )
    # the same for a model that stands in for the one that is asked
    with pytest.raises(UserError) as caught:
        load_config(asked, ["llm.fallback=few", "population.cohorts.0.llm=null"])
    assert "half of llm.others.few.max_model_len (256)" in str(caught.value)
    # the planner's model answers no questions
    load_config(asked, ["planner.llm=few", "population.cohorts.0.llm=null"])


def test_when_questions_are_asked() -> None:
    often, once = QUESTION, changed(name="once", years=[2, 0])
    asked = load_config(survey(often, once)).survey
    assert [[q.name for q in asked.asked_in(year)] for year in range(3)] == [
        ["support", "once"],
        ["support"],
        ["support", "once"],
    ]
