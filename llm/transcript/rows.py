"""The records that are read from a transcript."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

from jaxecon.config.names import STATUSES, Status
from llm.decisions.replies import reason_in
from llm.messages import Completion, Draw, Usage
from llm.transcript.format import shown_key
from llm.transcript.pieces import unpack

REQUEST = (
    "key, seed, kind, year, day, cohort, agent, attempt, messages, settings,"
    " response, finish_reason, prompt_tokens, cached_tokens, completion_tokens, seconds, error"
)

ANSWER = "response, finish_reason, prompt_tokens, cached_tokens, completion_tokens, seconds, error"

SET_ASIDE = "set aside "  # how the keys of answers begin that a resumed run asked for again


@dataclass(frozen=True)
class StoredDecision:
    """An agent's final decision. `decision` is JSON; `attempts` counts the replies it took."""

    status: Status
    decision: str
    attempts: int


@dataclass(frozen=True)
class Counts:
    """What a transcript holds.

    `decisions` by status, `errors` are requests that came back without text, `texts` stored lines.
    """

    requests: int
    errors: int
    texts: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    decisions: dict[str, int]


@dataclass(frozen=True)
class Total:
    """What one cohort's decisions of one kind cost.

    seconds: summed over requests, which overlap. statuses: numbers of decisions by status.
    """

    cohort: str
    kind: str
    requests: int
    errors: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    statuses: dict[str, int]


class Selection(TypedDict, total=False):
    """Which part of a transcript is meant; None and what is left out select nothing.

    year, day: counted from 0. decision: JSON.
    """

    kind: str | None
    year: int | None
    day: int | None
    cohort: str | None
    agent: int | None
    status: str | None
    decision: str | None


class Conversation(TypedDict):
    """One request and its response, in readable form.

    Status and decision (None before it is made) are those of all its attempts together. reason: the
    line of reasoning in the response, None without one. template: hash of the template, "" in
    transcripts of earlier versions. set_aside: whether a resumed run asked again, so that nothing
    follows from the response.
    """

    key: str
    seed: int
    kind: str
    year: int
    day: int
    cohort: str
    agent: int
    attempt: int
    messages: list[dict[str, str]]
    identity: dict[str, str]
    sampling: dict[str, float]
    schema: dict[str, Any] | None
    template: str
    response: str
    finish_reason: str
    error: str | None
    usage: dict[str, int]
    seconds: float
    status: str | None
    decision: Any
    reason: str | None
    set_aside: bool


JOIN = "LEFT JOIN decisions USING (seed, kind, year, day, cohort, agent)"

CONVERSATIONS = (
    "SELECT requests.key, seed, kind, year, day, cohort, agent, attempt, messages, settings, "
    f"status, decision, {ANSWER}"
    f" FROM requests {JOIN} WHERE {{where}}"
    " ORDER BY year, day, kind, cohort, agent, seed, requests.id"
)


def where_clause(selection: Selection) -> tuple[str, dict[str, Any]]:
    """An SQL condition and its parameters. The kind `survey` selects all questions of surveys."""
    wanted = {name: value for name, value in selection.items() if value is not None}
    conditions = [f"{name} = :{name}" for name in wanted if name != "kind"]
    if "kind" in wanted:
        all_questions = wanted["kind"] == "survey"
        conditions.append("kind GLOB :kind || ':*'" if all_questions else "kind = :kind")
    return " AND ".join(conditions) or "TRUE", wanted


# Whether a row to be summed has values that are no numbers, which SQLite would take for 0.
NOT_NUMBERS = " OR ".join(
    f"typeof({column}) NOT IN ('integer', 'real')"
    for column in ("prompt_tokens", "cached_tokens", "completion_tokens", "seconds")
)


def decision_of(row: Sequence[Any]) -> tuple[Draw, StoredDecision]:
    """A stored decision. Raises TypeError where a value cannot have been written.

    row: seed, kind, year, day, cohort, agent, status, decision, attempts.
    """
    seed, kind, year, day, cohort, agent, status, decision, attempts = row
    check_types((seed, year, day, agent, attempts), int)
    check_types((kind, cohort, decision), str)
    if status not in STATUSES:
        raise TypeError(f"{status!r} is no status of a decision")
    return Draw(seed, kind, year, day, cohort, agent), StoredDecision(status, decision, attempts)


def check_types(values: Sequence[Any], kind: type) -> None:
    """Raise TypeError where a stored value is of another type: SQLite takes any in any column."""
    for value in values:
        if type(value) is not kind:
            raise TypeError(f"a {type(value).__name__} in place of a {kind.__name__}")


def completion_of(answer: Sequence[Any]) -> Completion:
    """A stored completion. Raises TypeError where a value cannot have been written.

    answer: the columns of ANSWER.
    """
    text, finish_reason, prompt_tokens, cached_tokens, completion_tokens, seconds, error = answer
    check_types((text, finish_reason, *([] if error is None else [error])), str)
    check_types((prompt_tokens, cached_tokens, completion_tokens), int)
    check_types((seconds,), float)
    return Completion(
        text, finish_reason, Usage(prompt_tokens, cached_tokens, completion_tokens), seconds, error
    )


def conversation_of(
    db: sqlite3.Connection, row: Sequence[Any], settings: dict[int, dict[str, Any]]
) -> Conversation:
    """The conversation in a row of a query. settings: those read so far, by id.

    Raises ValueError, TypeError or LookupError where a value cannot have been written.
    """
    (
        key,
        seed,
        kind,
        year,
        day,
        cohort,
        agent,
        attempt,
        messages,
        setting,
        status,
        decision,
        *answer,
    ) = row
    if setting not in settings:
        (text,) = db.execute("SELECT json FROM settings WHERE id = ?", (setting,)).fetchone()
        settings[setting] = json.loads(text)
    completion = completion_of(answer)
    check_types((seed, year, day, agent, attempt), int)
    check_types((kind, cohort), str)
    return {
        "key": shown_key(key),
        "seed": seed,
        "kind": kind,
        "year": year,
        "day": day,
        "cohort": cohort,
        "agent": agent,
        "attempt": attempt,
        "messages": [{"role": m.role, "content": m.content} for m in unpack(db, messages)],
        "identity": settings[setting]["identity"],
        "sampling": settings[setting]["sampling"],
        "schema": settings[setting]["schema"],
        "template": settings[setting].get("template", ""),
        "response": completion.text,
        "finish_reason": completion.finish_reason,
        "error": completion.error,
        "usage": dict(vars(completion.usage)),
        "seconds": completion.seconds,
        "status": status,
        "decision": None if decision is None else json.loads(decision),
        "reason": reason_in(completion.text),
        "set_aside": shown_key(key).startswith(SET_ASIDE),
    }
