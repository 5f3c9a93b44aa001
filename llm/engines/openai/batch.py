"""Batches of requests: how they are sent, and what is done where one fails."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from llm.engines.openai.completion import completion_of
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.rate_limit import RateLimit
from llm.engines.openai.request_format import RequestFormat
from llm.engines.openai.server import Server
from llm.engines.openai.transport import Transport
from llm.messages import Completion, Request

_BACKOFF_SECONDS = 0.5  # after the first failure; doubled after each further one
_LONGEST_BACKOFF_SECONDS = 20.0


@dataclass
class _Batch:
    """The progress of a batch. open: how many of its requests are unanswered."""

    size: int
    open: int

    @property
    def at_its_last(self) -> bool:
        """Whether only one of several requests is unanswered.

        No other request can then show that the server is there.
        """
        return self.open == 1 < self.size


@dataclass(frozen=True)
class BatchSender:
    """Sends batches to one server, within its limits. retries: further attempts per request."""

    server: Server
    transport: Transport
    requests: RateLimit
    tokens: RateLimit
    max_connections: int
    connections: asyncio.Semaphore
    retries: int
    jitter: random.Random

    async def send(
        self, requests: Sequence[Request], report: Callable[[tuple[int, Completion]], None]
    ) -> None:
        """Answer all requests. report: called with each index and completion as they come.

        Raises EngineError where the server is gone or would refuse every further request.
        """
        self.server.lost_since = None
        waiting, batch = iter(enumerate(requests)), _Batch(len(requests), len(requests))
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self.max_connections, len(requests))):
                    workers.create_task(self._work(waiting, batch, report))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _work(
        self,
        waiting: Iterator[tuple[int, Request]],
        batch: _Batch,
        report: Callable[[tuple[int, Completion]], None],
    ) -> None:
        for index, request in waiting:
            completion = await self._answer(request, batch)
            batch.open -= 1
            report((index, completion))

    async def _answer(self, request: Request, batch: _Batch) -> Completion:
        """Send one request until it is answered or asking again would not help."""
        server = self.server
        failures = outages = tries = 0
        # how many requests had been answered when this one last got a gateway error
        seen: int | None = None
        while True:
            used = server.format
            try:
                return await self._attempt(request, used)
            except RequestFailure as failure:
                server.raise_if_fatal(failure)
                if server.adapt_format(used, failure):
                    continue
                tries += 1
                if failure.unreachable:
                    wait = server.patience_left(failure)
                elif failure.gateway and seen in (None, server.answered) and not batch.at_its_last:
                    outages += 1
                    wait = server.patience_left(failure)
                else:
                    # Others get through, so this request failed. Its gateway errors count too,
                    # unless there were so many that it was an outage.
                    failures += 1 + (outages if outages <= self.retries else 0)
                    outages, wait = 0, math.inf
                    if failures > self.retries or not failure.transient:
                        return Completion(text="", finish_reason="error", error=str(failure))
                if failure.gateway:
                    seen = server.answered
                if failure.retry_after is not None:
                    server.resume_at = max(server.resume_at, time.monotonic() + failure.retry_after)
                backoff = min(_BACKOFF_SECONDS * 2 ** min(tries - 1, 30), _LONGEST_BACKOFF_SECONDS)
                await asyncio.sleep(min(self.jitter.uniform(backoff / 2, backoff), wait))

    async def _attempt(self, request: Request, used: RequestFormat) -> Completion:
        """Send a request once, when its turn comes. Raises RequestFailure."""
        server = self.server
        # A server that asks for a pause asks it of every request; the jitter keeps them from coming
        # back together.
        while (pause := server.resume_at - time.monotonic()) > 0:
            await asyncio.sleep(pause + self.jitter.uniform(0, _BACKOFF_SECONDS))
        estimate = (
            sum(len(message.content) for message in request.messages) / 4
            + request.sampling.max_tokens
        )
        await self.requests.take(1)
        await self.tokens.take(estimate)
        async with self.connections:
            begun = time.perf_counter()
            reply = await self.transport.chat(used.body(server.model, request))
            server.lost_since = None
            server.answered += 1
            seconds = time.perf_counter() - begun
            redaction = self.transport.redaction
            completion = completion_of(reply, request, seconds, redaction, server.note)
        tokens = completion.usage.prompt_tokens + completion.usage.completion_tokens
        if tokens:
            self.tokens.correct(tokens - estimate)
        return completion
