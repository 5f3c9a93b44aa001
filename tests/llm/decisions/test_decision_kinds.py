"""What holds of every kind of decision in the registry."""

import json
from typing import Any

import jsonschema
import pytest
from support.decisions import chat

from jaxecon.config.names import DECISIONS
from llm.decisions.base import DecisionKind, Unusable
from llm.decisions.candidacy import Candidacy, CandidacyObservation
from llm.decisions.election import PastYear
from llm.decisions.labor import HoursChange, Labor, LaborObservation, TriedHours, WorkerDay
from llm.decisions.persona import DescribePersona, PersonaObservation
from llm.decisions.plan import (
    BracketGroup,
    Noise,
    Plan,
    PlannerYear,
    PlanObservation,
    TriedSchedule,
    UntriedRates,
)
from llm.decisions.policy import Policy, PolicyObservation
from llm.decisions.registry import KINDS
from llm.decisions.satisfaction import Satisfaction, SatisfactionObservation
from llm.decisions.shared import Bracket, Cues, EconomyFacts
from llm.decisions.vote import CandidateView, Vote, VoteObservation
from llm.engines.simulated import SimulatedEngine
from llm.messages import Completion, Draw, Request, Sampling

BRACKETS = (Bracket(0, 0.1), Bracket(90_000, 0.5))
FACTS = EconomyFacts(years=9, days=5)
WHO: dict[str, Any] = {"year": 3, "cohort": "llm", "agent": 0, "economy": FACTS}
DAYS = tuple(
    WorkerDay(2, day, 40, 40_000, tax=4_000, rebate=9_000, effort=10_524 - day, welfare=17_900)
    for day in range(5)
)
TRIED = (TriedHours(20, 3, 2_000, 17_070.0), TriedHours(40, 2, 4_000, 25_476.0))
PAST = (PlannerYear(1, (0.1, 0.4), 1.0, settling=True), PlannerYear(2, (0.1, 0.5), 2.0))
SCHEDULES = (
    TriedSchedule((0.1, 0.5), 2, 2.0, 1.5, 2.5),
    TriedSchedule((0.1, 0.4), 1, 1.0, 1.0, 1.0, settling=True),
)
YEARS = tuple(PastYear(year, "worker llm 1", (0.1, 0.5), 20_000) for year in range(3))
SELF: dict[str, Any] = {"brackets": BRACKETS, "persona": "You are 30.", "skill": 1_000.0} | WHO
OUTCOME = {"hours": 40.0, "income": 40_000.0, "tax": 4_000.0, "rebate": 9_000.0}

OBSERVED: dict[type, Any] = {
    Labor: LaborObservation(
        **SELF,
        day=1,
        rebate=9e3,
        history=DAYS,
        last_hours=40,
        choices=(0, 20, 40),
        tried=TRIED,
        best=TRIED[1],
        untried=(0,),
        last_change=HoursChange(20, 40, 8_406.0),
        cues=Cues(explore=True, exploit=True),
    ),
    Satisfaction: SatisfactionObservation(**SELF, **OUTCOME, day=1, satisfied=True),
    Plan: PlanObservation(
        **WHO,
        brackets=BRACKETS,
        history=PAST,
        tried=SCHEDULES,
        best=SCHEDULES[0],
        untried=(UntriedRates(0, (0.0, 0.2)), UntriedRates(1, (0.6,))),
        last_change=PAST,
        noise=Noise(0.5, 1),
        cues=Cues(explore=True, exploit=True),
        groups=(BracketGroup(0.8, 3e4, 2e4, 4e3), BracketGroup(0.2, 2e5, 9e4, 1.1e4, 8.8e3)),
        mean_hours=38.0,
        mean_income=6e4,
        rebate=9e3,
    ),
    Policy: PolicyObservation(**SELF, **OUTCOME, history=YEARS, announced=(0.2, 0.5)),
    DescribePersona: PersonaObservation("llm", 0, "You are 30."),
    Candidacy: CandidacyObservation(**SELF, **OUTCOME, history=YEARS),
    Vote: VoteObservation(
        **SELF,
        **OUTCOME,
        history=YEARS,
        candidates=(
            CandidateView((0.2, 0.5), 4e4, leads=True, you=False),
            CandidateView(None, 6e4, leads=False, you=True),
        ),
    ),
}
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
    assert {type(kind) for kind in ALL} == OBSERVED.keys()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: type(kind).__name__)
def test_every_kind_keeps_the_protocol(kind: DecisionKind[Any, Any]) -> None:
    o = OBSERVED[type(kind)]
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
    for nothing in ("", "no", "{}", "[1, 2]"):
        with pytest.raises(Unusable):
            kind.parse(nothing, o)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: type(kind).__name__)
def test_every_observation_can_be_shortened_to_an_end(kind: DecisionKind[Any, Any]) -> None:
    o, length = OBSERVED[type(kind)], float("inf")
    while o is not None:
        now = len(chat(kind, o)[1].content)
        assert now < length
        o, length = kind.shorter(o), now
