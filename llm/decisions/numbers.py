"""Reads numbers: JSON's, and the words and units that models write in their place."""

import re
import sys
from dataclasses import dataclass
from typing import Any

from llm.decisions.base import Unusable

_MAX_CHARACTERS = 400
_SIGNS = str.maketrans(
    {chr(0xFEE0 + ascii): chr(ascii) for ascii in range(0x21, 0x7F)}  # full width
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2212\ufe63", "-")
    | {"\u00a0": " ", "\u202f": " "}
)
_FIGURES = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,4})?"
_GROUPED = re.compile(r"(?<![\d.,])([1-9]\d{0,2})((?:,\d{3})+)(?![\d,])")
_GROUPED_BY_POINTS = re.compile(r"(?<!\d)\d{1,3}\.\d{3}(?!\d)")  # in much of the world
_SMALL_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen"
)
_TENS_WORDS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_SMALL_WORDS.split())}
_TENS = {word: 10 * number for number, word in enumerate(_TENS_WORDS.split(), start=2)}
_BELOW_100 = (
    rf"(?:(?:{'|'.join(_TENS)})(?:[ -](?:{'|'.join(list(_SMALL)[1:10])}))?|{'|'.join(_SMALL)})"
)
_DIGIT = rf"(?:an?|{'|'.join(list(_SMALL)[1:10])})"
_BELOW_1000 = rf"(?:{_DIGIT}[ -]hundred(?: (?:and )?{_BELOW_100})?|{_BELOW_100})"
_WORDS = rf"(?:an?|{_BELOW_1000})[ -]thousand(?:,? (?:and )?{_BELOW_1000})?|{_BELOW_1000}"


@dataclass(frozen=True)
class Unit:
    """What may stand beside a number without changing it: patterns, in lower case.

    before, after: of the text on either side. grouped: whether 5,600 is 5600, and 5.600 may be.
    """

    before: str = ""
    after: str = ""
    grouped: bool = False


PLAIN = Unit()
HOURS_A_WEEK = Unit(
    after=r"(?:h|hrs?|hours?)(?:\s*(?:per|a|each|every|/)\s*(?:week|wk|w)|\s+weekly)?"
)
PERCENTAGE_POINTS = Unit(after=r"%|percent|per cent|pp|(?:percentage|%)?[ -]?points?")
CANDIDATE = Unit(before=r"(?:candidate|(?:candidate\s*)?(?:number|no\.|#))\s*")
AMOUNT = Unit(before=r"(?:us)?\$\s?", after=r"(?:us )?dollars?|usd", grouped=True)


def number_in(value: Any, name: str, unit: Unit = PLAIN) -> tuple[float, bool]:
    """A finite number, and whether it was given as a text or a float.

    Raises:
        Unusable: it is no number, or a text that may mean another one.
    """
    if isinstance(value, str):
        number = _number_of(value, unit)
        if number is None:
            raise Unusable(f"{name} must be a number")
        return number_in(number, name)[0], True
    # a comparison, since math.isfinite fails for integers beyond a float's range
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not -sys.float_info.max <= value <= sys.float_info.max
    ):
        raise Unusable(f"{name} must be a number")
    return value, not isinstance(value, int)


def _number_of(text: str, unit: Unit) -> float | None:
    """The number that the whole text is, None where it is none."""
    if len(text) > _MAX_CHARACTERS:
        return None
    plain = " ".join(text.translate(_SIGNS).lower().split()).rstrip(".!")
    if unit.grouped:
        if _GROUPED_BY_POINTS.search(plain):
            return None
        plain = _GROUPED.sub(lambda match: match[1] + match[2].replace(",", ""), plain)
    match = re.fullmatch(
        rf"(?:{unit.before})?(?P<sign>[+-]\s?|(?:plus|minus|negative)\s)?"
        rf"(?:(?P<figures>{_FIGURES})|(?P<words>{_WORDS}))\s?(?:{unit.after})?",
        plain,
    )
    if match is None:
        return None
    figures = match["figures"]
    size = float(_value_of_words(match["words"]) if figures is None else figures)
    negative = (match["sign"] or "").strip() in ("-", "minus", "negative")
    return -size if negative else size


def _value_of_words(words: str) -> int:
    total = part = 0
    for word in re.findall(r"[a-z]+", words):
        if word == "thousand":
            total, part = total + 1000 * part, 0
        elif word == "hundred":
            part *= 100
        elif word in ("a", "an"):
            part += 1
        elif word != "and":
            part += _SMALL[word] if word in _SMALL else _TENS[word]
    return total + part
