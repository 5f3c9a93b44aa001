"""A stand-in for a language model: boundedly rational answers to the structured observation.

It is for developing and testing the loop without a language model. Nothing it says is evidence
about language models, and every table of a run that used it names it.

A worker takes the best hours it remembers. In a quarter of the decisions in which it may explore,
it moves at most 10 h, or one choice, away from them; without a memory, from yesterday's hours. A
worker is satisfied while its net tax is below a third of its income. A planner goes to its best
schedule; while it may explore, to one that differs from it in one bracket. Every choice is drawn
from the request's draw alone, so that it is the same on every machine and in every batch.

A worker who is asked to stand for election does so one time in two, with a random change of one
bracket. It votes for the candidate who would tax its last year's income least, or approves of those
who would tax it no more than now. Once elected, it does what it announced, if anything.

Answers to a survey are drawn at random; texts are always the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxecon.config.survey import Question
from llm.decisions.candidacy import CandidacyObservation
from llm.decisions.labor import LaborObservation
from llm.decisions.persona import PersonaObservation
from llm.decisions.plan import PlanObservation
from llm.decisions.policy import PolicyObservation
from llm.decisions.satisfaction import SatisfactionObservation
from llm.decisions.survey import SurveyObservation
from llm.decisions.vote import VoteObservation
from llm.engines.base import OnCompletion, estimated_prompt_tokens
from llm.engines.drawn import completion_of, random_of
from llm.messages import Request

_EXPLORES = 0.25  # share of the decisions with a cue to explore
_STANDS = 0.5  # share of those who are asked
_MAX_NET_TAX = 1 / 3  # share of income below which net tax satisfies


class SimulatedEngine:
    """Implements the Engine protocol without a model."""

    @property
    def identity(self) -> dict[str, str]:
        return {"engine": "simulated", "model": "none (boundedly rational rules, version 2)"}

    @property
    def description(self) -> dict[str, Any]:
        return {}

    def prompt_tokens(self, request: Request) -> int:
        return estimated_prompt_tokens(request.messages)

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer every request that has an observation.

        Raises TypeError for a kind of observation that this engine does not know.
        """
        for i, request in enumerate(requests):
            answer = _answer(request.observation, random_of(request.draw))
            if request.schema is not None and "reasoning" in request.schema["properties"]:
                answer = {"reasoning": "Simulated."} | answer
            on_completion(i, completion_of(request, answer))

    def close(self) -> None:
        return


def _answer(observation: Any, random: np.random.Generator) -> dict[str, Any]:
    match observation:
        case LaborObservation():
            return {"hours": _hours(observation, random)}
        case SatisfactionObservation(income=income, tax=tax, rebate=rebate):
            return {"satisfied": bool(tax - rebate < _MAX_NET_TAX * income or income <= 0)}
        case PlanObservation():
            return {"changes": _changes(observation, random)}
        case PolicyObservation(announced=announced, brackets=brackets):
            target = [b.rate for b in brackets] if announced is None else announced
            return {
                "changes": _moves(
                    [100 * b.rate for b in brackets],
                    [100 * r for r in target],
                    observation.max_change,
                )
            }
        case CandidacyObservation(brackets=brackets):
            moves = [0] * len(brackets)
            moves[int(random.integers(len(moves)))] = 10 * int(random.choice([-1, 1]))
            return {"stand": bool(random.random() < _STANDS), "changes": moves}
        case VoteObservation():
            return _ballot(observation)
        case PersonaObservation(facts=facts):
            return {"persona": facts}
        case SurveyObservation(question=question):
            return {"answer": _survey_answer(question, random)}
    raise TypeError(f"the simulated engine has no answer to {type(observation).__name__}")


def _survey_answer(question: Question, random: np.random.Generator) -> str | int:
    if question.choices is not None:
        return question.choices[int(random.integers(len(question.choices)))]
    if question.number is not None:
        least, largest = question.number
        return int(random.integers(least, largest, endpoint=True))
    return "Simulated."[: question.text]


def _hours(o: LaborObservation, random: np.random.Generator) -> int:
    explores = o.best is None or (o.cues.explore and random.random() < _EXPLORES)
    start = o.last_hours if o.best is None else o.best.hours
    place = min(range(len(o.choices)), key=lambda i: abs(o.choices[i] - start))
    if explores:
        near = max(sum(0 < hours - o.choices[place] <= 10 for hours in o.choices), 1)
        place += int(random.integers(-near, near + 1))
    return o.choices[min(max(place, 0), len(o.choices) - 1)]


def _changes(o: PlanObservation, random: np.random.Generator) -> list[int]:
    rates = [100 * b.rate for b in o.brackets]
    target = rates if o.best is None else [100 * r for r in o.best.rates]
    if o.cues.explore:
        target = list(target)
        target[int(random.integers(len(target)))] += 10 * int(random.choice([-1, 1]))
    return _moves(rates, target, o.max_change)


def _moves(rates: Sequence[float], target: Sequence[float], most: int) -> list[int]:
    """Changes from one schedule towards another, in tens of points, none larger than `most`."""
    moves = (round((to - now) / 10) * 10 for to, now in zip(target, rates, strict=True))
    return [int(min(max(move, -most), most)) for move in moves]


def _ballot(o: VoteObservation) -> dict[str, Any]:
    def burden(rates: Sequence[float]) -> float:
        tops = [*(b.threshold for b in o.brackets[1:]), float("inf")]
        return sum(
            r * max(min(o.income, top) - b.threshold, 0)
            for r, b, top in zip(rates, o.brackets, tops, strict=True)
        )

    now = [b.rate for b in o.brackets]
    burdens = [burden(now if c.rates is None else c.rates) for c in o.candidates]
    ranking = sorted(range(1, len(burdens) + 1), key=lambda number: burdens[number - 1])
    if o.method == "plurality":
        return {"vote": ranking[0]}
    if o.method == "approval":
        return {"approve": [number for number in ranking if burdens[number - 1] <= burden(now)]}
    return {"ranking": ranking}
