"""What agents remember, and how prompts are laid out for the prefix cache."""

import copy
import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxecon.planners import PlannerMemory
from llm.agents.memory import WorkerMemory
from llm.decisions.base import Parsed, Unusable
from llm.decisions.labor import Labor, LaborObservation, Trend, WorkerDay, labor_messages
from llm.decisions.persona import PersonaObservation, parse_persona, persona_messages
from llm.decisions.plan import BracketGroup, Plan, PlannerYear, PlanObservation, plan_messages
from llm.decisions.satisfaction import (
    SatisfactionObservation,
    parse_satisfaction,
    satisfaction_messages,
)
from llm.decisions.wording import Bracket, Cues, Statistics, try_again

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
        memory.append(
            0, day, **{name: np.full(agents, float(day)) for name in WorkerMemory.COLUMNS}
        )
    return memory


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
    assert second.statistics.lived == 1


def test_rules_are_byte_identical_across_agents_and_days():
    first, other = (
        labor_messages(labor()),
        labor_messages(labor(agent=9, day=7, skill=50.0, rebate=1.0)),
    )
    assert first[0] == other[0]
    assert first[1] != other[1]


def test_history_only_grows_at_its_end():
    """Two days of one agent: the second prompt begins as the first does, up to the first's own
    tail.
    """
    memory = filled(2, 3)
    before = labor_messages(labor(history=memory.recall()[0].history))[1].content
    memory.append(0, 2, **{name: np.full(2, 2.0) for name in WorkerMemory.COLUMNS})
    after = labor_messages(labor(history=memory.recall()[0].history, day=3))[1].content
    shared = before[: before.index("Today is")]
    assert after.startswith(shared)
    assert len(shared) > 100


@pytest.mark.parametrize("days", [1, 8, 100])
@pytest.mark.parametrize("fitting", [10, 30, 45])
def test_a_history_that_is_cut_to_fit_begins_where_it_did(days, fitting):
    """With a window of 100 days, of which `fitting` fit into a prompt; years of so many days."""
    memory, firsts = WorkerMemory(1, 100), []
    for lived in range(300):
        observation = labor(history=memory.recall()[0].history)
        while len(observation.history) > fitting:
            before, observation = observation, Labor().shorter(observation)
            assert observation.history == before.history[-len(observation.history) :]
            assert len(before.history) // 2 <= len(observation.history) < len(before.history)
        firsts += [(day.year, day.day) for day in observation.history[:1]]
        memory.append(lived // days, lived % days, **dict.fromkeys(WorkerMemory.COLUMNS, 1.0))
    changes = sum(one != other for one, other in itertools.pairwise(firsts))
    assert 300 / fitting < changes < 300 / (0.3 * fitting)


def test_the_last_of_a_history_goes_too():
    observation = labor(history=(WorkerDay(0, 0, 10, 1, 1, 1, 5),))
    assert Labor().shorter(observation).history == ()
    assert Labor().shorter(labor()) is None
    years = tuple(PlannerYear(year, (0.1, 0.5), 90.0) for year in range(5, 15))
    cut = Plan().shorter(plan_observation(history=years)).history
    assert [year.year for year in cut] == list(range(8, 15))


def test_labor_prompt_says_what_the_worker_knows():
    system, user = labor_messages(
        labor(
            history=(
                WorkerDay(0, 0, 10, 10_000, 1_000, 9_000, 17_900),
                WorkerDay(0, 1, 20, 1, 1, 1, 5),
            )
        )
    )
    assert "H one of 0, 10, 20." in system.content
    assert "10 % on income from 0 to 90,000\n50 % on income from 90,000 up" in system.content
    for expected in (
        "1,000 dollars a year per weekly hour",
        "rebate: 9,000",
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
        best=(PlannerYear(0, (0.3, 0.5), 100.0),),
        cues=Cues(exploit=True),
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


def plan_observation(**changes):
    observation = PlanObservation(
        year=2,
        cohort="planner",
        agent=0,
        brackets=BRACKETS,
        history=(),
        best=(),
        groups=(BracketGroup(0.9, 30_000, 25_000), BracketGroup(0.1, 150_000, 90_000)),
        mean_hours=38.5,
        mean_income=42_000,
        rebate=9_000,
    )
    return replace(observation, **changes)


def plan(**changes):
    return plan_messages(plan_observation(**changes))[1].content


def test_the_one_best_schedule_is_shown_without_the_cue_to_exploit():
    one, two = PlannerYear(0, (0.3, 0.5), 100.0), PlannerYear(1, (0.1, 0.5), 90.0)
    line = "30/50 %: welfare 100 (year 1)"
    assert f"Best schedules tried:\n{line}\n" in plan(best=(one,))
    assert f"Best schedules tried:\n{line}\n" in plan(best=(one, two), cues=Cues(exploit=True))
    assert plan(best=(one,), cues=Cues(exploit=True)).count("30/50 %") == 1  # the cue has it
    assert "Best" not in plan()


def test_infinite_welfare_is_no_trend_and_no_statistics_of_the_planner():
    memory = PlannerMemory.empty(2, 3, 2)
    for year, welfare in enumerate([-np.inf, 10.0, np.nan, 20.0, np.inf]):
        memory = memory.appended(year, np.array([0.1 * year, 0.5]), welfare)
        assert (memory.lived == 0) == (year == 0)
    assert (memory.lived, memory.mean, memory.deviation) == (
        2,
        15.0,
        pytest.approx(np.std([10, 20], ddof=1)),
    )
    assert "0 years" not in plan(statistics=Statistics(0, 0.0, 0.0))
    finite = PlannerYear(1, (0.1, 0.5), 90.0)
    for before, after in ((-np.inf, 90.0), (90.0, np.inf), (-np.inf, -np.inf), (np.nan, 90.0)):
        told = plan(trend=(replace(finite, welfare=before), replace(finite, welfare=after)))
        assert not re.search("Last time|inf|nan", told)


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
                some.statistics.lived,
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
        assert whole.statistics.lived == day + 1
        assert (whole.trend is not None) == (day > 0)
        assert (none.statistics, none.trend) == (None, None)
        for one, other in zip(memory.recall(), again.recall(), strict=True):
            assert (one.statistics, one.trend) == (other.statistics, other.trend)
        told = labor_messages(labor(statistics=some.statistics, trend=some.trend))[1].content
        assert not re.search(r"\b(inf|nan)\b", told)
    assert not re.search("Last time", labor_messages(labor(trend=Trend(10.0, np.inf)))[1].content)


def test_asking_again_keeps_the_chat_and_bounds_the_reply():
    messages = labor_messages(labor())
    again = try_again(messages, "x" * 10_000, "hours must be a number")
    assert again[:2] == messages
    assert [m.role for m in again] == ["system", "user", "assistant", "user"]
    assert len(again[2].content) == 300
    assert "hours must be a number" in again[3].content


# --- workers' best, statistics, cues


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


DAY = WorkerDay(0, 0, 10, 10_000, 1_000, 9_000, 17_900)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"best": (DAY,)}, "The best utility that hours brought: 10: 17,900 (year 1)."),
        (
            {"statistics": Statistics(3, 15_000.0, 2_000.0, 35.0)},
            "Over 3 days: mean 35 hours, mean utility 15,000, spread 2,000.",
        ),
        (
            {"trend": Trend(-10.0, 1_500.0)},
            "Last time you worked 10 hours less, and utility rose by 1,500.",
        ),
        ({"cues": Cues(explore=True)}, "explore."),
        (
            {"cues": Cues(exploit=True), "top": DAY},
            "Best so far: 10 hours with utility 17,900 (year 1).",
        ),
        (
            {"cues": Cues(exploit=True, final=True), "top": DAY},
            "Now take what has been best: 10 hours with utility 17,900 (year 1).",
        ),
        ({"persona": "You are a 30-year-old woman."}, "You are a 30-year-old woman."),
    ],
)
def test_each_ingredient_has_its_words_and_a_switch(given, said):
    assert said in labor_messages(labor(**given))[1].content
    assert said not in labor_messages(labor(history=given.get("history", ())))[1].content


def test_objectives():
    system = {
        o: labor_messages(labor(objective=o))[0].content
        for o in ("egotistical", "altruistic", "adversarial")
    }
    assert "highest utility" in system["egotistical"]
    assert "social welfare highest" in system["altruistic"]
    assert "social welfare lowest" in system["adversarial"]
    low = DAY._replace(year=1, hours=20, metric=5.0)
    user = labor_messages(
        labor(objective="adversarial", history=(DAY, low), top=low, cues=Cues(exploit=True))
    )[1]
    assert (
        "Best so far: 20 hours with social welfare 5." in user.content
    )  # less is better; of this year, so no year
    assert "utility" not in user.content


def test_a_new_schedule_outdates_what_hours_brought():
    memory = WorkerMemory(1, 0, 3)
    zero = dict.fromkeys(("income", "tax", "rebate"), 0.0)
    for year, hours, metric in ((0, 40.0, 9.0), (0, 20.0, 5.0), (1, 40.0, 3.0), (1, 40.0, 2.0)):
        memory.append(year, 0, hours=np.array([hours]), metric=np.array([metric]), **zero)
    assert [(d.hours, d.metric, d.year) for d in memory.recall()[0].best] == [
        (20.0, 5.0, 0),
        (40.0, 3.0, 1),
    ]


def test_reasoning_comes_before_the_answer():
    system = labor_messages(labor(style="cot"))[0].content
    assert '{"reasoning": "one short sentence", "hours": H}' in system
    kind, observation = Labor(), labor(style="cot")
    assert list(kind.schema(observation)["properties"]) == ["reasoning", "hours"]
    assert kind.parse('{"reasoning": "More pays.", "hours": 20}', observation).value == 20
    assert kind.tokens(observation) > kind.tokens(labor()) + 80


def test_satisfaction_and_persona_are_asked_and_read():
    asked = satisfaction_messages(
        SatisfactionObservation(
            0,
            7,
            "llm",
            0,
            BRACKETS,
            1000.0,
            "You are a 30-year-old.",
            40.0,
            40_000.0,
            4_000.0,
            9_000.0,
            True,
        )
    )
    assert asked[1].content.startswith("You are a 30-year-old.")
    assert "paid 4,000 in tax (10 % of it) and got a rebate of 9,000" in asked[1].content
    assert parse_satisfaction('{"satisfied": false}') == Parsed(False)
    assert parse_satisfaction('Well: {"satisfied": "Yes"}') == Parsed(True, True)
    for wrong in ('{"satisfied": 1}', '{"satisfied": null}', "no", '{"satisfied": [true]}'):
        with pytest.raises(Unusable):
            parse_satisfaction(wrong)
    assert (
        "A 30-year-old."
        in persona_messages(PersonaObservation("llm", 0, "A 30-year-old."))[1].content
    )
    assert parse_persona('{"persona": "You are\\n Ann."}') == Parsed("You are Ann.", True)
    assert len(parse_persona(json.dumps({"persona": "x" * 5_000})).value) == 600
    for wrong in ('{"persona": ""}', '{"persona": 3}', "You are Ann"):
        with pytest.raises(Unusable):
            parse_persona(wrong)
