"""What workers remember."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm.agents.memory import HoursRecord, WorkerMemory
from llm.decisions.labor import WorkerDay

CHOICES = (0, 10, 20, 30, 40)


def remember(memory, year, day, hours, welfare=0.0):
    """A day on which everything but hours and welfare is a number of its own."""
    columns = {"income": 1.0, "tax": 2.0, "rebate": 3.0, "effort": 4.0}
    memory.append(
        year, day, hours=np.asarray(hours, float), welfare=np.asarray(welfare, float), **columns
    )


def filled(days, window, agents=2):
    memory = WorkerMemory(agents, window, CHOICES)
    for day in range(days):
        remember(memory, 0, day, np.full(agents, 10.0 * (day % 5)))
    return memory


def test_it_grows_from_an_anchor():
    lengths = [len(filled(days, 3).recall(0)[0].days) for days in range(10)]
    assert lengths == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6]
    assert [d.day for d in filled(7, 3).recall(0)[1].days] == [3, 4, 5, 6]
    assert filled(5, 0).recall(0)[0].days == ()


def test_memories_are_the_agents_own():
    memory = WorkerMemory(3, 2, CHOICES)
    memory.append(
        4,
        5,
        hours=np.array([10, 20, 30.0]),
        income=np.arange(3),
        tax=np.zeros(3),
        rebate=np.float64(7),
        effort=np.full(3, 8.0),
        welfare=np.arange(3) * 2,
    )
    third = memory.recall(4)[2]
    assert third.days == (WorkerDay(4, 5, 30.0, 2.0, 0.0, 7.0, 8.0, 4.0),)
    assert third.worked == (HoursRecord(30, 1, 4.0, 1),)


def test_hours_between_the_choices_count_as_the_nearest():
    """As they are where hours adjust slowly."""
    memory = WorkerMemory(2, 1, CHOICES)
    remember(memory, 0, 0, [38.0, 12.5])
    assert [recalled.worked[0].hours for recalled in memory.recall(0)] == [40, 10]


@pytest.mark.parametrize("left", [1, 3, 4, 7, 9])
def test_who_forgets_remembers_what_a_new_memory_would(left):
    """One of three agents forgets after 7 of the days, and again after 8; the others forget
    nothing; checkpoints keep it.
    """
    rng = np.random.default_rng(0)
    days = [
        {name: rng.integers(0, 5, 3) * 10.0 for name in WorkerMemory.COLUMNS}
        for _ in range(8 + left)
    ]
    memory, kept, fresh = (
        WorkerMemory(3, 2, CHOICES, renewed=renewed) for renewed in (True, False, False)
    )
    for day, columns in enumerate(days):
        if day in (7, 8):
            memory.forget(np.array([False, True, False]))
        if day == 8:
            again = WorkerMemory(3, 2, CHOICES, renewed=True)
            again.restore(copy.deepcopy(memory.state))
        memory.append(0, day, **columns)
        kept.append(0, day, **columns)
        if day >= 8:
            again.append(0, day, **columns)
            fresh.append(0, day, **columns)
    found = memory.recall(0)
    assert found == again.recall(0)
    assert (found[0], found[2]) == (kept.recall(0)[0], kept.recall(0)[2])
    assert found[1].worked == fresh.recall(0)[1].worked
    own = found[1].days
    assert [d.day for d in own] == list(range(max(8, 8 + left - len(found[0].days)), 8 + left))
    recent = WorkerMemory(3, 20, CHOICES)
    for d in range(8 + left - len(own), 8 + left):
        recent.append(0, d, **days[d])
    expected = recent.recall(0)[1]
    assert (own, found[1].before_change, found[1].after_change) == (
        expected.days,
        expected.before_change,
        expected.after_change,
    )
    assert "since" not in kept.state


def test_nothing_is_remembered_right_after_forgetting():
    memory = WorkerMemory(2, 2, CHOICES, renewed=True)
    remember(memory, 0, 0, [10.0, 20.0])
    memory.forget(np.array([True, False]))
    first, second = memory.recall(0)
    assert (first.days, first.worked, first.after_change) == ((), (), None)
    assert second.worked == (HoursRecord(20, 1, 0.0, 1),)


def test_welfare_is_of_this_years_days():
    """Another schedule's welfare says nothing about this one; how often hours were worked does."""
    memory = WorkerMemory(1, 0, CHOICES)
    for year, hours, welfare in ((0, 40, 9.0), (0, 20, 5.0), (1, 40, 3.0), (1, 40, 2.0)):
        remember(memory, year, 0, [hours], welfare)
    assert memory.recall(1)[0].worked == (
        HoursRecord(20, 1, 0.0, 0),
        HoursRecord(40, 3, 2.5, 2),
    )
    # on a year's first day there is none of this year yet
    assert memory.recall(2)[0].worked == (
        HoursRecord(20, 1, 0.0, 0),
        HoursRecord(40, 3, 0.0, 0),
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strange", [-np.inf, np.inf, np.nan])
def test_days_of_infinite_welfare_are_left_out_of_means(strange):
    memory = WorkerMemory(1, 0, CHOICES)
    for day, welfare in enumerate((strange, 4.0, strange, 6.0)):
        remember(memory, 0, day, [40], welfare)
    assert memory.recall(0)[0].worked == (HoursRecord(40, 4, 5.0, 2),)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(CHOICES), st.integers(-9, 9)),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 3),
    st.integers(0, 29),
)
def test_it_is_what_a_list_would_hold(drawn, window, stored_at):
    """Days in order of their years; a checkpoint on one of them changes nothing."""
    days = sorted(drawn, key=lambda day: day[0])
    memory = WorkerMemory(1, window, CHOICES)
    for number, (year, hours, welfare) in enumerate(days):
        remember(memory, year, number, [hours], welfare)
        if number == stored_at:
            state = copy.deepcopy(memory.state)
            memory = WorkerMemory(1, window, CHOICES)
            memory.restore(state)
    (recalled,) = memory.recall(days[-1][0])
    last_year = days[-1][0]
    expected = []
    for choice in CHOICES:
        worked = [day for day in days if day[1] == choice]
        this_year = [welfare for year, _, welfare in worked if year == last_year]
        if worked:
            mean = float(np.mean(this_year)) if this_year else 0.0
            expected.append((choice, len(worked), mean, len(this_year)))
    assert len(recalled.worked) == len(expected)
    for found, record in zip(recalled.worked, expected, strict=True):
        assert found == pytest.approx(record)
    recent = []
    for number, (_, hours, _) in enumerate(days):
        if len(recent) == max(2 * window, 2):
            recent = recent[len(recent) // 2 :]
        recent.append((number, hours))
    assert [d.day for d in recalled.days] == ([n for n, _ in recent] if window else [])
    changes = [i for i in range(1, len(recent)) if recent[i][1] != recent[i - 1][1]]
    if changes:
        assert recalled.before_change.day == recent[changes[-1] - 1][0]
        assert recalled.after_change.day == recent[changes[-1]][0]
    else:
        assert (recalled.before_change, recalled.after_change) == (None, None)
