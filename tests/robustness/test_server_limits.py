"""Prompts longer than a server takes, answers cut before they begin, failed generations."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.completions import collect
from support.decisions import HOURS, day_of_work, observations
from support.dialects import quickly, served, speaking, thinking
from support.failing import FailingEngine
from support.openai_server import SCHEMA, Call, Reply, ask, asks, echo, refused, said
from support.runs import HYBRID, assert_same_run, run_killed

import jaxecon as je
from jaxecon.core.errors import EngineError
from llm.bridge import Bridge, ServedModel
from llm.decisions.labor import Labor, LaborObservation
from llm.engines.base import estimated_prompt_tokens
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.refusals import longest_taken
from llm.engines.openai.request_format import RequestFormat
from llm.engines.replayed import ReplayEngine
from llm.failures import reason
from llm.messages import Completion, Message, Request, Sampling
from llm.transcript.store import Transcript

pytest.importorskip("openai")


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quickly(monkeypatch, tmp_path)


# --- what servers say of a prompt that is too long ------------------------------------------------

TOO_LONG = {
    "OpenAI, vLLM": (
        "This model's maximum context length is 4096 tokens. However, you requested 5021 tokens "
        "(4973 in the messages, 48 in the completion). Please reduce the length of the messages.",
        4096,
    ),
    "vLLM, newer": (
        "'max_tokens' or 'max_completion_tokens' is too large: 48. This model's maximum context "
        "length is 4,096 tokens and your request has 4090 input tokens",
        4096,
    ),
    "vLLM's engine": (
        "The decoder prompt (length 5000) is longer than the maximum model length of 2048. Make "
        "sure that `max_model_len` is no smaller than the number of text tokens.",
        2048,
    ),
    "llama.cpp": ("request (5000 tokens) exceeds the available context size (4096 tokens)", 4096),
    "llama.cpp, older": ("the request exceeds the available context size. try increasing it", 0),
    "TGI": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 2048. Given: 3000 "
        "`inputs` tokens and 48 `max_new_tokens`",
        2048,
    ),
    "TGI, inputs": ("`inputs` must have less than 1024 tokens. Given: 3000", 1024),
    "SGLang": ("The input (3000 tokens) is longer than the model's context length (2048).", 2048),
    "LM Studio": (
        "Trying to keep the first 4500 tokens when context the overflows. However, the model is "
        "loaded with context length of only 4096 tokens, which is not enough.",
        4096,
    ),
    "Anthropic": ("prompt is too long: 210000 tokens > 200000 maximum", 200_000),
    "Anthropic, both": (
        "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000, decrease it",
        200_000,
    ),
    "Gemini": (
        "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        1_048_576,
    ),
    "Mistral": (
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum "
        "context length",
        32_768,
    ),
    "Groq": ("Please reduce the length of the messages or completion.", 0),
    "Ollama": ("the input length exceeds the context length", 0),
    "Bedrock": ("Input is too long for requested model.", 0),
    "SGLang, newer": (
        "Input length (432 tokens) exceeds the maximum allowed length (417 tokens). Use a shorter "
        "input or enable --allow-auto-truncate.",
        417,
    ),
    "SGLang, model": ("The input (432 tokens) exceeds the model's context (417 tokens)", 417),
    "vLLM, no room": ("max_tokens must be at least 1, got -16.", 0),
    "xAI": (
        "This model's maximum prompt length is 417 but the request contains 432 tokens.",
        417,
    ),
    "watsonx": ("the number of input tokens 321 cannot exceed the total tokens limit 305", 305),
    "Kimi": ("Invalid request: Your request exceeded model token limit: 417", 417),
    "DashScope": ("Range of input length should be [1, 417]", 417),
    "Zhipu": ("Prompt exceeds max length", 0),
    "MLC": ("Request prompt token number 432 exceeds max window size 429", 429),
    "TensorRT-LLM": (
        "Prompt length (432) + max_new_tokens exceeds maximum sequence length (429)",
        429,
    ),
    "ExLlama": ("Request length 432 is greater than max_seq_len 417", 417),
    "a limit of tokens": ("Token limit exceeded", 0),
    "too large": ("Input is too large", 0),
    "a sequence": ("max sequence length of 2048 exceeded", 2048),
    "an overflow": ("Context overflow", 0),
    "n_ctx": ("n_ctx exceeded", 0),
    "content": ("content exceeds 8192 tokens", 8192),
    "input_tokens": ("input_tokens must be <= 4096", 4096),
    "shorter": ("Please use a shorter prompt", 0),
    "Cohere": ("too long: the total number of tokens is above the limit", 0),
}


@pytest.mark.parametrize("server", TOO_LONG)
@pytest.mark.parametrize("status", [400, 422, 500])
def test_the_limit_is_read_from_the_words(server: str, status: int) -> None:
    words, limit = TOO_LONG[server]
    body = {"error": {"message": words, "type": "invalid_request_error"}}
    failure = RequestFailure(words, status=status, complaint=str(body).lower())
    assert longest_taken(failure) == limit


def test_the_limit_in_a_field_of_its_own() -> None:
    body = {"message": "exceeds the available context size", "n_prompt_tokens": 5000, "n_ctx": 4096}
    assert longest_taken(RequestFailure("", status=400, complaint=str(body))) == 4096


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "response_format of type json_schema is not supported"),
        (400, "max_tokens is too large: 4096. This model supports at most 2048 tokens"),
        (429, "rate limit: maximum context length is 10 tokens a minute"),
        (503, "context window is busy"),
        (500, "upstream took too long to respond: context deadline exceeded"),
        (500, "this takes longer than expected"),
        *(
            (status, words)
            for status in (400, 500)
            for words in (
                "the request is too long",
                "request queue too long",
                "message queue too long; try again",
                "URI too long",
                "the response took far too long",
                "waited too long for a worker",
                "job is longer than the limit of 30 s",
                "the name must have less than 64 characters",
                "please reduce your message rate",
                "too many tokens per minute",
                "max_new_tokens is unknown",
                "max_tokens must be greater than thinking.budget_tokens",
                "the queue is too large",
                "the input is not valid JSON",
                "Expected a length of at most 64 for the name",
                "{'message': 'queue length exceeds 10'}",
                "{'input': 'the number of tokens a minute is above the quota'}",
            )
        ),
    ],
)
def test_other_words_name_no_limit(status: int, words: str) -> None:
    assert longest_taken(RequestFailure(words, status=status, complaint=words)) is None


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ("`temperature` and `top_p` cannot both be specified for this model.", "temperature"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("temperature may only be set to 1 when thinking is enabled", "temperature"),
        ("top_p is fixed at 1", "top_p"),
        ("temperature is not applicable to reasoning models", "temperature"),
        ("temperature 0.7 is not valid for this model", "temperature"),
        (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 64, but "
            "got 16 instead.",
            "max_tokens",
        ),
        ("`max_tokens` must be greater than `thinking.budget_tokens`", "max_tokens"),
        ("max_tokens is too large: 48. This model supports at most 16 tokens", "max_tokens"),
        ("Range of max_tokens should be [1, 8]", "max_tokens"),
    ],
)
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("as_answer", [False, True])
def test_a_setting_that_a_server_does_not_take_ends_the_run(
    words: str, setting: str, status: int, as_answer: bool
) -> None:
    body = {"error": {"message": words, **({"code": status} if as_answer else {})}}
    with served(lambda call: Reply(body, status=200 if as_answer else status)) as (_, engine):
        with pytest.raises(
            EngineError, match=rf"^llm\.{setting}: m at .* does not take it"
        ) as failed:
            collect(engine, asks(3, SCHEMA))
        assert words[:20] in str(failed.value)


def test_a_raised_limit_that_is_refused_is_none_of_the_settings() -> None:
    """The server wants more tokens for its thoughts than it allows."""

    def answer(call: Call) -> Reply:
        asked = call.body["max_tokens"]
        return echo(call) if asked < 100 else refused(400, f"max_tokens is too large: {asked}")

    def thinking(call: Call) -> Reply:
        reply = answer(call)
        return Reply(said("<think>well", finish_reason="length")) if reply.status == 200 else reply

    with served(thinking) as (_, engine):
        (completion,) = collect(engine, asks(1, SCHEMA))
    assert completion.error is not None
    assert completion.error.startswith("llm.max_tokens: no answer within ")


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"Bad Request"])
def test_a_refusal_without_words_may_be_one_of_the_format(body: bytes) -> None:
    def answer(call: Call) -> Reply:
        return Reply(body, status=400) if "response_format" in call.body else echo(call)

    with served(answer) as (_, engine):
        assert [c.error for c in collect(engine, asks(4, SCHEMA))] == [None] * 4


def written(tokens: int, how: str) -> str:
    """A number of tokens as people write it; rounded where it has a unit."""
    thousands = f"{tokens:,}"
    forms = {"plain": str(tokens), "k": f"{tokens // 1000}k", "K tokens": f"{tokens // 1000} K"}
    forms |= {"M": f"{tokens / 1e6:.3f}M", "million": f"{tokens / 1e6:.3f} million"}
    return forms.get(how) or thousands.replace(",", how)


@given(
    tokens=st.integers(1, 10**9),
    how=st.sampled_from(["plain", "k", "K tokens", "M", "million", *",._' \u202f"]),
    after=st.sampled_from(["", " tokens", ".", ". However, you requested 5021", ", sorry", ")"]),
)
@example(tokens=128_000, how="k", after=" tokens")
@example(tokens=1_000_000, how="M", after="")
def test_a_number_of_tokens_in_any_form(tokens: int, how: str, after: str) -> None:
    words = f"This model's maximum context length is {written(tokens, how)}{after}".lower()
    found = longest_taken(RequestFailure(words, status=400, complaint=words))
    step = 1 if how in ("plain", *",._' \u202f") else 1000
    assert found is not None
    assert abs(found - tokens) <= step * (step > 1)


@given(number=st.text("0123456789.,_' kKmM-", max_size=40))
@example(number="9" * 5000)
@example(number="1" + ",000" * 2000)
@example(number="99999999999k")
def test_any_number_is_read_or_is_none(number: str) -> None:
    words = f"maximum context length is {number}".lower()
    assert 0 <= (longest_taken(RequestFailure(words, status=400, complaint=words)) or 0) <= 10**9
    completion = Completion("", f"too_long:{number}")
    assert 0 <= (completion.longest_taken or 0) < 10**12


# --- histories are cut to it ----------------------------------------------------------------------


def tokens_of(call: Call) -> int:
    return estimated_prompt_tokens(
        [Message(m["role"], m["content"]) for m in call.body["messages"]]
    )


def taking(tokens: int, words: str) -> Callable[[Call], Reply]:
    """A server that takes prompts of so many tokens, and answers with 10 hours."""
    return lambda call: (
        refused(400, words) if tokens_of(call) > tokens else Reply(said(json.dumps({"hours": 10})))
    )


def with_history(days: int) -> list[LaborObservation]:
    return [
        replace(o, year=1, history=tuple(day_of_work(d) for d in range(i * days)))
        for i, o in enumerate(observations(4))
    ]


def message_of_limit(tokens: int) -> str:
    return (
        f"takes {f'only {tokens} tokens' if tokens else 'fewer tokens than llm.max_model_len'}: it "
        "refuses each longer prompt before its history is cut; llm.max_model_len="
        f"{tokens or '...'} saves these refusals"
    )


@pytest.mark.parametrize("named", [True, False])
def test_histories_are_cut_to_what_a_server_takes(named: bool, tmp_path: Path) -> None:
    limit, said = 1_000, list[str]()
    words = f"maximum context length is {limit} tokens" if named else "the prompt is too long"
    path = tmp_path / "transcript.sqlite"
    with served(taking(limit - 200, words)) as (server, engine):
        transcript, model = Transcript(path), ServedModel(engine)
        bridge = Bridge(
            {"llm": model}, transcript, seed=0, sampling=Sampling(), retries=2, tell=said.append
        )
        decisions = bridge.decide(Labor(), with_history(60))
        assert [(d.status, d.value) for d in decisions] == [("ok", 10)] * 4
        before = len(server.calls)
        later = [replace(o, day=1) for o in with_history(60)]
        assert [d.status for d in bridge.decide(Labor(), later)] == ["ok"] * 4
        if named:
            # agent 0 has no history; a refusal costs no tokens
            assert len(server.calls) == before + 4 + 3, "histories were not cut at once"
        assert engine.description["learned"] == [message_of_limit(limit if named else 0)]
        transcript.close()
    assert said == [f"{server.url}: {message_of_limit(limit if named else 0)}"]
    replayed = ServedModel(ReplayEngine(path))
    again = Transcript(tmp_path / "again.sqlite")
    bridge = Bridge({"llm": replayed}, again, seed=0, sampling=Sampling(), retries=2)
    assert bridge.decide(Labor(), with_history(60)) == decisions
    replayed.close()
    again.close()


class ShortContext(FailingEngine):
    """It takes few tokens, and says so; it counts fewer than are estimated from the words."""

    def __init__(self, named: int, learned: str) -> None:
        self._learned = [learned]
        too_long = Completion("", f"too_long:{named}", error="llm.max_model_len: too long")
        super().__init__(too_long, lambda request, before: characters_of(request) > 2_100)

    @property
    def description(self) -> dict[str, Any]:
        return {"learned": self._learned}


def characters_of(request: Request) -> int:
    return sum(len(message.content) for message in request.messages)


LONG_HISTORIES = {
    **HYBRID,
    "years": 1,
    "year": {"days": 16},
    "checkpoint": {"every_days": 1, "every_minutes": None},
    "satisfaction": {"judged": False},
    "llm": {"engine": "simulated", "max_model_len": 8192, "memory": {"window": 16}},
}


@pytest.mark.parametrize("named", [750, 0])
def test_a_resumed_run_asks_what_the_whole_run_asked(named: int, tmp_path: Path) -> None:
    """What a process has learned of a server's limit must not change the prompts."""
    first, second = ShortContext(named, "this"), ShortContext(named, "that")
    whole = tmp_path / "run"
    killed = run_killed(LONG_HISTORIES, whole, year=0, day=12, engine=first)
    assert any(map(first.where, first.asked, range(len(first.asked)))), "none was too long"
    resumed = je.resume(killed, engine=second)
    assert resumed.manifest["models"]["llm"]["learned"] == ["this", "that"]
    assert_same_run(whole, killed)
    assert {r.messages for r in second.asked} <= {r.messages for r in first.asked}
    assert len(second.asked) < len(first.asked)


def test_what_cannot_be_cut_names_the_setting(tmp_path: Path) -> None:
    with served(taking(10, "maximum context length is 10 tokens")) as (server, engine):
        transcript = Transcript(tmp_path / "transcript.sqlite")
        bridge = Bridge(
            {"llm": ServedModel(engine)}, transcript, seed=0, sampling=Sampling(), retries=2
        )
        assert [d.status for d in bridge.decide(Labor(), with_history(40))] == ["fallback"] * 4
        (last, *_) = transcript.conversations(agent=3)
        transcript.close()
        assert len(server.calls) < 20
    assert "llm.max_model_len: longer than the server takes (HTTP 400: " in str(last)


# --- answers that are cut before they begin -------------------------------------------------------


def test_the_limit_on_answers_is_raised_for_a_model_that_thinks() -> None:
    """Once, for all further requests; what the first try has cost is counted."""
    with served(thinking(40)) as (server, engine):
        completions = collect(engine, asks(3, SCHEMA))
        assert [c.error for c in completions] == [None] * 3
        assert {c.usage.completion_tokens for c in completions} <= {60, 60 + 16}
        assert sum(c.usage.completion_tokens for c in completions) > 3 * 60
        before = len(server.calls)
        collect(engine, asks(5, SCHEMA))
        assert len(server.calls) == before + 5
        assert server.calls[-1].body["max_tokens"] == 4 * 16
        assert engine.description["answer_factor"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "<think>\nLet me see.",
        "<think>a</think><think>",
        "<thinking>Let me see.",
        "[THINK]Let me see.[/THINK]\n",
        "<|channel|>analysis<|message|>Let me see.",
        "{}",
    ],
)
def test_an_answer_that_never_begins_names_the_setting(text: str) -> None:
    """A cut answer that did begin is what it is: the bridge asks again."""
    with served(lambda call: Reply(said(text, "length"))) as (server, engine):
        (completion,) = collect(engine, asks(1, SCHEMA))
        assert (completion.error is None) == (text == "{}")
        assert len(server.calls) == (1 if text == "{}" else 2)
        if completion.error:
            assert "llm.max_tokens: no answer within 64 tokens" in completion.error
        assert engine._server.format == RequestFormat()


def test_no_more_is_asked_for_than_the_model_leaves() -> None:
    with served(
        thinking(40), max_model_len=estimated_prompt_tokens(ask("worker 0").messages) + 50
    ) as (
        server,
        engine,
    ):
        collect(engine, asks(1, SCHEMA))
        assert [call.body["max_tokens"] for call in server.calls] == [16, 50]


# --- failed generations ---------------------------------------------------------------------------


def test_a_failed_generation_is_asked_again_like_any_unusable_reply(tmp_path: Path) -> None:
    """Groq's HTTP 400: the model's fault, neither the format's nor the request's."""

    def answer(call: Call) -> Reply:
        if call.number % 2 == 0:
            return refused(
                400,
                "Failed to generate JSON. Please adjust your prompt.",
                code="json_validate_failed",
                failed_generation='{"hours": quite a few}',
            )
        return Reply(said(json.dumps({"hours": HOURS[3]})))

    with served(answer, max_connections=1) as (_, engine):
        transcript = Transcript(tmp_path / "transcript.sqlite")
        bridge = Bridge(
            {"llm": ServedModel(engine)}, transcript, seed=0, sampling=Sampling(), retries=5
        )
        decisions = bridge.decide(Labor(), observations(6))
        transcript.close()
        assert {d.status for d in decisions} == {"ok", "retried"}
        assert {d.value for d in decisions} == {30}
        assert engine._server.format == RequestFormat()


def test_servers_that_take_all_are_asked_once() -> None:
    with served(speaking()) as (server, engine):
        collect(engine, asks(3, SCHEMA))
        assert len(server.calls) == 3


@pytest.mark.parametrize("setting", ["max_tokens", "max_model_len"])
def test_the_reason_of_a_failure_names_its_setting(setting: str) -> None:
    found = reason("", "error", f"llm.{setting}: too much of it (HTTP 400)")
    assert (found.setting, found.words) == (setting, "too much of it (HTTP 400)")
    assert reason("", "error", "HTTP 500: llm.model: x").setting == "base_url"
