"""What a planner's prompt says."""

import re
from dataclasses import replace

import jax
import numpy as np
import pytest
from support.decisions import BRACKETS, chat

import jaxecon as je
from jaxecon.planners import PlannerMemory, YearObservation
from llm.agents.planner import _recent_years, _tried_schedules, revenue_by_bracket
from llm.decisions.plan import (
    BracketGroup,
    Noise,
    Plan,
    PlannerYear,
    PlanObservation,
    TriedSchedule,
    UntriedRates,
)
from llm.decisions.shared import Cues, EconomyFacts

YEARS = (PlannerYear(0, (0.3, 0.5), 100.0, True), PlannerYear(1, (0.1, 0.5), 90.0))
GOOD = TriedSchedule((0.3, 0.5), 3, 31_850.0, 31_508.0, 32_208.0)
POOR = TriedSchedule((0.1, 0.5), 1, 30_000.0, 30_000.0, 30_000.0, settling=True)
BOTH = {"tried": (GOOD, POOR), "best": GOOD}

OBSERVED = PlanObservation(
    year=2,
    economy=EconomyFacts(years=30),
    cohort="planner",
    agent=0,
    brackets=BRACKETS,
    history=(),
    groups=(BracketGroup(0.9, 30_000, 25_000, 1_200), BracketGroup(0.1, 150_000, 90_000, 3_000)),
    mean_hours=38.5,
    mean_income=42_000,
    rebate=9_000,
)


def user(**changes):
    return chat(Plan(), replace(OBSERVED, **changes))[1].content


def system(**changes):
    return chat(Plan(), replace(OBSERVED, **changes))[0].content


def test_it_says_what_the_planner_knows():
    text = user(history=YEARS, cues=Cues(exploit=True), **BOTH)
    assert "Year 1: 30/50 %: welfare 100, first year\nYear 2: 10/50 %: welfare 90\n" in text
    assert (
        "What each schedule brought, the best first:\n"
        "30/50 %: mean welfare 31,850 in 3 later years (31,508 to 32,208)\n"
        "10/50 %: welfare 30,000 in its first year only\n" in text
    )
    assert "Best so far: 30/50 % with welfare 31,850." in text
    assert (
        "10 % on income from 0 to 90,000: 90.0 % of the people, mean income 30,000, mean utility "
        "25,000; raises 1,200; changes: -20 gives 0 %, -10 gives 0 %, 0 gives "
        "10 %, +10 gives 20 %, +20 gives 30 %\n" in text
    )
    assert text.endswith("Set year 3 of 30: give 2 changes, one per bracket.")
    group = BracketGroup(0.9, 30_000, 25_000, 1_200, 1_150)
    assert "raises 1,200 (year before: 1,150); changes:" in user(groups=(group, group))


def test_the_objective_has_the_words_of_this_economy():
    assert "utility is its income - tax + rebate - effort.\n" in system()
    assert "(below 10,000 dollars a year all count alike)" in system()
    assert "each further dollar counting less" in system(economy=EconomyFacts(curvature=1.0))
    assert "the worst-off person" in system(economy=EconomyFacts(welfare="rawlsian"))
    assert "-20, -10, 0, +10, +20 percentage points" in system()
    assert "-10, 0, +10 percentage points" in system(max_change=10)
    assert system() == system(year=7, history=YEARS, **BOTH)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"noise": Noise(350.0, 5)},
            "Between later years at the same rates, welfare differs by about 350 (standard",
        ),
        ({}, "How much welfare differs between years at the same rates is not known yet."),
        (
            {"last_change": YEARS},
            "Last time the rates went from 30/50 % to 10/50 %, and welfare fell by 10 in the first "
            "year.\n",
        ),
        (
            {"last_change": (YEARS[0], YEARS[0]._replace(year=1, welfare=441.0))},
            "Last time the rates were kept, and welfare rose by 341.\n",
        ),
        (
            {"last_change": (YEARS[0], YEARS[0]._replace(year=1))},
            "Last time the rates were kept, and welfare stayed the same.\n",
        ),
        (
            BOTH | {"cues": Cues(exploit=True, final=True)},
            "Now take the best schedule: 30/50 % with welfare 31,850.",
        ),
        (
            BOTH
            | {
                "cues": Cues(explore=True, exploit=True),
                "untried": (UntriedRates(0, (0.2, 0.4)), UntriedRates(1, (0.6,))),
            },
            "Not tried yet, the best with one rate changed: bracket 1 at 20 or 40 %, bracket 2 at "
            "60 %. Try one of them, or keep the rates.\n",
        ),
        (
            {"cues": Cues(explore=True), "untried": (UntriedRates(0, (0.2,)),)},
            "Not tried yet, the rates now with one rate changed: bracket 1 at 20 %. ",
        ),
        ({"cues": Cues(explore=True)}, "All schedules one step away have been tried"),
    ],
)
def test_each_ingredient_has_its_words_and_a_switch(given, said):
    assert said in user(**given)
    assert said not in user(counts=False)


def test_numbers_of_years_may_be_left_out():
    text = user(counts=False, noise=Noise(350.0, 5), **BOTH)
    assert "30/50 %: mean welfare 31,850\n10/50 %: welfare 30,000\n" in text
    assert "differs by about" not in text


def test_welfare_with_curvature_has_the_digits_that_tell_schedules_apart():
    close = replace(OBSERVED, tried=(GOOD._replace(mean=10.47512), POOR._replace(mean=10.47509)))
    assert "welfare 10.475120 in" in chat(Plan(), close)[1].content
    noisy = replace(close, noise=Noise(0.02, 3))
    assert "welfare 10.475 in" in chat(Plan(), noisy)[1].content


def test_a_history_that_does_not_fit_loses_its_oldest_then_the_worst():
    years = tuple(PlannerYear(year, (0.1, 0.5), 90.0) for year in range(5, 15))
    observed = replace(OBSERVED, history=years, **BOTH)
    assert [year.year for year in Plan().shorter(observed).history] == list(range(8, 15))
    assert Plan().shorter(replace(observed, history=())).tried == (GOOD,)
    assert Plan().shorter(replace(observed, history=(), tried=())) is None


def test_infinite_welfare_is_told_as_such_and_never_the_best():
    memory = PlannerMemory.empty(2, 3)
    for year, welfare in enumerate([-np.inf, np.nan]):
        memory = memory.appended(year, np.array([0.1 * year, 0.5], np.float32), welfare)
    stored = jax.tree.map(np.asarray, memory)
    tried = _tried_schedules(stored.schedules)
    assert [t.mean for t in tried] == [-np.inf, -np.inf]
    text = user(history=_recent_years(stored), tried=tried, noise=None)
    assert not re.search("nan", text)


def test_revenue_by_bracket_adds_up_to_the_tax_on_everybodys_income():
    rng = np.random.default_rng(0)
    income = rng.lognormal(10.5, 0.8, 5_000)
    schedule = je.TaxSchedule.three_bracket([0.2, 0.5, 0.3])
    thresholds = np.asarray(schedule.thresholds)
    bracket = np.searchsorted(thresholds, income, side="right") - 1
    people = np.bincount(bracket, minlength=3) / len(income)
    mean = np.bincount(bracket, income, minlength=3) / np.maximum(np.bincount(bracket), 1)
    observed = YearObservation(0, 1, schedule, 0.0, 0.0, 0.0, 0.0, people, mean, mean)
    width = np.append(np.diff(thresholds), np.inf)
    parts = np.clip(income[:, None] - thresholds, 0, width) * np.asarray(schedule.rates)
    np.testing.assert_allclose(revenue_by_bracket(observed), parts.mean(axis=0), rtol=1e-5)
    nobody = YearObservation(0, 1, schedule, 0.0, 0.0, 0.0, 0.0, [1.0, 0, 0], [2e4, 0, 0], [0] * 3)
    np.testing.assert_allclose(revenue_by_bracket(nobody), [4_000, 0, 0], rtol=1e-6)
