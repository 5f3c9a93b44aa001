"""`jaxecon transcript`. Imports what takes long (`llm`, Arrow) when it is called."""

import json
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from jaxecon.cli.output.printable import printable
from jaxecon.config.names import Status, decision_name
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import read_json_object
from jaxecon.core.json_text import json_text

if TYPE_CHECKING:
    from llm.transcript.store import Transcript

_VALUES: tuple[Literal["year", "day", "agent", "decision"], ...] = (
    "year",
    "day",
    "agent",
    "decision",
)
_MAX_LISTED = 12  # decisions that a message lists

_ListOption = Annotated[
    bool, typer.Option("--list", help="Print a line a decision, with the reason given for it.")
]
_ExportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Write the conversations, one JSON object a line; - for standard output.",
    ),
]
_KindOption = Annotated[
    str | None,
    typer.Option(
        help="Only this kind of decision: labor, plan, survey, survey:NAME, ..", show_default=False
    ),
]
_YearOption = Annotated[
    int | None,
    typer.Option(min=0, max=10_000_000, help="Only this year; the first is 0.", show_default=False),
]
_DayOption = Annotated[
    int | None,
    typer.Option(
        min=0, max=100_000, help="Only this day of each year; the first is 0.", show_default=False
    ),
]
_CohortOption = Annotated[str | None, typer.Option(help="Only this cohort.", show_default=False)]
_AgentOption = Annotated[
    int | None,
    typer.Option(
        min=0, max=100_000_000, help="Only this agent; the first is 0.", show_default=False
    ),
]
_StatusOption = Annotated[
    Status | None,
    typer.Option(help="Only decisions that were reached like this.", show_default=False),
]
_DecisionOption = Annotated[
    str | None,
    typer.Option(
        metavar="VALUE",
        help="Only decisions of this value: 100, true, [0, -10, 20], a text.",
        show_default=False,
    ),
]


def transcript(
    run: Annotated[Path, typer.Argument(help="A run's folder; the run may still be going.")],
    show: Annotated[bool, typer.Option("--show", help="Print the conversations.")] = False,
    as_list: _ListOption = False,
    export: _ExportOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
    kind: _KindOption = None,
    year: _YearOption = None,
    day: _DayOption = None,
    cohort: _CohortOption = None,
    agent: _AgentOption = None,
    status: _StatusOption = None,
    decision: _DecisionOption = None,
) -> None:
    """Print what language models were asked and decided: totals, decisions, or conversations.

    Years and days count from 0 here, as in all files; prompts count them from 1.
    """
    if show + as_list + (export is not None) + as_json > 1:
        raise UserError("--show, --list, --export and --json: give one of them")
    wanted: dict[str, Any] = {
        "kind": kind,
        "year": year,
        "day": day,
        "cohort": cohort,
        "agent": agent,
        "status": status,
        "decision": None if decision is None else _as_json(decision),
    }
    with closing(_open_transcript(run)) as opened:
        _check_names(opened, run, kind=kind, cohort=cohort)
        _check_values(opened, run, wanted)
        from jaxecon.cli.output.transcript import (
            export_lines,
            print_conversations,
            print_decisions,
            print_totals,
        )
        from jaxecon.simulation.language import fallback_reasons

        if show:
            print_conversations(opened.conversations(**wanted))
        elif as_list:
            print_decisions(opened.conversations(**wanted))
        elif export is not None:
            export_lines(export, opened.conversations(**wanted))
        elif as_json:
            print(json_text({"run": str(run), **_totals_as_json(opened, wanted)}))
        else:
            print_totals(
                opened.totals(**wanted),
                opened.answers(**wanted),
                opened.identities(None),
                fallback_reasons(opened, **wanted),
            )
        sys.stdout.flush()  # flush here, where a reader that has closed the pipe is not an error


def _totals_as_json(opened: "Transcript", wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What a selection cost and how it was decided, as JSON."""
    from jaxecon.simulation.language import fallback_reasons

    return {
        "models": opened.identities(None),
        "totals": [vars(total) for total in opened.totals(**wanted)],
        "answers": [
            {"cohort": cohort, "kind": kind, **vars(counted)}
            for (cohort, kind), counted in opened.answers(**wanted).items()
        ],
        "fallbacks": [
            {"cohort": cohort, "kind": kind, "commonest": words}
            for (cohort, kind), words in fallback_reasons(opened, **wanted).items()
        ],
    }


def _as_json(decision: str) -> str:
    """A decision as transcripts store it: what is not JSON is a text."""
    try:
        return json.dumps(json.loads(decision))
    except ValueError:
        return json.dumps(decision)


def _check_names(opened: "Transcript", run: Path, **names: str | None) -> None:
    """Raise UserError for a kind of decision or a cohort that the transcript does not have."""
    totals = opened.totals()
    for option, name in names.items():
        known = {getattr(total, option) for total in totals}
        if option == "kind" and name == "survey" and name in map(decision_name, known):
            continue
        if name is not None and name not in known:
            listed = ", ".join(sorted(known)) or "no requests yet"
            raise UserError(f"--{option}: {name!r}; {run} holds {listed}")


def _check_values(opened: "Transcript", run: Path, wanted: Mapping[str, Any]) -> None:
    """Raise UserError where there is no such year, day, agent or decision, or not all together.

    That nothing was decided with a status is an answer, and no mistake.
    """
    given = {
        name: value for name, value in wanted.items() if value is not None and name != "status"
    }
    if not given.keys() & set(_VALUES) or opened.totals(**given):
        return
    for name in _VALUES:
        if name in given and not opened.totals(**{name: given[name]}):
            known = opened.values(name)
            if not known:
                listed = "nothing yet"
            elif name == "decision":
                listed = ", ".join([*known[:_MAX_LISTED], *[".."] * (len(known) > _MAX_LISTED)])
            else:
                listed = f"{known[0]} to {known[-1]}" if known[1:] else str(known[0])
            raise UserError(
                f"--{name}: {printable(str(given[name]))}; {run} holds {printable(listed)}"
            )
    options = " ".join(f"--{name} {printable(str(value))}" for name, value in given.items())
    raise UserError(f"{options}: {run} holds each of these, but no request with all of them")


def _open_transcript(run: Path) -> "Transcript":
    """Open the transcript of a run. Raises UserError where there is none."""
    from jaxecon.simulation.language import open_transcript
    from jaxecon.storage.paths import MANIFEST, TRANSCRIPT

    if not (run / TRANSCRIPT).is_file():
        try:
            manifest = read_json_object(run / MANIFEST)
        except (FileNotFoundError, NotADirectoryError):
            raise UserError(f"{run}: not a run directory (no {MANIFEST})") from None
        if manifest.get("models"):
            raise DiskError(f"{run / TRANSCRIPT}: missing; the run's language models answered")
        raise UserError(f"{run}: this run has no transcript: no language model took part")
    return open_transcript(run / TRANSCRIPT)
