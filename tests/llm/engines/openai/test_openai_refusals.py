"""What a server refuses, at the start and later; and what it wants to be asked instead."""

import json
import re
import socket
import time
from collections.abc import Callable

import pytest
from support.completions import collect
from support.openai_server import (
    SCHEMA,
    Call,
    Reply,
    Server,
    asks,
    assert_echoed,
    echo,
    refused,
)

from jaxecon.core.errors import EngineError
from llm.engines.openai import probing
from llm.engines.openai.engine import OpenAIEngine
from llm.messages import Completion

pytest.importorskip("openai")


def test_a_prompt_too_long_concerns_itself_alone(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    too_long = (
        "'max_tokens' or 'max_completion_tokens' is too large: 16. This model's maximum\n "
        "context length is 8 tokens"
    )
    server.answer = lambda call: refused(400, too_long) if call.said == "worker 2" else echo(call)
    completions = collect(connect(), asks(5, SCHEMA))
    words = f"HTTP 400: {' '.join(too_long.split())}"
    assert completions[2] == Completion(
        "", "too_long:8", error=f"llm.max_model_len: longer than the server takes ({words})"
    )
    assert completions[2].longest_taken == 8
    assert [c.text for i, c in enumerate(completions) if i != 2] == [
        f"worker {i}" for i in (0, 1, 3, 4)
    ]
    assert len(server.calls) == 5


@pytest.mark.parametrize("status", [400, 413, 418, 422])
def test_other_refusals_are_final(
    server: Server, connect: Callable[..., OpenAIEngine], status: int
) -> None:
    server.answer = lambda call: (
        Reply("no, thank you", status) if call.said == "worker 0" else echo(call)
    )
    completions = collect(connect(), asks(2))
    assert f"HTTP {status}: no, thank you" in (completions[0].error or "")
    assert completions[1].error is None
    assert len(server.calls) == 2


def test_nothing_answers_at_the_start(server: Server) -> None:
    server.stop()
    started = time.monotonic()
    with pytest.raises(
        EngineError, match=f"^llm.base_url: nothing answers at {server.url} .*Errno"
    ) as refused_:
        OpenAIEngine("m", base_url=server.url)
    assert time.monotonic() - started < 4
    assert "\n" not in str(refused_.value)
    server.start()


def test_a_silent_server_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_CHECK_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with pytest.raises(EngineError, match=r"nothing answers at .* \(no answer within 0.2 s\)"):
            OpenAIEngine("m", base_url=url)


@pytest.mark.parametrize(
    "models", [Reply("", 404), Reply("{}", 405), Reply("x", 500), Reply("<html>"), Reply("[1]")]
)
def test_a_server_that_does_not_list_its_models(
    server: Server, connect: Callable[..., OpenAIEngine], models: Reply
) -> None:
    server.models = models
    assert_echoed(collect(connect(), asks(2)))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (
            refused(401, "Incorrect API key"),
            "llm.api_key_env: URL does not accept the key in OPENAI_API_KEY (HTTP 401: Incorrect",
        ),
        (
            refused(403, "country"),
            "llm.api_key_env: URL does not allow this with the key in OPENAI_API_KEY",
        ),
        (refused(402, "no credit"), "llm.api_key_env: URL wants to be paid first"),
        (
            refused(404, "no such model"),
            "llm.model: URL does not have 'm' (it has m, other), or the address lacks its /v1",
        ),
        (
            Reply("", 308, {"Location": "http://elsewhere.invalid/v1"}),
            "llm.base_url: URL sends its callers elsewhere",
        ),
        (
            refused(429, "pay", code="insufficient_quota"),
            "llm.api_key_env: the account at URL has used up its quota",
        ),
        (
            refused(400, "Only 1", param="temperature"),
            "llm.temperature: m at URL does not take it (HTTP 400: Only 1)",
        ),
        (
            Reply("{}", 429, {"Retry-After": "3600"}),
            "llm.base_url: URL is to be left alone for 3600 s",
        ),
    ],
)
def test_what_every_request_would_meet_ends_the_batch(
    server: Server, connect: Callable[..., OpenAIEngine], reply: Reply, words: str
) -> None:
    server.answer = lambda call: reply if call.said == "worker 3" else echo(call)
    got: dict[int, str] = {}
    engine = connect(max_connections=1)
    with pytest.raises(EngineError, match=re.escape(words.replace("URL", server.url))) as ended:
        engine.complete(
            asks(6), on_completion=lambda index, completion: got.__setitem__(index, completion.text)
        )
    assert got == {i: f"worker {i}" for i in range(3)}
    assert "\n" not in str(ended.value)
    assert len(server.calls) == 4


def test_a_bad_key_is_found_at_the_start(server: Server) -> None:
    server.models = refused(401, "bad key")
    with pytest.raises(EngineError, match="does not accept the key"):
        OpenAIEngine("m", base_url=server.url)


@pytest.mark.parametrize("status", [400, 422, 501])
@pytest.mark.parametrize("knows", ["json_object", "plain"])
def test_structured_output_falls_back(
    server: Server, connect: Callable[..., OpenAIEngine], status: int, knows: str
) -> None:
    def answer(call: Call) -> Reply:
        form = call.body.get("response_format", {"type": "plain"})["type"]
        if form not in (knows, "plain"):
            return refused(status, f"'response_format' of type '{form}' is not supported")
        return echo(call)

    server.answer = answer
    engine = connect()
    completions = collect(engine, asks(30, SCHEMA))
    line = f"\nAnswer with JSON alone, as this JSON schema describes it: {json.dumps(SCHEMA)}"
    assert [c.text for c in completions] == [f"worker {i}{line}" for i in range(30)]
    assert engine.description["structured_output"] == knows
    before = len(server.calls)
    collect(engine, asks(10, SCHEMA))
    assert len(server.calls) == before + 10, "the server was asked again for what it does not know"
    assert server.calls[-1].body["messages"][0] == {"role": "system", "content": "You work."}


def test_a_server_that_wants_max_completion_tokens_and_no_seed(
    server: Server, connect: Callable[..., OpenAIEngine]
) -> None:
    def answer(call: Call) -> Reply:
        if "max_tokens" in call.body:
            words = (
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead."
            )
            return refused(400, words, param="max_tokens", code="unsupported_parameter")
        if "seed" in call.body:
            return Reply(
                {
                    "detail": [
                        {"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "not permitted"}
                    ]
                },
                422,
            )
        return echo(call)

    server.answer = answer
    engine = connect()
    assert_echoed(collect(engine, asks(20, SCHEMA)))
    assert server.calls[-1].body["max_completion_tokens"] == 16
    assert engine.description["seed"] == "not sent"
    assert engine.description["structured_output"] == "json_schema"
    before = len(server.calls)
    assert_echoed(collect(engine, asks(10, SCHEMA)))
    assert len(server.calls) == before + 10
