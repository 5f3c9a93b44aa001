"""What language-model workers answered: the rows of survey.parquet, and what they add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from jaxecon.config.names import Status
from jaxecon.config.survey import FORMS, Question

SURVEY_SCHEMA = pa.schema(
    [
        ("year", pa.int64()),
        ("cohort", pa.string()),
        ("agent", pa.int64()),
        ("weight", pa.float64()),
        ("question", pa.string()),
        ("choice", pa.string()),
        ("number", pa.float64()),
        ("text", pa.string()),
        ("status", pa.string()),
    ]
)


@dataclass(frozen=True)
class SurveyAnswer:
    """One agent's answer to one question.

    value: None where no reply could be used. status: how it came about.
    """

    cohort: str
    agent: int
    question: Question
    value: str | int | None
    status: Status


def survey_table(
    year: int, answers: Sequence[SurveyAnswer], weights: Mapping[str, np.ndarray]
) -> pa.Table:
    """Rows of survey.parquet, one per agent and question.

    weights: by cohort, (n,): how many people an agent stands for; mean 1 over all.
    """
    rows = [
        {
            "year": year,
            "cohort": answer.cohort,
            "agent": answer.agent,
            "weight": float(weights[answer.cohort][answer.agent]),
            "question": answer.question.name,
            **{form: answer.value if answer.question.form == form else None for form in FORMS},
            "status": answer.status,
        }
        for answer in answers
    ]
    return pa.Table.from_pylist(rows, schema=SURVEY_SCHEMA)


@dataclass(frozen=True)
class Numbers:
    """Statistics of answers that are numbers; mean and deviation are weighted."""

    mean: float
    deviation: float
    least: float
    largest: float


@dataclass(frozen=True)
class Tally:
    """The answers to one question in one year.

    Attributes:
        question: Its name.
        year: Counted from 0.
        answers: How many there are.
        missing: How many agents gave none that could be used.
        shares: Of the people whose agents answered, by choice; empty for other forms.
        numbers: None for other forms, and without an answer.
        texts: What was written, in the order of the agents; empty for other forms.
    """

    question: str
    year: int
    answers: int
    missing: int
    shares: dict[str, float]
    numbers: Numbers | None
    texts: list[str]


def tallies(table: pa.Table, questions: Sequence[Question]) -> list[Tally]:
    """What the rows of survey.parquet add up to, by question (in this order) and year.

    Shares and means are weighted by how many people an agent stands for.
    """
    by_question: dict[str, dict[int, list[Mapping[str, Any]]]] = {}
    for row in table.to_pylist():
        by_question.setdefault(row["question"], {}).setdefault(row["year"], []).append(row)
    return [
        _tally(question, year, rows)
        for question in questions
        for year, rows in sorted(by_question.get(question.name, {}).items())
    ]


def _tally(question: Question, year: int, rows: Sequence[Mapping[str, Any]]) -> Tally:
    answered = [row for row in rows if row[question.form] is not None]
    values = [row[question.form] for row in answered]
    weights = np.array([row["weight"] for row in answered])
    shares: dict[str, float] = {}
    if question.choices is not None and answered:
        people = {c: weights[[v == c for v in values]].sum() for c in question.choices}
        shares = {choice: float(count / weights.sum()) for choice, count in people.items()}
    return Tally(
        question=question.name,
        year=year,
        answers=len(answered),
        missing=len(rows) - len(answered),
        shares=shares,
        numbers=_numbers(values, weights) if question.number is not None and answered else None,
        texts=values if question.text is not None else [],
    )


def _numbers(values: Sequence[float], weights: np.ndarray) -> Numbers:
    mean = float(np.average(values, weights=weights))
    variance = np.average((np.array(values) - mean) ** 2, weights=weights)
    return Numbers(mean, float(np.sqrt(variance)), min(values), max(values))
