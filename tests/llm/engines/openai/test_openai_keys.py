"""Addresses and keys, and that no key gets out."""

import re
import sys
from collections.abc import Callable

import pytest
from support.completions import collect
from support.openai_server import KEY, Call, Reply, Server, ask, asks, echo, refused, said

from jaxecon.core.errors import EngineError, UserError
from llm.engines.openai.address import check_openai
from llm.engines.openai.engine import OpenAIEngine

pytest.importorskip("openai")


def test_the_key_stays_inside(
    server: Server, connect: Callable[..., OpenAIEngine], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    def answer(call: Call) -> Reply:
        header = call.headers["authorization"]
        if call.said == "worker 1":
            return Reply(
                {
                    "error": {
                        "message": f"you sent {header}\n(sk-another12345)",
                        "headers": {"Authorization": header},
                    }
                },
                400,
            )
        if call.said == "worker 2":
            return Reply(f"x {header}", 500)
        if call.said == "worker 3":
            return Reply(said(f"your key is {KEY}", f"stop {KEY}"))
        return echo(call) if call.said == "worker 0" else refused(401, f"bad key {header}")

    server.answer = answer
    engine = connect(transport_retries=1)
    completions = collect(engine, asks(4))
    assert completions[1].error == "HTTP 400: you sent Bearer [key] ([key])"
    assert completions[2].error == "HTTP 500: x Bearer [key]"
    with pytest.raises(EngineError) as ended:
        collect(engine, [ask("worker 4")])
    shown = [
        repr(completions),
        str(ended.value),
        repr(ended.value),
        repr(engine),
        str(vars(ended.value)),
    ]
    shown += [
        repr(engine.identity),
        repr(engine.description),
        caplog.text,
        repr(ended.value.__cause__),
    ]
    assert KEY not in "".join(shown)
    assert "another12345" not in "".join(shown)
    assert KEY[3:] not in "".join(shown)


def test_a_key_is_needed_for_openai_alone(
    server: Server, connect: Callable[..., OpenAIEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.setenv("OTHER_KEY", " other-key\n")
    with pytest.raises(
        UserError, match=r"^llm.api_key_env: set the environment variable OPENAI_API_KEY"
    ):
        OpenAIEngine("m")
    # a key by mistake is no variable, and not shown
    for url in ("https://api.openai.com/v1", server.url):
        for build in (
            OpenAIEngine,
            lambda _, base_url, api_key_env: check_openai(base_url, api_key_env),
        ):
            with pytest.raises(
                UserError,
                match="^llm.api_key_env: no environment variable of that name; .* the NAME .* "
                f"for {url}$",
            ) as absent:
                build("m", base_url=url, api_key_env="AKIA0123456789")
            assert "AKIA" not in str(absent.value)
    collect(connect(), asks(1))
    collect(connect(api_key_env="OTHER_KEY"), asks(1))
    assert [call.headers["authorization"] for call in server.calls] == [
        "Bearer none",
        "Bearer other-key",
    ]
    monkeypatch.setenv("OTHER_KEY", "schlüssel")
    with pytest.raises(UserError, match="is no key") as no_key:
        connect(api_key_env="OTHER_KEY")
    assert "schl" not in str(no_key.value)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:8000", "http://", "ftp://host/v1", "http://ho st/v1", "http://[::1/v1"),
        *(
            "http://127.0.0.300:8000/v1",
            "http://a..b/v1",
            "http://host/v1\x00",
            "http://x\u2028/v1",
        ),
        *("http://host:99999/v1", "http://host:port/v1", "http://host:0/v1"),
        *(
            "http://user:secret@host/v1",
            "http://secret@host/v1",
            "http://host/v1?key=secret",
            "http://host/v1#secret",
        ),
    ],
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UserError, match=r"^llm.base_url: must be a plain address") as refused_:
        OpenAIEngine("m", base_url=address)
    assert "secret" not in str(refused_.value)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(
        UserError, match=re.escape("llm.engine: 'openai' needs: pip install 'jaxecon[openai]'")
    ):
        OpenAIEngine("m")
