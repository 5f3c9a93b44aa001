"""How each claim is judged.

A function with the claim's name reads tables. It returns the verdict, which follows from their
numbers by a rule, and what was measured.
"""

from collections.abc import Callable
from typing import NamedTuple

from experiments.pages.claims import CLAIMS, Claim, number_of
from experiments.pages.results import (
    AbsentTableError,
    difference_text,
    is_there,
    manifest_of,
    mean_text,
    row_of,
    rows_of,
    stored_table,
)
from experiments.questions import planner_prompt
from experiments.suite.answers import answer_limits, statistic_limits
from experiments.suite.wording import STATISTICS, number_text

HOLDS, PARTLY, FAILS, UNTESTED, MISSING = (
    "holds",
    "holds in part",
    "does not hold here",
    "cannot be tested here",
    "not measured yet",
)
PUBLISHED_GAINS = (0.93, 1.14)  # over US federal, as the paper reports them
LENGTH_OF_YEAR = 128  # days
PUBLISHED_COST = 0.22  # gain lost by leaving out exploitation
LEVEL = 0.05
# margins for "about": they are fixed, so that fewer data do not make a claim hold more easily
ABOUT = 0.11  # distance from the published cost: half of it
BEHIND = 0.01  # of a gain: how far behind a planner that keeps up may be
NEAR = 0.1  # of an elasticity


class Judgement(NamedTuple):
    """A judgement of a claim.

    verdict: one of the five above. measured: the numbers that it follows from, in a sentence.
    """

    verdict: str
    measured: str


def judge(claim: Claim) -> Judgement:
    """Judge a claim by its function in JUDGES; `not measured yet` where its tables are absent."""
    absent = [name for name in claim.needs if not is_there(name)]
    if absent:
        return Judgement(MISSING, f"`jaxecon experiment {absent[0]}` has no tables here yet.")
    try:
        return JUDGES[claim.name]()
    except AbsentTableError as error:
        return Judgement(MISSING, str(error))


def gains() -> Judgement:
    rows = rows_of("units", "economies", statistic="gain_equilibrium")
    low, high = PUBLISHED_GAINS
    alike = [row for row in rows if low <= row["low"] and row["high"] <= high]
    # reported only; the verdict does not depend on it
    reaching = [row for row in rows if row["high"] >= low and row["low"] <= high]
    listed = "; ".join(f"{row['parameters']}: {mean_text(row)}" for row in rows)
    best = row_of("baselines", "gains", statistic="gain_equilibrium", planner="optimum")
    measured = (
        f"The last schedule's gain at equilibrium, %: {listed}. The interval lies within the "
        f"published one in {len(alike)} of {len(rows)} economies and overlaps it in "
        f"{len(reaching)}. The exact optimum of the calibrated economy gains {mean_text(best)} %: "
        "where every worker responds exactly and may choose any hours, no planner can gain more "
        f"(why gains as simulated can be larger: claim {number_of('steps_of_ten')})."
    )
    calibrated = any(row["parameters"] == "calibrated, floor 10,000" for row in alike)
    if reaching and all(row["parameters"].endswith("floor 1") for row in reaching):
        measured += (
            " Gains of that size come from welfare weights without a floor, under which a few "
            "near-zero incomes make up nearly all of welfare."
        )
    return Judgement(HOLDS if calibrated else PARTLY if alike else FAILS, measured)


def settling() -> Judgement:
    days = str(LENGTH_OF_YEAR)
    row = row_of("tax_year", "settling", statistic="settling", days=days)
    # hours settle within the year by construction: the claim is that a shorter year would not be
    # enough
    verdict = HOLDS if row["low"] > LENGTH_OF_YEAR / 2 else FAILS
    shorter = {
        r["days"]: mean_text(r)
        for r in rows_of("tax_year", "settling", statistic="settling")
        if r["days"] != days
    }
    return Judgement(
        verdict,
        f"In a year of {days} days, mean hours of adaptive workers stay within 1 h/week of where "
        f"they end after {mean_text(row)} days. In years of other lengths: "
        f"{'; '.join(f'{d} days: {text}' for d, text in shorter.items())}. (Adaptive workers "
        "explore less and less during a year, at a pace set by its length, so that they take more "
        "days to settle in a longer year.)",
    )


def long_years() -> Judgement:
    simulated, equilibrium, reversing = (
        row_of("tax_year", table, statistic=statistic, days="8")
        for table, statistic in (
            ("welfare", "gain_realised"),
            ("welfare", "gain_equilibrium"),
            ("settling", "reversals"),
        )
    )
    worse = {
        name: row["p"] < LEVEL and row["difference"] * sign < 0
        for name, row, sign in (
            ("simulated", simulated, 1),
            ("equilibrium", equilibrium, 1),
            ("reversing", reversing, -1),
        )
    }
    verdict = HOLDS if all(worse.values()) else PARTLY if any(worse.values()) else FAILS
    return Judgement(
        verdict,
        f"Years of 8 days less years of {simulated['reference']} days, percentage points: gain as "
        f"simulated {difference_text(simulated)}, gain at equilibrium "
        f"{difference_text(equilibrium)}, changes of a rate that reverse the one before "
        f"{difference_text(reversing)}.",
    )


def exploitation() -> Judgement:
    parts, verdicts = [], []
    for statistic in ("gain_realised", "gain_equilibrium"):
        exploitation, exploration = (
            row_of("planner_prompt", "ablations", statistic=statistic, planner=f"without {name}")
            for name in ("exploitation", "exploration")
        )
        apart = row_of(
            "planner_prompt", "cues", statistic=statistic, planner="without exploitation"
        )
        verdicts.append(
            all(row["p"] < LEVEL and row["difference"] < 0 for row in (exploitation, apart))
        )
        parts.append(
            f"{STATISTICS[statistic].words.removesuffix(', %')}: without exploitation "
            f"{difference_text(exploitation)}, without exploration "
            f"{difference_text(exploration)}, the one less the other {difference_text(apart)}"
        )
    return Judgement(
        HOLDS if all(verdicts) else PARTLY if any(verdicts) else FAILS,
        f"Mechanical in-context planner, percentage points of gain: {'; '.join(parts)}.",
    )


def size_of_exploitation() -> Judgement:
    tables = [name for name in manifest_of("units")["tables"] if name.startswith("cues_")]
    listed, alike = [], 0
    for table in tables:
        row = row_of("units", table, statistic="gain_equilibrium", planner="without exploitation")
        economy = stored_table("units", table)["title"].removeprefix("Leaving out a cue, ")
        listed.append(f"{economy}: {difference_text(row)}")
        alike += (
            row["difference_low"] > -PUBLISHED_COST - ABOUT
            and row["difference_high"] < -PUBLISHED_COST + ABOUT
        )
    return Judgement(
        HOLDS if alike == len(tables) else PARTLY if alike else FAILS,
        f"Percentage points of gain at equilibrium: {'; '.join(listed)}. The whole interval lies "
        f"within {100 * ABOUT:.0f} "
        f"points of the published size in {alike} of {len(tables)} economies.",
    )


def interactions() -> Judgement:
    rows = rows_of("planner_prompt", "effects", statistic="gain_equilibrium")
    sure = [row for row in rows if row["p"] < LEVEL]
    listed = "; ".join(f"{row['effect']} {difference_text(row)}" for row in sure) or "none"
    return Judgement(
        UNTESTED,
        f"The paper has no factorial. Here, of {len(rows)} main effects and two-way interactions "
        "on the gain at equilibrium, "
        f"{len(sure)} differ from nothing: {listed}.",
    )


def language_models() -> Judgement:
    rows = stored_table("planner_prompt", "llm_planner")["rows"]
    whole = next(row for row in rows if row["described"] == "all four")
    models = ", ".join(manifest_of("planner_prompt")["designs"]["llm.planner"]["models"])
    if "plan_distinct" in whole:
        limits = answer_limits(rows, "plan", planner_prompt.ABOUT)
    else:  # results of an earlier version
        limits = ["How many different answers there were was not counted."]
    limits += statistic_limits(rows, planner_prompt.DESCRIBED, planner_prompt.ABOUT)
    return Judgement(
        UNTESTED,
        f"No machine here holds Llama-3.1-8B with 100 agents. What did run: {models} as planner, "
        f"one population, {len(rows)} "
        f"prompts, {sum(row['answers'] for row in rows)} answers, "
        f"{sum(row['fallbacks'] for row in rows)} fallbacks; with the "
        f"whole prompt its last schedule gains {number_text(whole['gain_equilibrium'], 100)} % "
        f"at equilibrium. {''.join(f'{line} ' for line in limits)}That describes one run of a "
        "very small model, and says nothing about larger ones.",
    )


def saez() -> Judgement:
    verdicts, parts = [], []
    for statistic in ("gain_realised", "gain_equilibrium"):
        row = row_of("baselines", "beside_saez", statistic=statistic, planner="in-context")
        verdicts.append(
            HOLDS
            if row["difference_low"] > -BEHIND
            else FAILS
            if row["difference_high"] < -BEHIND
            else PARTLY
        )
        parts.append(f"{STATISTICS[statistic].words.removesuffix(', %')} {difference_text(row)}")
    rows = [
        row
        for row in rows_of("baselines", "gains", statistic="gain_equilibrium")
        if row.get("difference") is not None
    ]
    listed = "; ".join(f"{row['planner']} {difference_text(row)}" for row in rows)
    return Judgement(
        verdicts[0] if len(set(verdicts)) == 1 else PARTLY,
        f"The in-context planner less {row['reference']}, percentage points: {'; '.join(parts)} "
        f"(keeping up: the whole interval above -{100 * BEHIND:.0f}). "
        f"Gain at equilibrium less the optimum's: {listed}.",
    )


def elasticity() -> Judgement:
    rows = [row for row in rows_of("empirical_saez", "elasticities") if row["workers"] != "true"]
    true = row_of("empirical_saez", "elasticities", workers="true")["mean"]
    inside = [row for row in rows if true - NEAR < row["low"] and row["high"] < true + NEAR]
    listed = "; ".join(f"{row['workers']} workers {mean_text(row)}" for row in rows)
    return Judgement(
        HOLDS if len(inside) == len(rows) else PARTLY if inside else FAILS,
        f"Estimated from incomes under reforms: {listed}; where every worker responds exactly: "
        f"{true:g}. The whole interval lies within {NEAR:g} of that for {len(inside)} of "
        f"{len(rows)} kinds of workers.",
    )


def hours_at_the_cap() -> Judgement:
    paper, calibrated = (
        row_of("units", "economies", statistic="hours_federal", parameters=f"{kind}, floor 10,000")
        for kind in ("paper", "calibrated")
    )
    return Judgement(
        HOLDS if paper["low"] > 80 else FAILS,
        f"Mean hours under the US federal schedule with the paper's parameters {mean_text(paper)} "
        f"h/week, calibrated {mean_text(calibrated)}.",
    )


def steps_of_ten() -> Judgement:
    compared = [row for row in rows_of("hours", "steps") if row.get("difference") is not None]
    rows = [row for row in compared if row["hours"].endswith(": steps of 10")]
    more = [row for row in rows if row["p"] < LEVEL and row["difference"] > 0]
    listed = "; ".join(
        f"{row['hours'].removesuffix(': steps of 10')} {difference_text(row)}" for row in rows
    )
    # reported only; the paper's choices are steps of ten
    economy = "calibrated, floor 10,000"
    finer = "; ".join(
        f"{row['hours'].removeprefix(f'{economy}: ')} {difference_text(row)}"
        for row in compared
        if row["hours"].startswith(economy) and row not in rows
    )
    return Judgement(
        HOLDS if len(more) == len(rows) else PARTLY if more else FAILS,
        "What the best three-bracket schedule gains where every worker takes the best of 0, 10, "
        "..., 100 hours, less what it gains where any hours can be chosen, percentage points: "
        f"{listed}. With finer steps, {economy}: {finer}. Calibrated workers all work the same "
        "hours under the US federal schedule and take a step down together: a planner can raise "
        "rates to just below that point, so that gains as simulated can exceed the exact "
        "optimum's.",
    )


def satisfaction() -> Judgement:
    half = [row for row in rows_of("satisfaction", "penalties") if row["penalty"] == "leaves 50%"]
    moved = [row for row in half if row["p"] < LEVEL]
    listed = "; ".join(
        f"{STATISTICS[row['statistic']].words} {difference_text(row)}" for row in half
    )
    return Judgement(
        UNTESTED,
        "The paper reports no comparison. Here, a planner whose welfare counts the penalty on "
        "dissatisfied workers (they keep half of their utility), less one whose welfare does not: "
        f"{listed}. {len(moved)} of {len(half)} differ.",
    )


def other_objectives() -> Judgement:
    rows = [
        row
        for row in rows_of("population_mix", "mixes", statistic="gain_realised")
        if row.get("difference") is not None
    ]
    good = [row for row in rows if "adversaries" not in row["people"]]
    bad = [row for row in rows if "altruists" not in row["people"]]
    raises = all(row["p"] < LEVEL and row["difference"] > 0 for row in good)
    lowers = all(row["p"] < LEVEL and row["difference"] < 0 for row in bad)
    listed = "; ".join(f"{row['people']} {difference_text(row)}" for row in rows)
    return Judgement(
        HOLDS if raises and lowers else PARTLY if raises or lowers else FAILS,
        f"Gain as simulated less that of egotists alone, percentage points: {listed}.",
    )


def majorities() -> Judgement:
    three = next(
        row["economy"]
        for row in rows_of("voting", "conflict", statistic="exploits")
        if row["economy"].startswith("3 ")
    )
    years = row_of("voting", "conflict", statistic="exploits", economy=three)
    loss = row_of("voting", "conflict", statistic="minority_loss", economy=three)
    verdict = HOLDS if years["low"] > 0.5 else FAILS if years["high"] < 0.05 else PARTLY
    others = "; ".join(
        f"{row['economy']} {mean_text(row)}"
        for row in rows_of("voting", "conflict", statistic="exploits")
        if row["economy"] != three
    )
    return Judgement(
        verdict,
        f"{three}: a majority gains over the optimum at the others' cost in {mean_text(years)} % "
        f"of years; who loses, loses {mean_text(loss)} % of its utility at the optimum. Other "
        f"economies, % of years: {others}.",
    )


def turnover() -> Judgement:
    rows = rows_of("voting", "turnover", statistic="turnover_raised")
    raises, lowers = all(row["low"] > 0.5 for row in rows), all(row["high"] < 0.5 for row in rows)
    listed = "; ".join(f"{row['economy']} {mean_text(row)}" for row in rows)
    return Judgement(
        HOLDS if raises else FAILS if lowers else PARTLY,
        "Mechanical voters, % of turnovers after which welfare is higher than the year before: "
        f"{listed}.",
    )


JUDGES: dict[str, Callable[[], Judgement]] = {
    judging.__name__: judging
    for judging in (
        gains,
        settling,
        long_years,
        exploitation,
        size_of_exploitation,
        interactions,
        saez,
        elasticity,
        hours_at_the_cap,
        steps_of_ten,
        satisfaction,
        other_objectives,
        language_models,
        majorities,
        turnover,
    )
}
assert JUDGES.keys() == {claim.name for claim in CLAIMS}
