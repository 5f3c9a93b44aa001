"""Settings of the survey: questions of the user's own to language-model workers."""

import json
from typing import Annotated, Literal, get_args

from pydantic import Field

from jaxecon.config.base import Section

MAX_CHOICES = 50
MAX_NUMBER = 10**15  # tables hold numbers as floats, which are exact up to there

Form = Literal["choice", "number", "text"]
FORMS: tuple[Form, ...] = get_args(Form)
Line = Annotated[str, Field(min_length=1, max_length=200)]
Whole = Annotated[int, Field(ge=-MAX_NUMBER, le=MAX_NUMBER)]


class Question(Section):
    """One question. Exactly one of `choices`, `number` and `text` says what an answer is."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_]{0,30}$", description="Unique; survey.parquet says it."
    )
    ask: str = Field(
        min_length=1, max_length=2000, description="The question, in the words that are read."
    )
    choices: tuple[Line, ...] | None = Field(
        None, description="The 2 to 50 answers to choose among."
    )
    number: tuple[Whole, Whole] | None = Field(
        None, description="An answer is a whole number: the least and the largest."
    )
    text: int | None = Field(
        None, ge=1, le=1000, description="An answer is a text of at most so many characters."
    )
    years: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="At the end of which years it is asked; the first is 0. Unset: of all."
    )

    @property
    def answer_tokens(self) -> int:
        """How many tokens the longest answer may need.

        A choice has at most a token a byte of its JSON, and so has a number; a text in most
        languages and tokenizers at most two a character.
        """
        if self.choices is not None:
            written = [json.dumps(choice, ensure_ascii=False) for choice in self.choices]
            return 16 + max(len(choice.encode()) for choice in written)
        return 16 + (len(str(-MAX_NUMBER)) if self.text is None else 2 * self.text)

    @property
    def form(self) -> Form:
        """What an answer is."""
        if self.choices is not None:
            return "choice"
        return "text" if self.number is None else "number"


class Survey(Section):
    """What language-model workers are asked at the end of a year.

    The economy never sees the answers.
    """

    questions: tuple[Question, ...] = Field(
        (), description="Asked of every language-model worker, each by itself."
    )

    def asked_in(self, year: int) -> tuple[Question, ...]:
        """The questions that are asked at the end of a year, counted from 0."""
        return tuple(q for q in self.questions if q.years is None or year in q.years)
