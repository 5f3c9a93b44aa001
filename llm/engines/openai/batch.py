"""Batches of requests: how they are sent, and what is done where one fails."""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from llm.decisions.base import Unusable
from llm.decisions.thoughts import without_thoughts
from llm.engines.base import estimated_usage
from llm.engines.openai.completion import completion_of
from llm.engines.openai.failure import RequestFailure
from llm.engines.openai.negotiation import Negotiation
from llm.engines.openai.rate_limit import RateLimit
from llm.engines.openai.refusals import (
    REFUSALS,
    is_bad_generation,
    is_filtered,
    longest_taken,
    refuses_answer_limit,
)
from llm.engines.openai.request_format import RequestFormat
from llm.engines.openai.server import Server
from llm.engines.openai.transport import Transport
from llm.messages import TOO_LONG, Completion, Request, Usage

_BACKOFF_SECONDS = 0.5  # after the first failure; doubled after each further one
_LONGEST_BACKOFF_SECONDS = 20.0


@dataclass
class _Batch:
    """The progress of a batch.

    open: how many of its requests are unanswered. held: refused requests, which are reported once
    the server has answered any: it may refuse all.
    """

    size: int
    open: int
    held: list[tuple[int, Completion]] = field(default_factory=list)

    @property
    def at_its_last(self) -> bool:
        """Whether only one of several requests is unanswered.

        No other request can then show that the server is there.
        """
        return self.open == 1 < self.size

    def report_held(self, report: Callable[[tuple[int, Completion]], None]) -> None:
        """Report the refused requests as failures of their own."""
        while self.held:
            report(self.held.pop())


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
        if batch.held:
            self.server.refuses_all(str(batch.held[0][1].error))

    async def _work(
        self,
        waiting: Iterator[tuple[int, Request]],
        batch: _Batch,
        report: Callable[[tuple[int, Completion]], None],
    ) -> None:
        for index, request in waiting:
            try:
                completion = await self._answer(request, batch)
            except RequestFailure as failure:
                completion = Completion(text="", finish_reason="error", error=str(failure))
                if failure.refused:
                    batch.held.append((index, completion))
                else:
                    report((index, completion))
            else:
                report((index, completion))
            batch.open -= 1
            if self.server.answered:
                batch.report_held(report)

    async def _answer(self, request: Request, batch: _Batch) -> Completion:
        """Ask until there is an answer, in the formats that the server may take.

        Raises RequestFailure where it is refused in all of them, or where retries are used up.
        """
        server, talk = self.server, Negotiation(self.server, request)
        cut: Completion | None = None  # by the limit on an answer's tokens, before it began
        while True:
            before = talk.used
            try:
                completion = await self._sent(request, talk, batch)
            except RequestFailure as failure:
                own = cut or _own_failure(failure, request, server.note_limit)
                if own is not None:
                    return own
                if talk.adapt(failure):
                    continue
                guess = None
                if talk.may_guess(failure):
                    guess = await self._guessed(request, talk, batch, failure)
                    if guess is None and (talk.used != before or failure.status == 500):
                        continue
                if guess is None:
                    server.raise_if_fatal(failure)
                    raise
                completion = guess
            if cut is not None:
                completion = replace(completion, usage=_sum(cut.usage, completion.usage))
            if completion.finish_reason != "length" or _begins_an_answer(completion.text):
                server.learn(talk.used, request)
                return completion
            tokens = talk.used.answer_tokens(request, server.max_model_len)
            words = f"llm.max_tokens: no answer within {tokens} tokens; the model may think first"
            cut = replace(completion, error=words)
            if not talk.raise_limit():
                return cut

    async def _guessed(
        self, request: Request, talk: Negotiation, batch: _Batch, refusal: RequestFailure
    ) -> Completion | None:
        """The answer in the first of the guessed formats in which there is one; None without.

        One request at a time guesses. It asks once more in the refused format, so that a chance
        failure does not degrade all further requests.
        """
        server, refused = self.server, talk.used
        async with server.guessing:
            if talk.catch_up() or not talk.may_guess(refusal):
                return None
            talk.guessed = talk.guessing = True
            for guess in refused.guesses():
                talk.used = guess
                completion = await self._in_words(request, talk, batch)
                if completion is None:
                    continue
                talk.guessing = False
                with suppress(RequestFailure):
                    again = await self._attempt(request, refused)
                    talk.used = refused
                    return replace(again, usage=_sum(completion.usage, again.usage))
                server.learn(talk.used, request)
                return completion
            talk.guessing, talk.used = False, refused
            server.guessed[request.draw.kind] += 1
            return None

    async def _in_words(
        self, request: Request, talk: Negotiation, batch: _Batch
    ) -> Completion | None:
        """The answer in a guessed format, less what the server then names; None if it refuses."""
        while True:
            try:
                return await self._sent(request, talk, batch)
            except RequestFailure as failure:
                if not talk.leave_out(talk.used, failure):
                    return None

    async def _sent(self, request: Request, talk: Negotiation, batch: _Batch) -> Completion:
        """Send a request in one format until it is answered or asking again would not help.

        Raises RequestFailure then, and EngineError where every further request would fail too.
        """
        server, used = self.server, talk.used
        failures = outages = tries = 0
        failed_at = math.inf  # since when this request has met nothing but an outage
        while True:
            try:
                return await self._attempt(request, used)
            except RequestFailure as failure:
                may_help = failure.status == 404 and talk.may_change(failure)
                is_raised = used.answer_factor > 1 and refuses_answer_limit(failure)
                if not (may_help or is_raised):
                    server.raise_if_fatal(failure)
                tries += 1
                gone = failure.gateway or failure.silent
                if failure.unreachable:
                    wait = server.patience_left(failure)
                elif gone and server.reached_at <= failed_at and not batch.at_its_last:
                    outages += 1
                    failed_at = min(failed_at, time.monotonic())
                    wait = server.patience_left(failure)
                else:
                    # Others get through that were sent since, so this request failed. Its gateway
                    # errors count too, unless there were so many that it was an outage.
                    failures += 1 + (outages if outages <= self.retries else 0)
                    outages, wait = 0, math.inf
                    failed_at = time.monotonic() if gone else math.inf
                    if failures > self._retries_after(failure, talk):
                        raise
                if failure.retry_after is not None:
                    server.resume_at = max(server.resume_at, time.monotonic() + failure.retry_after)
                backoff = min(_BACKOFF_SECONDS * 2 ** min(tries - 1, 30), _LONGEST_BACKOFF_SECONDS)
                await asyncio.sleep(min(self.jitter.uniform(backoff / 2, backoff), wait))

    def _retries_after(self, failure: RequestFailure, talk: Negotiation) -> int:
        """How often a request is sent again in the same format after such a failure."""
        if not failure.transient or failure.status == 501 or talk.used.changes_after(failure):
            return 0
        if longest_taken(failure) is not None or (talk.guessing and failure.status in REFUSALS):
            return 0
        # an HTTP 500 that says nothing may pass, or be how a server refuses the format
        may_be_format = failure.status == 500 and talk.may_guess(failure)
        return min(self.retries, 1) if may_be_format else self.retries

    async def _attempt(self, request: Request, used: RequestFormat) -> Completion:
        """Send a request once, when its turn comes. Raises RequestFailure."""
        server = self.server
        # A server that asks for a pause asks it of every request; the jitter keeps them from coming
        # back together.
        while (pause := server.resume_at - time.monotonic()) > 0:
            await asyncio.sleep(pause + self.jitter.uniform(0, _BACKOFF_SECONDS))
        estimate = sum(
            len(message.content) for message in request.messages
        ) / 4 + used.answer_tokens(request, server.max_model_len)
        await self.requests.take(1)
        await self.tokens.take(estimate)
        async with self.connections:
            begun = time.monotonic()
            try:
                reply = await self.transport.chat(server.body(request, used))
            except RequestFailure as failure:
                if failure.refused and failure.status < 500:  # no model has read it
                    self.tokens.correct(-estimate)
                raise
            server.lost_since = None
            server.answered += 1
            server.reached_at = max(server.reached_at, begun)
            seconds = time.monotonic() - begun
            redaction = self.transport.redaction
            completion = completion_of(reply, request, seconds, redaction, server.note)
        tokens = completion.usage.prompt_tokens + completion.usage.completion_tokens
        if tokens:
            self.tokens.correct(tokens - estimate)
        return completion


def _own_failure(
    failure: RequestFailure, request: Request, note_limit: Callable[[int], None]
) -> Completion | None:
    """The completion of a request that is refused for its own words; None for other failures."""
    longest = longest_taken(failure)
    if longest is not None:
        note_limit(longest)
        words = f"llm.max_model_len: longer than the server takes ({failure})"
        return Completion(text="", finish_reason=f"{TOO_LONG}:{longest}", error=words)
    if is_filtered(failure):
        return Completion(text="", finish_reason="error", error=str(failure))
    if is_bad_generation(failure):
        text = failure.generated
        used = estimated_usage(request, text)
        return Completion(text=text, usage=used)
    return None


def _begins_an_answer(text: str) -> bool:
    """Whether a text that was cut holds more than what the model thinks before it answers."""
    try:
        return bool(without_thoughts(text).strip())
    except Unusable:
        return False


def _sum(one: Usage, other: Usage) -> Usage:
    return Usage(
        one.prompt_tokens + other.prompt_tokens,
        one.cached_tokens + other.cached_tokens,
        one.completion_tokens + other.completion_tokens,
    )
