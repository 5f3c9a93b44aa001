"""The Engine protocol on any server with OpenAI's interface."""

import asyncio
import math
import random
import threading
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any

from jaxecon.core.errors import EngineError
from llm.engines.base import OnCompletion, estimated_prompt_tokens
from llm.engines.openai.address import (
    OPENAI_KEY,
    Extras,
    check_openai,
    engine_identity,
    key_to_send,
)
from llm.engines.openai.batch import BatchSender
from llm.engines.openai.probing import probe
from llm.engines.openai.rate_limit import RateLimit
from llm.engines.openai.server import Server
from llm.engines.openai.transport import Transport
from llm.messages import Completion, Request


class OpenAIEngine:
    """The Engine protocol on the chat completions of a server.

    One batch in, completions out as they finish; a thread of its own talks to the server.

    Args:
        model: the server's name for the model.
        base_url: up to and including /v1; None is OpenAI's own, whatever OPENAI_BASE_URL says.
        api_key_env: the environment variable that holds the key. With the default, a server other
            than OpenAI's may do without a key.
        max_connections: requests in flight at most.
        requests_per_minute: what the account allows, spread evenly; None for no limit.
        tokens_per_minute: the same for tokens.
        timeout_seconds: for one answer, from sending to its last byte.
        transport_retries: further attempts after a timeout, a cut connection, a passing HTTP error
            or a broken answer.
        patience_seconds: how long the server may be gone, or ask for a pause, before the engine
            gives up. It is gone if nothing answers, or if no request gets through for HTTP 502,
            503, 504 or 520 to 530, time-outs and cut connections.
        max_model_len: tokens of prompt and answer together.
        extras: what is added to every request.

    Raises:
        UserError: the openai package is missing, base_url is not a plain address, or a needed key
            or another environment variable is missing.
        EngineError: nothing answers at base_url, or it refuses the key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = OPENAI_KEY,
        max_connections: int = 64,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_seconds: float = 120.0,
        transport_retries: int = 6,
        patience_seconds: float = 120.0,
        max_model_len: int = 1_048_576,
        extras: Extras | None = None,
    ) -> None:
        extras = extras or Extras()
        self._identity = engine_identity(model, base_url, extras.body)
        check_openai(base_url, api_key_env, extras)
        url = self._identity["base_url"]
        key = key_to_send(api_key_env, url, extras)
        self._server = Server(url, model, api_key_env, patience_seconds, max_model_len, extras.body)
        self._transport = Transport(self._server, key, max_connections, timeout_seconds, extras)
        self._sender = BatchSender(
            self._server,
            self._transport,
            requests=RateLimit(requests_per_minute or math.inf),
            tokens=RateLimit(tokens_per_minute or math.inf),
            max_connections=max_connections,
            connections=asyncio.Semaphore(max_connections),
            retries=transport_retries,
            jitter=random.Random(),
        )
        self._description: dict[str, Any] = {
            "openai": self._transport.version,
            "max_connections": max_connections,
            "requests_per_minute": requests_per_minute or 0.0,
            "tokens_per_minute": tokens_per_minute or 0.0,
            "timeout_seconds": timeout_seconds,
            "transport_retries": transport_retries,
            "patience_seconds": patience_seconds,
            "headers": dict(extras.headers),
            "query": dict(extras.query),
        }
        self._start()

    def _start(self) -> None:
        """Start the thread that talks to the server, and check that the server is there."""
        self._batches: set[asyncio.Task[None]] = set()
        self._closing, self._closed = asyncio.Event(), False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="jaxecon-openai", daemon=True)
        self._thread.start()
        try:
            probing = probe(self._server, self._transport)
            asyncio.run_coroutine_threadsafe(probing, self._loop).result()
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> dict[str, str]:
        """Engine, model and address: what goes into every request's key."""
        return dict(self._identity)

    @property
    def description(self) -> dict[str, Any]:
        """What the manifest records beside the identity.

        These are the client's version, the limits, the format of requests, and what has been
        learned about the server in words. Variables are named, without their values.
        """
        used = self._server.format
        return self._description | {
            "structured_output": used.structured_output,
            "seed": "sent" if used.seed else "not sent",
            "system_message": "sent" if used.system_role else "in the first question",
            "stream": "asked for" if used.stream else "not asked for",
            "limit": used.limit,
            "answer_factor": used.answer_factor,
            "learned": list(self._server.notes),
        }

    def prompt_tokens(self, request: Request) -> int:
        """An estimate: the server has the tokenizer."""
        return estimated_prompt_tokens(request.messages)

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer one batch, in any order.

        If it ends early, no request stays in flight.

        Raises:
            EngineError: the engine is closed; the server is unreachable for longer than
                patience_seconds; or it refuses the key, the model, the sampling settings or the
                account, as it would for every request. What was answered before has been reported.
        """
        if self._closed:
            raise EngineError(f"the engine for {self._server.url} is closed")
        results: SimpleQueue[tuple[int, Completion] | None] = SimpleQueue()
        batch: list[asyncio.Task[None]] = []

        def start() -> None:
            task = self._loop.create_task(self._sender.send(requests, results.put))
            batch.append(task)
            self._batches.add(task)
            task.add_done_callback(self._batches.discard)
            task.add_done_callback(lambda _: results.put(None))

        def stop() -> None:
            if batch:
                batch[0].cancel()
            else:  # interrupted before it was started
                results.put(None)

        try:
            self._loop.call_soon_threadsafe(start)
            while (result := results.get()) is not None:
                on_completion(*result)
        except BaseException:
            self._loop.call_soon_threadsafe(stop)
            while results.get() is not None:
                pass
            raise
        if batch[0].cancelled():
            raise EngineError(f"the engine for {self._server.url} was closed during a batch")
        batch[0].result()

    def close(self) -> None:
        """Drop the connections and end the thread. Safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    def _run_loop(self) -> None:
        async def until_closed() -> None:
            await self._closing.wait()
            for batch in self._batches:
                batch.cancel()
            await asyncio.gather(*self._batches, return_exceptions=True)
            await self._transport.close()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(until_closed())
