"""Turns observations into decisions.

Each kind and day is one batch. After unusable replies the model is asked again, then the kind's
fallback is taken. Every call is recorded in the transcript and counted.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Generic

from jaxecon.config.language import Price
from jaxecon.config.names import Status
from jaxecon.core.errors import EngineError
from jaxecon.storage.usage import LLMUsage
from llm.accounts import Accounts
from llm.decisions.base import DecisionKind, Observation, Unusable, Value
from llm.decisions.prompts import Prompts
from llm.engines.base import Engine
from llm.messages import Completion, Draw, Message, Request, Sampling
from llm.transcript.keys import request_key
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript

_REPLY_ROOM = 150  # tokens that an unusable reply and the complaint about it add to a prompt


@dataclass(frozen=True)
class Decision(Generic[Value]):
    """One agent's decision. status: how it came about. attempts: replies that it took."""

    value: Value
    status: Status
    attempts: int


@dataclass
class ServedModel:
    """An engine, and what the bridge knows about it.

    restart: starts a replacement if the engine dies; used at most once. max_model_len: tokens of
    prompt and answer together. price: dollars per million tokens.
    """

    engine: Engine
    restart: Callable[[], Engine] | None = None
    max_model_len: int = 1_048_576
    price: Price = field(default_factory=Price)
    restarts: int = field(default=0, init=False)

    def close(self) -> None:
        """Close the engine that serves now, which may have been restarted."""
        self.engine.close()

    def usage(self, completion: Completion) -> LLMUsage:
        """What one completion used and cost."""
        used, price = completion.usage, self.price
        cached = price.prompt if price.cached is None else price.cached
        fresh = used.prompt_tokens - used.cached_tokens
        dollars = (
            fresh * price.prompt
            + used.cached_tokens * cached
            + used.completion_tokens * price.completion
        ) / 1e6
        return LLMUsage(
            1,
            used.prompt_tokens,
            used.cached_tokens,
            used.completion_tokens,
            dollars=dollars,
        )


class _Abandoned(Exception):
    """Ends a batch whose answers are no longer needed."""


class Bridge:
    """Asks language models on behalf of many agents.

    Every request and response goes through the transcript: a response that it holds, or that is in
    the transcript of the run that this one was branched from, is not asked for again.

    Args:
        served: what serves each cohort (the planner's cohort is "planner").
        transcript: of this run, open for writing.
        seed: part of every draw.
        sampling: how tokens are drawn.
        retries: further attempts after an unusable reply.
        budget_tokens: prompt and completion tokens after which `decide` raises BudgetSpent before
            it asks.
        budget_usd: dollars, likewise.
        prompts: the words of its questions; by default the package's.
        inherited: the transcript of the run that this one was branched from.

    Attributes:
        accounts: What the models did and cost so far.
    """

    def __init__(
        self,
        served: Mapping[str, ServedModel],
        transcript: Transcript,
        *,
        seed: int,
        sampling: Sampling,
        retries: int,
        budget_tokens: int | None = None,
        budget_usd: float | None = None,
        prompts: Prompts | None = None,
        inherited: Transcript | None = None,
    ) -> None:
        self._served, self._transcript, self._inherited = served, transcript, inherited
        self._seed, self._sampling, self._retries = seed, sampling, retries
        self._prompts = prompts or Prompts()
        self.accounts = Accounts(budget_tokens, budget_usd)

    @property
    def usage(self) -> LLMUsage:
        """The usage of all language models so far."""
        return self.accounts.usage

    def decide(
        self, kind: DecisionKind[Observation, Value], observations: Sequence[Observation]
    ) -> list[Decision[Value]]:
        """One decision per observation, in order.

        Raises:
            EngineError: an engine is gone, and starting it again has not helped.
            BudgetSpent: a budget is used up; nothing was asked.
        """
        if not observations:
            return []
        self.accounts.check_budget()
        fitting = [self._fitting(kind, o) for o in observations]
        observations, first = [o for o, _ in fitting], [messages for _, messages in fitting]
        chats = list(first)
        decisions: dict[int, Decision[Value]] = {}
        for attempt in range(self._retries + 1):
            undecided = [i for i in range(len(observations)) if i not in decisions]
            if not undecided:
                break
            replies = self._fitted_answers(kind, observations, first, chats, undecided, attempt)
            for i, reply in replies.items():
                try:
                    decisions[i] = _decision(kind, observations[i], reply, attempt)
                except Unusable as problem:
                    chats[i] = self._prompts.try_again(first[i], reply.text, str(problem))
        final = [
            decisions.get(i) or Decision(kind.fallback(o), "fallback", self._retries + 1)
            for i, o in enumerate(observations)
        ]
        self._record(kind, observations, final)
        return final

    def _fitted_answers(
        self,
        kind: DecisionKind[Observation, Value],
        observations: list[Observation],
        first: list[tuple[Message, ...]],
        chats: list[tuple[Message, ...]],
        places: Sequence[int],
        attempt: int,
    ) -> dict[int, Completion]:
        """Replies by place. What is too long for a server is cut, in all lists, and asked again."""
        replies, waiting = dict[int, Completion](), list(places)
        while waiting:
            requests = [self._request(kind, observations[i], chats[i], attempt) for i in waiting]
            replies.update(zip(waiting, self._answers(requests), strict=True))
            asked, waiting = waiting, []
            for i in asked:
                shorter = self._refitted(kind, observations[i], first[i], replies[i])
                if shorter is not None:
                    after = chats[i][len(first[i]) :]
                    observations[i], first[i] = shorter
                    chats[i] = (*first[i], *after)
                    waiting.append(i)
        return replies

    def _refitted(
        self,
        kind: DecisionKind[Observation, Value],
        observation: Observation,
        asked: tuple[Message, ...],
        reply: Completion,
    ) -> tuple[Observation, tuple[Message, ...]] | None:
        """A shorter question than one that was too long; all others keep to that limit too."""
        tokens = reply.longest_taken
        if tokens is None:
            return None
        if tokens:
            served = self._served[observation.cohort]
            served.max_model_len = min(served.max_model_len, tokens)
        fitting, messages = self._fitting(kind, observation)
        if messages != asked:
            return fitting, messages
        shorter = kind.shorter(observation)
        return None if shorter is None else self._fitting(kind, shorter)

    def _fitting(
        self, kind: DecisionKind[Observation, Value], observation: Observation
    ) -> tuple[Observation, tuple[Message, ...]]:
        """The observation with as much history as fits the model, and the chat that asks about it.

        The prompt leaves room for the answer.
        """
        served = self._served[observation.cohort]
        room = (
            served.max_model_len
            - max(self._sampling.max_tokens, kind.tokens(observation))
            - _REPLY_ROOM * bool(self._retries)
        )
        while True:
            messages = self._prompts.messages(kind, observation)
            # a token has at least a byte, so that most prompts need not be counted
            if sum(len(m.content.encode()) + 16 for m in messages) <= room:
                return observation, messages
            if served.engine.prompt_tokens(self._request(kind, observation, messages, 0)) <= room:
                return observation, messages
            shorter = kind.shorter(observation)
            if shorter is None:
                return observation, messages  # the engine will report that it is too long
            observation = shorter

    def _request(
        self,
        kind: DecisionKind[Observation, Value],
        observation: Observation,
        messages: tuple[Message, ...],
        attempt: int,
    ) -> Request:
        draw = Draw(
            self._seed,
            kind.name,
            observation.year,
            observation.day,
            observation.cohort,
            observation.agent,
            attempt,
        )
        sampling = _with_room(self._sampling, kind.tokens(observation))
        template = self._prompts.digest_of(kind.template, attempt)
        return Request(messages, kind.schema(observation), sampling, draw, observation, template)

    def _answers(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions of requests to any number of engines, which work at the same time."""
        by_served: dict[int, list[int]] = {}
        for i, request in enumerate(requests):
            by_served.setdefault(id(self._served[request.draw.cohort]), []).append(i)
        replies: dict[int, Completion] = {}
        abandoned = threading.Event()

        def ask(indices: list[int]) -> None:
            served = self._served[requests[indices[0]].draw.cohort]
            try:
                replies.update(
                    zip(
                        indices,
                        self._answers_of(served, [requests[i] for i in indices], abandoned),
                        strict=True,
                    )
                )
            except BaseException:
                # makes the other batches stop at their next answer
                abandoned.set()
                raise

        started = time.monotonic()
        first, *others = by_served.values()
        try:
            with ThreadPoolExecutor(max(len(others), 1), "jaxecon-engine") as beside:
                waiting = [beside.submit(ask, indices) for indices in others]
                try:
                    with suppress(_Abandoned):  # it ended because another engine failed
                        ask(first)
                    wait(waiting)
                except BaseException:
                    abandoned.set()  # after an interruption of the wait, too
                    raise
            # raise the failure itself, not that of the batches abandoned after it
            for failure in (one.exception() for one in waiting):
                if failure is not None and not isinstance(failure, _Abandoned):
                    raise failure
        finally:
            self.accounts.add_seconds(requests[0].draw.kind, time.monotonic() - started)
        return [replies[i] for i in range(len(requests))]

    def _answers_of(
        self, served: ServedModel, requests: Sequence[Request], abandoned: threading.Event
    ) -> list[Completion]:
        """One engine's completions: from the transcript where it holds them, else asked for.

        Each is committed as it comes. abandoned: set by another engine's failure, after which no
        more answers are needed; those that came are kept.
        """
        identity = served.engine.identity
        keys = [request_key(identity, request) for request in requests]
        completions: dict[str, Completion] = {}

        def take(i: int, completion: Completion) -> None:
            """Count a completion as it comes: it is paid for even if an error ends the batch."""
            draw = requests[i].draw
            self.accounts.add(draw.cohort, draw.kind, served.usage(completion))
            completions[keys[i]] = completion

        def take_stored(stored: Mapping[str, Completion]) -> None:
            for i, key in enumerate(keys):
                if key in stored:
                    take(i, stored[key])

        take_stored(self._transcript.get_many(keys))
        if self._inherited is not None:
            position = {key: i for i, key in enumerate(keys) if key not in completions}
            inherited = self._inherited.get_many(list(position))
            for key, completion in inherited.items():
                self._transcript.put_soon(key, identity, requests[position[key]], completion)
            take_stored(inherited)
            self._transcript.flush()

        def ask_for_missing() -> None:
            if abandoned.is_set():
                raise _Abandoned
            missing = [i for i, key in enumerate(keys) if key not in completions]

            def keep(position: int, completion: Completion) -> None:
                i = missing[position]
                self._transcript.put_soon(keys[i], identity, requests[i], completion)
                take(i, completion)
                if abandoned.is_set():
                    raise _Abandoned

            if missing:
                try:
                    served.engine.complete([requests[i] for i in missing], on_completion=keep)
                finally:
                    self._transcript.flush()

        try:
            ask_for_missing()
        except EngineError:
            if abandoned.is_set() or served.restart is None or served.restarts:
                raise
            served.restarts += 1
            served.engine.close()
            served.engine = served.restart()
            ask_for_missing()
        return [completions[key] for key in keys]

    def _record(
        self,
        kind: DecisionKind[Observation, Value],
        observations: Sequence[Observation],
        decisions: Sequence[Decision[Value]],
    ) -> None:
        statuses: dict[str, Counter[str]] = {}
        for o, d in zip(observations, decisions, strict=True):
            statuses.setdefault(o.cohort, Counter())[d.status] += 1
        for cohort, counted in statuses.items():
            self.accounts.add(cohort, kind.name, LLMUsage(statuses=counted))
        self._transcript.put_decisions(
            [
                (
                    Draw(self._seed, kind.name, o.year, o.day, o.cohort, o.agent),
                    StoredDecision(d.status, _as_json(d.value), d.attempts),
                )
                for o, d in zip(observations, decisions, strict=True)
            ]
        )


def _decision(
    kind: DecisionKind[Observation, Value],
    observation: Observation,
    reply: Completion,
    attempt: int,
) -> Decision[Value]:
    """The decision in a reply. Raises Unusable where it holds none."""
    if reply.error is not None:
        # the request itself cannot be answered (it may be too long): asking again would not help
        return Decision(kind.fallback(observation), "fallback", attempt + 1)
    parsed = kind.parse(reply.text, observation)
    status: Status = "retried" if attempt else "repaired" if parsed.repaired else "ok"
    return Decision(parsed.value, status, attempt + 1)


# for numbers, booleans, tuples of numbers and texts
_as_json = lru_cache(maxsize=4096, typed=True)(json.dumps)


@lru_cache(maxsize=256)
def _with_room(sampling: Sampling, tokens: int) -> Sampling:
    return replace(sampling, max_tokens=max(sampling.max_tokens, tokens))
