"""Writes real_replies.json: what the local model says to the prompts of a run, with and without its
schema, long and cut short.

    python tests/llm/make_real_replies.py     (a minute or two on a CPU)

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
from llm.decisions.labor import Labor, LaborObservation, WorkerDay
from llm.decisions.persona import DescribePersona, PersonaObservation
from llm.decisions.plan import BracketGroup, Plan, PlannerYear, PlanObservation
from llm.decisions.satisfaction import Satisfaction, SatisfactionObservation
from llm.decisions.shared import Bracket, Cues
from llm.engines.vllm import VLLMEngine
from llm.messages import Completion, Draw, Request, Sampling

FILE = Path(__file__).with_name("real_replies.json")
EACH = 3  # agents: the last of them is asked to reason, where its kind knows how
FACTS = (
    "You are a 43-year-old welder in Ohio, married, two children. Pay {} dollars an hour. "
    "You rent your home."
)


def labor(agent: int) -> LaborObservation:
    days = tuple(
        WorkerDay(0, d, 30 + 10 * d, 9e3 + d, 1e3, 2e3, 7e3 + 50 * d) for d in range(agent)
    )
    brackets = (Bracket(0, 0.1), Bracket(40_000, 0.3))
    seen = LaborObservation(
        0,
        agent,
        "llm",
        agent,
        brackets,
        300.0 + 90 * agent,
        2e3,
        days,
        40,
        tuple(range(0, 101, 10)),
    )
    return replace(
        seen, persona=FACTS.format(20 + agent), cues=Cues(explore=agent != 1, exploit=True)
    )


def plan(agent: int, brackets: int) -> PlanObservation:
    rates = tuple(round(0.1 + 0.8 * k / brackets, 2) for k in range(brackets))
    years = tuple(PlannerYear(y, rates, 100.0 + 3 * y) for y in range(agent))
    schedule = tuple(Bracket(20_000.0 * k, rate) for k, rate in enumerate(rates))
    groups = tuple(
        BracketGroup(1 / brackets, 2e4 * k + 1e4, 2e4 - 1e3 * k) for k in range(brackets)
    )
    return PlanObservation(
        agent + 1, "planner", agent, schedule, years, years[-1:], groups, 38.5, 41_000.0, 9_000.0
    )


def satisfaction(agent: int) -> SatisfactionObservation:
    brackets = (Bracket(0, 0.1), Bracket(40_000, 0.3))
    return SatisfactionObservation(
        0, 2, "llm", agent, brackets, 500.0, FACTS.format(25), 40, 2e4, 3e3 * agent, 2e3, True
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
    ]


def main() -> None:
    names, requests = [], []
    ways = itertools.product((True, False), (0.2, 1.2), (24, 120))
    for way, (enforced, temperature, max_tokens) in enumerate(ways):
        sampling = Sampling(temperature, 1.0, max_tokens)
        for name, kind, observations in asked():
            for o in observations:
                names.append(name)
                schema = kind.schema(o) if enforced else None
                requests.append(
                    Request(
                        kind.messages(o),
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
