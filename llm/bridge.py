"""Turns observations into decisions.

Each kind and day is one batch. After unusable replies the model is asked again, then the kind's
fallback is taken. Every call is recorded in the transcript and counted. A batch without usable
answers ends the run: its answers are then asked for again when the run is resumed.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Generic

from jaxecon.config.names import Status
from jaxecon.storage.usage import LLMUsage
from llm.accounts import Accounts
from llm.asking import Asker
from llm.decisions.base import DecisionKind, Observation, Unusable, Value
from llm.decisions.drafts import refuse_cut
from llm.decisions.prompts import Prompts
from llm.limits import FallbackLimit, Outcome
from llm.messages import Completion, Draw, Message, Request, Sampling
from llm.served import ServedModel
from llm.transcript.rows import StoredDecision
from llm.transcript.store import Transcript

_REPLY_ROOM = 150  # tokens that an unusable reply and the complaint about it add to a prompt


@dataclass(frozen=True)
class Decision(Generic[Value]):
    """One agent's decision. status: how it came about. attempts: replies that it took."""

    value: Value
    status: Status
    attempts: int


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
        inherited: the transcript of the run that this one was branched from, or that it repeats.
        fallback_limit: share of a batch that may be fallbacks; 1 for any.
        tell: called with one line for the user, as that of `llm.asking.Asker`.

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
        fallback_limit: float = 1.0,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._served, self._transcript = served, transcript
        self._seed, self._sampling, self._retries = seed, sampling, retries
        self._prompts = prompts or Prompts()
        self.accounts = Accounts(budget_tokens, budget_usd)
        self._asker = Asker(served, transcript, self.accounts, inherited=inherited, tell=tell)
        self._limit = FallbackLimit(fallback_limit, served, self._asker, transcript, self.accounts)

    @property
    def usage(self) -> LLMUsage:
        """The usage of all language models so far."""
        return self.accounts.usage

    def decide(
        self, kind: DecisionKind[Observation, Value], observations: Sequence[Observation]
    ) -> list[Decision[Value]]:
        """One decision per observation, in order.

        Raises:
            EngineError: an engine is gone, and starting it again has not helped; or too few of the
                answers can be used, in which case nothing is decided.
            BudgetSpent: a budget is used up; nothing was asked.
        """
        if not observations:
            return []
        self.accounts.check_budget()
        fitting = [self._fitting(kind, o) for o in observations]
        observations, first = [o for o, _ in fitting], [messages for _, messages in fitting]
        self._set_failures_aside(kind, observations, first)
        self._asker.answered_now.clear()
        chats = list(first)
        decisions: dict[int, Decision[Value]] = {}
        replies: dict[int, Completion] = {}  # the last one
        problems: dict[int, str] = {}  # what its reader says of it
        for attempt in range(self._retries + 1):
            undecided = [i for i in range(len(observations)) if i not in decisions]
            if not undecided:
                break
            answers = self._fitted_answers(kind, observations, first, chats, undecided, attempt)
            replies.update(answers)
            for i, reply in answers.items():
                try:
                    decisions[i] = _decision(kind, observations[i], reply, attempt)
                except Unusable as problem:
                    problems[i] = str(problem)
                    chats[i] = self._prompts.try_again(first[i], reply.text, problems[i])
        final = [
            decisions.get(i) or Decision(kind.fallback(o), "fallback", self._retries + 1)
            for i, o in enumerate(observations)
        ]
        self._limit.check(
            kind.name,
            [
                Outcome(o, replies[i] if d.status == "fallback" else None, problems.get(i, ""))
                for i, (o, d) in enumerate(zip(observations, final, strict=True))
            ],
        )
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
            replies.update(zip(waiting, self._asker.answers(requests), strict=True))
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
        """A shorter question than one that was too long.

        What the server said of its limit cuts this question alone: a limit that others kept to
        would make prompts depend on what was asked before, in this process or another.
        """
        tokens = reply.longest_taken
        if tokens is None:
            return None
        longest = tokens or None
        fitting, messages = self._fitting(kind, observation, longest)
        if messages != asked:
            return fitting, messages
        shorter = kind.shorter(observation)
        return None if shorter is None else self._fitting(kind, shorter, longest)

    def _set_failures_aside(
        self,
        kind: DecisionKind[Observation, Value],
        observations: Sequence[Observation],
        first: Sequence[tuple[Message, ...]],
    ) -> None:
        """See to it that what failed without ever being decided is asked again.

        A fallback is final once its decision is recorded. Where the run ended before that, because
        too many answers failed or in the middle of the batch, its failed answers count no more.
        """
        undecided = self._asker.undecided(self._seed, kind.name, observations)
        for observation, messages in zip(observations, first, strict=True):
            if (observation.cohort, observation.agent) in undecided:
                self._asker.set_aside(self._keys_of_failure(kind, observation, messages))

    def _keys_of_failure(
        self,
        kind: DecisionKind[Observation, Value],
        observation: Observation,
        messages: tuple[Message, ...],
    ) -> list[str]:
        """The keys of the stored answers that add up to a fallback; none where they do not."""
        chat, keys = messages, list[str]()
        for attempt in range(self._retries + 1):
            while True:
                request = self._request(kind, observation, chat, attempt)
                found, reply = self._asker.recorded(request)
                if reply is None:
                    return []
                shorter = self._refitted(kind, observation, messages, reply)
                if shorter is None:
                    break
                after = chat[len(messages) :]  # what was too long stays so, and is not asked again
                observation, messages = shorter
                chat = (*messages, *after)
            keys += found
            try:
                decision = _decision(kind, observation, reply, attempt)
            except Unusable as problem:
                chat = self._prompts.try_again(messages, reply.text, str(problem))
            else:
                return keys if decision.status == "fallback" else []
        return keys

    def _fitting(
        self,
        kind: DecisionKind[Observation, Value],
        observation: Observation,
        longest: int | None = None,
    ) -> tuple[Observation, tuple[Message, ...]]:
        """The observation with as much history as fits the model, and the chat that asks about it.

        The prompt leaves room for the answer. longest: tokens of both that the server takes, where
        it has said so; None for what the settings say.
        """
        served = self._served[observation.cohort]
        room = (
            (served.room if longest is None else min(served.room, longest))
            - max(self._sampling.max_tokens, kind.tokens(observation))
            - _REPLY_ROOM * bool(self._retries)
        )
        while True:
            messages = self._prompts.messages(kind, observation)
            # a token has at least a byte, so that most prompts need not be counted
            if sum(len(m.content.encode()) + 16 for m in messages) <= room:
                return observation, messages
            if served.prompt_tokens(self._request(kind, observation, messages, 0)) <= room:
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
    if reply.may_be_cut:
        refuse_cut(reply.text)
    parsed = kind.parse(reply.text, observation)
    status: Status = "retried" if attempt else "repaired" if parsed.repaired else "ok"
    return Decision(parsed.value, status, attempt + 1)


# for numbers, booleans, tuples of numbers and texts
_as_json = lru_cache(maxsize=4096, typed=True)(json.dumps)


@lru_cache(maxsize=256)
def _with_room(sampling: Sampling, tokens: int) -> Sampling:
    return replace(sampling, max_tokens=max(sampling.max_tokens, tokens))
