"""What agents remember, and how prompts are laid out for the prefix cache."""

from dataclasses import replace

import numpy as np

from llm.memory import PlannerMemory, WorkerMemory
from llm.prompts import (
    Bracket,
    BracketGroup,
    LaborObservation,
    PlannerYear,
    PlanObservation,
    WorkerDay,
    labor_messages,
    plan_messages,
    try_again,
)

BRACKETS = (Bracket(0, 0.1), Bracket(90_000, 0.5))


def labor(**changes):
    observation = LaborObservation(
        year=1,
        day=2,
        cohort="llm",
        agent=0,
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
        memory.append(0, day, **{name: np.full(agents, float(day)) for name in WorkerMemory.COLUMNS})
    return memory


def test_worker_memory_grows_from_an_anchor():
    assert [len(filled(days, 3).history(0)) for days in range(10)] == [0, 1, 2, 3, 4, 5, 6, 4, 5, 6]
    assert [d.day for d in filled(7, 3).history(1)] == [3, 4, 5, 6]
    assert filled(5, 0).history(0) == ()


def test_memories_are_the_agents_own():
    memory = WorkerMemory(3, 2)
    memory.append(
        4, 5, hours=np.array([10, 20, 30.0]), income=np.arange(3), tax=np.zeros(3), rebate=np.float64(7), utility=np.arange(3) * 2
    )
    assert memory.history(2) == (WorkerDay(4, 5, 30.0, 2.0, 0.0, 7.0, 4.0),)


def test_planner_memory_keeps_the_true_best():
    memory = PlannerMemory.empty(2, 2)
    for year, welfare in enumerate([5.0, 9.0, 1.0, 2.0, 3.0, 4.0]):
        memory = memory.append(year, np.array([year / 10, 0.5]), welfare)
    assert [y.year for y in memory.history()] == [2, 3, 4, 5]
    assert memory.best == PlannerYear(1, (0.1, 0.5), 9.0)


def test_rules_are_byte_identical_across_agents_and_days():
    first, other = labor_messages(labor()), labor_messages(labor(agent=9, day=7, skill=50.0, rebate=1.0))
    assert first[0] == other[0]
    assert first[1] != other[1]


def test_history_only_grows_at_its_end():
    """Two days of one agent: the second prompt begins as the first does, up to the first's own tail."""
    memory = filled(2, 3)
    before = labor_messages(labor(history=memory.history(0)))[1].content
    memory.append(0, 2, **{name: np.full(2, 2.0) for name in WorkerMemory.COLUMNS})
    after = labor_messages(labor(history=memory.history(0), day=3))[1].content
    shared = before[: before.index("Today is")]
    assert after.startswith(shared)
    assert len(shared) > 100


def test_labor_prompt_says_what_the_worker_knows():
    system, user = labor_messages(
        labor(history=(WorkerDay(0, 0, 10, 10_000, 1_000, 9_000, 17_900), WorkerDay(0, 1, 20, 1, 1, 1, 5)))
    )
    assert "H one of 0, 10, 20." in system.content
    assert "10 % on income from 0 to 90,000\n50 % on income from 90,000 up" in system.content
    for expected in (
        "1,000 dollars a year per weekly hour",
        "rebate: 9,000",
        "best of these days: 10 hours with utility 17,900",
        "year 2 day 3",
    ):
        assert expected in user.content


def test_plan_prompt_says_what_the_planner_knows():
    observation = PlanObservation(
        year=2,
        cohort="planner",
        agent=0,
        brackets=BRACKETS,
        history=(PlannerYear(0, (0.3, 0.5), 100.0), PlannerYear(1, (0.1, 0.5), 90.0)),
        best=PlannerYear(0, (0.3, 0.5), 100.0),
        groups=(BracketGroup(0.9, 30_000, 25_000), BracketGroup(0.1, 150_000, 90_000)),
        mean_hours=38.5,
        mean_income=42_000,
        rebate=9_000,
    )
    user = plan_messages(observation)[1].content
    for expected in (
        "Year 2: 10/50 %: welfare 90",
        "Best so far: year 1: 30/50 %: welfare 100",
        "90.0 % of the people",
        "give 2 changes",
    ):
        assert expected in user


def test_asking_again_keeps_the_chat_and_bounds_the_reply():
    messages = labor_messages(labor())
    again = try_again(messages, "x" * 10_000, "hours must be a number")
    assert again[:2] == messages
    assert [m.role for m in again] == ["system", "user", "assistant", "user"]
    assert len(again[2].content) == 300
    assert "hours must be a number" in again[3].content
