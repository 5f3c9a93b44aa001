"""What a model may answer: one bounded JSON schema per decision, and the parser that turns text into a decision."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, Literal, TypeVar

from jaxecon.planners.base import MAX_CHANGE, changes
from jaxecon.voting import VotingMethod

Value = TypeVar("Value")


class Unusable(ValueError):
    """A reply that holds no decision. The message is what the model is told when it is asked again."""


@dataclass(frozen=True)
class Parsed(Generic[Value]):
    """A decision read from a reply. repaired: it was there, though not in the form that was asked for."""

    value: Value
    repaired: bool = False


MOST_REASONING = 240  # characters
MOST_PERSONA = 600

Style = Literal["io", "cot"]


# Schemas are made once and shared: nobody changes them.


@lru_cache
def labor_schema(choices: tuple[int, ...], style: Style = "io") -> dict[str, Any]:
    return _answer(style, hours={"type": "integer", "enum": list(choices)})


@lru_cache
def plan_schema(brackets: int, style: Style = "io", max_change: int = MAX_CHANGE) -> dict[str, Any]:
    change = {"type": "integer", "enum": list(changes(max_change))}
    return _answer(style, changes={"type": "array", "items": change, "minItems": brackets, "maxItems": brackets})


@lru_cache
def candidacy_schema(brackets: int, style: Style = "io", max_change: int = MAX_CHANGE) -> dict[str, Any]:
    return _answer(style, stand={"type": "boolean"}, changes=plan_schema(brackets, "io", max_change)["properties"]["changes"])


@lru_cache
def vote_schema(method: VotingMethod, candidates: int, style: Style = "io") -> dict[str, Any]:
    numbers = list(range(1, candidates + 1))
    if method == "plurality":
        return _answer(style, vote={"type": "integer", "enum": [0, *numbers]})
    several = {"type": "array", "items": {"type": "integer", "enum": numbers}, "minItems": 0, "maxItems": candidates}
    return _answer(style, **{VOTE_FIELDS[method]: several})


@lru_cache
def satisfaction_schema() -> dict[str, Any]:
    return _object(satisfied={"type": "boolean"})


@lru_cache
def persona_schema() -> dict[str, Any]:
    return _object(persona={"type": "string", "minLength": 1, "maxLength": MOST_PERSONA})


def parse_labor(text: str, choices: Sequence[int]) -> Parsed[int]:
    """Hours per week from {"hours": n}. Hours in the range of the choices that are none are moved to the nearest one.

    Raises Unusable.
    """
    answer, repaired = _only_field(text, "hours")
    hours, coerced = _number(answer, "hours")
    if not min(choices) <= hours <= max(choices):
        raise Unusable(f"hours must be between {min(choices)} and {max(choices)}")
    nearest = int(hours) if hours in choices else min(choices, key=lambda choice: abs(choice - hours))
    return Parsed(nearest, repaired or coerced or nearest != hours)


def parse_plan(text: str, brackets: int, max_change: int = MAX_CHANGE) -> Parsed[tuple[int, ...]]:
    """Changes in percentage points, one per bracket, from {"changes": [...]}. Raises Unusable."""
    answer, repaired = _only_object(text, "changes")
    moves, coerced = _changes(answer["changes"], brackets, max_change)
    return Parsed(moves, repaired or coerced)


def _changes(answer: Any, brackets: int, max_change: int) -> tuple[tuple[int, ...], bool]:
    """Percentage points, and whether they had to be read out of something else."""
    if not isinstance(answer, list) or len(answer) != brackets:
        raise Unusable(f"changes must be a list of {brackets} numbers")
    allowed = changes(max_change)
    moves, repaired = [], False
    for item in answer:
        change, coerced = _number(item, "every change")
        if change not in allowed:
            raise Unusable(f"every change must be one of {', '.join(map(str, allowed))}")
        moves.append(int(change))
        repaired = repaired or coerced
    return tuple(moves), repaired


def parse_candidacy(text: str, brackets: int, max_change: int = MAX_CHANGE) -> Parsed[tuple[int, ...] | None]:
    """From {"stand": true, "changes": [...]}: percentage points, one per bracket; None of who does not stand. Raises Unusable."""
    answer, repaired = _only_object(text, "stand")
    stands, coerced = _yes_no(answer["stand"], "stand")
    repaired = repaired or coerced
    if not stands:
        return Parsed(None, repaired)
    if "changes" not in answer:
        raise Unusable(f"changes must be a list of {brackets} numbers")
    moves, coerced = _changes(answer["changes"], brackets, max_change)
    return Parsed(moves, repaired or coerced)


VOTE_FIELDS: dict[VotingMethod, str] = {
    "plurality": "vote",
    "approval": "approve",
    "instant_runoff": "ranking",
    "borda": "ranking",
}


def parse_vote(text: str, method: VotingMethod, candidates: int) -> Parsed[tuple[int, ...]]:
    """Numbers 1..candidates: the one voted for, all approved of, or the ranking, best first; () for nobody. From
    {"vote": 2}, {"approve": [1, 3]} or {"ranking": [3, 1]}. A candidate named again is left out. Raises Unusable."""
    field = VOTE_FIELDS[method]
    answer, repaired = _only_field(text, field)
    if method == "plurality":
        answer = [] if answer is None else [answer]
        repaired = repaired or not answer
    if not isinstance(answer, list):
        raise Unusable(f"{field} must be a list of candidates' numbers")
    chosen: list[int] = []
    for item in answer:
        number, coerced = _number(item, field)
        if method == "plurality" and number == 0:
            return Parsed((), repaired or coerced)
        if number not in range(1, candidates + 1):
            raise Unusable(f"{field} takes candidates' numbers, 1 to {candidates}" + (", or 0" if method == "plurality" else ""))
        repaired = repaired or coerced or number in chosen
        chosen += [int(number)] if number not in chosen else []
    return Parsed(tuple(chosen), repaired)


_YES_NO = {"true": True, "yes": True, "false": False, "no": False}


def _yes_no(answer: Any, name: str) -> tuple[bool, bool]:
    """Yes or no, and whether it had to be read out of a word."""
    if isinstance(answer, bool):
        return answer, False
    word = answer.strip().lower() if isinstance(answer, str) else ""
    if word not in _YES_NO:
        raise Unusable(f"{name} must be true or false")
    return _YES_NO[word], True


def parse_satisfaction(text: str) -> Parsed[bool]:
    """From {"satisfied": true}; yes and no in quotes are understood. Raises Unusable."""
    answer, repaired = _only_field(text, "satisfied")
    satisfied, coerced = _yes_no(answer, "satisfied")
    return Parsed(satisfied, repaired or coerced)


def parse_persona(text: str) -> Parsed[str]:
    """One line of text from {"persona": "..."}, cut at MOST_PERSONA characters. Raises Unusable."""
    answer, repaired = _only_field(text, "persona")
    # JSON's escapes can spell half of a surrogate pair, which no file and no prompt can hold
    line = " ".join(answer.encode(errors="replace").decode().split()) if isinstance(answer, str) else ""
    if not line:
        raise Unusable("persona must be a text")
    return Parsed(line[:MOST_PERSONA], repaired or line != answer or len(line) > MOST_PERSONA)


def _answer(style: Style, **properties: Any) -> dict[str, Any]:
    """The object to answer with; in the chain-of-thought style a bounded line of reasoning comes first."""
    thought = {"reasoning": {"type": "string", "maxLength": MOST_REASONING}} if style == "cot" else {}
    return _object(**thought, **properties)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _only_field(text: str, name: str) -> tuple[Any, bool]:
    """The field of the one JSON object in the text, and whether there was anything around it."""
    found, repaired = _only_object(text, name)
    return found[name], repaired


def _only_object(text: str, name: str) -> tuple[dict[str, Any], bool]:
    """The one JSON object with that field, and whether there was anything around it."""
    text = text.strip()
    found = [(obj, extent) for obj, extent in _objects(text) if name in obj]
    if not found:
        raise Unusable(f'answer with a JSON object such as {{"{name}": ...}}')
    (first, extent), *others = found
    if any(other[name] != first[name] for other, _ in others):
        raise Unusable("answer with one JSON object, not several")
    return first, extent != (0, len(text))


_MOST_SCANNED = 20_000  # characters of a reply that are searched for an object: an answer has a few dozen
_MOST_OPENED = 200  # brackets there: many more would take the decoder seconds, or past Python's recursion limit
_OPENING = re.compile(r"\{")


def _objects(text: str) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    """All JSON objects that stand in the text, with where each begins and ends: outermost first, none inside another."""
    text = text[:_MOST_SCANNED]
    if text.count("{") + text.count("[") > _MOST_OPENED:
        raise Unusable("answer with one short JSON object")
    objects, end = [], 0
    for match in _OPENING.finditer(text):
        start = match.start()
        if start < end:
            continue
        try:
            value, end = _DECODER.raw_decode(text, start)
        except Unusable:
            raise
        except ValueError:
            continue
        objects.append((value, (start, end)))
    return objects


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Unusable("every field may be given once")
    return result


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates)


def _number(value: Any, name: str) -> tuple[float, bool]:
    """A finite number, and whether it had to be read out of a string or a fraction."""
    if isinstance(value, str):
        try:
            return _number(float(value), name)[0], True
        except ValueError:
            raise Unusable(f"{name} must be a number") from None
    # a comparison, as math.isfinite does not take integers beyond a float's range
    if isinstance(value, bool) or not isinstance(value, int | float) or not -sys.float_info.max <= value <= sys.float_info.max:
        raise Unusable(f"{name} must be a number")
    return value, not isinstance(value, int)
