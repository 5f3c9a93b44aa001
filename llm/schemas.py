"""What a model may answer: one bounded JSON schema per decision, and the parser that turns text into a decision."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from jaxecon.planners.base import CHANGES

Value = TypeVar("Value")


class Unusable(ValueError):
    """A reply that holds no decision. The message is what the model is told when it is asked again."""


@dataclass(frozen=True)
class Parsed(Generic[Value]):
    """A decision read from a reply. repaired: it was there, though not in the form that was asked for."""

    value: Value
    repaired: bool = False


def labor_schema(choices: Sequence[int]) -> dict[str, Any]:
    return _object(hours={"type": "integer", "enum": list(choices)})


def plan_schema(brackets: int) -> dict[str, Any]:
    change = {"type": "integer", "enum": list(CHANGES)}
    return _object(changes={"type": "array", "items": change, "minItems": brackets, "maxItems": brackets})


def parse_labor(text: str, choices: Sequence[int]) -> Parsed[int]:
    """Hours per week from {"hours": n}. Hours in the range of the choices that are none are moved to the nearest one.

    Raises Unusable.
    """
    answer, repaired = _only_field(text, "hours")
    hours, coerced = _number(answer, "hours")
    if not min(choices) <= hours <= max(choices):
        raise Unusable(f"hours must be between {min(choices)} and {max(choices)}")
    nearest = min(choices, key=lambda choice: abs(choice - hours))
    return Parsed(nearest, repaired or coerced or nearest != hours)


def parse_plan(text: str, brackets: int) -> Parsed[tuple[int, ...]]:
    """Changes in percentage points, one per bracket, from {"changes": [...]}. Raises Unusable."""
    answer, repaired = _only_field(text, "changes")
    if not isinstance(answer, list) or len(answer) != brackets:
        raise Unusable(f"changes must be a list of {brackets} numbers")
    changes = []
    for item in answer:
        change, coerced = _number(item, "every change")
        if change not in CHANGES:
            raise Unusable(f"every change must be one of {', '.join(map(str, CHANGES))}")
        changes.append(int(change))
        repaired = repaired or coerced
    return Parsed(tuple(changes), repaired)


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _only_field(text: str, name: str) -> tuple[Any, bool]:
    """The field of the one JSON object in the text, and whether there was anything around it."""
    found = [obj for obj in _objects(text) if name in obj]
    if not found:
        raise Unusable(f'answer with a JSON object such as {{"{name}": ...}}')
    if any(obj[name] != found[0][name] for obj in found[1:]):
        raise Unusable("answer with one JSON object, not several")
    return found[0][name], json.dumps(found[0]) != json.dumps(_whole(text))


_MOST_SCANNED = 20_000  # characters of a reply that are searched for an object: an answer has a few dozen
_OPENING = re.compile(r"\{")


def _whole(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError):
        return None


def _objects(text: str) -> list[dict[str, Any]]:
    """All JSON objects that stand in the text, outermost first, none inside another."""
    text = text[:_MOST_SCANNED]
    decoder = json.JSONDecoder(object_pairs_hook=_no_duplicates)
    objects, end = [], 0
    for match in _OPENING.finditer(text):
        if match.start() < end:
            continue
        try:
            value, end = decoder.raw_decode(text, match.start())
        except Unusable:
            raise
        except (ValueError, RecursionError):
            continue
        objects.append(value)
    return objects


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Unusable("every field may be given once")
    return result


def _number(value: Any, name: str) -> tuple[float, bool]:
    """A finite number, and whether it had to be read out of a string or a fraction."""
    if isinstance(value, str):
        try:
            return _number(float(value), name)[0], True
        except ValueError:
            raise Unusable(f"{name} must be a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unusable(f"{name} must be a number")
    return value, not isinstance(value, int)
