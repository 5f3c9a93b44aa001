"""`jaxecon survey`. Imports Arrow when it is called."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jaxecon.config.base import one_of
from jaxecon.core.errors import UserError
from jaxecon.core.json_text import json_text


def survey(
    run: Annotated[Path, typer.Argument(help="A run's folder; the run may still be going.")],
    question: Annotated[
        str | None, typer.Option(help="Only this question, by its name.", show_default=False)
    ] = None,
    as_list: Annotated[bool, typer.Option("--list", help="Print a line an answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON.")] = False,
) -> None:
    """Print what language-model workers answered to the questions of `survey`.

    Years count from 0 here, as in all files.
    """
    if as_list and as_json:
        raise UserError("--list and --json: give one of them")
    from jaxecon.cli.output.survey import print_answers, print_tallies
    from jaxecon.storage.run import Run
    from jaxecon.storage.survey import tallies

    opened = Run(run)
    questions = opened.config.survey.questions
    if not questions:
        raise UserError(f"{run}: nobody was asked: its settings have no survey.questions")
    names = [one.name for one in questions]
    if question is not None and question not in names:
        raise UserError(f"--question: {question!r}; {one_of(names, question)}")
    wanted = [one for one in questions if question in (None, one.name)]
    answers = opened.survey
    if not answers.num_rows:
        yet = " yet" if opened.manifest["status"] != "complete" else ": no question was due"
        raise UserError(f"{run}: nobody was asked{yet}")
    if as_list:
        shown = {one.name for one in wanted}
        print_answers(row for row in answers.to_pylist() if row["question"] in shown)
    elif as_json:
        counted = [asdict(tally) for tally in tallies(answers, wanted)]
        print(json_text({"run": str(run), "questions": counted}))
    else:
        print_tallies(tallies(answers, wanted), wanted)
