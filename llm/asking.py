"""Asks served models, and remembers in the transcript what they answered."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace

from jaxecon.core.errors import EngineError, first_line
from llm.accounts import Accounts
from llm.decisions.base import AnyObservation
from llm.messages import Completion, Request
from llm.served import ServedModel, in_section, naming_settings_of
from llm.transcript.keys import request_key
from llm.transcript.store import Transcript


class _Abandoned(Exception):
    """Ends a batch whose answers are no longer needed."""


@dataclass
class _Batch:
    """Requests to one served model and its substitutes, and their answers so far.

    abandoned: set by another model's failure, after which no more answers are needed; those that
    came are kept. answers: by place in `requests`: the last one, which may be an error. tried: how
    many models of the chain are done with each request.
    """

    served: ServedModel
    requests: Sequence[Request]
    abandoned: threading.Event
    answers: dict[int, Completion] = field(default_factory=dict)
    tried: list[int] = field(init=False)
    _keys: dict[tuple[int, int], str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.tried = [0] * len(self.requests)

    def key(self, place: int, model: ServedModel, i: int) -> str:
        """The key of a request to a model of the chain."""
        if (place, i) not in self._keys:
            self._keys[place, i] = request_key(model.engine.identity, self.requests[i])
        return self._keys[place, i]

    def open_for(self, place: int) -> list[int]:
        """The requests without an answer that a model of the chain has not been asked yet."""
        return [
            i
            for i, tried in enumerate(self.tried)
            if tried <= place and (i not in self.answers or self.answers[i].error is not None)
        ]


class Asker:
    """Gets completions: from the transcript where it holds them, else from the models.

    Args:
        served: what serves each cohort.
        transcript: of this run, open for writing.
        accounts: where usage is added.
        inherited: another transcript whose answers count as this run's own.
        tell: called with one line where a substitute answers in a model's place for the first time,
            and for what an engine has learned about its server.
    """

    def __init__(
        self,
        served: Mapping[str, ServedModel],
        transcript: Transcript,
        accounts: Accounts,
        *,
        inherited: Transcript | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self._served, self._transcript, self._inherited = served, transcript, inherited
        self._accounts, self._tell = accounts, tell or (lambda line: None)
        self._transcripts = [transcript] if inherited is None else [transcript, inherited]
        self._told: set[tuple[str, bool]] = set()
        self._learned: set[tuple[str, str]] = set()
        # agents (cohort, number) that a model has answered, not a transcript, since it was cleared
        self.answered_now: set[tuple[str, int]] = set()
        self._set_aside: set[str] = set()  # keys that the inherited transcript must not answer

    def answers(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions of requests to any number of models, which work at the same time."""
        by_served: dict[int, list[int]] = {}
        for i, request in enumerate(requests):
            by_served.setdefault(id(self._served[request.draw.cohort]), []).append(i)
        replies: dict[int, Completion] = {}
        abandoned = threading.Event()

        def ask(indices: list[int]) -> None:
            served = self._served[requests[indices[0]].draw.cohort]
            batch = _Batch(served, [requests[i] for i in indices], abandoned)
            try:
                self._answer(batch)
            except BaseException:
                # makes the other batches stop at their next answer
                abandoned.set()
                raise
            replies.update({i: batch.answers[place] for place, i in enumerate(indices)})

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
            self._accounts.add_seconds(requests[0].draw.kind, time.monotonic() - started)
        return [replies[i] for i in range(len(requests))]

    def undecided(
        self, seed: int, kind: str, observations: Sequence[AnyObservation]
    ) -> set[tuple[str, int]]:
        """Cohort and agent of those whose answers are stored while their decision is not.

        The run ended in the middle of their batch.
        """
        days = {(o.year, o.day) for o in observations}
        return {
            whose
            for transcript in self._transcripts
            for year, day in days
            for whose in transcript.undecided(seed=seed, kind=kind, year=year, day=day)
        }

    def recorded(self, request: Request) -> tuple[list[str], Completion | None]:
        """The keys under which a request's answers are stored, and the last of these."""
        found: list[str] = []
        answer = None
        for model in self._served[request.draw.cohort].chain:
            key = request_key(model.engine.identity, request)
            stored = self._transcript.get_many([key]) or self._from_inherited([key])
            if key in stored:
                found.append(key)
                answer = stored[key]
                if answer.error is None:
                    break
        return found, answer

    def set_aside(self, keys: Sequence[str]) -> None:
        """Keep stored answers for reading alone: their requests are asked again."""
        self._transcript.set_aside(keys)
        self._set_aside.update(keys)

    def _from_inherited(self, keys: Sequence[str]) -> dict[str, Completion]:
        if self._inherited is None:
            return {}
        return self._inherited.get_many([key for key in keys if key not in self._set_aside])

    def _answer(self, batch: _Batch) -> None:
        """Answer a batch. Raises EngineError where the last model of the chain is gone."""
        chain = list(batch.served.chain)
        for place, model in enumerate(chain):
            self._take_stored(batch, place, model)
        for place, model in enumerate(chain):
            if not batch.open_for(place):
                continue
            with model.turn:
                self._ask(batch, place, model)

    def _take(self, batch: _Batch, i: int, place: int, model: ServedModel, got: Completion) -> None:
        """Count a completion as it comes: it is paid for even if an error ends the batch."""
        draw, used = batch.requests[i].draw, model.usage(got)
        if place > 0:
            used = replace(used, substitute_calls=1)
        self._accounts.add(draw.cohort, draw.kind, used)
        batch.answers[i], batch.tried[i] = got, place + 1

    def _take_stored(self, batch: _Batch, place: int, model: ServedModel) -> None:
        """Take what one model of the chain has answered before."""
        identity, indices = model.engine.identity, batch.open_for(place)
        keys = {batch.key(place, model, i): i for i in indices}
        stored = self._transcript.get_many(list(keys))
        inherited = self._from_inherited([key for key in keys if key not in stored])
        for key, completion in inherited.items():
            self._transcript.put_soon(key, identity, batch.requests[keys[key]], completion)
        if inherited:
            self._transcript.flush()
        found = {**stored, **inherited}
        for key, i in keys.items():
            if key in found:
                self._take(batch, i, place, model, found[key])

    def _ask(self, batch: _Batch, place: int, model: ServedModel) -> None:
        """Ask one model of the chain for what is open; leave to its substitute what it lacks."""
        if model.gone is None:
            try:
                with naming_settings_of(model.setting):
                    self._ask_engine(batch, place, model)
            except EngineError as error:
                if model.substitute is None or batch.abandoned.is_set():
                    raise
                model.gone = first_line(error)
        if model.gone is not None:  # which may have been in another run of a sweep
            self._say_who_answers(model, model.gone)
            return
        failed = [batch.answers[i] for i in batch.open_for(place + 1) if i in batch.answers]
        if failed:
            self._say_who_answers(model, in_section(model.setting, failed[0].error or ""))

    def _ask_engine(self, batch: _Batch, place: int, model: ServedModel) -> None:
        """Ask an engine, and once more where it dies and can be started again."""
        try:
            self._ask_for_open(batch, place, model)
        except EngineError:
            if batch.abandoned.is_set() or model.restart is None or model.restarts:
                raise
            model.restarts += 1
            model.engine.close()
            model.engine = model.restart()
            self._ask_for_open(batch, place, model)

    def _ask_for_open(self, batch: _Batch, place: int, model: ServedModel) -> None:
        """Ask an engine once; each answer is committed as it comes."""
        if batch.abandoned.is_set():
            raise _Abandoned
        identity, asked = model.engine.identity, batch.open_for(place)

        def keep(position: int, completion: Completion) -> None:
            i = asked[position]
            key = batch.key(place, model, i)
            self._transcript.put_soon(key, identity, batch.requests[i], completion)
            self._take(batch, i, place, model, completion)
            draw = batch.requests[i].draw
            self.answered_now.add((draw.cohort, draw.agent))
            if batch.abandoned.is_set():
                raise _Abandoned

        if asked:
            try:
                model.engine.complete([batch.requests[i] for i in asked], on_completion=keep)
            finally:
                self._transcript.flush()
                self._say_what_is_learned(model)

    def _say_what_is_learned(self, model: ServedModel) -> None:
        """Say once what an engine has learned about its server."""
        server = model.engine.identity.get("base_url", model.setting)
        for words in model.engine.description.get("learned", ()):
            if (server, words) not in self._learned:
                self._learned.add((server, words))
                self._tell(f"{server}: {in_section(model.setting, words)}")

    def _say_who_answers(self, model: ServedModel, why: str) -> None:
        """Say once that another model answers in a model's place: at times, or from now on."""
        gone = model.gone is not None
        if model.substitute is None or (model.setting, gone) in self._told:
            return
        self._told.add((model.setting, gone))
        after = "from now on" if gone else "where it has no answer"
        self._tell(
            f"{model.setting} has no answer ({why}): {model.substitute.setting} answers {after}"
        )
