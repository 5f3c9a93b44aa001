"""Whether a worker is satisfied with its tax and rebate."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from llm.decisions.base import Parsed
from llm.decisions.replies import object_schema, only_field, yes_no
from llm.decisions.wording import Bracket, bracket_lines, person_lines
from llm.messages import Message


@dataclass(frozen=True)
class SatisfactionObservation:
    """What a worker looks back on when it is asked whether it is satisfied.

    hours (h/week), income, tax and rebate ($/year) are means of the tax year so far.
    """

    year: int
    day: int
    cohort: str
    agent: int
    brackets: tuple[Bracket, ...]
    skill: float  # $/year per weekly hour
    persona: str
    hours: float
    income: float
    tax: float
    rebate: float
    satisfied: bool  # until now: what it stays if no answer can be used


_RULES = """\
You live in an economy with an income tax. Tax is taken bracket by bracket. All taxes are paid \
back to everyone as the same rebate. Say, as the person you are, whether you are satisfied with \
the tax you pay and the rebate you get.
Answer with JSON only: {"satisfied": true} or {"satisfied": false}"""


@lru_cache
def satisfaction_schema() -> dict[str, Any]:
    """The schema of a yes or no."""
    return object_schema(satisfied={"type": "boolean"})


def parse_satisfaction(text: str) -> Parsed[bool]:
    """Read yes or no from {"satisfied": true}; words in quotes are understood. Raises Unusable."""
    answer, repaired = only_field(text, "satisfied")
    satisfied, coerced = yes_no(answer, "satisfied")
    return Parsed(satisfied, repaired or coerced)


class Satisfaction:
    """Whether a worker is satisfied with its tax and rebate. Falls back on its last answer."""

    name = "satisfaction"

    def messages(self, observation: SatisfactionObservation) -> tuple[Message, ...]:
        o = observation
        system = "\n".join([_RULES, "This year's tax:", *bracket_lines(o.brackets)])
        share = f" ({100 * o.tax / o.income:.0f} % of it)" if o.income > 0 else ""
        lines = person_lines(o.persona, o.skill)
        lines.append(
            f"In year {o.year + 1} you worked {o.hours:.0f} hours a week, earned {o.income:,.0f}, "
            f"paid {o.tax:,.0f} in tax{share} "
            f"and got a rebate of {o.rebate:,.0f}. Are you satisfied?"
        )
        return Message("system", system), Message("user", "\n".join(lines))

    def schema(self, observation: SatisfactionObservation) -> dict[str, Any]:
        return satisfaction_schema()

    def parse(self, text: str, observation: SatisfactionObservation) -> Parsed[bool]:
        return parse_satisfaction(text)

    def fallback(self, observation: SatisfactionObservation) -> bool:
        return observation.satisfied

    def tokens(self, observation: SatisfactionObservation) -> int:
        return 16

    def shorter(self, observation: SatisfactionObservation) -> None:
        return None
