"""Why models gave no usable answers, in words for the user."""

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from jaxecon.core.text import shortened

_MAX_SHOWN = 60  # characters of an unusable answer that are shown


class Reason(NamedTuple):
    """Why requests failed.

    words: for the user. setting: what to look at, without the section of the model, such as
    `base_url` or `max_tokens`.
    """

    words: str
    setting: str


def reason(text: str, finish_reason: str, error: str | None, problem: str = "") -> Reason:
    """Why one reply is no usable answer.

    text, finish_reason, error: as in `llm.messages.Completion`. problem: what its reader says of
    it, where that is known.
    """
    named = re.match(r"llm\.(\w+): (.+)", error or "", re.DOTALL)  # by the engine
    if named is not None:
        return Reason(" ".join(named[2].split()), named[1])
    if error is not None:
        return Reason(" ".join(error.split()) or "an error without words", "base_url")
    if finish_reason == "length":
        return Reason("an answer that ends before it is complete", "max_tokens")
    if not text.strip():
        return Reason("an empty answer", "model")
    words = f"an unusable answer: {shortened(' '.join(text.split()), _MAX_SHOWN)!r}"
    return Reason(f"{words} ({problem})" if problem else words, "model")


def commonest(reasons: Iterable[Reason]) -> Reason | None:
    """The commonest reason: the first of those that differ in numbers and quotations alone."""
    first: dict[str, Reason] = {}
    counts: Counter[str] = Counter()
    for one in reasons:
        alike = re.sub(r"\d+|'.*'|\".*\"", "#", one.words)
        first.setdefault(alike, one)
        counts[alike] += 1
    return first[counts.most_common(1)[0][0]] if counts else None
