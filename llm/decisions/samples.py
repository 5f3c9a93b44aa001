"""Observations such as a run makes, of every kind: what templates are checked and shown with.

They reach every line of the package's templates (a test holds it). The first ones of a kind are
those of two agents on several days, in the order of a run, so that the text which prompts share can
be measured; the further ones differ from them in what the settings of a run can change.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxecon.config.survey import Question
from llm.decisions.candidacy import CandidacyObservation
from llm.decisions.election import PastYear
from llm.decisions.labor import HoursChange, LaborObservation, TriedHours, WorkerDay
from llm.decisions.persona import PersonaObservation
from llm.decisions.plan import (
    BracketGroup,
    Noise,
    PlannerYear,
    PlanObservation,
    TriedSchedule,
    UntriedRates,
)
from llm.decisions.policy import PolicyObservation
from llm.decisions.satisfaction import SatisfactionObservation
from llm.decisions.shared import Bracket, Cues, EconomyFacts
from llm.decisions.survey import SurveyObservation
from llm.decisions.vote import CandidateView, VoteObservation

ECONOMIES = (
    EconomyFacts(years=10, days=16),
    EconomyFacts(
        years=10,
        days=16,
        decide_every=4,
        curvature=1.0,
        welfare="rawlsian",
        saving=True,
        inertia=True,
    ),
    EconomyFacts(years=10, days=16, welfare="utilitarian", public_spending=5_000.0),
    EconomyFacts(
        *(10, 16),
        welfare="atkinson",
        judged=True,
        counted=True,
        public_spending=5_000.0,
        rebate_floor=0.0,
    ),
    EconomyFacts(
        *(10, 16),
        welfare="inverse_consumption",
        saving=True,
        public_spending=5_000.0,
        rebate_floor=1_000.0,
    ),
    EconomyFacts(years=10, days=16, welfare="paper_fixed"),
)
BRACKETS = (Bracket(0.0, 0.1), Bracket(40_000.0, 0.25), Bracket(90_000.0, 0.4))
RATES = tuple(bracket.rate for bracket in BRACKETS)
PERSONAS = (
    "You are 34 years old, a nurse, and live with your two children.",
    "You are 58 years old, a plumber, and live alone.",
)
PAY = (1_150.0, 640.0)  # $/year per weekly hour

Samples = tuple[Sequence[Any], Sequence[Any]]  # in order, and further ones


def in_order(template: str) -> Sequence[Any]:
    """Observations of one or two agents on several days, in the order of a run."""
    return _SAMPLES[template][0]


def samples(template: str) -> Sequence[Any]:
    """All observations of the kind of decision whose words the template holds, `in_order` first."""
    first, further = _SAMPLES[template]
    return [*first, *further]


def _labor(agent: int, day: int) -> LaborObservation:
    """Of a worker that tries other hours each day."""
    pay, hours = PAY[agent], [40 + 10 * (past % 3) for past in range(day)]
    days = [
        WorkerDay(
            *(0, past, worked, pay * worked, _tax(pay * worked)),
            rebate=9_000.0 + 7 * past,
            effort=round(0.2 * worked**2.5),
            welfare=31_000.0 + past,
        )
        for past, worked in enumerate(hours)
    ]
    kept = {w: d.income - d.tax - d.effort for w, d in zip(hours, days, strict=True)}
    tried = tuple(
        TriedHours(worked, hours.count(worked), _tax(pay * worked), kept[worked], 31_000.0)
        for worked in sorted(kept)
    )
    return LaborObservation(
        *(0, day, "workers", agent, ECONOMIES[0], BRACKETS, pay),
        rebate=9_000.0 + 7 * day,
        history=tuple(days),
        last_hours=hours[-1] if hours else 40,
        choices=tuple(range(0, 101, 10)),
        persona=PERSONAS[agent],
        tried=tried,
        best=max(tried, key=lambda t: kept[t.hours], default=None),
        untried=(70,),
        last_change=HoursChange(40, 50, kept[50] - kept[40]) if day > 1 else None,
        cues=Cues(explore=day > 0, exploit=day > 0),
    )


def _tax(income: float) -> float:
    ends = [bracket.threshold for bracket in BRACKETS[1:]] + [float("inf")]
    return sum(
        b.rate * max(min(income, e) - b.threshold, 0) for b, e in zip(BRACKETS, ends, strict=True)
    )


def _labor_samples() -> Samples:
    asked = [_labor(agent, day) for day in range(8) for agent in range(len(PAY))]
    last = _labor(0, 15)
    nothing_left = TriedHours(90, 1, 40_000.0, None)
    different = [
        last,
        *(replace(last, economy=economy) for economy in ECONOMIES),
        *(
            replace(last, objective=objective, economy=economy, cues=cues)
            for objective in ("altruistic", "adversarial")
            for economy in ECONOMIES
            for cues in (last.cues, Cues(exploit=True, final=True))
        ),
        replace(last, style="cot", persona="", counts=False, untried=()),
        replace(last, choices=tuple(range(101))),
        replace(last, tried=(*last.tried, nothing_left), cues=Cues(exploit=True, final=True)),
        replace(last, last_change=HoursChange(50, 40, -10.0), cues=Cues(explore=True)),
        replace(last, last_change=HoursChange(50, 40, -1.0), objective="altruistic"),
    ]
    return asked, different


def _plan(year: int) -> PlanObservation:
    """Of a planner that moved the highest rate in its second year, and kept it."""
    moved = (0.1, 0.25, 0.5)
    history = tuple(
        PlannerYear(past, moved if past else RATES, 30_000.0 + 40 * past, settling=past == 1)
        for past in range(year)
    )
    later = [y.welfare for y in history[2:]] or [y.welfare for y in history[1:]]
    mean = sum(later) / max(len(later), 1)
    after = (
        [TriedSchedule(moved, len(later), mean, later[0], later[-1], year == 2)] if later else []
    )
    tried = (*after, TriedSchedule(RATES, 1, 30_000.0, 30_000.0, 30_000.0))
    return PlanObservation(
        *(year, "planner", 0, ECONOMIES[0], BRACKETS, history),
        groups=(
            BracketGroup(0.5, 22_000.0, 24_000.0, 2_900.0, 2_850.0 if year > 1 else None),
            BracketGroup(0.5, 61_000.0, 40_000.0, 4_100.0, 4_200.0 if year > 1 else None),
            BracketGroup(0.0, 0.0, 0.0, 0.0, 0.0 if year > 1 else None),
        ),
        mean_hours=41.2,
        mean_income=41_500.0,
        rebate=7_000.0,
        tried=tried,
        best=tried[0],
        untried=(UntriedRates(0, (0.0, 0.2)), UntriedRates(2, (0.6,))),
        last_change=(history[-2], history[-1]) if year > 1 else None,
        noise=Noise(28.3, 1) if year > 3 else None,
        cues=Cues(explore=True, exploit=True),
        style="cot",
    )


def _plan_samples() -> Samples:
    asked = [_plan(year) for year in range(1, 5)]
    last = asked[-1]
    before, after = PlannerYear(1, RATES, 30_000.0), PlannerYear(2, (0.1, 0.25, 0.5), 29_900.0)
    several = TriedSchedule(RATES, 2, 30_000.0, 29_900.0, 30_100.0, settling=True)
    different = [
        *(replace(last, economy=economy) for economy in ECONOMIES),
        replace(last, tried=(several,), best=several, noise=Noise(60.0, 2), style="io"),
        replace(last, tried=(several._replace(years=1),), cues=Cues(explore=True), untried=()),
        replace(last, last_change=(before, after), cues=Cues(exploit=True, final=True)),
        replace(last, last_change=(before, after._replace(welfare=30_100.0)), counts=False),
        replace(last, last_change=(before, before._replace(year=2)), cues=Cues(explore=True)),
        _first_move_of_one_rate(last),
    ]
    return asked, different


def _first_move_of_one_rate(o: PlanObservation) -> PlanObservation:
    """The observation as that of a planner with one bracket and no memory."""
    return replace(
        o,
        brackets=o.brackets[:1],
        groups=o.groups[:1],
        history=(),
        tried=(),
        best=None,
        untried=(),
        last_change=None,
        noise=None,
    )


def _satisfaction_samples() -> Samples:
    asked = [
        SatisfactionObservation(**_looking_back(agent, day=7), satisfied=True)
        for agent in range(len(PAY))
    ]
    return asked, _other_years(asked[0])


def _looking_back(agent: int, day: int) -> dict[str, Any]:
    """What a worker knows of its year."""
    pay = PAY[agent]
    return {
        "year": 0,
        "day": day,
        "cohort": "workers",
        "agent": agent,
        "economy": ECONOMIES[0],
        "brackets": BRACKETS,
        "skill": pay,
        "persona": PERSONAS[agent],
        "hours": 40.0,
        "income": 40 * pay,
        "tax": _tax(40 * pay),
        "rebate": 7_000.0,
    }


def _other_years(seen: Any) -> list[Any]:
    """The observation as that of workers whose year was another."""
    return [
        *(replace(seen, economy=economy, day=economy.days - 1) for economy in ECONOMIES),
        replace(seen, income=0.0, hours=0.0, tax=0.0, persona=""),
        replace(seen, rebate=-2_000.0),
    ]


def _voter(agent: int, year: int) -> dict[str, Any]:
    """What all observations of an election hold."""
    past = [
        PastYear(before, "you" if before else "", RATES, 28_000.0 + before)
        for before in range(year)
    ]
    return {
        "year": year,
        "cohort": "workers",
        "agent": agent,
        "economy": ECONOMIES[0],
        "brackets": BRACKETS,
        "persona": PERSONAS[agent],
        "skill": PAY[agent],
        "history": tuple(past),
        "hours": 40.0,
        "income": 40 * PAY[agent],
        "tax": _tax(40 * PAY[agent]),
        "rebate": 7_000.0,
    }


VOTERS = [_voter(agent, year) for year in range(1, 4) for agent in range(len(PAY))]


def _different_voters(last: Any) -> list[Any]:
    """The observation as that of voters who want something else, in other economies."""
    return [
        *(replace(last, economy=economy) for economy in ECONOMIES),
        *(replace(last, objective=objective) for objective in ("altruistic", "adversarial")),
        replace(last, style="cot", persona="", history=()),
    ]


def _candidacy_samples() -> Samples:
    asked = [CandidacyObservation(**voter) for voter in VOTERS]
    return asked, [*_different_voters(asked[-1]), replace(asked[-1], leads=True)]


def _policy_samples() -> Samples:
    asked = [PolicyObservation(**voter, style="cot") for voter in VOTERS]
    announced = replace(asked[-1], announced=(0.1, 0.3, 0.5))
    one = replace(asked[-1], brackets=BRACKETS[:1])
    return asked, [*_different_voters(asked[-1]), announced, replace(one, style="io")]


def _vote_samples() -> Samples:
    workers = (
        CandidateView(RATES, 25_600.0, leads=True, you=False),
        CandidateView(None, 46_000.0, leads=False, you=True),
    )
    planners = (
        CandidateView(RATES, None, leads=True, you=False),
        CandidateView((0.1, 0.3, 0.5), None, leads=False, you=False),
    )
    asked = [VoteObservation(**voter, candidates=workers) for voter in VOTERS]
    different = [
        replace(asked[-1], method=method, style=style)
        for method in ("approval", "instant_runoff", "borda")
        for style in ("io", "cot")
    ]
    other = replace(asked[-1], candidates=planners)
    return asked, [*_different_voters(asked[-1]), *different, other]


def _persona_samples() -> Samples:
    return [PersonaObservation("workers", i, facts) for i, facts in enumerate(PERSONAS)], []


def _survey_samples() -> Samples:
    questions = (
        Question(name="support", ask="Do you support this tax?", choices=("yes", "no")),
        Question(name="expected", ask="What tax do you expect next year?", number=(0, 500_000)),
        Question(name="why", ask="Why did you work these hours?", text=200),
    )
    people = [_looking_back(agent, day=ECONOMIES[0].days - 1) for agent in range(len(PAY))]
    asked = [SurveyObservation(**p, question=question) for question in questions for p in people]
    return asked, _other_years(asked[0])


_SAMPLES: dict[str, Samples] = {
    "labor": _labor_samples(),
    "plan": _plan_samples(),
    "satisfaction": _satisfaction_samples(),
    "candidacy": _candidacy_samples(),
    "policy": _policy_samples(),
    "vote": _vote_samples(),
    "persona": _persona_samples(),
    "survey": _survey_samples(),
}
