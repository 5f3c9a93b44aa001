"""Reads the body of a server's reply: bounded in size, and JSON in whatever form it is sent."""

import codecs
import html
import json
import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from typing import Any

from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.redaction import Redaction
from llm.messages import UNFINISHED

MAX_BYTES = 4 * 2**20  # of a body, also once it is decompressed; an answer has a few thousand

_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS  # told apart by its header
_TITLE = re.compile(r"<title[^>]{0,200}>(.{0,1000}?)</title", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>", re.IGNORECASE | re.DOTALL)
_LINE_END = re.compile(r"\r\n|\n|\r")  # of event streams: the texts may hold other separators
_MAX_LINES = 100  # of one event
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


def _events(text: str) -> Iterator[Mapping[str, Any] | None]:
    """The JSON of each event, None for the mark of the end. Raises RequestFailure."""
    kind, data = "", list[str]()  # of the event that is being read
    for line in (*_LINE_END.split(text), ""):
        field, _, value = line.partition(":")
        value = value.strip()
        is_end = field == "data" and value == "[DONE]"
        if data and (is_end or not line or len(data) > _MAX_LINES):
            if kind != "error":
                raise RequestFailure("the server's stream is not JSON", status=502)
            yield {"error": "\n".join(data)}
        if is_end:
            yield None
            return
        if field == "event":
            kind = value
        elif not line:
            kind, data = "", []
        elif field == "data" and value:
            # most events have one line, and not all servers end them with an empty one
            data.append(value)
            with suppress(ValueError, RecursionError):
                event = json.loads("\n".join(data))
                data = []
                yield _marked(kind, event)


def _marked(kind: str, event: Any) -> Mapping[str, Any]:
    """An event, as {"error": ...} if it is an error. kind: its type, "" where it has none."""
    fields = event if isinstance(event, Mapping) else {}
    is_error = "error" in (kind, fields.get("object"), fields.get("type"))
    return {"error": event} if is_error and not fields.get("error") else fields


def _joined(events: Iterator[Mapping[str, Any] | None]) -> dict[str, Any]:
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
        if event.get("error"):
            return dict(event) | {"choices": None}
        reply["usage"] = event.get("usage") or reply.get("usage")
        choice = first_choice(event.get("choices")) or {}
        reason = choice.get("finish_reason") or reason
        whole = choice.get("message") or whole
        if isinstance(choice.get("delta"), Mapping):
            _add(message, choice["delta"])
        _add(message, {"content": choice.get("text")})
    if not (ended or reason or whole):
        raise RequestFailure("the server's stream ends before its answer", status=502)
    reason = reason or (None if whole else UNFINISHED)
    return reply | {"choices": [{"message": whole or message, "finish_reason": reason}]}


def first_choice(choices: Any) -> Mapping[str, Any] | None:
    """The choice that counts of those in a reply, None where there is none.

    Servers may send several, in any order and events of a stream: the first has the index 0, or
    none.
    """
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, Mapping) and choice.get("index") in (0, "0", None):
            return choice
    return None


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
    for call in calls if isinstance(calls, list) else []:
        if isinstance(call, Mapping):
            _add_call(message.setdefault("calls", {}), call.get("index"), call.get("function"))
    _add_call(message.setdefault("calls", {}), None, delta.get("function_call"))
    message["tool_calls"] = [{"function": function} for function in message["calls"].values()]


def _add_call(calls: dict[str, dict[str, str]], index: Any, piece: Any) -> None:
    """Add a piece of a call to the calls before it, by index."""
    if not isinstance(piece, Mapping):
        return
    call = calls.setdefault(str(index or 0), {"name": "", "arguments": ""})
    for name in call:
        if isinstance(piece.get(name), str):
            call[name] += piece[name]
