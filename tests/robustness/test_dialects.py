"""Servers that do not take what OpenAI's takes: everybody gets an answer, or one line says why."""

import itertools
import json
import random
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from support.completions import collect
from support.dialects import (
    NO_REASON,
    Refusal,
    answered_worker,
    form_of,
    no_field,
    no_form,
    no_system,
    only_streams,
    quickly,
    served,
    speaking,
)
from support.openai_server import SCHEMA, Call, Reply, asks, echo, refused

from jaxecon.core.errors import EngineError
from llm.accounts import Accounts
from llm.asking import Asker
from llm.engines.openai.request_format import RequestFormat
from llm.messages import Completion
from llm.served import ServedModel
from llm.transcript.store import Transcript

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quickly(monkeypatch, tmp_path)


SCHEMA_ONLY = ("json_schema",)
ANY_FORM = ("json_schema", "json_object")
GEMINI = (
    "* GenerateContentRequest.generation_config.response_schema.properties[hours].enum: only "
    "allowed for STRING type\n"
)
DEEPSEEK = "This response_format type is unavailable now"
MISTRAL = "Expected last role User or Tool (or Assistant with prefix True) for serving but got"
# what a server refuses, and what is left of the format
SERVERS: dict[str, tuple[tuple[Refusal, ...], dict[str, object]]] = {
    "takes all": ((), {}),
    "Gemini": ((no_form(*SCHEMA_ONLY, words=GEMINI),), {"structured_output": "json_object"}),
    "DeepSeek": ((no_form(*SCHEMA_ONLY, words=DEEPSEEK),), {"structured_output": "json_object"}),
    **{
        f"no schema, {status}": (
            (no_form(*SCHEMA_ONLY, words=NO_REASON, status=status),),
            {"structured_output": "json_object"},
        )
        for status in (400, 404, 415, 422, 500, 501)
    },
    "no form, unsaid": ((no_form(*ANY_FORM, words=NO_REASON),), {"structured_output": "plain"}),
    "no form": (
        (no_form(*ANY_FORM, words="This model does not support structured output"),),
        {"structured_output": "plain"},
    ),
    "LM Studio": (
        (no_form("json_object", words="'response_format.type' must be 'json_schema' or 'text'"),),
        {},
    ),
    "vLLM's Gemma": ((no_system("System role not supported"),), {"system_role": False}),
    "Google's Gemma": (
        (no_system("Developer instruction is not enabled for models/gemma-3-27b-it"),),
        {"system_role": False},
    ),
    "Llama 2": (
        (no_system("Conversation roles must alternate user/assistant/user/assistant/..."),),
        {"system_role": False},
    ),
    "two roles": (
        (no_system("Only user and assistant roles are supported!"),),
        {"system_role": False},
    ),
    "no system, unsaid": ((no_system(NO_REASON, 500),), {"system_role": False}),
    "no seed": (
        (no_field("seed", 'Unknown name "seed": Cannot find field.'),),
        {"seed": False},
    ),
    "no seed, unsaid": ((no_field("seed", NO_REASON),), {"seed": False}),
    "o3": (
        (
            no_field(
                "max_tokens",
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                "'max_completion_tokens' instead.",
            ),
        ),
        {"limit": "max_completion_tokens"},
    ),
    "other limit, unsaid": (
        (no_field("max_tokens", NO_REASON),),
        {"limit": "max_completion_tokens"},
    ),
    "streams": (
        (only_streams("This model only supports streaming; set stream to true"),),
        {"stream": True},
    ),
    "Qwen": (
        (only_streams("parameter.enable_thinking must be set to false for non-streaming calls"),),
        {"stream": True},
    ),
    "streams, unsaid": ((only_streams(NO_REASON),), {"stream": True}),
}


def check_answered(completions: list[Completion]) -> None:
    assert [c.error for c in completions] == [None] * len(completions)
    assert [answered_worker(c.text) for c in completions] == list(range(len(completions)))


@pytest.mark.parametrize("name", SERVERS)
def test_what_a_server_does_not_take_is_left_out(name: str) -> None:
    """And nothing else; what has been learned holds for later batches of any size."""
    refusals, left = SERVERS[name]
    with served(speaking(*refusals)) as (server, engine):
        for size in (1, 30, 4):
            before = len(server.calls)
            check_answered(collect(engine, asks(size, SCHEMA)))
        assert len(server.calls) == before + 4, "it was asked again for what it does not take"
        assert engine._server.format == RequestFormat(**left)  # type: ignore[arg-type]
        assert len(engine.description["learned"]) == bool(left)


@pytest.mark.parametrize(
    "name", ["Gemini", "no schema, 500", "no form, unsaid", "no system, unsaid", "no seed", "o3"]
)
def test_a_large_batch_comes_first(name: str) -> None:
    """64 requests are in flight when the first refusal comes."""
    refusals, left = SERVERS[name]
    together = threading.Barrier(64)
    speak = speaking(*refusals)

    def answer(call: Call) -> Reply:
        if call.number < 64:
            together.wait(20)
        return speak(call)

    with served(answer, max_connections=64) as (server, engine):
        check_answered(collect(engine, asks(70, SCHEMA)))
        assert engine._server.format == RequestFormat(**left)  # type: ignore[arg-type]
        assert len(server.calls) <= 70 + 3 * 64 + 20


PARTS: dict[str, Callable[[str], Refusal]] = {
    "system": no_system,
    "schema": lambda words: no_form(*SCHEMA_ONLY, words=words),
    "form": lambda words: no_form(*ANY_FORM, words=words),
    "seed": lambda words: no_field("seed", words),
    "stream": only_streams,
}
SAID = {
    "system": "System role not supported",
    "schema": "response_format json_schema is not supported",
    "form": "json_schema and json_object are not supported",
    "seed": "seed: Extra inputs are not permitted",
    "stream": "stream must be true",
}


@pytest.mark.parametrize("number", range(16))
def test_any_refusals_in_any_order(number: int) -> None:
    """Said or unsaid; the first of several is the one that the server complains about."""
    draw = random.Random(number)
    parts = draw.sample(sorted(PARTS), draw.randint(2, 5))
    refusals = [PARTS[part](draw.choice((SAID[part], NO_REASON))) for part in parts]
    with served(speaking(*refusals)) as (server, engine):
        check_answered(collect(engine, asks(draw.choice((1, 12)), SCHEMA)))
        before = len(server.calls)
        check_answered(collect(engine, asks(5, SCHEMA)))
        assert len(server.calls) == before + 5


@pytest.mark.parametrize(
    ("status", "words"),
    list(itertools.product((400, 404, 422, 500, 501), (NO_REASON, "response_format is unknown"))),
)
@pytest.mark.parametrize("size", [1, 40])
def test_a_server_that_refuses_everything(status: int, words: str, size: int) -> None:
    """One line with its words, nothing reported, nothing degraded."""
    with served(lambda call: refused(status, words), transport_retries=2) as (server, engine):
        got: dict[int, Completion] = {}
        with pytest.raises(EngineError, match=r"^llm\.") as ended:
            engine.complete(asks(size, SCHEMA), on_completion=got.__setitem__)
        assert f"HTTP {status}: {words}" in str(ended.value)
        assert "\n" not in str(ended.value)
        assert not got
        assert engine._server.format == RequestFormat()
        assert len(server.calls) < 70 + 6 * size


def test_a_refusal_of_its_own_degrades_nothing() -> None:
    """Nor does it stop the others, wherever in the batch it is."""

    def answer(call: Call) -> Reply:
        own = answered_worker(call.said) in (0, 17, 39)
        return refused(400, NO_REASON) if own else echo(call)

    with served(answer, max_connections=3) as (_, engine):
        completions = collect(engine, asks(40, SCHEMA))
        assert [i for i, c in enumerate(completions) if c.error] == [0, 17, 39]
        assert engine._server.format == RequestFormat()


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, NO_REASON),
        (500, NO_REASON),
        (500, "upstream: a system message only"),
        (500, "seed node lost, stream must be reset"),
    ],
)
def test_a_chance_refusal_degrades_nothing(status: int, words: str) -> None:
    """What a guess has brought is compared with what was refused."""

    def answer(call: Call) -> Reply:
        return refused(status, words) if call.number < 2 else echo(call)

    with served(answer, max_connections=1) as (server, engine):
        check_answered(collect(engine, asks(6, SCHEMA)))
        assert engine._server.format == RequestFormat()
        assert form_of(server.calls[-1].body) == "json_schema"


@pytest.mark.parametrize("status", [400, 403])
def test_a_filtered_prompt_is_a_failure_of_its_own(status: int) -> None:
    """Azure's refusal of a prompt says nothing about the format, nor about the key."""
    words = "The response was filtered due to the prompt triggering content management policy"
    no = refused(status, words, code="content_filter")
    with served(lambda call: no if answered_worker(call.said) == 2 else echo(call)) as (
        server,
        engine,
    ):
        completions = collect(engine, asks(4, SCHEMA))
        assert [i for i, c in enumerate(completions) if c.error] == [2]
        assert len(server.calls) == 4


def test_a_server_that_only_streams_is_read() -> None:
    def stream(call: Call) -> Reply:
        pieces = [call.said[:4], call.said[4:]]
        events = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        return Reply(text, headers={"Content-Type": "text/event-stream"})

    def answer(call: Call) -> Reply:
        return stream(call) if call.body.get("stream") else refused(400, "stream must be true")

    with served(answer) as (_, engine):
        check_answered(collect(engine, asks(10, SCHEMA)))


def test_the_words_of_the_system_begin_the_first_question() -> None:
    with served(speaking(no_system("System role not supported"))) as (server, engine):
        collect(engine, asks(1, SCHEMA))
        assert server.calls[-1].body["messages"] == [
            {"role": "user", "content": "You work.\n\nworker 0"}
        ]


def test_what_is_learned_is_said_once(tmp_path: Path) -> None:
    refusals = no_form(*ANY_FORM, words=DEEPSEEK), no_field("seed", "seed is unknown")
    told: list[str] = []
    with (
        served(speaking(*refusals)) as (server, engine),
        closing(Transcript(tmp_path / "transcript.sqlite")) as transcript,
    ):
        model = ServedModel(engine)
        cohorts = {request.draw.cohort: model for request in asks(40, SCHEMA)}
        asker = Asker(cohorts, transcript, Accounts(None, None), tell=told.append)
        asker.answers(asks(20, SCHEMA))
        asker.answers(asks(40, SCHEMA))
    words = "takes no JSON schema: asked in words alone; takes no seed"
    assert told == [f"{server.url}: {words}"]
    assert engine.description["learned"] == [words]
