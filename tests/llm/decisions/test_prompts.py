"""What the models are told."""

import itertools
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from support.decisions import BRACKETS, filled, labor

from jaxecon.planners import PlannerMemory
from llm.agents.memory import WorkerMemory
from llm.decisions.base import Parsed, Unusable
from llm.decisions.labor import Labor, Trend, WorkerDay
from llm.decisions.persona import DescribePersona, PersonaObservation, parse_persona
from llm.decisions.plan import BracketGroup, Plan, PlannerYear, PlanObservation
from llm.decisions.satisfaction import (
    Satisfaction,
    SatisfactionObservation,
    parse_satisfaction,
)
from llm.decisions.shared import Cues, Statistics, try_again


def test_rules_are_byte_identical_across_agents_and_days():
    first, other = (
        Labor().messages(labor()),
        Labor().messages(labor(agent=9, day=7, skill=50.0, rebate=1.0)),
    )
    assert first[0] == other[0]
    assert first[1] != other[1]


def test_history_only_grows_at_its_end():
    """Two days of one agent: the second prompt begins as the first does, up to the first's own
    tail.
    """
    memory = filled(2, 3)
    before = Labor().messages(labor(history=memory.recall()[0].history))[1].content
    memory.append(0, 2, **{name: np.full(2, 2.0) for name in WorkerMemory.COLUMNS})
    after = Labor().messages(labor(history=memory.recall()[0].history, day=3))[1].content
    shared = before[: before.index("Today is")]
    assert after.startswith(shared)
    assert len(shared) > 100


@pytest.mark.parametrize("days", [1, 8, 100])
@pytest.mark.parametrize("fitting", [10, 30, 45])
def test_a_history_that_is_cut_to_fit_begins_where_it_did(days, fitting):
    """With a window of 100 days, of which `fitting` fit into a prompt; years of so many days."""
    memory, firsts = WorkerMemory(1, 100), []
    for number in range(300):
        observation = labor(history=memory.recall()[0].history)
        while len(observation.history) > fitting:
            before, observation = observation, Labor().shorter(observation)
            assert observation.history == before.history[-len(observation.history) :]
            assert len(before.history) // 2 <= len(observation.history) < len(before.history)
        firsts += [(day.year, day.day) for day in observation.history[:1]]
        memory.append(number // days, number % days, **dict.fromkeys(WorkerMemory.COLUMNS, 1.0))
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
    system, user = Labor().messages(
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
    user = Plan().messages(observation)[1].content
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
    return Plan().messages(plan_observation(**changes))[1].content


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
        assert (memory.finite_years == 0) == (year == 0)
    assert (memory.finite_years, memory.mean, memory.deviation) == (
        2,
        15.0,
        pytest.approx(np.std([10, 20], ddof=1)),
    )
    assert "0 years" not in plan(statistics=Statistics(0, 0.0, 0.0))
    finite = PlannerYear(1, (0.1, 0.5), 90.0)
    for before, after in ((-np.inf, 90.0), (90.0, np.inf), (-np.inf, -np.inf), (np.nan, 90.0)):
        told = plan(trend=(replace(finite, welfare=before), replace(finite, welfare=after)))
        assert not re.search("Last time|inf|nan", told)


def test_asking_again_keeps_the_chat_and_bounds_the_reply():
    messages = Labor().messages(labor())
    again = try_again(messages, "x" * 10_000, "hours must be a number")
    assert again[:2] == messages
    assert [m.role for m in again] == ["system", "user", "assistant", "user"]
    assert len(again[2].content) == 300
    assert "hours must be a number" in again[3].content


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
    assert said in Labor().messages(labor(**given))[1].content
    assert said not in Labor().messages(labor(history=given.get("history", ())))[1].content


def test_objectives():
    system = {
        o: Labor().messages(labor(objective=o))[0].content
        for o in ("egotistical", "altruistic", "adversarial")
    }
    assert "highest utility" in system["egotistical"]
    assert "social welfare highest" in system["altruistic"]
    assert "social welfare lowest" in system["adversarial"]
    low = DAY._replace(year=1, hours=20, metric=5.0)
    user = Labor().messages(
        labor(objective="adversarial", history=(DAY, low), top=low, cues=Cues(exploit=True))
    )[1]
    # less is better; of this year, so no year
    assert "Best so far: 20 hours with social welfare 5." in user.content
    assert "utility" not in user.content


def test_reasoning_comes_before_the_answer():
    system = Labor().messages(labor(style="cot"))[0].content
    assert '{"reasoning": "one short sentence", "hours": H}' in system
    kind, observation = Labor(), labor(style="cot")
    assert list(kind.schema(observation)["properties"]) == ["reasoning", "hours"]
    assert kind.parse('{"reasoning": "More pays.", "hours": 20}', observation).value == 20
    assert kind.tokens(observation) > kind.tokens(labor()) + 80


def test_satisfaction_and_persona_are_asked_and_read():
    asked = Satisfaction().messages(
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
        in DescribePersona().messages(PersonaObservation("llm", 0, "A 30-year-old."))[1].content
    )
    assert parse_persona('{"persona": "You are\\n Ann."}') == Parsed("You are Ann.", True)
    assert len(parse_persona(json.dumps({"persona": "x" * 5_000})).value) == 600
    for wrong in ('{"persona": ""}', '{"persona": 3}', "You are Ann"):
        with pytest.raises(Unusable):
            parse_persona(wrong)
