"""What commands print about the answers to a survey."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxecon.cli.output.printable import say_line
from jaxecon.cli.output.tables import new_table, share_text
from jaxecon.cli.output.terminal import Console
from jaxecon.config.survey import FORMS, Form, Question
from jaxecon.core.text import amount_text, plural
from jaxecon.storage.run import Run
from jaxecon.storage.survey import Tally, tallies

_EXAMPLES = 3  # texts of the last year that are shown
_COLUMNS: dict[Form, list[str]] = {
    "choice": ["share", "choice"],
    "number": ["mean", "deviation", "least", "largest"],
    "text": [],
}


def print_tallies(counted: Sequence[Tally], questions: Sequence[Question]) -> None:
    """Print a table a question: rows by year (counted from 0, as in all files), and by choice."""
    console = Console()
    for question in questions:
        years = [tally for tally in counted if tally.question == question.name]
        if not years:
            continue
        console.print()
        console.print_line(f"{question.name}: {question.ask}")
        table = new_table("year", "answers", "without", *_COLUMNS[question.form])
        for tally in years:
            first, *more = _cells(tally)
            table.add_row(f"{tally.year}", f"{tally.answers:,}", f"{tally.missing:,}", *first)
            for cells in more:
                table.add_row("", "", "", *cells)
        console.print(table)
        for text in years[-1].texts[:_EXAMPLES]:
            console.print_line(f"  of year {years[-1].year}: {text}")
    console.print(
        "Shares and means are weighted by how many people an agent stands for; choices that nobody "
        "took are left out. without: agents whose replies could not be used."
    )


def survey_lines(run: Run) -> list[str]:
    """A line a question: what was answered when it was asked last."""
    questions = run.config.survey.questions
    last = {tally.question: tally for tally in tallies(run.survey, questions)}
    lines = []
    for question in questions:
        if question.name in last:
            tally = last[question.name]
            without = f", {tally.missing} without" if tally.missing else ""
            answers = f"{plural(tally.answers, 'answer')}"
            lines.append(
                f"Survey, year {tally.year + 1}, {question.name}: {_in_words(tally)}"
                f" ({answers}{without})."
            )
    return lines


def print_answers(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print a line an answer."""
    for row in rows:
        answer = next((row[f] for f in FORMS if row[f] is not None), None)
        said = "no usable answer" if answer is None else answer
        said = f"{said:.0f}" if isinstance(said, float) else said
        say_line(f"year {row['year']}: {row['question']}: {row['cohort']} {row['agent']}: {said}")


def _cells(tally: Tally) -> list[list[str]]:
    """The lines of a year in the columns of the question's form; one at least."""
    if tally.shares:
        return [[share_text(share, 1), choice] for choice, share in tally.shares.items() if share]
    if tally.numbers is not None:
        return [[f"{number:,.0f}" for number in vars(tally.numbers).values()]]
    return [[]]


def _in_words(tally: Tally) -> str:
    """The answers of a year in a few words."""
    if tally.shares:
        chosen = sorted(tally.shares.items(), key=lambda share: -share[1])
        return ", ".join(f"{choice} {share_text(share, 1)}" for choice, share in chosen)
    if tally.numbers is not None:
        n = tally.numbers
        return (
            f"mean {amount_text(n.mean)}, standard deviation {amount_text(n.deviation)}, from "
            f"{n.least:,.0f} to {n.largest:,.0f}"
        )
    different = len(set(tally.texts))
    if different == 1:
        return f"always {tally.texts[0]!r}"
    return f"{different} different texts" if different else "none"
