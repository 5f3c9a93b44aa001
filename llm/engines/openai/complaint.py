"""What a server complains of, without what it repeats of the request."""

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from llm.engines.openai.redaction import plain_text

_MAX_READ = 100_000  # characters of a refusal; a server that repeats a prompt says more about it
_MAX_COMPLAINT = 20_000  # characters that are searched for what they mean
# Fields in which frameworks repeat what they were sent, or what the model wrote.
_REPEATED = frozenset({"input", "ctx", "failed_generation"})
_MESSAGE = frozenset({"role", "content"})
_DEEPEST = 20  # objects in each other
_LIKE_A_REQUEST = 3  # fields that an object shares with the request where it repeats it
_RUN = 4  # words in a row that are the request's: fewer may be the server's own
_SHORT = 60  # characters of a value that is looked for as a whole; of more, runs of words are
_WORD = re.compile(r"\w+")
_INPUT_VALUE = re.compile(r"\binput_value=.*?(?=, input_type=|\n|$)")  # pydantic, in words
_BREAK = "\n"  # in place of what is left out; no pattern of `refusals` goes beyond it


def without_repeated(body: Any, request: Mapping[str, Any], depth: int = 0) -> Any:
    """The JSON of a refusal without the fields that hold what was sent.

    Args:
        body: what the server sent.
        request: the body of the request.
        depth: in what the server sent; there are no complaints far down.
    """
    if not isinstance(body, list | Mapping):
        return body
    if depth > _DEEPEST:
        return ""
    if isinstance(body, list):
        return [without_repeated(one, request, depth + 1) for one in body]
    names = body.keys() & request.keys()
    left_out = names if len(names) >= _LIKE_A_REQUEST else frozenset[str]()
    if body.keys() >= _MESSAGE:
        left_out |= _MESSAGE
    return {
        name: "" if name in _REPEATED else without_repeated(value, request, depth + 1)
        for name, value in body.items()
        if name not in left_out
    }


def complaint_of(body: object, request: Mapping[str, Any]) -> str:
    """Everything that a server says of its own in a refusal, in lower case.

    What it repeats of the request is left out: a prompt may hold any words, and its refusal would
    then be taken for one of what they are about.

    Args:
        body: what the server sent, JSON or text, as `without_repeated` leaves it.
        request: the body of the request; empty where it had none.
    """
    text = plain_text(body)[:_MAX_READ].lower()
    text = _INPUT_VALUE.sub(_BREAK, text)
    # a server may well name the model that it speaks of
    sent = {name: value for name, value in request.items() if name != "model"}
    text = _without_runs(text, json.dumps(sent, ensure_ascii=False).lower())
    return _without_fields(text, request)[:_MAX_COMPLAINT]


def _without_runs(text: str, request: str) -> str:
    """The text without the runs of words that stand so in the request."""
    sent = _WORD.findall(_plain(request))
    known = {tuple(sent[i : i + _RUN]) for i in range(len(sent) - _RUN + 1)}
    text = _plain(text)
    found = list(_WORD.finditer(text))
    words = [match.group() for match in found]
    spans: list[tuple[int, int]] = []
    for i in range(len(words) - _RUN + 1):
        if tuple(words[i : i + _RUN]) in known:
            start, end = found[i].start(), found[i + _RUN - 1].end()
            if spans and start <= spans[-1][1]:
                start = spans.pop()[0]
            spans.append((start, end))
    kept = [(0, 0), *spans, (len(text), len(text))]
    return _BREAK.join(text[end:start] for (_, end), (start, _) in pairwise(kept))


def _plain(text: str) -> str:
    """The text without the escapes of JSON and Python, of which a text in a text has several."""
    return re.sub(r"\\+[nrt]?", " ", text)


def _without_fields(text: str, request: Mapping[str, Any]) -> str:
    """The text without the request's fields, where it has several with the values that were sent.

    That is a request whose fields are repeated in another order.
    """
    fields = [
        rf"{re.escape(name)}\b[\"']?\s?[:=]\s?(?:{value})" for name, value in _fields_of(request)
    ]
    repeated = re.compile(rf"\b(?:{'|'.join(fields)})")
    several = len({found.group() for found in repeated.finditer(text)}) >= _LIKE_A_REQUEST
    return repeated.sub(_BREAK, text) if fields and several else text


def _fields_of(value: object) -> Iterator[tuple[str, str]]:
    """Each name in a request with a pattern of what follows it where the request is repeated."""
    if isinstance(value, list):
        for one in value:
            yield from _fields_of(one)
    if isinstance(value, Mapping):
        for name, inner in value.items():
            # an object, its name, or the place of a text that has been left out
            follows = r"[\[{(]|\w+\(|[\"']?\n"
            if not isinstance(inner, list | Mapping) and len(said := str(inner)) <= _SHORT:
                follows += rf"|[\"']?{re.escape(_plain(said.lower()))}(?!\w)"
            yield name.lower(), follows
            yield from _fields_of(inner)
