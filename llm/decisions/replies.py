"""Reads JSON from a model's reply, and makes the schemas that ask for it."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxecon.config.names import Style
from jaxecon.core.text import TOKEN_BYTES
from llm.decisions.base import Unusable
from llm.decisions.drafts import Meaning, refuse_draft
from llm.decisions.thoughts import without_thoughts
from llm.decisions.tolerant import NoValue, Repeated, tolerant_value, value_or_text

MAX_REASONING = 240  # characters

_YES_NO = {"true": True, "yes": True, "false": False, "no": False}
_MAX_REPLY = 500_000  # characters of a reply that is read at all: most are thoughts
_MAX_SCANNED = 20_000  # characters searched at each end of a reply: an answer has a few dozen
# Opening brackets in a reply: with many more the decoder would take seconds, or exceed Python's
# recursion limit.
_MAX_OPENED = 200
_OPENING = re.compile(r"\{")
_BRACES = re.compile(r"[{}]")
_DOUBLED = re.compile(r"\{\s*\{")
_BOLD = " \t\r\n*`"
_TURN_END = re.compile(r"(?:<\|\w{1,20}\|>|</s>|<eos>|<end_of_turn>)\Z")
_WRAPPED = re.compile(
    r"<(answer|final_answer|output|response)>(.*)</\1>|\$?\\boxed\{([^{}]*)\}\$?",
    re.IGNORECASE | re.DOTALL,
)
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
_ESCAPED = re.compile(r"\{\s*\\\"")
_FENCE = re.compile(r"```\w*\n")
_REPEATED = "every field may be given once"
_ONE_OBJECT = "answer with one JSON object, not several"
# Fields in which models wrap their answer, in lower case.
_ENVELOPE_NAMES = (
    "answer arguments assistant choice content data decision final final_answer function "
    "input json message object output parameters properties reply response result value"
)
_ENVELOPES = frozenset(_ENVELOPE_NAMES.split())
_MAX_ENVELOPES = 4  # within each other


class NoObject(Unusable):
    """A reply without the object that was asked for."""

    def __init__(self, name: str) -> None:
        super().__init__(f'answer with a JSON object such as {{"{name}": ...}}')


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
    return MAX_REASONING // TOKEN_BYTES + 16 if style == "cot" else 0


def reason_in(text: str) -> str | None:
    """The line of reasoning in a reply, None where it has none or cannot be read."""
    try:
        reason, _ = only_field(text, "reasoning")
    except Unusable:
        return None
    return reason if isinstance(reason, str) else None


def only_field(text: str, name: str, meaning: Meaning | None = None) -> tuple[Any, bool]:
    """The field of the one object in the text, and whether it had to be repaired.

    Args:
        text: what the model wrote, thoughts and all.
        name: of the field.
        meaning: reads a value of the field. With it, a reply that is the value alone is understood,
            too.

    Raises:
        Unusable: there is no such field, there are several that differ, or the reply takes it back.
    """
    try:
        found, repaired = only_object(text, name, meaning=meaning)
    except NoObject:
        if meaning is None:
            raise
        try:
            value = _bare_value(without_thoughts(text).translate(_INVISIBLE), name)
            meaning(value)
        except (NoValue, Unusable):
            raise NoObject(name) from None
        return value, True
    return found[name], repaired


def only_object(
    text: str, *names: str, meaning: Meaning | None = None
) -> tuple[dict[str, Any], bool]:
    """The one object with the first of the fields, and whether it had to be repaired.

    It is the whole reply or stands in it: among words, in an envelope such as {"answer": {...}}, in
    forms near JSON (`tolerant`), with its fields in other capitals.

    Args:
        text: what the model wrote, thoughts and all.
        names: of the fields.
        meaning: reads a value of the first field, so that others are found in the words around it.

    Raises:
        NoObject: there is none.
        Unusable: there are several that differ, one may be a draft, or the reply ends within a
            thought.
    """
    if len(text) > _MAX_REPLY:
        raise Unusable("answer with one short JSON object")
    try:
        whole = _DECODER.decode(text)
    except Repeated:
        raise Unusable(_REPEATED) from None
    except (ValueError, RecursionError):
        whole = None
    said = text
    if isinstance(whole, dict) and names[0] in whole and _shallow(text):
        read = [_Read(text, 0, len(text), whole)]
    else:
        said = without_thoughts(text).translate(_INVISIBLE).strip()
        read = [one for part in _searched(said) for one in _objects(part)]
    holders = [holder for one in read for holder in _holders(one.value, names[0])]
    if not holders:
        raise NoObject(names[0])
    first, *others = [_canonical(holder, names) for holder in holders]
    if any(other.get(name) != first.get(name) for other in others for name in names):
        raise Unusable(_ONE_OBJECT)
    if whole is None or read[0].value is not whole:
        last = [one for one in read if _holders(one.value, names[0])][-1]
        if len(said) > 2 * _MAX_SCANNED and not said.endswith(last.text):
            raise Unusable("answer with one short JSON object")  # what follows is not searched
        _refuse_drafts(read, last, names[0], first[names[0]], meaning)
    return first, first != whole


class _Read(NamedTuple):
    """An outermost object of a text. value: None where it cannot be read."""

    text: str
    start: int
    end: int
    value: Any


def _refuse_drafts(
    read: Sequence[_Read], last: _Read, name: str, value: Any, meaning: Meaning | None
) -> None:
    """Raise Unusable where the last object's value is not the only one that may be meant."""
    named = re.compile(rf"\b{name}\b[\"'”’`*\\]*\s*[:=]", re.IGNORECASE)
    # what cannot be read may be the answer, of which the other is a draft
    if any(one.value is None and named.search(one.text, one.start, one.end) for one in read):
        raise Unusable(_ONE_OBJECT)
    try:
        means = None if meaning is None else meaning(value)[0]
    except Unusable:  # such as a word for a truth value
        means = value
    for one in read:
        if meaning is None or one.value is None or _holders(one.value, name):
            continue
        try:
            other, _ = meaning(_unwrapped(one.value))
        except (NoValue, Unusable):
            continue
        if other != means:
            raise Unusable(_ONE_OBJECT)
    refuse_draft(last.text[: last.start], last.text[last.end :], name, means, meaning)


def yes_no(answer: Any, name: str) -> tuple[bool, bool]:
    """A yes or no, and whether it was given as a word."""
    if isinstance(answer, bool):
        return answer, False
    word = answer.strip().rstrip(".!").lower() if isinstance(answer, str) else ""
    if word not in _YES_NO:
        raise Unusable(f"{name} must be true or false")
    return _YES_NO[word], True


def list_in(value: Any, name: str) -> list[Any]:
    """A list, which may be written as a text. Raises Unusable where it is none."""
    if isinstance(value, str) and value.startswith("[") and _shallow(value):
        value = value_or_text(value.strip())
    if not isinstance(value, list):
        raise Unusable(f"{name} must be a list of numbers")
    return value


def line_of_text(value: Any, name: str, most: int) -> str:
    """A text as one line of at most so many characters. Raises Unusable where there is none."""
    # a JSON escape can be half of a surrogate pair, which files and prompts cannot hold
    whole = value.encode(errors="replace").decode() if isinstance(value, str) else ""
    line = " ".join(whole.split())
    if not line:
        raise Unusable(f"{name} must be a text")
    return line[:most]


def _bare_value(text: str, name: str) -> Any:
    """The value that the whole reply is, alone, after its name, or in an envelope.

    Raises:
        NoValue: it is none.
    """
    text = text.strip()
    if len(text) > _MAX_SCANNED:
        raise NoValue
    fence = _FENCE.match(text)
    text = _TURN_END.sub("", text[fence.end() if fence else 0 :].strip(_BOLD)).strip(_BOLD)
    if wrapped := _WRAPPED.fullmatch(text):
        text = (wrapped[2] or wrapped[3] or "").strip(_BOLD)
    if not _shallow(text):
        raise NoValue
    field = rf"[\"'*]*(?:({name})|(?:my |the )?(?:final )?answer)[\"'*]*\s*[:=][\s*]*"
    label = re.match(field, text, re.IGNORECASE)
    text = text[label.end() if label else 0 :]
    named = label and label[1]
    value = value_or_text(text)
    inner = _unwrapped(value)
    if (inner is None or inner == []) and (named is None or inner is not value):
        raise NoValue  # no answer at all, rather than one for nobody
    return inner


def _unwrapped(value: Any) -> Any:
    """The value in its envelopes. Raises NoValue where an object is none."""
    while isinstance(value, dict):
        ((key, value),) = value.items() if len(value) == 1 else [("", None)]
        if _plain(key) not in _ENVELOPES:
            raise NoValue
    return value


def _only_value(value: Any) -> Any:
    """What an object such as {"value": 40} holds; any other value as it is."""
    try:
        inner = _unwrapped(value)
    except NoValue:
        return value
    return value if inner is None or inner == [] else inner


def _holders(value: Any, name: str, depth: int = 0) -> list[dict[str, Any]]:
    """The objects with that field: the value itself, or what its envelopes hold."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and depth and value.startswith("{"):  # arguments in a text
        try:
            value = _DECODER.decode(value)
        except (ValueError, RecursionError):
            return []
    if not isinstance(value, dict) or depth > _MAX_ENVELOPES:
        return []
    inside = {
        key: _holders(inner, name, depth + 1)
        for key, inner in value.items()
        if _plain(key) == name or _plain(key) in _ENVELOPES
    }
    holders = [holder for held in inside.values() for holder in held]
    # in {"hours": {"hours": 40}} the inner object holds the field
    is_one = any(_plain(key) == name and not held for key, held in inside.items())
    return [value, *holders] if is_one else holders


def _canonical(found: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The object with its fields under their own names. Raises Unusable where two share one."""
    renamed: dict[str, Any] = {}
    for key, value in found.items():
        name = _plain(key) if _plain(key) in names else key
        if name in renamed:
            raise Unusable(_REPEATED)
        renamed[name] = _only_value(value) if name in names else value
    return renamed


def _plain(key: str) -> str:
    return key.strip().lower()


def _shallow(text: str) -> bool:
    return sum(map(text.count, "{[(")) <= _MAX_OPENED


def _searched(text: str) -> list[str]:
    """Where answers stand in a reply: all of it, or the beginning and the end of a long one."""
    if len(text) <= 2 * _MAX_SCANNED:
        return [text]
    # The end begins outside of all objects, and closes none that it has not opened: what is inside
    # half of one may look like an answer.
    end = start = len(text) - _MAX_SCANNED
    depth = 0
    for brace in _BRACES.finditer(text):
        if brace.start() >= end and depth == 0:
            break
        depth = depth + 1 if brace.group() == "{" else max(0, depth - 1)
        start = max(start, brace.end())
    opened = 0
    for brace in _BRACES.finditer(text, start):
        opened += 1 if brace.group() == "{" else -1
        if opened < 0:
            break
    is_whole = depth == 0 and opened >= 0
    return [text[:_MAX_SCANNED], text[start:] if is_whole else ""]


def _objects(text: str) -> list[_Read]:
    """The outermost objects in the text, and what looks like one."""
    if not _shallow(text):
        raise Unusable("answer with one short JSON object")
    if text.startswith('"'):  # JSON in a text of JSON
        try:
            inner = json.loads(text)
        except ValueError:
            inner = None
        text = inner if isinstance(inner, str) else text
    if _ESCAPED.match(text):
        text = text.replace('\\"', '"')
    objects, end = list[_Read](), 0
    for match in _OPENING.finditer(text):
        start = match.start()
        if start < end:
            continue
        try:
            value, end = _value_at(text, start)
        except Repeated:
            raise Unusable(_REPEATED) from None
        except NoValue:
            # What is inside an object that cannot be read may be a draft.
            value, end = _doubled(text, start)
        objects.append(_Read(text, start, end, value))
    return objects


def _doubled(text: str, start: int) -> tuple[Any, int]:
    """An object in second braces of its own, and its end; None for any other that is unreadable."""
    end, at = _closing(text, start), start
    while _DOUBLED.match(text, at):
        at = text.index("{", at + 1)
    try:
        value, inner_end = _value_at(text, at)
    except NoValue:
        return None, end
    return (None if text[inner_end:end].strip(" \t\r\n}") else value), end


def _value_at(text: str, start: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except Repeated:
        raise
    except (ValueError, RecursionError):
        return tolerant_value(text, start)


def _closing(text: str, start: int) -> int:
    """Where the braces that open at `start` are closed; the end of the text if they are not."""
    depth = 0
    for match in _BRACES.finditer(text, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return match.end()
    return len(text)


def _no_duplicates(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Repeated
    return result


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates)
