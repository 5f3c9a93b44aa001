"""The reader that obeys the text, and what becomes of economies whose agents obey their prompts."""

import numpy as np
import pytest
from support.decisions import chat, labor

from experiments.benchmarks.prompts import economy, planners_end, workers_end
from llm.decisions.labor import Labor, TriedHours, WorkerDay
from llm.decisions.shared import Cues
from llm.engines.obedient import ObedientReader, read_changes, read_hours
from llm.messages import Completion, Draw, Message, Request, Sampling

TRIED = tuple(TriedHours(hours, 1, 0.0, 100.0 - hours) for hours in (20, 30, 40))
DAY = WorkerDay(0, 0, 40, 1.0, 1.0, 1.0, 1.0, 1.0)
TENS = tuple(range(0, 101, 10))


def hours(**changes):
    """What the reader makes of a worker's prompt, with many draws."""
    system, user = chat(Labor(), labor(choices=TENS, **changes))
    draws = [np.random.default_rng(seed) for seed in range(20)]
    return {read_hours(system.content, user.content, draw) for draw in draws}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, {40}),
        ({"history": (DAY, DAY._replace(hours=60))}, {60}),
        ({"tried": TRIED, "best": TRIED[0], "cues": Cues(exploit=True)}, {20}),
        ({"tried": TRIED, "best": TRIED[0], "cues": Cues(exploit=True, final=True)}, {20}),
        (
            {
                "tried": TRIED,
                "best": TRIED[0],
                "cues": Cues(explore=True, exploit=True),
                "untried": (10, 50),
            },
            {10, 50},
        ),
        ({"tried": TRIED, "best": TRIED[0], "cues": Cues(explore=True, exploit=True)}, {20}),
    ],
)
def test_it_does_what_a_workers_prompt_says(told, expected):
    assert hours(**told) == expected


# how prompts were worded before they named what was not tried
EARLIER = """\
Your days so far:
Year 1 day 1: 40 hours, income 1, tax 1, rebate 1, utility 27,122
Year 1 day 2: 30 hours, income 1, tax 1, rebate 1, utility 26,000
The best utility that hours brought: 40: 27,122; 30: 26,000. Best so far: 40 hours with utility \
27,122. Hours that you have not tried may be better: explore. How many hours?"""
RULES = 'Answer with JSON only: {"hours": H}, H one of 0, 10, 20, 30, 40, 50, 60.'


def test_it_obeys_earlier_words_too():
    draws = [np.random.default_rng(seed) for seed in range(20)]
    assert {read_hours(RULES, EARLIER, draw) for draw in draws} == {50}
    final = EARLIER.replace("Best so far", "Now take what has been best")
    assert {read_hours(RULES, final, draw) for draw in draws} == {40}
    plan = "Year 1: 30/50 %: welfare 9\nBest so far: year 1: 30/50 %: welfare 9\nexplore.\n"
    now = "10 % on income from 0 to 9: 90.0 % of the people\n50 % on income from 9 up: x\n"
    rules = "by one of -20, -10, 0, +10, +20 percentage points"
    found = {tuple(read_changes(rules, plan + now, draw)) for draw in draws}
    assert found == {(10, 0), (20, 0), (20, -10), (20, 10)}
    ended = plan.replace("Best so far", "Exploration is over: now go to the best so far")
    assert read_changes(rules, ended.replace("explore.", "") + now, draws[0]) == [20, 0]


def test_what_it_cannot_read_it_says():
    request = Request((Message("system", "Sing."), Message("user", "")), None, Sampling(), DRAW)
    with pytest.raises(ValueError, match="no answer to: Sing"):
        ObedientReader().complete([request], on_completion=lambda i, completion: None)


DRAW = Draw(0, "labor", 0, 0, "llm", 0)


def test_equal_draws_have_equal_answers():
    system, user = chat(
        Labor(), labor(choices=TENS, tried=TRIED, cues=Cues(explore=True), untried=(10, 50))
    )
    answers: dict[int, Completion] = {}
    draws = [DRAW, DRAW, *(Draw(0, "labor", 0, day, "llm", 0) for day in range(20))]
    requests = [Request((system, user), None, Sampling(), draw) for draw in draws]
    ObedientReader().complete(requests, on_completion=answers.__setitem__)
    texts = [answers[i].text for i in range(len(draws))]
    assert texts[0] == texts[1]
    assert len(set(texts)) == 2


@pytest.mark.parametrize(
    "cell", [("flat", "calibrated", 0.0, 8), ("three", "annualised", 1.0, 8)], ids=str
)
def test_obedient_workers_end_at_their_best_hours(cell):
    """The whole grid: `python -m experiments.benchmarks.prompts`, docs/language-models.md."""
    ends = workers_end(economy(*cell), ObedientReader())
    assert len(ends.best) == 24
    assert np.mean(ends.close) >= 0.95
    assert np.mean(ends.best) >= 0.95


def test_obedient_workers_find_their_best_whole_hours():
    """A grid of 101 choices is searched by halving; what tens lost against any hours is gone."""
    cell = ("us_federal", "annualised", 0.0, 16)
    tens, whole = (
        workers_end(economy(*cell, step=step), ObedientReader(), step) for step in (10, 1)
    )
    assert np.mean(whole.best) >= 0.95
    assert np.mean(tens.lost) > 0.05
    assert np.mean(whole.lost) < 0.005


@pytest.mark.slow
def test_obedient_workers_end_at_their_best_hours_in_every_economy_of_the_grid():
    from experiments.benchmarks.prompts import GRID

    for cell in GRID:
        ends = workers_end(economy(*cell), ObedientReader())
        assert np.mean(ends.close) >= 0.95, cell


@pytest.mark.slow
@pytest.mark.parametrize("brackets", ["flat", "three", "us_federal"])
def test_an_obedient_planner_ends_where_the_mechanical_one_does(brackets):
    ends = [planners_end(brackets, seed) for seed in range(6)]
    obedient, mechanical = (
        np.mean([end[name] for end in ends]) for name in ("obedient", "in_context")
    )
    assert obedient > mechanical - 0.02


def test_workers_who_are_told_nothing_stay_where_they_began():
    """The null: where prompts show nothing of the past, fewer are at their best hours."""
    settings = economy("flat", "calibrated", 0.0, 8)
    memory = {"window": 0, "best": 0, "exploration": False, "exploitation": False}
    settings["llm"]["memory"] = memory
    ends = workers_end(settings, ObedientReader())
    assert np.mean(ends.best) < 0.5
    assert np.mean(ends.close) < 0.5
