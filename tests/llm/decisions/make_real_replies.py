"""Writes real_replies.json: what the local model says to the prompts of a run, with and without its
schema, long and cut short.

    python tests/llm/decisions/make_real_replies.py     (a minute or two on a CPU)

Sampling is not repeatable across machines: the file is kept, and made again only where prompts
change much.
"""

import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from llm.decisions.base import DecisionKind
from llm.decisions.labor import HoursChange, Labor, LaborObservation, TriedHours, WorkerDay
from llm.decisions.persona import DescribePersona, PersonaObservation
from llm.decisions.plan import (
    BracketGroup,
    Plan,
    PlannerYear,
    PlanObservation,
    TriedSchedule,
    UntriedRates,
)
from llm.decisions.prompts import Prompts
from llm.decisions.samples import in_order
from llm.decisions.satisfaction import Satisfaction, SatisfactionObservation
from llm.decisions.shared import Bracket, Cues, EconomyFacts
from llm.decisions.survey import AnswerQuestion
from llm.engines.vllm import VLLMEngine
from llm.messages import Completion, Draw, Request, Sampling

FILE = Path(__file__).with_name("real_replies.json")
EACH = 3  # agents: the last of them is asked to reason, where its kind knows how
FACTS = (
    "You are a 43-year-old welder in Ohio, married, two children. Pay {} dollars an hour. "
    "You rent your home."
)


def labor(agent: int) -> LaborObservation:
    """After as many days as the agent's number: of 30 hours, then of 40."""
    days = tuple(
        WorkerDay(0, d, 30 + 10 * d, 9e3 + d, 1e3, rebate=2e3, effort=2e3 + 900 * d, welfare=7e3)
        for d in range(agent)
    )
    tried = tuple(TriedHours(30 + 10 * d, 1, 1e3, 6e3 - 900.0 * d) for d in range(agent))
    return LaborObservation(
        year=0,
        day=agent,
        cohort="llm",
        agent=agent,
        economy=EconomyFacts(years=10, days=5),
        brackets=(Bracket(0, 0.1), Bracket(40_000, 0.3)),
        skill=300.0 + 90 * agent,
        rebate=2e3,
        history=days,
        last_hours=40,
        choices=tuple(range(0, 101, 10)),
        persona=FACTS.format(20 + agent),
        tried=tried,
        best=tried[0] if tried else None,
        untried=((), (20, 40), (20,))[agent],
        last_change=HoursChange(30, 40, -900.0) if agent > 1 else None,
        cues=Cues(explore=agent != 1, exploit=True),
    )


def plan(agent: int, brackets: int) -> PlanObservation:
    rates = tuple(round(0.1 + 0.8 * k / brackets, 2) for k in range(brackets))
    years = tuple(PlannerYear(y, rates, 100.0 + 3 * y, settling=y == 0) for y in range(agent))
    tried = tuple(
        TriedSchedule(rates, 1, y.welfare, y.welfare, y.welfare, y.settling) for y in years[-1:]
    )
    schedule = tuple(Bracket(20_000.0 * k, rate) for k, rate in enumerate(rates))
    groups = tuple(
        BracketGroup(
            people=1 / brackets,
            income=2e4 * k + 1e4,
            utility=2e4 - 1e3 * k,
            revenue=2e3 + 100 * k,
            revenue_before=2e3 if agent > 1 else None,
        )
        for k in range(brackets)
    )
    return PlanObservation(
        year=agent + 1,
        economy=EconomyFacts(years=10),
        cohort="planner",
        agent=agent,
        brackets=schedule,
        history=years,
        groups=groups,
        mean_hours=38.5,
        mean_income=41_000.0,
        rebate=9_000.0,
        tried=tried,
        best=tried[0] if tried else None,
        untried=(UntriedRates(0, (0.0, 0.2)),) if tried else (),
        last_change=(years[0], years[1]) if agent > 1 else None,
        cues=Cues(explore=agent > 0, exploit=True),
    )


def satisfaction(agent: int) -> SatisfactionObservation:
    brackets = (Bracket(0, 0.1), Bracket(40_000, 0.3))
    return SatisfactionObservation(
        year=0,
        day=2,
        cohort="llm",
        agent=agent,
        economy=EconomyFacts(days=5),
        brackets=brackets,
        skill=500.0,
        persona=FACTS.format(25),
        hours=40,
        income=2e4,
        tax=3e3 * agent,
        rebate=2e3,
        satisfied=True,
    )


def asked() -> list[tuple[str, DecisionKind[Any, Any], list[Any]]]:
    """Name, kind and observations."""
    reasoning = EACH - 1
    labors, threes, sevens = (
        [replace(o, style="cot") if o.agent == reasoning else o for o in map(see, range(EACH))]
        for see in (labor, lambda a: plan(a, 3), lambda a: plan(a, 7))
    )
    return [
        ("labor", Labor(), labors),
        ("plan_3", Plan(), threes),
        ("plan_7", Plan(), sevens),
        ("satisfaction", Satisfaction(), [satisfaction(a) for a in range(EACH)]),
        (
            "persona",
            DescribePersona(),
            [PersonaObservation("llm", a, FACTS.format(20 + a)) for a in range(EACH)],
        ),
        *(
            (
                f"survey_{o.question.form}",
                AnswerQuestion(),
                [replace(o, agent=a) for a in range(EACH)],
            )
            for o in in_order("survey")[::2]
        ),
    ]


def main() -> None:
    names, requests, prompts = [], [], Prompts()
    ways = itertools.product((True, False), (0.2, 1.2), (24, 120))
    for way, (enforced, temperature, max_tokens) in enumerate(ways):
        sampling = Sampling(temperature, 1.0, max_tokens)
        for name, kind, observations in asked():
            for o in observations:
                names.append(name)
                schema = kind.schema(o) if enforced else None
                requests.append(
                    Request(
                        prompts.messages(kind, o),
                        schema,
                        sampling,
                        Draw(way, kind.name, 0, 0, o.cohort, o.agent),
                    )
                )
    completions: dict[int, Completion] = {}
    engine = VLLMEngine(model="smollm2", kv_cache_gib=0.5)
    try:
        engine.complete(requests, on_completion=completions.__setitem__)
    finally:
        engine.close()
    replies = [
        {"kind": name, "text": completions[i].text, "finish_reason": completions[i].finish_reason}
        for i, name in enumerate(names)
    ]
    FILE.write_text(json.dumps(replies, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(replies)} replies, {FILE.stat().st_size:,} bytes in {FILE}")


if __name__ == "__main__":
    main()
