"""A question of the user's own, answered by a worker as the person it is."""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxecon.config.survey import Question
from llm.decisions.base import Parsed, Unusable
from llm.decisions.numbers import AMOUNT, number_in
from llm.decisions.replies import line_of_text, object_schema, only_field
from llm.decisions.shared import YearSoFar, merged

Answer = str | int | None  # None: no usable answer


@dataclass(frozen=True)
class SurveyObservation(YearSoFar):
    """What a worker looks back on when it answers a question, after the year's last day."""

    question: Question


@lru_cache
def answer_schema(question: Question) -> dict[str, Any]:
    """The schema of an answer to the question."""
    if question.choices is not None:
        return object_schema(answer={"enum": list(question.choices)})
    if question.number is not None:
        least, largest = question.number
        return object_schema(answer={"type": "integer", "minimum": least, "maximum": largest})
    return object_schema(answer={"type": "string", "minLength": 1, "maxLength": question.text})


def parse_answer(text: str, question: Question) -> Parsed[Answer]:
    """Read the answer from {"answer": ...}.

    Choices in other capitals are understood, numbers are rounded, long texts are cut. Raises
    Unusable.
    """
    if question.choices is not None:
        choices = question.choices
        answer, repaired = only_field(text, "answer", lambda value: _choice(value, choices))
        choice, coerced = _choice(answer, choices)
        return Parsed(choice, repaired or coerced)
    if question.number is not None:
        least, largest = question.number
        answer, repaired = only_field(text, "answer", _amount)
        number, coerced = _amount(answer)
        whole = round(number)
        if not least <= whole <= largest:
            raise Unusable(f"answer must be between {least} and {largest}")
        return Parsed(whole, repaired or coerced)
    assert question.text is not None
    answer, repaired = only_field(text, "answer")
    line = line_of_text(answer, "answer", question.text)
    return Parsed(line, repaired or line != answer)


def _amount(answer: Any) -> tuple[float, bool]:
    return number_in(answer, "answer", AMOUNT)


def _choice(answer: Any, choices: tuple[str, ...]) -> tuple[str, bool]:
    """The choice that is meant, and whether it was given in another form."""
    if answer in choices:
        return answer, False
    # a choice such as "2" or "true" may come as JSON's number or truth value
    is_text = isinstance(answer, str)
    said = _plain(answer if is_text else json.dumps(answer) if isinstance(answer, int) else "")
    for choice in choices:
        if _plain(choice) == said:
            return choice, True
    raise Unusable(f"answer must be one of {listed(choices)}")


def _plain(text: str) -> str:
    return " ".join(text.replace("’", "'").split()).lower().rstrip(".")


def listed(choices: tuple[str, ...]) -> str:
    """The choices as JSON texts."""
    return ", ".join(json.dumps(choice, ensure_ascii=False) for choice in choices)


class AnswerQuestion:
    """An answer to one question of a survey. Falls back on none.

    question: its name, which is part of the name of the decision: two questions of a day are two
    decisions.
    """

    template = "survey"
    rules: tuple[str, ...] = ("economy", "brackets")

    def __init__(self, question: str = "") -> None:
        self.name = f"survey:{question}" if question else "survey"

    def values(self, observation: SurveyObservation) -> dict[str, Any]:
        question = observation.question
        least, largest = question.number or (None, None)
        return vars(observation) | {
            "brackets": merged(observation.brackets),
            "question": question.ask,
            "choices": None if question.choices is None else listed(question.choices),
            "least": least,
            "largest": largest,
            "characters": question.text,
        }

    def schema(self, observation: SurveyObservation) -> dict[str, Any]:
        return answer_schema(observation.question)

    def parse(self, text: str, observation: SurveyObservation) -> Parsed[Answer]:
        return parse_answer(text, observation.question)

    def fallback(self, observation: SurveyObservation) -> None:
        return None

    def tokens(self, observation: SurveyObservation) -> int:
        return observation.question.answer_tokens

    def shorter(self, observation: SurveyObservation) -> None:
        return None
