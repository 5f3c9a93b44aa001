"""A fake server with OpenAI's interface, and engines before it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.openai_server import KEY, Server, echo

from llm.engines.openai import batch, probing
from llm.engines.openai.engine import OpenAIEngine


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    # Reading the machine's certificates is most of what a new client takes; nothing here is
    # encrypted.
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path_factory.getbasetemp()))
    monkeypatch.setattr(batch, "_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(probing, "_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(batch, "_LONGEST_BACKOFF_SECONDS", 0.1)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server(echo)
    yield started
    started.stop()


@pytest.fixture
def connect(server: Server) -> Iterator[Callable[..., OpenAIEngine]]:
    """Engines before the server, closed at the end."""
    opened: list[OpenAIEngine] = []

    def open_(**options: Any) -> OpenAIEngine:
        opened.append(OpenAIEngine("m", **{"base_url": server.url, **options}))
        return opened[-1]

    yield open_
    for engine in opened:
        engine.close()
