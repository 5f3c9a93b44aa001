"""Observations that several tests ask models about."""

from dataclasses import replace

import numpy as np

from llm.agents.memory import WorkerMemory
from llm.decisions.labor import LaborObservation
from llm.decisions.shared import Bracket
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Usage

BRACKETS = (Bracket(0, 0.1), Bracket(90_000, 0.5))


def labor(**changes):
    observation = LaborObservation(
        year=1,
        day=2,
        cohort="llm",
        agent=0,
        years=3,
        days=8,
        brackets=BRACKETS,
        skill=1000.0,
        rebate=9000.0,
        history=(),
        last_hours=40,
        choices=(0, 10, 20),
    )
    return replace(observation, **changes)


def filled(days, window, agents=2):
    memory = WorkerMemory(agents, window)
    for day in range(days):
        memory.append(
            0, day, **{name: np.full(agents, float(day)) for name in WorkerMemory.COLUMNS}
        )
    return memory


def observations(n, day=0, last_hours=40):
    return [
        LaborObservation(
            year=0,
            day=day,
            cohort="llm",
            agent=i,
            brackets=(Bracket(0, 0.3),),
            skill=100.0,
            rebate=0.0,
            history=(),
            last_hours=last_hours,
            choices=tuple(range(0, 101, 10)),
        )
        for i in range(n)
    ]


def by_agent(reply):
    """An engine whose reply to each agent is reply(agent, attempt)."""

    def answer(request):
        text = reply(request.draw.agent, request.draw.attempt)
        return text if isinstance(text, Completion) else Completion(text, usage=Usage(100, 40, 7))

    return ScriptedEngine(answer)
