"""Servers that do not take what OpenAI's takes, put together from single refusals."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.openai_server import KEY, Call, Reply, Server, echo, refused, said

from llm.engines.openai import batch, probing
from llm.engines.openai.engine import OpenAIEngine

Refusal = Callable[[dict[str, Any]], Reply | None]

NO_REASON = "Request contains an invalid argument."


def quickly(monkeypatch: pytest.MonkeyPatch, folder: object) -> None:
    """Short pauses, no certificates of the machine, and a key."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    monkeypatch.setattr(batch, "_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(batch, "_LONGEST_BACKOFF_SECONDS", 0.1)
    monkeypatch.setattr(probing, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@contextmanager
def served(answer: Callable[[Call], Reply], **options: Any) -> Iterator[tuple[Server, Any]]:
    """A server that answers so, and an engine before it."""
    server = Server(answer)
    try:
        engine = OpenAIEngine("m", **{"base_url": server.url, **options})
        try:
            yield server, engine
        finally:
            engine.close()
    finally:
        server.stop()


def speaking(*refusals: Refusal) -> Callable[[Call], Reply]:
    """A server that says no as the first of these does, and else echoes what it was asked."""

    def answer(call: Call) -> Reply:
        return next((no for refusal in refusals if (no := refusal(call.body))), echo(call))

    return answer


def form_of(body: dict[str, Any]) -> str:
    return str((body.get("response_format") or {"type": "plain"})["type"])


def no_form(*forms: str, words: str, status: int = 400) -> Refusal:
    """Refuses forms of structured output."""
    return lambda body: refused(status, words) if form_of(body) in forms else None


def no_system(words: str, status: int = 400) -> Refusal:
    def refuse(body: dict[str, Any]) -> Reply | None:
        roles = [message["role"] for message in body["messages"]]
        alternate = all(role == ("user", "assistant")[i % 2] for i, role in enumerate(roles))
        return None if alternate else refused(status, words)

    return refuse


def no_field(name: str, words: str, status: int = 400) -> Refusal:
    return lambda body: refused(status, words) if name in body else None


def only_streams(words: str, status: int = 400) -> Refusal:
    return lambda body: None if body.get("stream") else refused(status, words)


def answered_worker(text: str) -> int:
    """The worker whose question an echoed answer repeats."""
    found = re.search(r"worker (\d+)", text)
    assert found is not None, text
    return int(found[1])


def thinking(tokens: int) -> Callable[[Call], Reply]:
    """A model that thinks for so many tokens before it answers."""

    def answer(call: Call) -> Reply:
        if call.body["max_tokens"] <= tokens:
            usage = {"prompt_tokens": 50, "completion_tokens": call.body["max_tokens"]}
            return Reply(said("", "length", usage))
        return Reply(said(call.said, usage={"prompt_tokens": 50, "completion_tokens": 60}))

    return answer
