"""What a worker is asked around an election: whether it stands, whom it votes for, which rates it sets once elected.

Laid out as in prompts.py: rules and this year's schedule | what is constant of one worker | its years | the question.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxecon.planners.base import changes
from jaxecon.voting import VotingMethod
from jaxecon.words import amount_text
from llm.engine import Message
from llm.prompts import Bracket, Objective, bracket_lines, form_text, percents, person_lines
from llm.schemas import Style


@dataclass(frozen=True)
class LedYear:
    """A year that a worker lived. leader: who set its rates, in words, "" where nobody was elected. rates: fractions; utility:
    the worker's own, mean."""

    year: int
    leader: str
    rates: tuple[float, ...]
    utility: float


@dataclass(frozen=True)
class Standing:
    """One candidate as a voter sees it. rates: that it announced, None where it said nothing. pay: $/year at 40 hours, None
    where it is no worker. you: whether it is the voter."""

    rates: tuple[float, ...] | None
    pay: float | None
    leads: bool
    you: bool


@dataclass(frozen=True)
class CandidacyObservation:
    """What a worker knows when it is asked to stand; and, once elected, when it sets the rates (PolicyObservation)."""

    year: int  # whose rates are at stake
    cohort: str
    agent: int
    brackets: tuple[Bracket, ...]  # in force until now
    persona: str
    skill: float  # $/year per weekly hour
    history: tuple[LedYear, ...]
    hours: float  # of the last year, means; $/year
    income: float
    tax: float
    rebate: float
    leads: bool = False
    objective: Objective = "egotistical"
    max_change: int = 20  # percentage points
    style: Style = "io"
    day: int = 0


@dataclass(frozen=True)
class PolicyObservation(CandidacyObservation):
    """announced: rates that it stood for, if it said any."""

    announced: tuple[float, ...] | None = None


@dataclass(frozen=True)
class VoteObservation:
    """What a voter knows. As CandidacyObservation; candidates: in the order of the ballot."""

    year: int
    cohort: str
    agent: int
    brackets: tuple[Bracket, ...]
    persona: str
    skill: float
    history: tuple[LedYear, ...]
    hours: float
    income: float
    tax: float
    rebate: float
    candidates: tuple[Standing, ...]
    method: VotingMethod = "plurality"
    objective: Objective = "egotistical"
    style: Style = "io"
    day: int = 0


_SETTING = """\
You are a worker in an economy with an income tax. Tax is taken bracket by bracket. All taxes are paid back to everyone as the \
same rebate. High rates make people work less. """
_ELECTION = "Each year the workers elect one of themselves, who sets next year's tax rates.\n"
_RETENTION = "A planner sets the tax rates. Each year the workers vote on whether it stays or a new planner takes its place.\n"
_ENDS: dict[Objective, str] = {
    "egotistical": "your own utility becomes as high as possible",
    "altruistic": "everyone is as well off as possible, the poor above all",
    "adversarial": "everyone is as badly off as possible",
}
_MOVES = "The rates may change by {} percentage points each; they stay between 0 and 100 %."
_ASKED: dict[VotingMethod, str] = {
    "plurality": '"vote": N',
    "approval": '"approve": [N, ...]',
    "instant_runoff": '"ranking": [N, ...]',
    "borda": '"ranking": [N, ...]',
}
_MEANING: dict[VotingMethod, str] = {
    "plurality": "N the number of the candidate you vote for, or 0 for nobody.",
    "approval": "the numbers of all candidates you would be content with, or [] for none.",
    "instant_runoff": "the numbers of the candidates, the one you like best first; leave out whom you do not want.",
    "borda": "the numbers of the candidates, the one you like best first; leave out whom you do not want.",
}


def candidacy_messages(o: CandidacyObservation) -> tuple[Message, ...]:
    """Chat for whether to stand, and with which rates."""
    form = form_text(o.style, '"stand": true or false, "changes": [C1, C2, ...]')
    rules = f"Decide whether you stand for election, and which changes of the rates you would make, so that {_ENDS[o.objective]}."
    answer = f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
    lines = [*_about(o), "You lead now. Do you stand again?" if o.leads else "Do you stand for election?"]
    return _chat(o.brackets, [rules, _moves(o.max_change), answer], lines)


def policy_messages(o: PolicyObservation) -> tuple[Message, ...]:
    """Chat for the rates that an elected worker sets."""
    form = form_text(o.style, '"changes": [C1, C2, ...]')
    rules = f"You have been elected. Change the rates so that {_ENDS[o.objective]}."
    answer = f"Answer with JSON only: {form}, one number per bracket, lowest bracket first."
    lines = _about(o)
    if o.announced is not None:
        lines.append(f"You announced the rates {percents(o.announced)}.")
    count = len(o.brackets)
    lines.append(f"Set year {o.year + 1}: give {count} change{'s' if count > 1 else ''}, one per bracket.")
    return _chat(o.brackets, [rules, _moves(o.max_change), answer], lines)


def vote_messages(o: VoteObservation) -> tuple[Message, ...]:
    """Chat for a ballot."""
    form = form_text(o.style, _ASKED[o.method])
    rules = [f"Vote as the person you are, so that {_ENDS[o.objective]}.", f"Answer with JSON only: {form}, {_MEANING[o.method]}"]
    lines = [*_about(o), "The candidates:"]
    lines += [f"{number}: {_candidate(c)}" for number, c in enumerate(o.candidates, 1)]
    setting = _RETENTION if any(c.pay is None for c in o.candidates) else _ELECTION
    return _chat(o.brackets, rules, [*lines, "How do you vote?"], setting)


def _chat(
    brackets: tuple[Bracket, ...], rules: Sequence[str], lines: Sequence[str], setting: str = _ELECTION
) -> tuple[Message, ...]:
    system = [_SETTING + setting + rules[0], *rules[1:], "The rates now:", *bracket_lines(brackets)]
    return Message("system", "\n".join(system)), Message("user", "\n".join(lines))


def _moves(max_change: int) -> str:
    return _MOVES.format(", ".join(f"{c:+d}" if c else "0" for c in changes(max_change)))


def _about(o: CandidacyObservation | VoteObservation) -> list[str]:
    lines = person_lines(o.persona, o.skill)
    if o.history:
        lines.append("Your years so far:")
    lines += [
        f"Year {y.year + 1}{y.leader and f', led by {y.leader}'}, {percents(y.rates)}: your utility {amount_text(y.utility)}"
        for y in o.history
    ]
    lines.append(
        f"Last year you worked {o.hours:.0f} hours a week, earned {o.income:,.0f}, paid {o.tax:,.0f} in tax and got a rebate of "
        f"{o.rebate:,.0f}."
    )
    return lines


def _candidate(c: Standing) -> str:
    if c.pay is None:
        return "the present planner stays" if c.leads else f"a new planner, who begins with the rates {percents(c.rates or ())}"
    said = f"would set {percents(c.rates)}" if c.rates is not None else "has announced no rates"
    who = "you" if c.you else "a worker"
    return f"{who}, earning {c.pay:,.0f} at 40 hours, {'leads now, ' if c.leads else ''}{said}"
