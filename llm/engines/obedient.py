"""An engine that reads the text of a prompt and obeys every word of it: an oracle for prompts.

It is for tests and for `experiments.benchmarks.prompts`: where a reader who follows a prompt to the
letter ends at the wrong hours or the wrong rates, the prompt is wrong. A run cannot be configured
with it, since nothing it says comes from a language model.

It knows nothing but the messages. It tries something untried where it is told to, takes the best
where it is told which that is, and otherwise keeps what it has. Which of several untried choices it
takes is drawn from the request's draw alone.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from llm.engines.base import OnCompletion, estimated_prompt_tokens
from llm.engines.drawn import completion_of, random_of
from llm.messages import Request

_STEP = 10  # percentage points, or hours a week: how far the next untried choice is


class ObedientReader:
    """Implements the Engine protocol without a model.

    `asked` keeps every request and `answers` every text, in order.
    """

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.answers: list[str] = []

    @property
    def identity(self) -> dict[str, str]:
        return {"engine": "obedient", "model": "none (obeys the text of its prompt, version 1)"}

    @property
    def description(self) -> dict[str, Any]:
        return {}

    def prompt_tokens(self, request: Request) -> int:
        return estimated_prompt_tokens(request.messages)

    def complete(self, requests: Sequence[Request], *, on_completion: OnCompletion) -> None:
        """Answer every request.

        Raises ValueError for a prompt that asks for anything but hours, changes of rates, or
        satisfaction.
        """
        for i, request in enumerate(requests):
            completion = completion_of(request, _answer(request))
            self.asked.append(request)
            self.answers.append(completion.text)
            on_completion(i, completion)

    def close(self) -> None:
        return


def _answer(request: Request) -> dict[str, Any]:
    rules, text = request.messages[0].content, request.messages[1].content
    random = random_of(request.draw)
    reason = {"reasoning": "I was told to."} if '"reasoning"' in rules else {}
    if '"hours": H' in rules:
        return reason | {"hours": read_hours(rules, text, random)}
    if '"changes": [' in rules:
        return reason | {"changes": read_changes(rules, text, random)}
    if '"satisfied"' in rules:
        return {"satisfied": True}
    raise ValueError(f"the obedient reader has no answer to: {rules}")


# --- a worker's hours -----------------------------------------------------------------------------


def read_hours(rules: str, text: str, random: np.random.Generator) -> int:
    """The hours a week that a worker's prompt tells its reader to work."""
    choices = _choices(rules)
    final = re.search(r"Now take [^:]*: (\d+)", text)
    if final:
        return int(final[1])
    best = re.search(r"Best so far: (\d+) hours", text)
    untried = _untried_hours(text, choices, int(best[1]) if best else None)
    if untried:
        return int(random.choice(untried))
    if best:
        return int(best[1])
    worked = re.findall(r"day \d+: (\d+) hours", text)
    return int(worked[-1]) if worked else min(choices, key=lambda hours: abs(hours - 40))


def _choices(rules: str) -> list[int]:
    whole = re.search(r"H any whole number from (\d+) to (\d+)\.", rules)
    if whole:
        return list(range(int(whole[1]), int(whole[2]) + 1))
    listed = re.search(r"H one of ([\d, ]+)\.", rules)
    if not listed:
        raise ValueError(f"the prompt does not say which hours there are: {rules}")
    return [int(hours) for hours in listed[1].split(", ")]


def _untried_hours(text: str, choices: Sequence[int], best: int | None) -> list[int]:
    """The hours that the prompt tells its reader to try.

    Where it says only to explore, those beside the best that its text does not mention.
    """
    named = re.search(r"Not tried yet[^:]*: ([\d, ]+)\.", text)
    if named:
        return [int(hours) for hours in named[1].split(", ")]
    if "explore" not in text or best is None:
        return []
    lists = "".join(re.findall(r"The best .* that hours brought: (.*?)\. ", text))
    mentioned = {int(h) for h in re.findall(r"(\d+) hours", text)}
    mentioned |= {int(h) for h in re.findall(r"(?:^|; )(\d+): ", lists)}
    return [h for h in (best - _STEP, best + _STEP) if h in choices and h not in mentioned]


# --- a planner's rates ----------------------------------------------------------------------------


def read_changes(rules: str, text: str, random: np.random.Generator) -> list[int]:
    """The changes of the rates, percentage points, that a planner's prompt tells its reader."""
    now = [int(rate) for rate in re.findall(r"^(\d+) % on income from", text, re.MULTILINE)]
    allowed = re.search(r"by one of ([-+\d, ]+) percentage points", rules)
    if not (now and allowed):
        raise ValueError(f"the prompt says neither the rates nor their changes: {rules}")
    most = max(int(change) for change in allowed[1].split(", "))
    best = _best_rates(text)
    start = now if best is None else best
    untried = _untried_schedules(text, start)
    target = untried[random.integers(len(untried))] if untried else start
    return [min(max(to - rate, -most), most) for to, rate in zip(target, now, strict=True)]


def _best_rates(text: str) -> list[int] | None:
    """The rates that the prompt calls the best so far, or tells its reader to go to."""
    cue = re.search(r"(?:[Bb]est so far|Now take [^:]*): (?:year \d+: )?([\d/]+) %", text)
    return [int(rate) for rate in cue[1].split("/")] if cue else None


def _untried_schedules(text: str, start: Sequence[int]) -> list[list[int]]:
    """The schedules that the prompt tells its reader to try.

    Where it says only to explore, those one step from `start` that its text does not mention.
    """
    named = re.search(r"Not tried yet[^:]*: (.*?)\. Try", text)
    if named:
        steps = [
            (int(bracket) - 1, int(rate))
            for bracket, rates in re.findall(r"bracket (\d+) at ([\d or]+) %", named[1])
            for rate in rates.split(" or ")
        ]
        return [[*start[:b], rate, *start[b + 1 :]] for b, rate in steps]
    if "explore" not in text:
        return []
    mentioned = {tuple(map(int, r.split("/"))) for r in re.findall(r"(\d+(?:/\d+)*) %", text)}
    beside = [
        [*start[:b], start[b] + step, *start[b + 1 :]]
        for b in range(len(start))
        for step in (-_STEP, _STEP)
        if 0 <= start[b] + step <= 100
    ]
    return [schedule for schedule in beside if tuple(schedule) not in mentioned]
