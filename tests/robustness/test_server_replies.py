"""What servers send in place of a plain completion: read, or refused with one line, in bounds."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.openai_server import ask

from llm.engines.openai.completion import completion_of
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.redaction import Redaction
from llm.engines.openai.reply_body import MAX_BYTES, bounded, decoded, json_of
from llm.messages import Completion, Usage

ANSWER = '{"hours": 40}'
NO_KEY = Redaction("")


def completion(reply: Any) -> Completion:
    return completion_of(reply, ask("Hours?"), 0.1, NO_KEY, lambda words: None)


def message(content: Any = None, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def reply(message: Any, finish_reason: Any = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish_reason}], **fields}


def read(body: bytes, content_type: str = "application/json") -> Completion:
    text = decoded(body, content_type)
    return completion(json_of(text, content_type, NO_KEY))


@pytest.mark.parametrize(
    "reason",
    [
        "stop",
        None,
        "",
        "eos_token",
        "eos",
        "STOP",
        "end_turn",
        "tool_calls",
        "stop_sequence",
        3,
        {},
    ],
)
def test_an_answer_is_read_whatever_ended_it(reason: Any) -> None:
    got = completion(reply(message(ANSWER), reason))
    assert (got.text, got.error) == (ANSWER, None)
    assert got.finish_reason == (str(reason) if reason or reason == {} else "stop")


def test_endings_that_mean_something() -> None:
    for cut in ("length", "max_tokens", "MAX_TOKENS", "model_length"):
        assert completion(reply(message(ANSWER), cut)).finish_reason == "length"
    for none in ("content_filter", "error", "CONTENT_FILTER"):
        ended = completion(reply(message(ANSWER), none))
        assert ended.error == f"the server ended the request with {none!r}"


def call(arguments: Any, name: str = "f") -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    "said",
    [
        message(ANSWER),
        message([{"type": "text", "text": ANSWER}]),
        message([{"type": "text", "text": ANSWER[:5]}, {"type": "text", "text": ANSWER[5:]}]),
        message(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": '{"hours": 10}'}]},
                {"type": "reasoning", "text": '{"hours": 10}'},
                {"type": "text", "text": ANSWER},
            ]
        ),
        message([{"text": ANSWER}, {"type": "image_url"}]),
        message({"hours": 40}),
        message(None, reasoning_content=ANSWER),
        message("", reasoning=f"\n```json\n{ANSWER}\n```\n"),
        message("", tool_calls=[call(ANSWER)]),
        message(None, tool_calls=[call({"hours": 40})]),
        message(None, tool_calls=[], function_call={"name": "f", "arguments": ANSWER}),
        message(ANSWER, reasoning_content='{"hours": 10}', tool_calls=None),
        message([{"text": '{"hours": 10}', "thought": True}, {"text": ANSWER}]),
        message([{"type": None, "text": ANSWER}]),
        message([{"type": "text", "text": {"value": ANSWER, "annotations": []}}]),
        message([{"type": "tool_use", "name": "f", "input": {"hours": 40}}]),
        message([{"type": "output_json", "json": {"hours": 40}}]),
        message({"type": "text", "text": ANSWER}),
        message(None, parsed={"hours": 40}),
        message("", tool_calls=[{"name": "f", "input": {"hours": 40}}]),
        message("", tool_calls=[{"name": "f", "arguments": ANSWER}]),
        message("", tool_calls=call(ANSWER)),
        message(None, tool_calls=[call('{"hours": 10}', "think"), call(ANSWER)]),
        ANSWER,
    ],
)
def test_the_answer_is_found_where_the_server_put_it(said: dict[str, Any]) -> None:
    got = completion(reply(said))
    assert got.text.strip().removeprefix("```json").removesuffix("```").strip() == ANSWER
    assert got.error is None


def test_an_answer_in_another_body() -> None:
    for choice in ({"text": ANSWER}, {"delta": {"content": ANSWER}}):
        assert completion({"choices": [choice]}).text == ANSWER
    assert completion([reply(message(ANSWER))]).text == ANSWER
    other = {"index": 1, "message": message('{"hours": 10}')}
    for index in (0, "0", None):
        counts = {"index": index, "message": message(ANSWER)}
        for choices in ([counts, other], [other, counts]):
            assert completion({"choices": choices}).text == ANSWER
    announced = message("I will call the function.", tool_calls=[call(ANSWER)])
    assert completion(reply(announced)).text == f"I will call the function.\n{ANSWER}"


def test_what_is_wrong_with_a_body_without_an_answer() -> None:
    failed = {"choices": [{"error": {"message": "upstream"}, "message": message("")}]}
    assert "in place of an answer: {'message': 'upstream'}" in line_of(failed)
    part = [{"type": "text", "text": ANSWER}]
    for name, body in {
        "Anthropic": {"type": "message", "role": "assistant", "content": part},
        "Gemini": {"candidates": [{"content": {"parts": [{"text": ANSWER}]}}]},
        "Ollama": {"model": "m", "message": message(ANSWER), "done": True},
        "responses": {"object": "response", "output": [{"type": "message", "content": part}]},
    }.items():
        assert name in line_of(body)
        assert "base_url" in line_of(body)


def test_thoughts_are_no_answers() -> None:
    """A thought in place of an answer is kept for the transcript, as a thought without an end."""
    for thought in ("Perhaps 40.", 'Maybe {"hours": 70}?', "[1, 2]"):
        assert completion(reply(message(None, reasoning=thought))).text == f"<think>\n{thought}"
    assert completion(reply(message(None, refusal="I cannot"))).text == "I cannot"
    two = completion(reply(message(None, tool_calls=[call(ANSWER), call('{"hours": 50}')])))
    blank = message("\n\n", tool_calls=[call(ANSWER)])
    assert completion(reply(blank)).text == ANSWER
    assert two.text == f'{ANSWER}\n{{"hours": 50}}'
    for nothing in (message(), message(""), message([]), message(tool_calls=[{"x": 1}, 7])):
        assert completion(reply(nothing)).text == ""
    assert completion(reply(message(40))).text == "40"
    assert completion(reply(message(["10", "0"]))).text == '["10", "0"]'


@pytest.mark.parametrize(
    "broken",
    [
        *(None, [], [1], 3, "text", {}, {"choices": None}, {"choices": []}, {"choices": [None]}),
        *({"choices": {}}, {"choices": [[]]}, reply(None), reply([])),
        *({"error": {"message": "x"}}, {"choices": [{"texts": "worker"}]}, {"error": "x\x1b[31m"}),
    ],
)
def test_what_is_no_completion_is_one_line(broken: Any) -> None:
    with pytest.raises(RequestFailure, match=r"no message|in place of an answer") as failed:
        completion(broken)
    assert str(failed.value).isprintable()
    assert failed.value.transient


def line_of(broken: Any) -> str:
    """How the completion ended, or why there is none."""
    try:
        return completion(broken).finish_reason
    except RequestFailure as failed:
        return str(failed)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("choices", "message", "content", "type", "text", "tool_calls", "function"),
                    *("arguments", "delta", "finish_reason", "error", "reasoning", "usage"),
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=300)
@given(JSON | JSON.map(reply) | JSON.map(lambda j: reply({"content": j, "reasoning": j}, usage=j)))
def test_any_json_is_a_completion_or_a_failure(sent: Any) -> None:
    assert line_of(sent).isprintable()


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80) | JSON.map(lambda j: f"data: {json.dumps(j)}\n\n".encode()))
def test_any_bytes_are_a_completion_or_a_failure(body: bytes) -> None:
    for content_type in ("application/json", "text/event-stream", "text/html; charset=utf-7"):
        try:
            got = read(body, content_type)
        except RequestFailure as failed:
            problem = str(failed)
        else:
            problem = got.error or ""
        assert problem.isprintable()


@pytest.mark.parametrize("depth", [300, 700, 900, 950, 980, 990])
def test_no_depth_of_json_is_too_much(depth: int) -> None:
    deep: Any = []
    for _ in range(depth):
        deep = [deep]
    for broken in (
        {"error": deep},
        reply(message(deep)),
        reply(message(ANSWER), deep),
        reply(message(ANSWER), usage={"prompt_tokens": deep}),
        reply(message(tool_calls=[call(deep)])),
        {"choices": deep},
    ):
        assert line_of(broken).isprintable()


def chunk(delta: Any = None, reason: str | None = None, **fields: Any) -> str:
    return json.dumps(
        {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **fields}
    )


PIECES = [chunk({"role": "assistant", "content": ""})]
PIECES += [chunk({"content": piece}) for piece in ('{"ho', "urs", '": 40}')]
LAST = chunk({}, "stop")
COUNTS = json.dumps({"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 7}})


def test_a_stream_that_nobody_asked_for() -> None:
    for end in ("\n\n", "\r\n\r\n", "\n", "\r\r"):
        lines = [f"data: {piece}" for piece in (*PIECES, LAST, COUNTS, "[DONE]")]
        body = end.join([": keep-alive", "event: x", *lines, ""]).encode()
        for content_type in ("text/event-stream", "application/json"):
            got = read(body, content_type)
            assert (got.text, got.usage, got.error) == (ANSWER, Usage(90, 0, 7), None)


def test_streams_of_other_forms() -> None:
    def text(*events: str) -> str:
        return read("\n\n".join(f"data:{e}" for e in events).encode()).text

    whole = json.dumps(reply(message(ANSWER)))
    assert text(whole) == text(whole, "[DONE]") == text(*PIECES, "[DONE]") == ANSWER
    assert text(*PIECES, LAST) == ANSWER
    calls = [chunk({"tool_calls": [call(piece)]}) for piece in (ANSWER[:4], ANSWER[4:])]
    assert text(*calls, LAST) == ANSWER
    thoughts = [chunk({"reasoning_content": t, "content": None}) for t in ("Hm", "m")]
    assert text(*thoughts, *PIECES, LAST) == ANSWER
    for lone in ({"index": "0"}, {}):
        choice = {"delta": {"content": ANSWER}, "finish_reason": "stop"} | lone
        first = {"index": 1, "delta": {"content": "x"}}
        assert text(json.dumps({"choices": [first, choice]})) == ANSWER
    texts = [json.dumps({"choices": [{"text": piece}]}) for piece in (ANSWER[:5], ANSWER[5:])]
    assert text(*texts, "[DONE]") == ANSWER
    split = LAST.replace(', "delta"', ',\ndata: "delta"')
    assert text(*PIECES, split) == ANSWER
    thinking = [{"index": 0} | call('{"hours": 10}', "think"), {"index": 1} | call(ANSWER[:5])]
    rest = [{"index": 1, "function": {"arguments": ANSWER[5:]}}]
    assert text(chunk({"tool_calls": thinking}), chunk({"tool_calls": rest}), LAST) == ANSWER
    part = chunk({"content": [{"type": "thinking", "thinking": "Hm"}]})
    assert text(part, *PIECES, LAST) == text(*PIECES, part, LAST) == ANSWER
    assert text(chunk({"tool_calls": 5}), *PIECES, LAST) == ANSWER
    second = json.dumps({"choices": [{"index": 1, "delta": {"content": "x"}}]})
    separator = "data: " + chunk({"content": "a\u2028b"}).replace("\\u2028", "\u2028")
    assert text(*PIECES, second, LAST) == ANSWER
    assert read(f"{separator}\n\ndata: {LAST}".encode()).text == "a\u2028b"


@pytest.mark.parametrize(
    ("events", "words"),
    [
        (PIECES, "stream ends before"),
        ([], "stream ends before"),
        (['{"error": {"message": "overloaded"}}'], "in place of an answer: .*overloaded"),
        ([*PIECES, '{"error": "overloaded", "choices": [{"delta": {}}]}'], "answer: overloaded"),
        ([*PIECES, '{"object": "error", "message": "aborted"}', "[DONE]"], "answer: .*aborted"),
        ([*PIECES, '{"type": "error", "message": "aborted"}', "[DONE]"], "answer: .*aborted"),
        ([*PIECES, '{}\n\nevent: error\ndata: {"message": "aborted"}', "[DONE]"], "aborted"),
        ([*PIECES, "{}\n\nevent: error\ndata: it broke", "[DONE]"], "answer: it broke"),
        ([*PIECES, "{"], "stream is not JSON"),
        (["[" * 100_000], "stream is not JSON"),
    ],
)
def test_streams_without_an_answer(events: list[str], words: str) -> None:
    body = "\n\n".join(f"data: {event}" for event in events).encode()
    with pytest.raises(RequestFailure, match=words):
        read(body, "text/event-stream")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(reply(message(ANSWER))).encode(), ""),
        (b"\n\n   \n" + json.dumps(reply(message(ANSWER))).encode(), "text/plain"),
        (b"\xef\xbb\xbf" + json.dumps(reply(message(ANSWER))).encode(), "application/json"),
        (json.dumps(reply(message(ANSWER))).encode("utf-16"), "application/json"),
        (json.dumps(reply(message(ANSWER))).encode() + b"\0\n", "application/json; charset=nope"),
    ],
)
def test_json_in_other_clothes(body: bytes, content_type: str) -> None:
    assert read(body, content_type).text == ANSWER


def test_letters_of_other_encodings() -> None:
    body = json.dumps(reply(message("é " + ANSWER)), ensure_ascii=False).encode("latin-1")
    assert read(body, "application/json; charset=latin-1").text == "é " + ANSWER
    assert read(body).text == "\ufffd " + ANSWER
    assert read(json.dumps(reply(message("\ud800" + ANSWER))).encode()).text == "?" + ANSWER


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("<html><head><title>Campus &amp; login\n</title>", "not an answer: 'Campus & login'"),
        ("<!DOCTYPE html><script>x</script><p>Please log in", "'Please log in'"),
        ("<html></html>", "'no title'"),
        ("<html><title>\x1b[31m" + "x" * 5_000 + "</title>", "web page"),
        ("hello", "is not JSON"),
        ('{"choices": [', "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("", "is empty"),
        ("9" * 5_000, "is not JSON"),
    ],
)
def test_what_is_no_json_is_one_line(page: str, words: str) -> None:
    with pytest.raises(RequestFailure, match=words) as failed:
        read(page.encode(), "text/html" if "<" in page else "application/json")
    assert str(failed.value).isprintable()
    assert len(str(failed.value)) < 300


async def pieces(data: bytes, size: int = 65_536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def body_of(data: bytes, encoding: str = "") -> bytes:
    return asyncio.run(bounded(pieces(data), encoding))


def test_bodies_are_bounded() -> None:
    spaces = b" " * MAX_BYTES
    assert body_of(spaces) == body_of(gzip.compress(spaces), "gzip") == spaces
    assert body_of(zlib.compress(b"x"), "Deflate") == b"x"
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(packer.compress(spaces) for _ in range(20)) + packer.flush()
    for data, encoding in ((spaces + b" ", ""), (bomb, "gzip"), (bomb, "x-gzip")):
        with pytest.raises(RequestFailure, match="longer than 4 MiB"):
            body_of(data, encoding)
    for data, encoding, words in (
        (b"not gzip at all", "gzip", "cannot be decompressed"),
        (b"x", "br", "compressed, which was not asked for"),
    ):
        with pytest.raises(RequestFailure, match=words):
            body_of(data, encoding)


def test_a_body_without_end_is_not_read_on() -> None:
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b" " * 65_536

    with pytest.raises(RequestFailure, match="longer than 4 MiB"):
        asyncio.run(bounded(endless(), ""))
    assert taken == MAX_BYTES // 65_536 + 1


# --- counts of tokens

IMPOSSIBLE = [
    *(-5, 10**30, 2**62, 2**63, 1e30, float("nan"), float("inf"), True, False, "many", "-3", "1e9"),
    *(1.5, [], {}, [100], "9" * 5_000, 10**7),
]


def counts() -> Iterator[dict[str, Any]]:
    for count in IMPOSSIBLE:
        yield {"prompt_tokens": count, "completion_tokens": 5}
        yield {"prompt_tokens": 100, "completion_tokens": count}
        yield {"prompt_tokens": count, "completion_tokens": count, "total_tokens": count}
        details = {"cached_tokens": count}
        yield {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": details}
    yield {
        "prompt_tokens": 100,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 101},
    }


@pytest.mark.parametrize("usage", list(counts()), ids=lambda usage: repr(usage)[:60])
def test_impossible_counts_are_estimated_and_noted(usage: dict[str, Any]) -> None:
    notes: list[str] = []
    got = completion_of(
        reply(message(ANSWER), usage=usage), ask("Hours?"), 0.1, NO_KEY, notes.append
    ).usage
    for tokens in (got.prompt_tokens, got.cached_tokens, got.completion_tokens):
        assert type(tokens) is int
        assert tokens >= 0
    assert 0 < got.prompt_tokens <= 5_000
    assert got.cached_tokens <= got.prompt_tokens
    assert 0 < got.completion_tokens <= 200_000
    assert len(notes) == 1


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 100.0, "completion_tokens": 10.0}, Usage(100, 0, 10)),
        ({"prompt_tokens": "100", "completion_tokens": "10"}, Usage(100, 0, 10)),
        ({"prompt_tokens": 100, "completion_tokens": 0}, Usage(100, 0, 0)),
        (
            {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": 3},
            Usage(100, 0, 10),
        ),
    ],
)
def test_counts_in_other_forms(usage: dict[str, Any], expected: Usage) -> None:
    notes: list[str] = []
    got = completion_of(
        reply(message(ANSWER), usage=usage), ask("Hours?"), 0.1, NO_KEY, notes.append
    )
    assert (got.usage, notes) == (expected, [])
