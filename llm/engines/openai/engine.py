"""Any OpenAI-compatible server (vllm serve, Ollama, a cloud API): one batch in, completions out as
they finish.
"""

import asyncio
import importlib.util
import json
import math
import os
import random
import re
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

from jaxecon.core.errors import EngineError, UserError
from llm.engines.base import OnCompletion, estimated_tokens
from llm.engines.openai.dialect import Dialect
from llm.engines.openai.pacing import Pace, retry_after
from llm.engines.openai.trouble import DOWN, HOPELESS, Trouble, system_error
from llm.messages import Completion, Request, Usage

Raw = TypeVar("Raw")


_OPENAI, _OPENAI_KEY = "https://api.openai.com/v1", "OPENAI_API_KEY"

_BACKOFF_SECONDS = 0.5  # after the first failure; doubled after each further one

_LONGEST_BACKOFF_SECONDS = 20.0

_CHECK_SECONDS = 4.0  # for each of two tries at the start


def engine_identity(model: str, base_url: str | None = None) -> dict[str, str]:
    """What `OpenAIEngine.identity` will be, without a server: enough to look answers up in a
    transcript.

    Raises:
        UserError: base_url is not a plain http(s) address.
    """
    return {"engine": "openai", "model": model, "base_url": _plain_address(base_url or _OPENAI)}


def check_openai(base_url: str | None, api_key_env: str) -> None:
    """Raise UserError where `OpenAIEngine` would, without asking the server."""
    _api_key(api_key_env, _plain_address(base_url or _OPENAI))
    if importlib.util.find_spec("openai") is None:
        raise UserError("llm.messages: 'openai' needs: pip install 'jaxecon[openai]'")


class OpenAIEngine:
    """The Engine protocol on the chat completions of a server.

    Args:
        model: the server's name for the model.
        base_url: up to and including /v1; None is OpenAI's own, whatever OPENAI_BASE_URL says.
        api_key_env: the environment variable that holds the key. A server other than OpenAI's may
        do without one,
            where the variable is not named.
        max_connections: requests in flight at most.
        requests_per_minute, tokens_per_minute: what the account allows, spread evenly; None is no
        limit.
        timeout_seconds: for one answer, from sending to its last byte.
        transport_retries: further attempts after a timeout, a cut connection, a passing HTTP error
        or a broken answer.
        patience_seconds: how long the server may be gone, or ask to be left alone, before the
        engine gives up. It is gone where
            nothing answers, or HTTP 502, 503 or 504 and no request gets through.

    Raises:
        UserError: the openai package is missing, base_url is no plain address, no key where one is
        needed.
        EngineError: nothing answers at base_url, or it refuses the key.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = _OPENAI_KEY,
        max_connections: int = 64,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        timeout_seconds: float = 120.0,
        transport_retries: int = 6,
        patience_seconds: float = 120.0,
    ) -> None:
        self._identity = engine_identity(model, base_url)
        self._model, self._url, self._key_name = model, self._identity["base_url"], api_key_env
        check_openai(base_url, api_key_env)
        self._key = _api_key(api_key_env, self._url)
        self._max_connections, self._timeout = max_connections, timeout_seconds
        self._retries, self._patience = transport_retries, patience_seconds
        import openai

        self._description: dict[str, str | int | float] = {
            "openai": openai.__version__,
            "max_connections": max_connections,
            "requests_per_minute": requests_per_minute or 0.0,
            "tokens_per_minute": tokens_per_minute or 0.0,
            "timeout_seconds": timeout_seconds,
            "transport_retries": transport_retries,
            "patience_seconds": patience_seconds,
        }
        self._dialect = Dialect()
        self._known: list[str] = []
        self._lost_since: float | None = None
        self._through = 0  # requests that got through to the server
        self._resume_at = 0.0
        self._jitter = random.Random()
        self._connections = asyncio.Semaphore(max_connections)
        self._request_pace = Pace(requests_per_minute or math.inf)
        self._token_pace = Pace(tokens_per_minute or math.inf)
        limits = type(openai.DEFAULT_CONNECTION_LIMITS)
        self._client = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key or "none",
            max_retries=0,
            timeout=openai.Timeout(timeout_seconds, connect=min(timeout_seconds, 10.0)),
            http_client=openai.DefaultAsyncHttpxClient(
                limits=limits(
                    max_connections=max_connections, max_keepalive_connections=max_connections
                ),
                follow_redirects=False,  # the key is for this address alone
            ),
        )
        self._batches: set[asyncio.Task[None]] = set()
        self._closing, self._closed = asyncio.Event(), False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="jaxecon-openai", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._look_around(), self._loop).result()
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> dict[str, str]:
        """Engine, model and address: what goes into every request's key."""
        return dict(self._identity)

    @property
    def description(self) -> dict[str, str | int | float]:
        """What the manifest records beside the identity: the client's version, limits, and how the
        server is asked.
        """
        dialect = self._dialect
        return self._description | {
            "structured_output": dialect.structured_output,
            "seed": "sent" if dialect.seed else "not sent",
        }

    def prompt_tokens(self, request: Request) -> int:
        """An estimate: the server has the tokenizer."""
        return estimated_tokens(request.messages)

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer one batch, in whatever order.

        Whatever ends it early leaves nothing in flight.

        Raises:
            EngineError: closed; or unreachable for longer than patience_seconds; or the key, the
            model, the sampling
                settings or the account are refused, which every request would meet. What was
                answered has been reported.
        """
        if self._closed:
            raise EngineError(f"the engine for {self._url} is closed")
        results: SimpleQueue[tuple[int, Completion] | None] = SimpleQueue()
        batch: list[asyncio.Task[None]] = []

        def start() -> None:
            task = self._loop.create_task(self._batch(requests, results.put))
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
            raise EngineError(f"the engine for {self._url} was closed during a batch")
        batch[0].result()

    def close(self) -> None:
        """Drop the connections and end the thread."""
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
            await self._client.close()

        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(until_closed())

    async def _look_around(self) -> None:
        """Whether the server is there and takes the key, and which models it names.

        Not every server lists them.
        """
        for last in (False, True):
            try:
                listing = await self._call(
                    self._client.models.with_raw_response.list(), _CHECK_SECONDS
                )
            except Trouble as trouble:
                if trouble.status:
                    if trouble.status != 404:
                        self._give_up_if_hopeless(trouble)
                    return
                if last:
                    raise EngineError(
                        f"llm.base_url: nothing answers at {self._url} ({trouble}); start the "
                        "server or correct the address"
                    ) from None
                await asyncio.sleep(_BACKOFF_SECONDS)
            else:
                listed = listing.get("data") if isinstance(listing, Mapping) else None
                models = (
                    [model for model in listed if isinstance(model, Mapping)]
                    if isinstance(listed, list)
                    else []
                )
                self._known = [self._line(model["id"]) for model in models if "id" in model]
                if any(model.get("owned_by") == "vllm" for model in models):
                    # On a CPU a request's own seed kills vLLM as soon as a batch needs chunked
                    # prefill.
                    self._dialect = replace(self._dialect, seed=False)
                return

    async def _batch(
        self, requests: Sequence[Request], report: Callable[[tuple[int, Completion]], None]
    ) -> None:
        self._lost_since = None
        waiting, batch = iter(enumerate(requests)), _Batch(len(requests), len(requests))
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._max_connections, len(requests))):
                    workers.create_task(self._work(waiting, batch, report))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work(
        self,
        waiting: Iterator[tuple[int, Request]],
        batch: "_Batch",
        report: Callable[[tuple[int, Completion]], None],
    ) -> None:
        for index, request in waiting:
            completion = await self._answer(request, batch)
            batch.open -= 1
            report((index, completion))

    async def _answer(self, request: Request, batch: "_Batch") -> Completion:
        """One request, until it is answered or asking again is of no use."""
        failures = down = tries = 0
        seen: int | None = (
            None  # how many had got through when this one was last told that the server is down
        )
        while True:
            dialect = self._dialect
            try:
                return await self._send(request, dialect)
            except Trouble as trouble:
                self._give_up_if_hopeless(trouble)
                if self._learn(dialect, trouble):
                    continue
                tries += 1
                if trouble.unreachable:
                    wait = self._patience_left(trouble)
                elif trouble.down and seen in (None, self._through) and not batch.at_its_last:
                    down += 1
                    wait = self._patience_left(trouble)
                else:
                    # Others get through, so it was this request; unless it was told so often that
                    # it was an outage.
                    failures += 1 + (down if down <= self._retries else 0)
                    down, wait = 0, math.inf
                    if failures > self._retries or not trouble.passing:
                        return Completion(text="", finish_reason="error", error=str(trouble))
                if trouble.down:
                    seen = self._through
                if trouble.retry_after is not None:
                    self._resume_at = max(self._resume_at, time.monotonic() + trouble.retry_after)
                backoff = min(_BACKOFF_SECONDS * 2 ** min(tries - 1, 30), _LONGEST_BACKOFF_SECONDS)
                await asyncio.sleep(min(self._jitter.uniform(backoff / 2, backoff), wait))

    async def _send(self, request: Request, dialect: "Dialect") -> Completion:
        # A server that asks to be left alone asks it of every request; the jitter keeps them from
        # coming back together.
        while (pause := self._resume_at - time.monotonic()) > 0:
            await asyncio.sleep(pause + self._jitter.uniform(0, _BACKOFF_SECONDS))
        estimate = (
            sum(len(message.content) for message in request.messages) / 4
            + request.sampling.max_tokens
        )
        await self._request_pace.take(1)
        await self._token_pace.take(estimate)
        async with self._connections:
            begun = time.perf_counter()
            create = self._client.chat.completions.with_raw_response.create
            reply = await self._call(create(**dialect.words(self._model, request)), self._timeout)
            self._lost_since = None
            self._through += 1
            completion = self._completion(reply, request, time.perf_counter() - begun)
        tokens = completion.usage.prompt_tokens + completion.usage.completion_tokens
        if tokens:
            self._token_pace.correct(tokens - estimate)
        return completion

    async def _call(self, sent: Awaitable[Any], timeout: float) -> Any:
        """The JSON of the reply.

        Raises _Trouble for whatever the server or the way to it can do.
        """
        import openai

        try:
            async with asyncio.timeout(timeout):
                raw = await sent
        except openai.APIStatusError as error:
            if error.status_code not in DOWN:
                self._lost_since = None
            raise self._refusal(error.status_code, error.body, error.response.headers) from None
        except (openai.APITimeoutError, openai.APIConnectionError, TimeoutError) as error:
            cause = error.__cause__ or error
            # By name: openai 2 stands on httpx, openai 3 on httpx2.
            unreachable = type(cause).__name__ in ("ConnectError", "ConnectTimeout")
            if isinstance(error, TimeoutError | openai.APITimeoutError):
                words = (
                    "connecting takes too long"
                    if unreachable
                    else f"no answer within {timeout:g} s"
                )
            else:
                words = self._line(system_error(cause) or cause)
            raise Trouble(words, unreachable=unreachable) from None
        except ValueError as error:
            raise Trouble(f"the request cannot be sent: {self._line(error)}", status=400) from None
        try:
            return json.loads(raw.http_response.content)
        except (ValueError, RecursionError):
            raise Trouble("the server's reply is not JSON", status=502) from None

    def _refusal(self, status: int, body: object, headers: Mapping[str, str]) -> "Trouble":
        inner = body.get("error", body) if isinstance(body, Mapping) else body
        fields: Mapping[str, Any] = inner if isinstance(inner, Mapping) else {}
        words = fields.get("message") or fields.get("detail") or inner or "no reason given"
        return Trouble(
            f"HTTP {status}: {self._line(words)}",
            status=status,
            down=status in DOWN,
            complaint=str(body).lower(),
            about=str(fields.get("param") or fields.get("code")),
            retry_after=retry_after(headers.get("retry-after")) if status in (429, 503) else None,
        )

    def _give_up_if_hopeless(self, trouble: "Trouble") -> None:
        """EngineError for what every further request would meet too."""
        if trouble.status in HOPELESS:
            known = f" (it has {', '.join(self._known[:5])})" if self._known else ""
            line = HOPELESS[trouble.status]
            self._give_up(
                line.format(
                    url=self._url, key=self._key_name, model=self._model, known=known, words=trouble
                )
            )
        if 300 <= trouble.status < 400:
            self._give_up(
                f"llm.base_url: {self._url} sends its callers elsewhere ({trouble}); give the "
                "address it means"
            )
        if trouble.status == 429 and "insufficient_quota" in trouble.complaint:
            self._give_up(
                f"llm.api_key_env: the account at {self._url} has used up its quota ({trouble})"
            )
        if trouble.status in (400, 422) and trouble.about in ("temperature", "top_p"):
            self._give_up(
                f"llm.{trouble.about}: {self._model} at {self._url} does not take it ({trouble})"
            )
        if trouble.retry_after is not None and trouble.retry_after > self._patience:
            self._give_up(
                f"llm.base_url: {self._url} is to be left alone for {trouble.retry_after:.0f} s "
                f"({trouble}); go on then"
            )

    def _patience_left(self, trouble: "Trouble") -> float:
        now = time.monotonic()
        self._lost_since = self._lost_since or now
        left = self._lost_since + self._patience - now
        if left <= 0:
            self._give_up(
                f"llm.base_url: {self._url} cannot be reached for {self._patience:g} s "
                f"({trouble}); start the server again"
            )
        return left

    def _give_up(self, line: str) -> NoReturn:
        raise EngineError(line) from None

    def _learn(self, used: "Dialect", trouble: "Trouble") -> bool:
        """Whether to ask again because the server wants to be asked otherwise, as another request
        may have found first.
        """
        change = used.otherwise(trouble)
        for field, value in change.items():
            if getattr(self._dialect, field) == getattr(used, field):
                self._dialect = replace(self._dialect, **{field: value})
        return bool(change)

    def _completion(self, reply: Any, request: Request, seconds: float) -> Completion:
        try:
            choice = reply["choices"][0]
            message = choice["message"]
            text = message.get("content") or message.get("refusal") or ""
            reason = choice.get("finish_reason") or "stop"
            usage = _usage(reply.get("usage"))
        except (KeyError, IndexError, TypeError, AttributeError):
            error = reply.get("error") if isinstance(reply, Mapping) else None
            words = (
                f"an error in place of an answer: {self._line(error)}"
                if error
                else "the server's reply has no message"
            )
            raise Trouble(words, status=502) from None
        if not isinstance(text, str) or not isinstance(reason, str):
            raise Trouble("the server's reply is not text", status=502)
        if usage is None:  # the server counts nothing: budgets then go by estimates
            usage = Usage(
                estimated_tokens(request.messages), 0, -(-len(text.encode(errors="replace")) // 3)
            )
        ended = (
            None
            if reason in ("stop", "length")
            else f"the server ended the request with {self._line(reason)!r}"
        )
        return Completion(self._storable(text), self._line(reason), usage, seconds, ended)

    def _storable(self, text: str) -> str:
        """A reply as the transcript can hold it: no half of a surrogate pair, and not the key,
        should a server echo it.
        """
        text = text.encode(errors="replace").decode()
        return text.replace(self._key, "[key]") if len(self._key) >= 16 else text

    def _line(self, words: object) -> str:
        """One short line without the key or anything like one."""
        text = str(words).encode(errors="replace").decode()
        if self._key:
            text = text.replace(self._key, "[key]")
        text = re.sub(r"(?i)\b(bearer|basic)\s+\S+", r"\1 [key]", text)
        text = re.sub(r"\bsk-[\w*-]{4,}", "[key]", text)
        return " ".join(text.split())[:300] or type(words).__name__


@dataclass
class _Batch:
    """open: how many of its requests are unanswered."""

    size: int
    open: int

    @property
    def at_its_last(self) -> bool:
        """Whether all but one request of several are answered, so that nobody else could show that
        the server is there.
        """
        return self.open == 1 < self.size


def _plain_address(base_url: str) -> str:
    try:
        parts = urlsplit(base_url.strip())
        plain = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        plain = False
    # No password or query: a run's files hold its configuration.
    if (
        not plain
        or parts.query
        or parts.fragment
        or not re.fullmatch(r"[\w.:\[\]-]+", parts.netloc)
    ):
        raise UserError(
            "llm.base_url: must be a plain address such as http://127.0.0.1:8000/v1, without "
            "user, password or query; "
            "the key goes where llm.api_key_env says"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _api_key(name: str, url: str) -> str:
    if name != _OPENAI_KEY and name not in os.environ:  # without what was given: it may be a key
        raise UserError(
            "llm.api_key_env: no environment variable of that name; give the NAME of the one "
            f"that holds the key for {url}"
        )
    key = os.environ.get(name, "").strip()
    if not key and urlsplit(url).hostname == urlsplit(_OPENAI).hostname:
        raise UserError(
            f"llm.api_key_env: set the environment variable {name} to the key for {url}"
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"llm.api_key_env: what the environment variable {name} holds is no key")
    return key


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else None
    prompt, *others = usage.get("prompt_tokens"), cached, usage.get("completion_tokens")
    if not isinstance(prompt, int) or prompt <= 0:
        return None
    return Usage(
        prompt, *(count if isinstance(count, int) and count > 0 else 0 for count in others)
    )
