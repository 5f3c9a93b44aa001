"""Observations in, decisions out: one batch per kind and day; repair, retry, fall back, account."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from typing import Any, Generic

from jaxecon.config.language import Price
from jaxecon.core.errors import BudgetSpent, EngineError
from jaxecon.storage.usage import LLMUsage
from llm.accounts import Account
from llm.decisions.base import DecisionKind, Observation, Unusable, Value
from llm.decisions.wording import try_again
from llm.engines.base import Engine
from llm.messages import Completion, Draw, Message, Request, Sampling
from llm.transcript.keys import request_key
from llm.transcript.rows import Status, StoredDecision
from llm.transcript.store import Transcript

_REPLY_ROOM = 150  # tokens that an unusable reply and the complaint about it add to a prompt


@dataclass(frozen=True)
class Decision(Generic[Value]):
    """value: what was decided. status: how. attempts: replies it took."""

    value: Value
    status: Status
    attempts: int


@dataclass
class ServedModel:
    """An engine, and what the bridge knows of it.

    restart: starts another of its kind where it has died; used once. max_model_len: tokens of
    prompt and answer.
    """

    engine: Engine
    restart: Callable[[], Engine] | None = None
    max_model_len: int = 1_048_576
    price: Price = field(default_factory=Price)
    restarts: int = field(default=0, init=False)

    def close(self) -> None:
        """Close the engine that serves now, which may have been restarted."""
        self.engine.close()

    def dollars(self, reply: Completion) -> float:
        """What one completion cost."""
        used, price = reply.usage, self.price
        cached = price.prompt if price.cached is None else price.cached
        fresh = used.prompt_tokens - used.cached_tokens
        return (
            fresh * price.prompt
            + used.cached_tokens * cached
            + used.completion_tokens * price.completion
        ) / 1e6


class _Abandoned(Exception):
    """Ends a batch that nobody waits for."""


class Bridge:
    """Asks language models on behalf of many agents.

    Every request and response goes through the transcript.

    served: by cohort, what answers it (the planner's cohort is "planner"). retries: further
    attempts after an unusable reply. budget_tokens, budget_usd: after which `decide` raises
    BudgetSpent before it asks. A response that the transcript holds, or the one inherited from
    another run, is not asked for again.
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
        inherited: Transcript | None = None,
    ) -> None:
        self._served, self._transcript, self._inherited = served, transcript, inherited
        self._seed, self._sampling, self._retries = seed, sampling, retries
        self._budget_tokens, self._budget_usd = budget_tokens, budget_usd
        self._seconds: dict[str, float] = {}
        self.accounts: dict[tuple[str, str], Account] = {}

    @property
    def usage(self) -> LLMUsage:
        """Everything so far."""
        accounts = self.accounts.values()
        return LLMUsage(
            calls=sum(a.calls for a in accounts),
            prompt_tokens=sum(a.prompt_tokens for a in accounts),
            cached_tokens=sum(a.cached_tokens for a in accounts),
            completion_tokens=sum(a.completion_tokens for a in accounts),
            seconds=sum(self._seconds.values()),
            dollars=sum(a.dollars for a in accounts),
            statuses=dict(sum((a.statuses for a in accounts), Counter())),
        )

    @property
    def seconds(self) -> Mapping[str, float]:
        """Waiting for engines, by kind of decision."""
        return dict(self._seconds)

    def accounted(self) -> list[dict[str, Any]]:
        """The accounts, as JSON."""
        return [
            {"cohort": cohort, "kind": kind, **vars(account), "statuses": dict(account.statuses)}
            for (cohort, kind), account in self.accounts.items()
        ]

    def restore_accounts(
        self, accounted: Sequence[Mapping[str, Any]], seconds: Mapping[str, float]
    ) -> None:
        """Go on counting from what `accounted` and `seconds` were."""
        self._seconds = dict(seconds)
        self.accounts = {
            (given["cohort"], given["kind"]): Account(
                **{f.name: given[f.name] for f in fields(Account) if f.name != "statuses"},
                statuses=Counter(given["statuses"]),
            )
            for given in accounted
        }

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
        self._check_budget()
        fitting = [self._fitting(kind, o) for o in observations]
        observations, first = [o for o, _ in fitting], [messages for _, messages in fitting]
        chats = list(first)
        decisions: list[Decision[Value] | None] = [None] * len(observations)
        open_ = list(range(len(observations)))
        for attempt in range(self._retries + 1):
            requests = [self._request(kind, observations[i], chats[i], attempt) for i in open_]
            replies = self._answers(requests)
            still_open = []
            for i, reply in zip(open_, replies, strict=True):
                if (
                    reply.error is not None
                ):  # the request itself cannot be answered (too long, say): asking again is no use
                    decisions[i] = Decision(kind.fallback(observations[i]), "fallback", attempt + 1)
                    continue
                try:
                    parsed = kind.parse(reply.text, observations[i])
                except Unusable as problem:
                    chats[i] = try_again(first[i], reply.text, str(problem))
                    still_open.append(i)
                    continue
                status: Status = "retried" if attempt else "repaired" if parsed.repaired else "ok"
                decisions[i] = Decision(parsed.value, status, attempt + 1)
            open_ = still_open
            if not open_:
                break
        final = [
            d if d is not None else Decision(kind.fallback(o), "fallback", self._retries + 1)
            for d, o in zip(decisions, observations, strict=True)
        ]
        self._record(kind, observations, final)
        return final

    def _check_budget(self) -> None:
        used = self.usage
        tokens = used.prompt_tokens + used.completion_tokens
        if self._budget_tokens is not None and tokens >= self._budget_tokens:
            raise BudgetSpent(
                f"llm.budget_tokens: {self._budget_tokens:,} are spent ({tokens:,} used)"
            )
        if self._budget_usd is not None and used.dollars >= self._budget_usd:
            raise BudgetSpent(
                f"llm.budget_usd: {self._budget_usd:g} are spent ({used.dollars:.4f} used)"
            )

    def _fitting(
        self, kind: DecisionKind[Observation, Value], observation: Observation
    ) -> tuple[Observation, tuple[Message, ...]]:
        """The observation with so much of its history that prompt and answer fit the model, and its
        chat.
        """
        served = self._served[observation.cohort]
        room = (
            served.max_model_len
            - max(self._sampling.max_tokens, kind.tokens(observation))
            - _REPLY_ROOM * bool(self._retries)
        )
        while True:
            messages = kind.messages(observation)
            # a token has a byte or more: most prompts need not be counted
            if sum(len(m.content.encode()) + 16 for m in messages) <= room:
                return observation, messages
            if served.engine.prompt_tokens(self._request(kind, observation, messages, 0)) <= room:
                return observation, messages
            shorter = kind.shorter(observation)
            if shorter is None:
                return observation, messages  # the engine says of this one that it is too long
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
        return Request(messages, kind.schema(observation), sampling, draw, observation)

    def _answers(self, requests: Sequence[Request]) -> list[Completion]:
        """From the transcript where it holds them, else from the engines, which commit each as it
        comes.
        """
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
                # the others stop at their next answer: nobody waits for whole batches
                abandoned.set()
                raise

        started = time.monotonic()
        first, *others = by_served.values()
        try:
            with ThreadPoolExecutor(
                max(len(others), 1), "jaxecon-engine"
            ) as beside:  # engines work at the same time
                waiting = [beside.submit(ask, indices) for indices in others]
                try:
                    with suppress(_Abandoned):  # what began that is one of the others' failures
                        ask(first)
                    wait(waiting)
                except BaseException:
                    abandoned.set()  # an interruption of the waiting, too
                    raise
            for failure in (
                one.exception() for one in waiting
            ):  # what began it, and not what it led to
                if failure is not None and not isinstance(failure, _Abandoned):
                    raise failure
        finally:
            name = requests[0].draw.kind
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - started
        return [replies[i] for i in range(len(requests))]

    def _answers_of(
        self, served: ServedModel, requests: Sequence[Request], abandoned: threading.Event
    ) -> list[Completion]:
        """abandoned: set where these answers are of no use any more; what came is kept."""
        identity = served.engine.identity
        keys = [request_key(identity, request) for request in requests]
        found: dict[str, Completion] = {}

        def take(i: int, completion: Completion) -> None:
            """Counted as it comes: a batch that an error ends has been paid for as far as it got."""
            draw = requests[i].draw
            self._account(draw.cohort, draw.kind).add(completion, served.dollars(completion))
            found[keys[i]] = completion

        def take_stored(stored: Mapping[str, Completion]) -> None:
            for i, key in enumerate(keys):
                if key in stored:
                    take(i, stored[key])

        take_stored(self._transcript.get_many(keys))
        if self._inherited is not None:
            position = {key: i for i, key in enumerate(keys) if key not in found}
            inherited = self._inherited.get_many(list(position))
            for key, completion in inherited.items():
                self._transcript.put_soon(key, identity, requests[position[key]], completion)
            take_stored(inherited)
            self._transcript.flush()

        def ask_for_missing() -> None:
            if abandoned.is_set():
                raise _Abandoned
            missing = [i for i, key in enumerate(keys) if key not in found]

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
        return [found[key] for key in keys]

    def _account(self, cohort: str, kind: str) -> Account:
        found = self.accounts.get((cohort, kind))
        if found is None:
            found = self.accounts[cohort, kind] = Account()
        return found

    def _record(
        self,
        kind: DecisionKind[Observation, Value],
        observations: Sequence[Observation],
        decisions: Sequence[Decision[Value]],
    ) -> None:
        for o, d in zip(observations, decisions, strict=True):
            self._account(o.cohort, kind.name).statuses[d.status] += 1
        self._transcript.put_decisions(
            [
                (
                    Draw(self._seed, kind.name, o.year, o.day, o.cohort, o.agent),
                    StoredDecision(d.status, _as_json(d.value), d.attempts),
                )
                for o, d in zip(observations, decisions, strict=True)
            ]
        )


_as_json = lru_cache(maxsize=4096, typed=True)(
    json.dumps
)  # of numbers, truths, tuples of numbers and texts


@lru_cache(maxsize=256)
def _with_room(sampling: Sampling, tokens: int) -> Sampling:
    return replace(sampling, max_tokens=max(sampling.max_tokens, tokens))
