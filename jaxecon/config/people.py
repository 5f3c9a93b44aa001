"""Settings of the population: cohorts, skills, personas."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from jaxecon.config.base import Bounded, Section, one_of
from jaxecon.config.hours import Choices
from jaxecon.config.names import LLM_RULE, RULES, WITHOUT_CHOICES

SMALLEST_SHARE = 1e-9  # of the people, in one cohort: smaller weights are lost in float32
_NAME = r"^[a-z][a-z0-9_]{0,30}$"


class CohortConfig(Section):
    """One cohort in the full form of `population.cohorts`."""

    name: str = Field(pattern=_NAME, description="Unique; seeds the cohort's random numbers.")
    rule: str = Field(description=f"{', '.join(RULES)}, llm, or package.module:Class.")
    size: int = Field(ge=1, le=100_000_000, description="Agents.")
    parameters: dict[str, float] = Field(
        default_factory=dict, description="The rule's parameters, by name."
    )
    objective: Literal["egotistical", "altruistic", "adversarial"] = Field(
        "egotistical",
        description="What an LLM cohort is asked to maximise: its own utility, social welfare, or "
        "the opposite of it.",
    )
    llm: str | None = Field(
        None,
        description="Of an LLM cohort: the name in llm.others of what answers it; unset: llm "
        "itself.",
    )
    choices: Choices | None = Field(
        None,
        description="The hours a week that it chooses among, if it is adaptive, quantal, an LLM "
        "cohort or has a rule of your own; unset: labor.choices.",
    )

    @property
    def has_choices(self) -> bool:
        """Whether its workers choose among given hours.

        Nobody knows this of a rule of a user's own, unless the cohort has `choices` of its own.
        """
        known = self.rule in RULES or self.rule == LLM_RULE
        return self.rule not in WITHOUT_CHOICES if known else self.choices is not None


class Personas(Section):
    source: Literal["none", "census", "model"] = Field(
        "census",
        description="The person that an LLM worker is asked to be: nobody; people drawn from "
        "census tables, in a template's words; the same people, written out once by the model.",
    )
    correlation: float = Field(
        0.5,
        ge=-1,
        le=1,
        description="Rank correlation of an agent's skill with the median pay of its persona's "
        "occupation.",
    )


class Population(Section):
    mechanical: int = Field(
        2000, ge=0, le=100_000_000, description="Mechanical workers: half adaptive, half quantal."
    )
    llm: int = Field(
        16, ge=0, le=100_000, description="Workers whose decisions a language model writes."
    )
    cohorts: tuple[CohortConfig, ...] | None = Field(
        None, description="The full form; replaces `mechanical` and `llm`."
    )
    shares: dict[str, Bounded] = Field(
        default_factory=dict,
        description="Share of the people per cohort; `llm` names all LLM cohorts together (0.2 "
        "unless set). "
        "The rest is divided over the other cohorts by head count.",
    )
    skills: Literal["gb2", "uniform", "file"] = Field(
        "gb2", description="GB2 fitted to ACS 2023 income; the paper's uniform wages; microdata."
    )
    file: str | None = Field(
        None,
        description="Parquet or CSV with a column `skill` ($/year per weekly hour) or `income` "
        "($/year at 40 h), "
        "and optionally `weight`.",
    )
    sampling: Literal["quantiles", "random"] = Field(
        "quantiles", description="Quantile midpoints, or draws that the seed decides."
    )
    personas: Personas = Personas()


def shares_of_people(cohorts: Sequence[CohortConfig], chosen: dict[str, float]) -> dict[str, float]:
    """The share of the people in each cohort, summing to 1.

    Args:
        cohorts: all cohorts.
        chosen: shares by cohort, of some; `llm` is the share of all LLM cohorts together.

    Raises:
        ValueError: one line; an unknown cohort, or shares that do not sum to 1.
    """
    llm = [c for c in cohorts if c.rule == LLM_RULE]
    mechanical = [c for c in cohorts if c.rule != LLM_RULE]
    known = list(dict.fromkeys([c.name for c in cohorts] + ([LLM_RULE] if llm else [])))
    for name in chosen:
        if name not in known:
            raise ValueError(f"population.shares.{name}: no such cohort; {one_of(known, name)}")
    shares = {
        c.name: chosen[c.name]
        for c in cohorts
        if c.name in chosen and not (c.name == LLM_RULE and c.rule == LLM_RULE and len(llm) > 1)
    }
    open_llm = [c for c in llm if c.name not in shares]
    open_mechanical = [c for c in mechanical if c.name not in shares]
    if open_llm:
        rest = 1 - sum(shares.values())
        together = chosen.get(LLM_RULE, 0.2 if mechanical else 1.0) - sum(
            shares.get(c.name, 0) for c in llm
        )
        together = together if open_mechanical else rest
        for c in open_llm:
            shares[c.name] = together * c.size / sum(c.size for c in open_llm)
    rest = 1 - sum(shares.values())
    for c in open_mechanical:
        shares[c.name] = rest * c.size / sum(c.size for c in open_mechanical)
    total = sum(shares.values())
    if abs(total - 1) > 1e-9 or not min(shares.values()) >= SMALLEST_SHARE:
        written = ", ".join(f"{name} {share:.6g}" for name, share in shares.items())
        raise ValueError(
            f"population.shares: {written} (sum {total:.6g}); every cohort's share must be at "
            f"least {SMALLEST_SHARE:g} and all must sum to 1"
        )
    return shares
