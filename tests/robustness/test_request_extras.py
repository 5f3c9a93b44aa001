"""`llm.headers`, `llm.query` and `llm.extra_body`: what reaches the server, and no file."""

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from support.completions import collect
from support.dialects import quickly, served
from support.openai_server import KEY, SCHEMA, Call, Reply, asks, echo, refused, said

from jaxecon.config.fields import changes_results, check_name
from jaxecon.config.language import Serving
from jaxecon.config.read import load_config, to_yaml
from jaxecon.core.errors import UserError
from llm.engines.openai.address import Extras, check_openai, engine_identity, key_to_send
from llm.engines.registry import ENGINES

pytest.importorskip("openai")

SECRET = "azure-0123456789abcdef-secret"
AZURE = {"api-key": "${AZURE_KEY}"}


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quickly(monkeypatch, tmp_path)
    monkeypatch.setenv("AZURE_KEY", SECRET)


def test_what_is_sent() -> None:
    extras = Extras(
        {"chat_template_kwargs": {"enable_thinking": False}, "top_k": 20, "seed": None},
        {"X-Title": "a study", **AZURE},
        {"api-version": "2024-10-21"},
    )
    with served(echo, extras=extras) as (server, engine):
        collect(engine, asks(1, SCHEMA))
        (call,) = server.calls
        assert call.body["chat_template_kwargs"] == {"enable_thinking": False}
        assert (call.body["top_k"], call.body["seed"]) == (20, None)
        assert call.body["messages"][-1]["content"] == "worker 0"
        assert (call.headers["x-title"], call.headers["api-key"]) == ("a study", SECRET)
        assert call.path.endswith("/v1/chat/completions?api-version=2024-10-21")
        # OpenAI's own key is not for a server that is given another one
        assert "authorization" not in call.headers
        described = json.dumps(engine.description)
        assert "${AZURE_KEY}" in described
        assert SECRET not in described
        assert engine.identity == engine_identity("m", server.url, extras.body)
        assert json.loads(engine.identity["extra_body"])["top_k"] == 20


def test_a_header_in_place_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "other-0123456789abcdef")
    with served(echo, extras=Extras({}, {"Authorization": "Token ${AZURE_KEY}"})) as (
        server,
        engine,
    ):
        collect(engine, asks(1))
        assert server.calls[0].headers["authorization"] == f"Token {SECRET}"
    with served(echo, extras=Extras({}, AZURE), api_key_env="OTHER_KEY") as (server, engine):
        collect(engine, asks(1))
        assert server.calls[0].headers["authorization"] == "Bearer other-0123456789abcdef"
    with served(echo, extras=Extras({"top_k": 1}, {"X-Title": "t"})) as (server, engine):
        collect(engine, asks(1))
        assert server.calls[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_secret_that_a_server_echoes_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)  # httpx logs addresses, unless it is told not to

    def tell(call: Call) -> Reply:
        told = f"you sent {call.headers['api-key']}"
        return refused(418, told) if call.said.endswith("1") else Reply(said(told))

    query = {"code": AZURE["api-key"]}
    with served(tell, extras=Extras({}, AZURE, query)) as (_, engine):
        answered, failed = collect(engine, asks(2))
    assert answered.text == "you sent [key]"
    assert failed.error == "HTTP 418: you sent [key]"
    assert SECRET not in caplog.text


def test_no_extras_no_change_of_identity() -> None:
    assert "extra_body" not in engine_identity("m", "http://u/v1")
    assert "extra_body" not in engine_identity("m", "http://u/v1", {})


def settings(**changes: Any) -> list[str]:
    return [f"llm.{name}={json.dumps(value)}" for name, value in changes.items()]


@pytest.mark.parametrize("where", ["llm", "llm.others.big"])
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("headers", {"Authorization": f"Bearer {SECRET}"}),
        ("headers", {"api-key": SECRET}),
        ("headers", {"X-API-Key": f"{SECRET} ${{AZURE_KEY}}"}),
        ("headers", {"Ocp-Apim-Subscription-Key": SECRET}),
        ("headers", {"Cookie": SECRET}),
        ("headers", {"X-Auth": SECRET}),
        ("headers", {"X-Title": f"Bearer {SECRET}"}),
        ("headers", {"X-Title": f"sk-{SECRET}"}),
        ("headers", f"api-key: {SECRET}"),
        ("headers", [SECRET]),
        ("headers", {"api-key": {"value": SECRET}}),
        *(("headers", {name: SECRET}) for name in ("X-Tokens", "X-Token-Value", "X-Api-Pass")),
        *(("headers", {name: SECRET}) for name in ("X-Proxy-Pwd", "x-keys", "X-Key-Id")),
        ("query", {"key": SECRET}),
        ("query", {"access_token": SECRET}),
        ("query", {"sig": SECRET}),
        ("query", SECRET),
        ("extra_body", {"provider": {"order": [f"sk-{SECRET}"]}}),
        ("extra_body", {"api_key": SECRET}),
        ("extra_body", {"apiKey": SECRET}),
        ("extra_body", {"litellm": {"params": [{"hf_token": SECRET}]}}),
        ("extra_body", {"auth": {"user": "me", "word": [SECRET]}}),
        ("extra_body", {"extra_headers": {"Authorization": f"Bearer {SECRET}"}}),
        *(("extra_body", {name: SECRET}) for name in ("user_pwd", "my_pass", "passcode")),
        ("extra_body", {"private_key_pem": SECRET, "tokens": [SECRET]}),
        ("extra_body", {"credentials": {"keys": [SECRET]}}),
        ("extra_body", {f"sk-{SECRET}": 1}),
        ("extra_body", SECRET),
        ("extra_body", [{"api_key": SECRET}]),
        ("base_url", [SECRET]),
        ("base_url", f"http://user:{SECRET}@host/v1"),
        ("base_url", f"http://host/v1?key={SECRET}"),
    ],
)
def test_a_secret_is_refused_without_being_shown(where: str, setting: str, value: Any) -> None:
    given = ["llm.others={big: {engine: openai}}", f"{where}.{setting}={json.dumps(value)}"]
    with pytest.raises(UserError) as refused_:
        load_config(None, given)
    line = str(refused_.value)
    assert line.startswith(f"{where}.{setting}")
    assert SECRET not in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"extra_body": {"messages": []}}, "llm.extra_body: messages; any fields but messages,"),
        ({"extra_body": {"model": "x"}}, "llm.extra_body: model; "),
        ({"extra_body": {"stream": True}}, "llm.extra_body: stream; "),
        ({"extra_body": {"n": 2}}, "llm.extra_body: n; "),
        ({"extra_body": 5}, "llm.extra_body: a mapping of names to values"),
        ({"headers": {"Host": "x"}}, "llm.headers: 'Host'; a header's name"),
        ({"headers": {"a b": "x"}}, "llm.headers: 'a b'; a header's name"),
        ({"headers": {"X-Title": "a\nb"}}, "llm.headers.X-Title: one line of plain ASCII"),
        ({"headers": {"X-Title": True}}, "llm.headers: a mapping of names to texts"),
        ({"headers": {"X-Title": 5}}, "llm.headers.X-Title: a mapping of names to texts; texts"),
        ({"query": {"api-version": 2024}}, "llm.query.api-version: a mapping of names to texts"),
    ],
)
def test_what_cannot_be_added(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError) as refused_:
        load_config(None, settings(**changes))
    assert str(refused_.value).startswith(line)


@pytest.mark.parametrize(
    "override",
    [
        f"llm.extra_body={{api_key: {SECRET}",
        f"llm.headers={{api-key: {SECRET}",
        f"llm.others={{big: {{extra_body: {{a: {SECRET}}}",
        f"llm.base_url=[http://user:{SECRET}@host",
        f"llm={{key: [{SECRET}",
        f"llm.extra_body {{api_key: {SECRET}}}",
        f"llm.price={{hf_token: {SECRET}, a: }}}}",
        f"llm.price={{hf_token: {SECRET}}}",
        f"llm.price=api_key = {SECRET}",
        f"llm.price=sk-{SECRET}",
        f"llm=[{{headers: {{api-key: {SECRET}}}}}]",
    ],
)
def test_no_message_shows_a_value_that_may_hold_a_secret(override: str) -> None:
    with pytest.raises(UserError) as refused_:
        load_config(None, [override])
    assert SECRET not in str(refused_.value)
    assert "\n" not in str(refused_.value)


@pytest.mark.parametrize(
    "body",
    [
        {"max_completion_tokens": 100, "skip_special_tokens": False, "stop_token_ids": [1, 2]},
        {"prompt_cache_key": "a study", "truncate_prompt_tokens": 50, "top_k": 5},
        {"chat_template_kwargs": {"eos_token": "</s>", "add_generation_prompt": True}},
        {"provider": {"order": ["a"], "author": "b"}, "metadata": {"keywords": "tax"}},
        {"auth": True, "api_key": None},
        {"max_tokens_to_sample": 9, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        {"allowed_token_ids": [1], "bad_words": ["a"], "token_healing": True, "pass_through": True},
        {"tools": [{"function": {"parameters": {"properties": {"key": {"type": "string"}}}}}]},
        {"guided_json": {"properties": {"token": {"enum": ["a", "b"]}}}},
    ],
)
def test_fields_whose_names_are_like_those_of_secrets(body: dict[str, Any]) -> None:
    assert load_config(None, settings(extra_body=body)).llm.extra_body == body


def test_a_long_override_is_refused_quickly() -> None:
    begun = time.process_time()
    for override in ("a" * 100_000, "llm.price=" + "a-" * 50_000, "llm.price={" + "a " * 50_000):
        with pytest.raises(UserError):
            load_config(None, [override])
    assert time.process_time() - begun < 5


OPENAI, OTHER = "https://api.openai.com/v1", "https://gateway.example/v1"


@pytest.mark.parametrize(
    ("name", "at_openai", "elsewhere"),
    [
        ("Authorization", True, True),
        *((name, False, True) for name in ("api-key", "X-API-Key", "x-goog-api-key", "X-Auth")),
        *((name, False, False) for name in ("Idempotency-Key", "X-Request-Token-Limit")),
        *((name, False, False) for name in ("Helicone-Auth", "Cookie", "X-Author", "X-Region")),
        *((name, False, False) for name in ("Proxy-Authorization", "X-Portkey-Api-Key")),
    ],
)
def test_which_headers_take_the_place_of_the_key(
    name: str, at_openai: bool, elsewhere: bool
) -> None:
    extras = Extras({}, {name: "${AZURE_KEY}"})
    for url, replaced in ((OPENAI, at_openai), (OTHER, elsewhere)):
        assert key_to_send("OPENAI_API_KEY", url, extras) == ("" if replaced else KEY)


@pytest.mark.parametrize("value", ["US", "2", "40", "western-europe", "worker"])
def test_a_variable_that_is_no_secret_changes_no_answer(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGION", value)

    def tell(call: Call) -> Reply:
        told = f"{call.headers['x-region']}: {value}"
        return refused(418, told) if call.said.endswith("1") else Reply(said(told))

    extras = Extras({}, {"X-Region": "${REGION}", **AZURE}, {"region": "${REGION}"})
    assert extras.secrets == [SECRET]
    with served(tell, extras=extras) as (_, engine):
        answered, failed = collect(engine, asks(2))
    assert answered.text == f"{value}: {value}"
    assert failed.error == f"HTTP 418: {value}: {value}"


def test_a_secret_is_known_by_the_name_of_its_variable_or_its_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIVEN", "sk-0123456789abcdef")
    monkeypatch.setenv("REGION", "US")
    assert Extras({}, {"X-Own": "${AZURE_KEY}"}).secrets == [SECRET]
    assert Extras({}, {"X-Own": "${GIVEN} ${REGION}"}).secrets == ["sk-0123456789abcdef"]
    assert Extras({}, {"X-Own": "Bearer ${REGION}"}).secrets == ["US"]


def test_any_text_that_cannot_be_a_part_of_an_answer_is_a_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MINE", "gh0-4f9a1c77")
    extras = Extras({}, {"X-Proxy-User": "${MINE}"})
    assert extras.secrets == ["gh0-4f9a1c77"]
    with served(lambda call: Reply(said(call.headers["x-proxy-user"])), extras=extras) as (
        _,
        engine,
    ):
        assert collect(engine, asks(1))[0].text == "[key]"


def test_what_is_not_json() -> None:
    for text in ("{a: .nan}", "{a: .inf}", "{1: 2}"):
        with pytest.raises(UserError, match=r"^llm\.extra_body"):
            load_config(None, [f"llm.extra_body={text}"])


def test_settings_that_are_kept_as_they_are_written() -> None:
    """An api-version that looks like a date is text; variables stay names."""
    config = load_config(
        None,
        [
            "llm.query={api-version: 2024-10-21}",
            "llm.headers={api-key: '${AZURE_KEY}', Authorization: 'Bearer ${AZURE_KEY}'}",
            "llm.extra_body={chat_template_kwargs: {enable_thinking: false}, stop: [a, 1.5, null]}",
        ],
    )
    assert config.llm.query == {"api-version": "2024-10-21"}
    assert config.llm.extra_body["stop"] == ["a", 1.5, None]
    written = to_yaml(config)
    assert "${AZURE_KEY}" in written
    assert SECRET not in written


def test_which_of_them_change_results() -> None:
    assert changes_results("llm.extra_body")
    assert changes_results("llm.extra_body.chat_template_kwargs")
    assert not changes_results("llm.headers")
    assert not changes_results("llm.others.big.query")


def test_a_sweep_may_vary_a_field_of_the_body() -> None:
    check_name("llm.extra_body.chat_template_kwargs.enable_thinking", {"llm": {}})
    with pytest.raises(UserError):
        check_name("llm.timeout_seconds.x", {"llm": {}})


@pytest.mark.parametrize("value", [None, "", " "])
def test_a_variable_that_is_not_there(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found before anything is asked or written."""
    monkeypatch.delenv("AZURE_KEY")
    if value is not None:
        monkeypatch.setenv("AZURE_KEY", value)
    serving = Serving(engine="openai", model="m", base_url="http://127.0.0.1:1/v1", headers=AZURE)
    with pytest.raises(UserError, match=r"^llm\.headers\.api-key: .* AZURE_KEY, .* is not set"):
        ENGINES["openai"].check(serving)


def test_a_variable_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "a\u00e9\nb")
    with pytest.raises(UserError, match=r"^llm\.query\.key: .* plain ASCII") as refused_:
        check_openai("http://u/v1", "OPENAI_API_KEY", Extras({}, {}, {"key": "${AZURE_KEY}"}))
    assert "\u00e9" not in str(refused_.value)


def test_azure_needs_no_key_of_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    url = "https://name.openai.azure.com/openai/deployments/gpt"
    check_openai(url, "OPENAI_API_KEY", Extras({}, AZURE, {"api-version": "2024-10-21"}))
    assert engine_identity("gpt", url)["base_url"] == url
