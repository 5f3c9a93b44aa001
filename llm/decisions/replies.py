"""Reads JSON from a model's reply, and makes the schemas that ask for it."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from jaxecon.config.names import Style
from llm.decisions.base import Unusable

MAX_REASONING = 240  # characters

_YES_NO = {"true": True, "yes": True, "false": False, "no": False}
_MAX_SCANNED = 20_000  # characters of a reply that are searched: an answer has a few dozen
# Opening brackets in a reply: with many more the decoder would take seconds, or exceed Python's
# recursion limit.
_MAX_OPENED = 200
_OPENING = re.compile(r"\{")


def answer_schema(style: Style, **properties: Any) -> dict[str, Any]:
    """The schema of an answer; in the style `cot` a bounded line of reasoning comes first."""
    thought = (
        {"reasoning": {"type": "string", "maxLength": MAX_REASONING}} if style == "cot" else {}
    )
    return object_schema(**thought, **properties)


def object_schema(**properties: Any) -> dict[str, Any]:
    """The schema of an object with exactly these fields. properties: the schema of each."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def reasoning_tokens(style: Style) -> int:
    """The most tokens that the line of reasoning needs."""
    return MAX_REASONING // 3 + 16 if style == "cot" else 0


def reason_in(text: str) -> str | None:
    """The line of reasoning in a reply, None where it has none or cannot be read."""
    try:
        reason, _ = only_field(text, "reasoning")
    except Unusable:
        return None
    return reason if isinstance(reason, str) else None


def only_field(text: str, name: str) -> tuple[Any, bool]:
    """The field of the one JSON object in the text, and whether there was anything around it."""
    found, repaired = only_object(text, name)
    return found[name], repaired


def only_object(text: str, name: str) -> tuple[dict[str, Any], bool]:
    """The one JSON object with that field, and whether there was anything around it."""
    text = text.strip()
    candidates = [(obj, extent) for obj, extent in _objects(text) if name in obj]
    if not candidates:
        raise Unusable(f'answer with a JSON object such as {{"{name}": ...}}')
    (first, extent), *others = candidates
    if any(other[name] != first[name] for other, _ in others):
        raise Unusable("answer with one JSON object, not several")
    return first, extent != (0, len(text))


def yes_no(answer: Any, name: str) -> tuple[bool, bool]:
    """A yes or no, and whether it was given as a word."""
    if isinstance(answer, bool):
        return answer, False
    word = answer.strip().lower() if isinstance(answer, str) else ""
    if word not in _YES_NO:
        raise Unusable(f"{name} must be true or false")
    return _YES_NO[word], True


def number_in(value: Any, name: str) -> tuple[float, bool]:
    """A finite number, and whether it was given as a string or a float."""
    if isinstance(value, str):
        try:
            return number_in(float(value), name)[0], True
        except ValueError:
            raise Unusable(f"{name} must be a number") from None
    # a comparison, since math.isfinite fails for integers beyond a float's range
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -sys.float_info.max <= value <= sys.float_info.max
    ):
        raise Unusable(f"{name} must be a number")
    return value, not isinstance(value, int)


def line_of_text(value: Any, name: str, most: int) -> str:
    """A text as one line of at most so many characters. Raises Unusable where there is none."""
    # a JSON escape can be half of a surrogate pair, which files and prompts cannot hold
    whole = value.encode(errors="replace").decode() if isinstance(value, str) else ""
    line = " ".join(whole.split())
    if not line:
        raise Unusable(f"{name} must be a text")
    return line[:most]


def _objects(text: str) -> list[tuple[dict[str, Any], tuple[int, int]]]:
    """The outermost JSON objects in the text, with where each begins and ends."""
    text = text[:_MAX_SCANNED]
    if text.count("{") + text.count("[") > _MAX_OPENED:
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
