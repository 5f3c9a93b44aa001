"""Signs that an object in a reply is a draft, not the answer.

What stands around it takes it back, or states another value. Words that merely differ from it are
no sign: models explain their answers with other numbers.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from llm.decisions.base import Unusable
from llm.decisions.thoughts import without_thoughts
from llm.decisions.tolerant import value_or_text

# What a value of a field means, and whether it was given in another form than the one asked for.
# Raises Unusable for what is no value.
Meaning = Callable[[Any], tuple[Any, bool]]

_NEAR = 80  # characters before an object that may make it a draft, or behind the last one
_MAX_VALUE = 200  # characters of another value
_MARKS = r"[\s\"'“”‘’`*_>]*+"
# Directly before the object.
_HEDGE = re.compile(
    r"\b(?:not|maybe|perhaps|drafts?|example|e\.g\.|instead of|rather than"
    r"|(?:could|might|may) (?:be|do|say|answer|choose|work))"
    r"[\s:,\"'“‘`*(]*(?:```\w*\s*)?$",
    re.IGNORECASE,
)
# Directly behind the object.
_TAKEN_BACK = re.compile(
    r"[\s\"'”’`*.,;:)–—-]{0,20}(?:\?|no[,.:;!—]"
    r"|(?:hmm|wait|oops|scratch that|on second thought)\b"
    r"|(?:hours )?(?:(?:but )?(?:that|this|which|it) )?"
    r"(?:is|was|are|were|would be|will be|seems|looks|feels|(?:may|might|could) be)"
    r" (?:(?!not )[a-z]+ ){0,2}?"
    r"(?:wrong|incorrect|false|untrue|too|a lie|a draft|an example|a mistake|only a"
    r"|not (?:right|correct|enough|true|allowed|possible)"
    r"|(?:my|the|a) first (?:idea|thought|guess|draft|try|attempt))\b)",
    re.IGNORECASE,
)
_CLAIM = (
    r"(?:(?<![a-z])(?:answer|choice|decision|final|correction|corrected|revised|{name})\b"
    r"[\"'”’*_]{{0,3}}(?: is| would be|\s?=|\s?:)"
    r"|\b(?:i mean|i meant|i choose|i chose|i pick|make (?:it|that)|rather|instead|actually)\b"
    r"|\b(?:no|so|but):|\bno[,.;!—]|(?P<line>^|\n))"
)
_LIST = re.compile(r"[\[(][^\[\](){}\n]{0,150}[\])]")
_ENDS_WITH_ONE = re.compile(r"[}\])](?:[\s`*\"'.]|</?\w{1,20}>|<\|\w{1,20}\|>)*\Z")
# An object on lines of its own, and the beginning of an explanation.
_BEGINS_WITH_ONE = re.compile(r"(?:```\w*\s*)?\{[^{}]*\}[ \t`]*(?=\n)([^{}]*)\Z")
_TURN = re.compile(
    r"\b(?:answer|final|but|however|wait|hmm|actually|instead|rather|or|too|revised|second)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[\n;!?{}]|[.,](?=\s|$)")


def refuse_cut(text: str) -> None:
    """Raise Unusable where a reply that was cut may have gone on to another answer.

    Args:
        text: what the model wrote, thoughts and all.
    """
    said = without_thoughts(text).strip()
    begins = _BEGINS_WITH_ONE.match(said)
    if begins is not None and not _TURN.search(begins[1]):
        return
    if not _ENDS_WITH_ONE.search(said[-_NEAR:]):
        raise Unusable("answer with one JSON object alone; the reply was cut")


def refuse_draft(
    before: str, after: str, name: str, value: object, meaning: Meaning | None
) -> None:
    """Raise Unusable where an object is taken back, or another value is stated behind it.

    Args:
        before, after: the text around the object.
        name: of its field.
        value: what the field means, as `meaning` reads it.
        meaning: reads values; None where any text may be one, so that no other is looked for.
    """
    if _HEDGE.search(before[-_NEAR:]) or _TAKEN_BACK.match(after):
        raise Unusable("answer with one JSON object alone, and take nothing back")
    if meaning is not None and any(other != value for other in _claims(after, name, meaning)):
        raise Unusable("answer with one JSON object, and with nothing else behind it")


def _claims(text: str, name: str, meaning: Meaning) -> Iterator[object]:
    """What the text states to be the answer, as `meaning` reads it."""
    claim = re.compile(_CLAIM.format(name=re.escape(name)) + _MARKS, re.IGNORECASE)
    for match in claim.finditer(text):
        said = text[match.end() : match.end() + _MAX_VALUE]
        for candidate in _candidates(said, match["line"] is not None):
            try:
                yield meaning(value_or_text(candidate))[0]
            except Unusable:
                continue
            break


def _candidates(said: str, is_line: bool) -> Iterator[str]:
    """What may be a value at the beginning of the text, longest first.

    is_line: whether it begins a line, which then has to be a value as a whole.
    """
    listed = _LIST.match(said)
    if listed is not None:
        yield listed.group()
        return
    line = said.partition("\n")[0]
    sentence = line if is_line else _SENTENCE_END.split(line)[0]
    yield sentence.strip(" \t\r\"'”’`*_.!}")
    if is_line:
        return
    words = sentence.split()[:4]
    for count in range(len(words), 0, -1):
        candidate = " ".join(words[:count]).strip("\"'”’`*_.!")
        if re.search(r"\d|^(?:true|false)$", candidate, re.IGNORECASE):
            yield candidate
