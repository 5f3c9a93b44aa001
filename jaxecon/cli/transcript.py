"""The command transcript."""

import json
import sys
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from jaxecon.core.errors import UserError


class DecisionStatus(StrEnum):
    ok = "ok"
    repaired = "repaired"
    retried = "retried"
    fallback = "fallback"


def transcript(
    run: Annotated[Path, typer.Argument(help="A run directory; the run may still be going.")],
    show: Annotated[bool, typer.Option("--show", help="Print the conversations.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the conversations, one JSON object a line; - for standard output.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
    kind: Annotated[
        str | None,
        typer.Option(help="Only this kind of decision: labor, plan, ..", show_default=False),
    ] = None,
    year: Annotated[
        int | None, typer.Option(min=0, help="Only this year; the first is 0.", show_default=False)
    ] = None,
    day: Annotated[
        int | None,
        typer.Option(min=0, help="Only this day of each year; the first is 0.", show_default=False),
    ] = None,
    cohort: Annotated[
        str | None, typer.Option(help="Only this cohort.", show_default=False)
    ] = None,
    agent: Annotated[
        int | None, typer.Option(min=0, help="Only this agent; the first is 0.", show_default=False)
    ] = None,
    status: Annotated[
        DecisionStatus | None,
        typer.Option(help="Only decisions that ended like this.", show_default=False),
    ] = None,
) -> None:
    """What the language model was asked and answered: totals per cohort and kind, or the
    conversations themselves.

    Years and days count from 0 here, as in all files; prompts count them from 1.
    """
    if show + (export is not None) + as_json > 1:
        raise UserError("--show, --export and --json: give one of them")
    with closing(_open_transcript(run)) as opened:
        from jaxecon.cli.transcript_tables import export_lines, print_conversations, print_totals

        totals = opened.totals()
        for option, value, known in (
            ("kind", kind, {t.kind for t in totals}),
            ("cohort", cohort, {t.cohort for t in totals}),
        ):
            if value is not None and value not in known:
                raise UserError(
                    f"--{option}: {value!r}; {run} holds "
                    f"{', '.join(sorted(known)) or 'no requests yet'}"
                )
        wanted = {
            "kind": kind,
            "year": year,
            "day": day,
            "cohort": cohort,
            "agent": agent,
            "status": status and status.value,
        }
        if show:
            print_conversations(opened.conversations(**wanted))
        elif export is not None:
            export_lines(export, opened.conversations(**wanted))
        elif as_json:
            given = [vars(total) for total in opened.totals(**wanted)]
            print(json.dumps({"run": str(run), "models": opened.identities(None), "totals": given}))
        else:
            print_totals(opened.totals(**wanted), opened.identities(None))
        sys.stdout.flush()  # here, where a reader that has gone away is no error


def _open_transcript(run: Path) -> Any:
    from jaxecon.simulation.language import open_transcript
    from jaxecon.storage.paths import MANIFEST, TRANSCRIPT

    if not (run / TRANSCRIPT).is_file():
        if not (run / MANIFEST).is_file():
            raise UserError(f"{run}: not a run directory (no {MANIFEST})")
        raise UserError(f"{run}: this run has no transcript: no language model took part")
    return open_transcript(run / TRANSCRIPT)
