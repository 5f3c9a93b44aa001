"""Observations in, decisions out: one batch per kind and day; repair, retry, fall back, account."""

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

from jaxecon.simulation import LLMUsage
from llm.engine import Completion, DecisionKindName, Draw, Engine, Message, Request, Sampling, request_key
from llm.prompts import LaborObservation, PlanObservation, labor_messages, plan_messages, try_again
from llm.replay import Transcript
from llm.schemas import Parsed, Unusable, labor_schema, parse_labor, parse_plan, plan_schema

Status = Literal["ok", "repaired", "retried", "fallback"]
Value = TypeVar("Value")
Observation = TypeVar("Observation", bound="Addressed", contravariant=True)


class Addressed(Protocol):
    """Every observation says whose decision it is, and when."""

    @property
    def year(self) -> int: ...
    @property
    def day(self) -> int: ...
    @property
    def cohort(self) -> str: ...
    @property
    def agent(self) -> int: ...


@dataclass(frozen=True)
class Decision(Generic[Value]):
    """value: what was decided. status: how. attempts: replies it took."""

    value: Value
    status: Status
    attempts: int


class DecisionKind(Protocol[Observation, Value]):
    """What the bridge needs to know of one kind of decision."""

    name: DecisionKindName

    def messages(self, observation: Observation) -> tuple[Message, ...]: ...
    def schema(self, observation: Observation) -> dict[str, Any]: ...
    def parse(self, text: str, observation: Observation) -> Parsed[Value]: ...
    def fallback(self, observation: Observation) -> Value: ...
    def tokens(self, observation: Observation) -> int:
        """What the longest allowed answer needs."""
        ...


class Labor:
    """Hours a week. Falls back on the hours of the day before."""

    name: DecisionKindName = "labor"

    def messages(self, observation: LaborObservation) -> tuple[Message, ...]:
        return labor_messages(observation)

    def schema(self, observation: LaborObservation) -> dict[str, Any]:
        return labor_schema(observation.choices)

    def parse(self, text: str, observation: LaborObservation) -> Parsed[int]:
        return parse_labor(text, observation.choices)

    def fallback(self, observation: LaborObservation) -> int:
        return observation.last_hours

    def tokens(self, observation: LaborObservation) -> int:
        return 16


class Plan:
    """Changes of the rates in percentage points. Falls back on no change."""

    name: DecisionKindName = "plan"

    def messages(self, observation: PlanObservation) -> tuple[Message, ...]:
        return plan_messages(observation)

    def schema(self, observation: PlanObservation) -> dict[str, Any]:
        return plan_schema(len(observation.brackets))

    def parse(self, text: str, observation: PlanObservation) -> Parsed[tuple[int, ...]]:
        return parse_plan(text, len(observation.brackets))

    def fallback(self, observation: PlanObservation) -> tuple[int, ...]:
        return (0,) * len(observation.brackets)

    def tokens(self, observation: PlanObservation) -> int:
        return 16 + 6 * len(observation.brackets)


class Bridge:
    """Asks one engine on behalf of many agents. Every request and response goes through the transcript.

    retries: further attempts after an unusable reply. A response that the transcript holds is not asked for again.
    """

    def __init__(self, engine: Engine, transcript: Transcript, *, seed: int, sampling: Sampling, retries: int) -> None:
        self._engine, self._transcript = engine, transcript
        self._seed, self._sampling, self._retries = seed, sampling, retries
        self._usage = LLMUsage()
        self.statuses: dict[str, Counter[str]] = {}

    @property
    def usage(self) -> LLMUsage:
        """Everything so far."""
        return self._usage

    def decide(self, kind: DecisionKind[Observation, Value], observations: Sequence[Observation]) -> list[Decision[Value]]:
        """One decision per observation, in order. Raises EngineError when the engine is gone; nothing less stops it."""
        chats = [kind.messages(o) for o in observations]
        decisions: list[Decision[Value] | None] = [None] * len(observations)
        open_ = list(range(len(observations)))
        for attempt in range(self._retries + 1):
            requests = [self._request(kind, observations[i], chats[i], attempt) for i in open_]
            replies = self._answers(requests)
            still_open = []
            for i, reply in zip(open_, replies, strict=True):
                if reply.error is not None:  # the request itself cannot be answered (too long, say): asking again is no use
                    decisions[i] = Decision(kind.fallback(observations[i]), "fallback", attempt + 1)
                    continue
                try:
                    parsed = kind.parse(reply.text, observations[i])
                except Unusable as problem:
                    chats[i] = try_again(kind.messages(observations[i]), reply.text, str(problem))
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
        self._account(kind, observations, final)
        return final

    def _request(
        self, kind: DecisionKind[Observation, Value], observation: Observation, messages: tuple[Message, ...], attempt: int
    ) -> Request:
        draw = Draw(self._seed, kind.name, observation.year, observation.day, observation.cohort, observation.agent, attempt)
        sampling = replace(self._sampling, max_tokens=max(self._sampling.max_tokens, kind.tokens(observation)))
        return Request(messages, kind.schema(observation), sampling, draw)

    def _answers(self, requests: Sequence[Request]) -> list[Completion]:
        """From the transcript where it holds them, else from the engine, which commits each as it comes."""
        identity = self._engine.identity
        keys = [request_key(identity, request) for request in requests]
        found = self._transcript.get_many(keys)
        missing = [i for i, key in enumerate(keys) if key not in found]

        def keep(position: int, completion: Completion) -> None:
            i = missing[position]
            self._transcript.put(keys[i], identity, requests[i], completion)
            found[keys[i]] = completion

        started = time.monotonic()
        if missing:
            self._engine.complete([requests[i] for i in missing], on_completion=keep)
        replies = [found[key] for key in keys]
        self._usage = replace(
            self._usage,
            calls=self._usage.calls + len(replies),
            prompt_tokens=self._usage.prompt_tokens + sum(r.usage.prompt_tokens for r in replies),
            cached_tokens=self._usage.cached_tokens + sum(r.usage.cached_tokens for r in replies),
            completion_tokens=self._usage.completion_tokens + sum(r.usage.completion_tokens for r in replies),
            seconds=self._usage.seconds + time.monotonic() - started,
        )
        return replies

    def _account(
        self, kind: DecisionKind[Observation, Value], observations: Sequence[Observation], decisions: Sequence[Decision[Value]]
    ) -> None:
        counts = self.statuses.setdefault(kind.name, Counter())
        counts.update(d.status for d in decisions)
        total = sum(self.statuses.values(), Counter())
        self._usage = replace(self._usage, statuses=dict(total))
        for o, d in zip(observations, decisions, strict=True):
            draw = Draw(self._seed, kind.name, o.year, o.day, o.cohort, o.agent)
            self._transcript.put_decision(draw, d.status, json.dumps(d.value), d.attempts)
