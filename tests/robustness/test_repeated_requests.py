"""Servers that repeat the request in their refusal: its words mean nothing about the server."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.completions import collect
from support.dialects import (
    answered_worker,
    no_field,
    no_form,
    no_system,
    quickly,
    served,
    speaking,
)
from support.openai_server import SCHEMA, Call, Reply, ask, asks, echo, refused

from llm.engines.openai.complaint import complaint_of, without_repeated
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.fatal import fatal_line
from llm.engines.openai.refusals import is_filtered, longest_taken, refuses_system
from llm.engines.openai.request_format import RequestFormat
from llm.messages import Message

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quickly(monkeypatch, tmp_path)


# What a prompt may hold, such as a user's question in a survey.
MISLEADING = (
    "Some say: the system role is not supported here; response_format json_schema is unknown.\n"
    'The seed is "not permitted", stream must be true, and max_tokens is unsupported.\t'
    "This model's maximum context length is 96 tokens and the prompt is too long: 200 > 96.\n"
    "temperature does not support 0.7, top_p must be in range; the content filter's moderation; "
    "your API key is not valid and this request was flagged {by the} content policy ] )."
)
REASON = "the last word was not to my liking"


def dumped(body: dict[str, Any], indent: int | None = None, **options: Any) -> str:
    return json.dumps(body, indent=indent, **options)


SHAPES: dict[str, Callable[[dict[str, Any]], object]] = {
    "pydantic": lambda body: {
        "detail": [{"type": "value_error", "loc": ["body", "x"], "msg": REASON, "input": body}]
    },
    "pydantic, one message": lambda body: {
        "detail": [{"loc": ["body", "messages", 1], "msg": REASON, "input": body["messages"][-1]}]
    },
    "pydantic, in words": lambda body: {
        "error": {
            "message": f"1 validation error for ChatCompletionRequest\nx\n  {REASON} "
            f"[type=value_error, input_value={body}, input_type=dict]",
            "code": 400,
        }
    },
    "a field": lambda body: {"error": {"message": REASON}, "request": body},
    "beside it": lambda body: {"error": REASON, **body},
    "the messages": lambda body: {"error": {"message": REASON, "details": body["messages"]}},
    "the prompt": lambda body: {
        "error": {"message": REASON, "prompt": body["messages"][-1]["content"]}
    },
    "JSON in words": lambda body: {"error": {"message": f"{REASON}. Received: {dumped(body)}"}},
    "JSON twice in words": lambda body: {
        "message": f"{REASON}: " + json.dumps({"raw": dumped(body)}),
    },
    "sorted": lambda body: {"message": f"{dumped(body, sort_keys=True)}: {REASON}"},
    "indented": lambda body: {"message": f"{REASON}\n{dumped(body, indent=2)}"},
    "Python": lambda body: {"message": f"BadRequestError - {REASON} Received={body}"},
    "a call": lambda body: {
        "message": "ChatRequest("
        + ", ".join(f"{name}={body[name]!r}" for name in sorted(body))
        + f"): {REASON}"
    },
    "text": lambda body: f"{REASON}\n\nPOST /v1/chat/completions\n{dumped(body)}",
    "half of it": lambda body: f"{REASON}: {dumped(body)[:-300]}...",
    "the words": lambda body: f"{REASON}: {body['messages'][-1]['content']}",
}


def request_body() -> dict[str, Any]:
    request = ask(f"{MISLEADING}\nworker 1", schema=SCHEMA)
    chat = (*request.messages, Message("assistant", "{}"), Message("user", MISLEADING))
    return RequestFormat().body("m", type(request)(chat, SCHEMA, request.sampling, request.draw), 9)


def failure_of(body: object, request: dict[str, Any], status: int) -> RequestFailure:
    body = json.loads(json.dumps(body))
    complaint = complaint_of(without_repeated(body, request), request)
    return RequestFailure(f"HTTP {status}: {body}", status=status, complaint=complaint)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("status", [400, 422])
def test_what_is_repeated_means_nothing(shape: str, status: int) -> None:
    request = request_body()
    failure = failure_of(SHAPES[shape](request), request, status)
    assert REASON in failure.complaint
    assert RequestFormat().changes_after(failure) == {}
    assert longest_taken(failure) is None
    assert not is_filtered(failure)
    assert fatal_line(failure, url="http://u/v1", key="K", model="m", models=[]) is None


OWN = {
    "Extra inputs are not permitted: seed": {"seed": False},
    "response_format of type json_schema is not supported": {"structured_output": "json_object"},
    "the system role is not supported": {"system_role": False},
}


@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("words", OWN)
def test_what_a_server_says_beside_it_counts(shape: str, words: str) -> None:
    request = request_body()
    request["messages"][1]["content"] = request["messages"][-1]["content"] = "How many hours?"
    body = json.loads(json.dumps(SHAPES[shape](request)).replace(REASON, words))
    assert RequestFormat().changes_after(failure_of(body, request, 400)) == OWN[words]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_request_that_is_refused_with_its_words_degrades_nothing(shape: str) -> None:
    """Neither the others nor the format, and no other prompt is cut."""

    def answer(call: Call) -> Reply:
        if answered_worker(call.said) != 1:
            return echo(call)
        said = SHAPES[shape](call.body)
        return Reply(said if isinstance(said, dict) else str(said), 400)

    requests = asks(4, SCHEMA)
    requests[1] = ask(f"{MISLEADING}\nworker 1", agent=1, schema=SCHEMA)
    with served(answer) as (_, engine):
        completions = collect(engine, requests)
        assert [i for i, c in enumerate(completions) if c.error] == [1]
        assert completions[1].longest_taken is None
        # a line for the user holds the first 300 characters
        assert REASON in str(completions[1].error) or shape in ("sorted", "a call")
        assert engine._server.format == RequestFormat()
        assert engine.description["learned"] == []


@pytest.mark.parametrize(
    "refuse",
    [
        lambda words: no_field("seed", words),
        lambda words: no_form("json_schema", words=words),
        lambda words: no_system(words),
    ],
    ids=["seed", "schema", "system"],
)
@pytest.mark.parametrize("words", ["the system role is not supported", "seed is not permitted"])
def test_words_that_name_something_else(refuse: Callable[[str], Any], words: str) -> None:
    """What they name is left out in vain; what the server does not take is then guessed."""
    with served(speaking(refuse(words)), max_connections=1) as (_, engine):
        completions = collect(engine, asks(6, SCHEMA))
        assert [c.error for c in completions] == [None] * 6


def test_a_refusal_may_name_the_model() -> None:
    request = {"model": "google/gemma-2-9b-it", "messages": [{"role": "user", "content": "a"}]}
    complaint = complaint_of("System messages for google/gemma-2-9b-it are not supported", request)
    assert refuses_system(RequestFailure("", status=400, complaint=complaint))


def test_words_alone_degrade_nothing() -> None:
    """A request that is refused in every format leaves the format of all others as it is."""

    def answer(call: Call) -> Reply:
        words = "seed, response_format and the system role are not supported"
        return refused(400, words) if answered_worker(call.said) in (0, 5) else echo(call)

    with served(answer) as (server, engine):
        completions = collect(engine, asks(12, SCHEMA))
        assert [i for i, c in enumerate(completions) if c.error] == [0, 5]
        assert engine._server.format == RequestFormat()
        collect(engine, asks(12, SCHEMA)[1:5])
        assert "seed" in server.calls[-1].body


def test_long_and_deep_refusals_are_read_quickly() -> None:
    deep: Any = "seed"
    for _ in range(900):
        deep = [{"error": deep}]
    request = request_body()
    assert complaint_of(without_repeated(deep, request), request)
    for part in (
        "messages: [",
        "[]{}()",
        "messages=[] ",
        "\\" * 9 + "n",
        "input_value=",
        "a b c d ",
    ):
        text = (part * 100_000)[:400_000] + "messages: ["
        assert len(complaint_of(text, request)) <= 20_000
