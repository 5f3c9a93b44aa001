"""Damaged replies through the bridge: every agent's decision is its own."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.damage import ASKED, REPLIES, damaged, read

from llm.bridge import Bridge
from llm.decisions.base import AnyObservation
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Sampling, Usage
from llm.served import ServedModel
from llm.transcript.store import Transcript


def crowd(name: str, count: int) -> list[Any]:
    observation: AnyObservation = ASKED[name][1]
    return [replace(observation, agent=i) for i in range(count)]  # type: ignore[type-var]


def expected(name: str, texts: Sequence[str]) -> tuple[Any, str, int]:
    """What one agent's replies, in order, come to."""
    for attempt, text in enumerate(texts):
        parsed = read(name, text)
        if parsed is not None:
            return (
                parsed.value,
                "retried" if attempt else "repaired" if parsed.repaired else "ok",
                attempt + 1,
            )
    kind, observation = ASKED[name]
    return kind.fallback(observation), "fallback", len(texts)


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("seed", range(2))
def test_every_agent_gets_what_its_own_reply_said(name: str, seed: int, tmp_path: Path) -> None:
    kind, retries = ASKED[name][0], 2
    texts = [reply["text"] for reply in REPLIES if reply["kind"] == name]
    said: dict[tuple[int, int], str] = {}

    def reply(request: Any) -> Completion:
        draw = request.draw
        own = random.Random(f"{seed} {draw.agent} {draw.attempt}")
        assert (draw.agent, draw.attempt) not in said
        text = said[draw.agent, draw.attempt] = damaged(own, own.choice(texts), gross=0.02)
        return Completion(
            text,
            own.choice(("stop", "eos_token")),
            Usage(own.randrange(500), 0, own.randrange(100)),
        )

    transcript = Transcript(tmp_path / "transcript.sqlite")
    bridge = Bridge(
        {"llm": ServedModel(ScriptedEngine(reply))},
        transcript,
        seed=seed,
        sampling=Sampling(),
        retries=retries,
    )
    asked = crowd(name, 80)
    decisions = bridge.decide(kind, asked)
    conversations = list(transcript.conversations())
    stored = transcript.get_decisions(
        seed=seed, kind=kind.name, year=asked[0].year, day=asked[0].day, cohort="llm"
    )
    transcript.close()

    replies_of = [
        [said[i, attempt] for attempt in range(retries + 1) if (i, attempt) in said]
        for i in range(len(asked))
    ]
    assert [(d.value, d.status, d.attempts) for d in decisions] == [
        expected(name, own) for own in replies_of
    ]
    assert [d.attempts for d in decisions] == list(map(len, replies_of))
    account = bridge.accounts.of("llm", kind.name)
    assert account.statuses == Counter(d.status for d in decisions)
    assert account.decisions == len(decisions) == len(asked)
    assert {"retried", "fallback"} <= set(account.statuses)
    assert {(c["agent"], c["attempt"]): c["response"] for c in conversations} == said
    assert account.calls == len(conversations) == len(said)
    assert account.prompt_tokens == sum(c["usage"]["prompt_tokens"] for c in conversations)
    as_stored = partial(json.dumps, ensure_ascii=True)
    assert {i: (s.status, s.decision, s.attempts) for i, s in stored.items()} == {
        i: (d.status, as_stored(d.value), d.attempts) for i, d in enumerate(decisions)
    }
