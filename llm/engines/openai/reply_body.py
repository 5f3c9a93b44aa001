"""Reads the body of a server's reply: bounded in size, and JSON in whatever form it is sent."""

import codecs
import html
import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.redaction import Redaction

MAX_BYTES = 4 * 2**20  # of a body, also once it is decompressed; an answer has a few thousand

_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS  # told apart by its header
_TITLE = re.compile(r"<title[^>]{0,200}>(.{0,1000}?)</title", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_LINE_END = re.compile(r"\r\n|\n|\r")  # of event streams: the texts may hold other separators
_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


async def bounded(chunks: AsyncIterator[bytes], encoding: str) -> bytes:
    """The body of a reply, decompressed.

    Args:
        chunks: as they come.
        encoding: the header Content-Encoding; "" where there is none.

    Raises:
        RequestFailure: the body is longer than MAX_BYTES, or cannot be decompressed.
    """
    encoding = encoding.strip().lower()
    if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
        raise RequestFailure(
            "the server's reply is compressed, which was not asked for", status=502
        )
    inflate = None if encoding in ("", "identity") else zlib.decompressobj(_ZLIB_OR_GZIP)
    body = bytearray()
    async for chunk in chunks:
        try:
            body += chunk if inflate is None else inflate.decompress(chunk, MAX_BYTES + 1)
        except zlib.error:
            raise RequestFailure("the server's reply cannot be decompressed", status=502) from None
        if len(body) > MAX_BYTES or (inflate is not None and inflate.unconsumed_tail):
            raise RequestFailure(
                f"the server's reply is longer than {MAX_BYTES >> 20} MiB", status=502
            )
    return bytes(body)


def decoded(body: bytes, content_type: str) -> str:
    """The text of a body, without marks and space around it. Bytes that are no text become �."""
    charset = re.search(r"charset\s*=\s*\"?([\w.:-]+)", content_type, re.IGNORECASE)
    encoding = charset[1] if charset else json.detect_encoding(body)
    try:
        text = body.decode(encoding, "replace")
        codecs.lookup(encoding)
    except (LookupError, UnicodeError, ValueError):
        text = body.decode(errors="replace")
    return text.strip("\ufeff \t\r\n\0")


def json_of(text: str, content_type: str, redaction: Redaction) -> Any:
    """The JSON of a reply; a stream of events is put together to one completion.

    Raises:
        RequestFailure: it is no JSON.
    """
    if _is_stream(text, content_type):
        return _joined(_events(text))
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        page = page_title(text, content_type)
        if page is not None:
            words = f"the server sent a web page, not an answer: {redaction.line(page)[:100]!r}"
        else:
            words = "the server's reply is not JSON" if text else "the server's reply is empty"
        raise RequestFailure(words, status=502) from None


def page_title(text: str, content_type: str) -> str | None:
    """The title of a web page, or else its first words; None for what is no web page."""
    head = text[:200].lower()
    if "html" not in content_type.lower() and not head.startswith(("<!doctype html", "<html")):
        return None
    title = _TITLE.search(text[:100_000])
    words = title[1] if title else _TAG.sub(" ", text[:20_000])
    return " ".join(html.unescape(words).split()) or "no title"


def _is_stream(text: str, content_type: str) -> bool:
    return "event-stream" in content_type.lower() or text.startswith(("data:", "event:", ": "))


def _events(text: str) -> Iterator[Any]:
    """The JSON of each event, None for the mark of the end. Raises RequestFailure."""
    for line in _LINE_END.split(text):
        field, _, value = line.partition(":")
        value = value.strip()
        if field != "data" or not value:
            continue
        if value == "[DONE]":
            yield None
            return
        try:
            yield json.loads(value)
        except (ValueError, RecursionError):
            raise RequestFailure("the server's stream is not JSON", status=502) from None


def _joined(events: Iterator[Any]) -> dict[str, Any]:
    """One completion from the events of a stream.

    Raises:
        RequestFailure: the stream ends before the answer does.
    """
    message: dict[str, Any] = {}
    whole: Any = None  # a message that came in one piece
    reply: dict[str, Any] = {}
    reason, ended = None, False
    for event in events:
        if event is None:
            ended = True
            continue
        if not isinstance(event, Mapping):
            continue
        if event.get("error") and not event.get("choices"):
            return dict(event)
        reply["usage"] = event.get("usage") or reply.get("usage")
        choice = _first_choice(event)
        reason = choice.get("finish_reason") or reason
        whole = choice.get("message") or whole
        if isinstance(choice.get("delta"), Mapping):
            _add(message, choice["delta"])
    if not (ended or reason or whole):
        raise RequestFailure("the server's stream ends before its answer", status=502)
    return reply | {"choices": [{"message": whole or message, "finish_reason": reason}]}


def _first_choice(event: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = event.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, Mapping) and first.get("index") in (0, None):
        return first
    return {}


def _parts(piece: str | list[Any]) -> list[Any]:
    """A piece of a message as a list of parts."""
    if isinstance(piece, list):
        return piece
    return [{"type": "text", "text": piece}] if piece else []


def _add(message: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """Add a piece of a message to what came before."""
    for name in _TEXTS:
        piece = delta.get(name)
        before = message.get(name, "")
        if isinstance(piece, str) and isinstance(before, str):
            message[name] = before + piece
        elif isinstance(piece, str | list):  # pieces of both kinds in one stream
            message[name] = [*_parts(before), *_parts(piece)]
    calls = delta.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    functions = [call.get("function") for call in calls if isinstance(call, Mapping)]
    for function in (*functions, delta.get("function_call")):
        piece = function.get("arguments") if isinstance(function, Mapping) else None
        if isinstance(piece, str):
            called = message.setdefault("function_call", {"arguments": ""})
            called["arguments"] += piece
