"""What a worker's prompt says."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from support.decisions import chat, labor

from jaxecon.config.memory import WorkerMemory as MemorySettings
from llm.agents.memory import WorkerMemory
from llm.agents.recollection import remembered
from llm.agents.worth import OwnWorth
from llm.decisions.base import Parsed, Unusable
from llm.decisions.labor import HoursChange, Labor, TriedHours, WorkerDay
from llm.decisions.shared import Cues, EconomyFacts

CHOICES = (0, 10, 20)
DAY = WorkerDay(0, 0, 10, 10_000, 1_000, 9_000, 2_500, 31_000)
TEN, TWENTY = TriedHours(10, 1, 1_000, 6_500.0, 31_000.0), TriedHours(20, 2, 2_000, 4_000.0, 30.0)
BOTH = {"tried": (TEN, TWENTY), "best": TEN}


def user(**changes):
    return chat(Labor(), labor(**changes))[1].content


def system(**changes):
    return chat(Labor(), labor(**changes))[0].content


def test_rules_are_byte_identical_across_agents_and_days():
    assert system() == system(agent=9, day=7, skill=50.0, rebate=1.0, history=(DAY,), **BOTH)
    assert user() != user(agent=9, day=7, skill=50.0)


def test_history_only_grows_at_its_end():
    """Two days of one agent: the second prompt begins as the first does, up to what is new."""
    days = tuple(DAY._replace(day=day) for day in range(3))
    before, after = user(history=days[:2], **BOTH), user(history=days, day=3)
    shared = before[: before.index("What hours bring")]
    assert after.startswith(shared)
    assert len(shared) > 100


@pytest.mark.parametrize("days", [1, 8, 100])
@pytest.mark.parametrize("fitting", [10, 30, 45])
def test_a_history_that_is_cut_to_fit_begins_where_it_did(days, fitting):
    """With a window of 100 days, of which `fitting` fit into a prompt; years of so many days."""
    memory, firsts = WorkerMemory(1, 100, CHOICES), []
    for number in range(300):
        observation = labor(history=memory.recall(0)[0].days)
        while len(observation.history) > fitting:
            before, observation = observation, Labor().shorter(observation)
            assert observation.history == before.history[-len(observation.history) :]
            assert len(before.history) // 2 <= len(observation.history) < len(before.history)
        firsts += [(day.year, day.day) for day in observation.history[:1]]
        memory.append(number // days, number % days, **dict.fromkeys(WorkerMemory.COLUMNS, 1.0))
    changes = sum(one != other for one, other in itertools.pairwise(firsts))
    assert 300 / fitting < changes < 300 / (0.3 * fitting)


def test_the_last_of_a_history_goes_too_and_then_the_hours_far_from_the_best():
    kind = Labor()
    assert kind.shorter(labor(history=(DAY,), **BOTH)).history == ()
    assert kind.shorter(labor(**BOTH)).tried == (TEN,)
    assert kind.shorter(kind.shorter(labor(**BOTH))) is None
    assert kind.shorter(labor()) is None
    rows = tuple(TEN._replace(hours=hours) for hours in range(0, 101, 10))
    half = kind.shorter(labor(tried=rows, best=rows[3])).tried
    assert [t.hours for t in half] == [10, 20, 30, 40, 50]


def test_a_worker_compares_what_its_own_hours_bring():
    """The rebate is apart, effort in dollars, and every value is of this year's tax."""
    text = user(history=(DAY,), rebate=9_876.0, economy=EconomyFacts(years=3, days=8), **BOTH)
    assert "1,000 dollars a year per weekly hour" in text
    assert (
        "Year 1 day 1: 10 hours: income 10,000 - tax 1,000 - effort 2,500 = 6,500; rebate 9,000"
        in text
    )
    assert (
        "What hours bring you at this year's tax (income - tax - effort):\n"
        "10 hours: 6,500 (1 day)\n20 hours: 4,000 (2 days)\n" in text
    )
    assert "Today is day 3 of 8 of year 2 of 3. Yesterday's rebate: 9,876." in text
    assert "welfare" not in text
    rules = system()
    assert "The rebate does not depend on your own hours." in rules
    assert "All amounts are in dollars a year." in rules
    assert "You may change your hours or keep them." in rules
    assert "H one of 0, 10, 20." in rules
    assert "10 % on income from 0 to 90,000\n50 % on income from 90,000 up" in rules


def test_with_curvature_it_compares_utility_at_yesterdays_rebate():
    tried = (TEN._replace(utility=10.123456), TWENTY._replace(utility=10.123412))
    curvature = EconomyFacts(curvature=1.0)
    curved = {"economy": curvature, "history": (DAY._replace(effort=0.0625),), "tried": tried}
    text = user(best=tried[0], cues=Cues(exploit=True), **curved)
    assert "income 10,000 - tax 1,000 + rebate 9,000 = 18,000 to spend; effort 0.0625" in text
    assert (
        "Your utility by hours, at this year's tax and yesterday's rebate:\n"
        "10 hours: 10.123456 (1 day)\n20 hours: 10.123412 (2 days)\n" in text
    )
    assert "Best so far: 10 hours with 10.123456." in text
    assert "Compare hours by" not in system(economy=curvature)
    ruined = (TEN._replace(utility=None), tried[1])
    assert "10 hours: nothing would be left to live on" in user(economy=curvature, tried=ruined)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (BOTH, "20 hours: 4,000 (2 days)\n"),
        (
            {"last_change": HoursChange(20.0, 10.0, 2_500.0)},
            "The last time you changed your hours, from 20 to 10: at this year's tax that "
            "brings you 2,500 more.",
        ),
        (
            {"last_change": HoursChange(10.0, 20.0, -2_500.0)},
            "The last time you changed your hours, from 10 to 20: at this year's tax that "
            "brings you 2,500 less.",
        ),
        (
            BOTH | {"cues": Cues(explore=True, exploit=True), "untried": (0, 20)},
            "Not tried yet, beside your best hours: 0, 20. Try one of them, or keep your hours.",
        ),
        (
            {"cues": Cues(explore=True), "untried": (20,)},
            "Not tried yet, beside the hours you chose last: 20. Try one of them, or keep your "
            "hours.",
        ),
        (
            {"cues": Cues(explore=True, exploit=True), "untried": (20,)},
            "Not tried yet, beside the hours you chose last: 20. Try one of them, or keep your "
            "hours.",
        ),
        (
            BOTH | {"cues": Cues(explore=True, exploit=True)},
            "The hours beside your best bring less: you need not change yours.",
        ),
        (BOTH | {"cues": Cues(exploit=True)}, "Best so far: 10 hours with 6,500."),
        (
            BOTH | {"cues": Cues(exploit=True, final=True)},
            "Now take your best hours: 10 hours with 6,500.",
        ),
        ({"persona": "You are a 30-year-old woman."}, "You are a 30-year-old woman."),
    ],
)
def test_each_ingredient_has_its_words_and_a_switch(given, said):
    assert said in user(**given)
    assert said not in user(history=given.get("history", ()))


def test_how_often_hours_were_worked_may_be_left_out():
    assert "20 hours: 4,000\n" in user(**BOTH, counts=False)


def test_an_unknown_gain_is_not_told():
    assert "last time" not in user(last_change=HoursChange(10.0, 20.0, None))


@pytest.mark.parametrize(
    ("objective", "goal"),
    [("altruistic", "social welfare highest"), ("adversarial", "social welfare lowest")],
)
def test_who_cares_for_all_is_told_that_days_are_noisy(objective, goal):
    rules = system(objective=objective)
    assert goal in rules
    assert "a single day says little" in rules
    text = user(
        objective=objective, history=(DAY,), cues=Cues(exploit=True), **BOTH | {"best": TWENTY}
    )
    assert "Year 1 day 1: 10 hours, social welfare 31,000: income 10,000" in text
    assert "10 hours: 31,000, your own tax 1,000 (1 day)" in text
    lowest = ", the lowest" if objective == "adversarial" else ""
    assert f"Best so far: 20 hours with social welfare 30{lowest}." in text
    assert "utility" not in text
    assert "social welfare" not in system().lower()


@pytest.mark.parametrize(
    ("economy", "said"),
    [
        ({}, "(below 10,000 dollars a year all count alike)"),
        ({"welfare": "utilitarian"}, "the mean of everyone's utility.\n"),
        ({"welfare": "rawlsian"}, "the utility of the worst-off person"),
        (
            {"welfare": "atkinson", "epsilon": 2.0},
            "inequality aversion of 2: low utilities count more. Utilities below 10,000 dollars",
        ),
        ({"welfare": "atkinson", "epsilon": 0.0}, "inequality aversion of 0. Utilities below"),
        ({"welfare": "inverse_consumption"}, "who consumes half as much"),
        ({"welfare": "paper_fixed"}, "counts twice as much.\n"),
        ({"counted": True}, "not satisfied"),
        ({"decide_every": 3}, "Every 3 days you choose how many hours a week you work until"),
        ({"inertia": True}, "On some days people cannot change their hours"),
        ({"saving": True}, "What your wealth brings you comes on top"),
        ({"public_spending": 2_000.0}, "the rebate is negative: everyone pays"),
        (
            {"public_spending": 2_000.0, "rebate_floor": 500.0},
            "as the same rebate. The rebate is never less than 500 dollars a year.",
        ),
    ],
)
def test_rules_are_true_of_the_economy(economy, said):
    rules = system(objective="altruistic", economy=EconomyFacts(**economy))
    assert said in rules
    assert said not in system(economy=EconomyFacts(curvature=1.0))
    assert ("All taxes are paid back" in rules) == ("public_spending" not in economy)


def recollection(records, worth, objective="egotistical", cues=None, **settings):
    memory = WorkerMemory(1, 2, CHOICES)
    for number, (year, hours, welfare) in enumerate(records):
        columns = dict.fromkeys(("income", "tax", "rebate", "effort"), 0.0)
        memory.append(
            year, number, hours=np.array([float(hours)]), welfare=np.array(welfare), **columns
        )
    own = OwnWorth([0.0, 1.0, 2.0], worth)
    cues = cues or Cues(explore=True, exploit=True)
    year, last = records[-1][:2] if records else (0, 10)
    found = remembered(
        memory.recall(year)[0], own, CHOICES, last, objective, cues, MemorySettings(**settings)
    )
    return replace(labor(choices=CHOICES), objective=objective, cues=cues, **found)


def test_what_is_remembered_is_priced_at_this_years_tax():
    """Hours of an earlier year count, at what they bring now."""
    seen = recollection([(0, 20, 0.0), (1, 10, 0.0), (1, 10, 0.0)], [1.0, 5.0, 3.0])
    assert [(t.hours, t.days, t.utility) for t in seen.tried] == [(10, 2, 5.0), (20, 1, 3.0)]
    assert (seen.best.hours, seen.untried) == (10, (0,))
    assert seen.last_change == HoursChange(20.0, 10.0, 2.0)
    only = recollection([(0, 20, 0.0), (1, 10, 0.0)], [1.0, 5.0, 3.0], best=1)
    assert [t.hours for t in only.tried] == [10]
    none = recollection([(0, 20, 0.0), (1, 10, 0.0)], [1.0, 5.0, 3.0], best=0)
    assert (none.tried, none.best.hours) == ((), 10)
    apart = recollection(
        [(0, 10, 0.0), (0, 20, 0.0)], [1.0, 5.0, 3.0], cues=Cues(explore=True), direction_hint=False
    )
    assert (apart.untried, apart.last_change) == ((), None)


def test_before_the_first_day_nothing_is_said():
    seen = recollection([], [1.0, 5.0, 3.0])
    assert (seen.tried, seen.best, seen.untried, seen.last_change) == ((), None, (), None)


def test_hours_that_leave_nothing_to_live_on_are_never_the_best():
    ruin = -np.inf
    seen = recollection([(0, 10, 0.0), (0, 20, 0.0)], [ruin, ruin, 3.0])
    assert [t.utility for t in seen.tried] == [None, 3.0]
    assert (seen.best.hours, seen.last_change.gain) == (20, None)
    assert recollection([(0, 10, 0.0)], [ruin] * 3).best is None
    text = chat(Labor(), recollection([(0, 10, 0.0)], [ruin] * 3))[1].content
    assert not re.search(r"\b(inf|nan|None)\b", text)


def test_who_cares_for_all_compares_this_years_welfare():
    days = [(0, 0, 99.0), (1, 10, 1.0), (1, 20, 5.0), (1, 20, 3.0)]
    kind, cruel = (
        recollection(days, [9.0, 9.0, 9.0], objective)
        for objective in ("altruistic", "adversarial")
    )
    assert [(t.hours, t.days, t.welfare) for t in kind.tried] == [(10, 1, 1.0), (20, 2, 4.0)]
    assert (kind.best.hours, cruel.best.hours) == (20, 10)
    assert (kind.untried, cruel.untried) == ((), (0,))
    assert kind.last_change == HoursChange(10.0, 20.0, 4.0)
    # a change from one year to the next is of two schedules
    across = recollection([(0, 10, 1.0), (1, 20, 5.0)], [9.0] * 3, "altruistic")
    assert across.last_change == HoursChange(10.0, 20.0, None)


def test_any_whole_hours_are_said_as_a_range():
    """Of consecutive choices; others are listed. The schema allows the choices alone."""
    tens = labor(choices=tuple(range(0, 101, 10)))
    whole, two = (labor(choices=c) for c in (tuple(range(5, 80)), (35, 37)))
    assert "H any whole number from 5 to 79." in chat(Labor(), whole)[0].content
    assert "H one of 0, 10, 20" in chat(Labor(), tens)[0].content
    assert "H one of 35, 37." in chat(Labor(), two)[0].content
    assert Labor().parse('{"hours": 41}', whole).value == 41
    assert Labor().parse('{"hours": 41}', tens) == Parsed(40, repaired=True)
    with pytest.raises(Unusable, match="between 5 and 79"):
        Labor().parse('{"hours": 4}', whole)
    assert Labor().schema(two)["properties"]["hours"]["enum"] == [35, 37]
