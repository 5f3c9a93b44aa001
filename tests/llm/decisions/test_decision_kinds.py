"""What holds of every kind of decision in the registry."""

import json
from typing import Any

import jsonschema
import pytest
from support.decisions import chat

from jaxecon.config.names import DECISIONS
from llm.decisions.base import DecisionKind, Unusable
from llm.decisions.registry import KINDS
from llm.decisions.samples import samples
from llm.engines.simulated import SimulatedEngine
from llm.messages import Completion, Draw, Request, Sampling

ALL = [kind for kinds in KINDS.values() for kind in kinds]


def simulated(kind: DecisionKind[Any, Any], observation: Any) -> str:
    """What the simulated engine answers."""
    replies: list[Completion] = []
    request = Request(
        chat(kind, observation),
        kind.schema(observation),
        Sampling(),
        Draw(0, kind.name, observation.year, observation.day, observation.cohort, 0),
        observation,
    )
    SimulatedEngine().complete([request], on_completion=lambda _, reply: replies.append(reply))
    return replies[0].text


def test_the_registry_has_the_names_of_the_settings() -> None:
    assert KINDS.keys() == DECISIONS.keys()
    assert all(kind.name == name for name, kinds in KINDS.items() for kind in kinds)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: type(kind).__name__)
def test_every_kind_keeps_the_protocol(kind: DecisionKind[Any, Any]) -> None:
    for o in samples(kind.template):
        system, user = chat(kind, o)
        assert (system.role, user.role) == ("system", "user")
        assert system.content
        assert user.content
        assert chat(kind, o) == (system, user)  # the same observation, the same words
        assert kind.schema(o) is kind.schema(o)  # shared, so that engines compile it once
        assert kind.tokens(o) > 0
        reply = simulated(kind, o)
        jsonschema.validate(json.loads(reply), kind.schema(o))
        assert not kind.parse(reply, o).repaired
        kind.fallback(o)
        question = getattr(o, "question", None)
        is_choice = question is not None and question.choices is not None
        for nothing in ("", "I will not" if is_choice else "no", "{}", "[0.5, 2]"):
            with pytest.raises(Unusable):
                kind.parse(nothing, o)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: type(kind).__name__)
def test_every_observation_can_be_shortened_to_an_end(kind: DecisionKind[Any, Any]) -> None:
    for o in samples(kind.template):
        length = float("inf")
        while o is not None:
            now = len(chat(kind, o)[1].content)
            assert now < length
            o, length = kind.shorter(o), now
