"""What `jaxecon transcript` prints and exports."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from jaxecon.cli.output.printable import printable, say, say_line
from jaxecon.cli.output.tables import new_table, share_text
from jaxecon.cli.output.terminal import Console
from jaxecon.config.names import STATUSES
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import atomically
from jaxecon.core.json_text import json_text
from jaxecon.core.text import shortened

if TYPE_CHECKING:
    from llm.transcript.answers import Answers
    from llm.transcript.rows import Conversation, Total


_MAX_ANSWER = 32  # characters of the most frequent answer that are shown


def print_totals(
    totals: "Sequence[Total]",
    answers: "Mapping[tuple[str, ...], Answers]",
    models: Sequence[Mapping[str, str]],
    reasons: Mapping[tuple[str, str], str],
) -> None:
    """Print totals per cohort and kind of decision.

    answers: by cohort and kind. models: identities of those that answered. reasons: the commonest
    one for fallbacks, by cohort and kind.
    """
    console = Console()
    if not totals:
        console.print("No requests.")
        return
    console.print(_usage_table(totals))
    console.print("(seconds: summed over requests, several of which run at once)")
    names = (f"{m.get('model', '?')} ({m.get('engine', '?')})" for m in models)
    console.print(f"Answered by {', '.join(names)}.\n\nHow decisions were reached:")
    table = new_table("cohort", "kind", *STATUSES)
    for t in totals:
        table.add_row(
            t.cohort,
            t.kind,
            *(f"{t.statuses.get(s, 0):,}" for s in STATUSES),
        )
    console.print(table)
    for (cohort, kind), words in reasons.items():
        console.print_line(f"Fallbacks of {cohort}, {kind}, most often: {words}")
    _print_answers(console, answers)


def _usage_table(totals: "Sequence[Total]") -> Table:
    """Requests, errors, tokens and seconds, with their sums where there are several rows."""
    table = new_table(
        "cohort", "kind", "requests", "errors", "tokens in", "cached", "out", "seconds"
    )
    for t in totals:
        table.add_row(
            *(
                t.cohort,
                t.kind,
                f"{t.requests:,}",
                f"{t.errors:,}",
            ),
            *(
                f"{t.prompt_tokens:,}",
                share_text(t.cached_tokens, t.prompt_tokens),
                f"{t.completion_tokens:,}",
                f"{t.seconds:,.0f}",
            ),
        )
    if len(totals) > 1:
        table.add_section()
        prompt = sum(t.prompt_tokens for t in totals)
        table.add_row(
            *(
                "all",
                "",
                f"{sum(t.requests for t in totals):,}",
                f"{sum(t.errors for t in totals):,}",
                f"{prompt:,}",
            ),
            *(
                share_text(sum(t.cached_tokens for t in totals), prompt),
                f"{sum(t.completion_tokens for t in totals):,}",
            ),
            f"{sum(t.seconds for t in totals):,.0f}",
        )
    return table


def _print_answers(console: Console, answers: "Mapping[tuple[str, ...], Answers]") -> None:
    """Print how many different answers there were, and the most frequent one."""
    console.print("\nWhat was decided, without fallbacks:")
    table = new_table("cohort", "kind", "usable", "distinct", "most frequent", "share")
    for (cohort, kind), counted in answers.items():
        answer = printable(counted.most_frequent or "")
        table.add_row(
            cohort,
            kind,
            f"{counted.usable:,}",
            f"{counted.distinct:,}",
            shortened(answer, _MAX_ANSWER),
            share_text(counted.most_frequent_count, counted.usable),
        )
    console.print(table)


def print_conversations(conversations: "Iterable[Conversation]") -> None:
    """Print conversations as plain text, whatever characters a model wrote."""
    some = False
    for c in conversations:
        some = True
        usage = c["usage"]
        attempt = f", attempt {c['attempt']}" if c["attempt"] else ""
        whose = f"{printable(c['kind'])} of {printable(c['cohort'])} agent {c['agent']}"
        say_line(f"=== year {c['year']}, day {c['day']}: {whose}{attempt}")
        for message in c["messages"]:
            say(f"--- {message['role']}\n{printable(message['content'])}")
        if c["set_aside"]:
            say("--- set aside: the run had ended here, and asked again when it was resumed")
        answer = c["response"] if c["error"] is None else f"(none: {c['error']})"
        say(f"--- answer\n{printable(answer)}")
        decided = (
            f"decision {json.dumps(c['decision'])}, {c['status']}"
            if c["status"] is not None
            else "no decision yet"
        )
        say(
            f"--- {decided}; {usage['prompt_tokens']:,} tokens in ({usage['cached_tokens']:,} "
            "cached), "
            f"{usage['completion_tokens']:,} out ({printable(c['finish_reason'])}), "
            f"{c['seconds']:.2f} s\n"
        )
    if not some:
        print("No requests.")


def print_decisions(conversations: "Iterable[Conversation]") -> None:
    """Print a line a decision: whose it is, what was decided, how, and why.

    The reason is that of the newest attempt; a fallback has none.
    """
    some = False
    for _, attempts in groupby(conversations, key=_whose):
        *_, last = attempts
        some = True
        whose = f"{printable(last['cohort'])} {last['agent']}"
        decided = json.dumps(last["decision"]) if last["status"] else "no decision yet"
        how = f" ({last['status']})" if last["status"] not in ("ok", None) else ""
        reason = None if last["status"] == "fallback" else last["reason"]
        why = f": {printable(' '.join(reason.split()))}" if reason else ""
        say_line(
            f"year {last['year']}, day {last['day']}: {printable(last['kind'])} of {whose}: "
            f"{printable(decided)}{how}{why}"
        )
    if not some:
        print("No requests.")


def _whose(conversation: "Conversation") -> tuple[int, int, str, str, int, int]:
    """What the attempts at one decision share."""
    c = conversation
    return c["year"], c["day"], c["kind"], c["cohort"], c["agent"], c["seed"]


def export_lines(path: Path, rows: Iterable[object]) -> None:
    """Write one JSON object a line, to a new file or, for `-`, to standard output.

    Raises:
        UserError: the file exists or cannot be written; it appears whole or not at all.
    """
    if str(path) == "-":
        for row in rows:
            print(json_text(row))
        return
    lines = ((json_text(row) + "\n").encode() for row in rows)
    try:
        if path.exists() and not path.is_file():  # a pipe, /dev/stdout
            with path.open("wb") as file:
                file.writelines(lines)
        elif path.exists():
            raise FileExistsError
        else:
            with atomically(path, new=True) as file:
                file.writelines(lines)
    except FileExistsError:
        raise UserError(f"--export: {path}: exists; give a new file") from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DiskError(f"--export: {path}: cannot be written ({error.strerror})") from error
