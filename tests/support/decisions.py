"""Observations that several tests ask models about."""

from dataclasses import replace

import numpy as np

from llm.agents.memory import WorkerMemory
from llm.decisions.labor import LaborObservation, WorkerDay
from llm.decisions.prompts import Prompts
from llm.decisions.shared import Bracket, EconomyFacts
from llm.engines.scripted import ScriptedEngine
from llm.messages import Completion, Usage

BRACKETS = (Bracket(0, 0.1), Bracket(90_000, 0.5))
HOURS = tuple(range(0, 101, 10))

_PROMPTS = Prompts()


def chat(kind, observation):
    """The chat that asks for the decision, in the package's words."""
    return _PROMPTS.messages(kind, observation)


def labor(**changes):
    observation = LaborObservation(
        year=1,
        day=2,
        cohort="llm",
        agent=0,
        economy=EconomyFacts(years=10, days=10),
        brackets=BRACKETS,
        skill=1000.0,
        rebate=9000.0,
        history=(),
        last_hours=40,
        choices=(0, 10, 20),
    )
    return replace(observation, **changes)


def filled(days, window, agents=2):
    memory = WorkerMemory(agents, window, HOURS)
    for day in range(days):
        memory.append(
            0, day, **{name: np.full(agents, float(day)) for name in WorkerMemory.COLUMNS}
        )
    return memory


def day_of_work(day):
    """A day of 40 hours in the first year, other than that of any other day."""
    return WorkerDay(
        year=0,
        day=day,
        hours=40.0,
        income=40_000.0,
        tax=4_000.0,
        rebate=9_000.0,
        effort=6_000.0 - day,
        welfare=30_000.0,
    )


def observations(n, day=0, last_hours=40):
    return [
        LaborObservation(
            year=0,
            day=day,
            cohort="llm",
            agent=i,
            economy=EconomyFacts(years=1, days=10),
            brackets=(Bracket(0, 0.3),),
            skill=100.0,
            rebate=0.0,
            history=(),
            last_hours=last_hours,
            choices=HOURS,
        )
        for i in range(n)
    ]


def by_agent(reply):
    """An engine whose reply to each agent is reply(agent, attempt)."""

    def answer(request):
        text = reply(request.draw.agent, request.draw.attempt)
        return text if isinstance(text, Completion) else Completion(text, usage=Usage(100, 40, 7))

    return ScriptedEngine(answer)
