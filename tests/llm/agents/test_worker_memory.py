"""What workers remember."""

import copy
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.decisions import filled, labor

from llm.agents.memory import WorkerMemory
from llm.decisions.labor import Labor, Trend, WorkerDay


def test_worker_memory_grows_from_an_anchor():
    assert [len(filled(days, 3).recall()[0].history) for days in range(10)] == [
        0,
        1,
        2,
        3,
        4,
        5,
        6,
        4,
        5,
        6,
    ]
    assert [d.day for d in filled(7, 3).recall()[1].history] == [3, 4, 5, 6]
    assert filled(5, 0).recall()[0].history == ()


def test_memories_are_the_agents_own():
    memory = WorkerMemory(3, 2)
    memory.append(
        4,
        5,
        hours=np.array([10, 20, 30.0]),
        income=np.arange(3),
        tax=np.zeros(3),
        rebate=np.float64(7),
        metric=np.arange(3) * 2,
    )
    assert memory.recall()[2].history == (WorkerDay(4, 5, 30.0, 2.0, 0.0, 7.0, 4.0),)


@pytest.mark.parametrize("left", [1, 3, 4, 7, 9])
def test_who_forgets_remembers_what_a_new_memory_would(left):
    """One of three agents forgets after 7 of the days, and again after 8; the others forget
    nothing; checkpoints keep it.
    """
    rng = np.random.default_rng(0)
    days = [
        {name: rng.integers(0, 10, 3) * 10.0 for name in WorkerMemory.COLUMNS}
        for _ in range(8 + left)
    ]
    memory, kept, fresh = (
        WorkerMemory(3, 2, 3, renewed=renewed) for renewed in (True, False, False)
    )
    for day, columns in enumerate(days):
        if day in (7, 8):
            memory.forget(np.array([False, True, False]))
        if day == 8:
            again = WorkerMemory(3, 2, 3, renewed=True)
            again.restore(copy.deepcopy(memory.state))
        memory.append(0, day, **columns)
        kept.append(0, day, **columns)
        if day >= 8:
            again.append(0, day, **columns)
            fresh.append(0, day, **columns)
    found = memory.recall()
    assert found == again.recall()
    assert (found[0], found[2]) == (kept.recall()[0], kept.recall()[2])
    assert (found[1].best, found[1].statistics) == (
        fresh.recall()[1].best,
        fresh.recall()[1].statistics,
    )
    own = found[1].history
    assert [d.day for d in own] == list(range(max(8, 8 + left - len(found[0].history)), 8 + left))
    recent = WorkerMemory(3, 20)
    for d in range(8 + left - len(own), 8 + left):
        recent.append(0, d, **days[d])
    assert (own, found[1].trend) == (recent.recall()[1].history, recent.recall()[1].trend)
    assert "since" not in kept.state


def test_nothing_is_remembered_right_after_forgetting():
    memory = WorkerMemory(2, 2, 3, renewed=True)
    memory.append(0, 0, **{name: np.array([10.0, 20.0]) for name in WorkerMemory.COLUMNS})
    memory.forget(np.array([True, False]))
    first, second = memory.recall()
    assert (first.history, first.best, first.statistics, first.trend) == ((), (), None, None)
    assert second.statistics.count == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strange", [-np.inf, np.inf, np.nan])
def test_days_of_infinite_utility_are_left_out_of_statistics_and_trends(strange):
    """Three agents: with such days, with none, and with such alone; a checkpoint in between changes
    nothing.
    """
    days = [
        (0.0, strange),
        (40.0, 10.0),
        (20.0, 20.0),
        (0.0, strange),
        (0.0, strange),
        (60.0, 60.0),
    ]
    memory, again = WorkerMemory(3, 4), WorkerMemory(3, 4)
    form = {
        name: np.shape(value)
        for name, value in memory.state.items()
        if name not in ("recent", "best")
    }
    for day, (hours, metric) in enumerate(days):
        columns = dict.fromkeys(("income", "tax", "rebate"), 0.0)
        for one in (memory, again):
            one.append(
                0,
                day,
                hours=np.full(3, hours),
                metric=np.array([metric, 10.0 * day, strange]),
                **columns,
            )
        state = copy.deepcopy(again.state)
        again = WorkerMemory(3, 4)
        again.restore(state)
        assert {
            name: np.shape(value) for name, value in state.items() if name not in ("recent", "best")
        } == form
        some, whole, none = memory.recall()
        counted = [(h, m) for h, m in days[: day + 1] if np.isfinite(m)]
        if counted:
            assert (
                some.statistics.count,
                some.statistics.hours,
                some.statistics.mean,
            ) == pytest.approx(
                (len(counted), np.mean([h for h, _ in counted]), np.mean([m for _, m in counted]))
            )
        if len(counted) > 1:
            assert some.statistics.deviation == pytest.approx(
                np.std([m for _, m in counted], ddof=1)
            )
        assert (some.statistics is None) == (not counted)
        assert (some.trend is not None) == (day == 2)
        assert whole.statistics.count == day + 1
        assert (whole.trend is not None) == (day > 0)
        assert (none.statistics, none.trend) == (None, None)
        for one, other in zip(memory.recall(), again.recall(), strict=True):
            assert (one.statistics, one.trend) == (other.statistics, other.trend)
        told = Labor().messages(labor(statistics=some.statistics, trend=some.trend))[1].content
        assert not re.search(r"\b(inf|nan)\b", told)
    assert not re.search("Last time", Labor().messages(labor(trend=Trend(10.0, np.inf)))[1].content)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 10, 20, 30]), st.integers(-9, 9)), min_size=1, max_size=30
    ),
    st.integers(0, 5),
    st.sampled_from([1, -1]),
)
def test_worker_memory_is_what_a_list_would_hold(days, kept, worth):
    """Two agents, the second with its metric negated."""
    memory = WorkerMemory(2, 2, kept, worth)
    for day, (hours, metric) in enumerate(days):
        columns = dict.fromkeys(("income", "tax", "rebate"), 0.0)
        memory.append(
            0, day, hours=np.full(2, float(hours)), metric=np.array([metric, -metric]), **columns
        )
    for agent, sign in ((0, 1), (1, -1)):
        recalled = memory.recall()[agent]
        top = {}
        for hours, metric in days:
            value = worth * sign * metric
            top[hours] = max(value, top.get(hours, -np.inf))
        expected = sorted(top.values(), reverse=True)[: max(kept, 1)]
        got = [worth * d.metric for d in recalled.best]
        if max(kept, 1) >= len(top):  # nothing was ever displaced
            assert got == expected
            assert {d.hours for d in recalled.best} == set(top)
        assert got == sorted(got, reverse=True)
        assert len({d.hours for d in recalled.best}) == len(recalled.best)
        if kept:
            assert got[0] == max(top.values())
        values = [sign * metric for _, metric in days]
        assert recalled.statistics.mean == pytest.approx(np.mean(values))
        assert recalled.statistics.deviation == pytest.approx(
            np.std(values, ddof=1) if len(days) > 1 else 0
        )
        assert recalled.statistics.hours == pytest.approx(np.mean([h for h, _ in days]))
        recent = [d.hours for d in recalled.history]
        if len(recent) < 2:
            assert recalled.trend is None
            continue
        last = len(days) - 1  # the last change among the days remembered, or the last day
        changed = [
            i for i in range(len(days) - len(recent) + 1, len(days)) if days[i][0] != days[i - 1][0]
        ]
        i = changed[-1] if changed else last
        assert (recalled.trend.hours, recalled.trend.metric) == (
            days[i][0] - days[i - 1][0],
            values[i] - values[i - 1],
        )


def test_a_new_schedule_outdates_what_hours_brought():
    memory = WorkerMemory(1, 0, 3)
    zero = dict.fromkeys(("income", "tax", "rebate"), 0.0)
    for year, hours, metric in ((0, 40.0, 9.0), (0, 20.0, 5.0), (1, 40.0, 3.0), (1, 40.0, 2.0)):
        memory.append(year, 0, hours=np.array([hours]), metric=np.array([metric]), **zero)
    assert [(d.hours, d.metric, d.year) for d in memory.recall()[0].best] == [
        (20.0, 5.0, 0),
        (40.0, 3.0, 1),
    ]
