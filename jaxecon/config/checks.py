"""Checks between settings: each looks at one relation and raises ValueError with one line."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

from jaxecon.config.base import MAX_DOLLARS, one_of
from jaxecon.config.dynamics import OPTIMUM
from jaxecon.config.hours import choices_of
from jaxecon.config.language_checks import LANGUAGE_CHECKS
from jaxecon.config.names import BRACKETS, LLM_RULE, RULES, WITHOUT_CHOICES
from jaxecon.config.people import CohortConfig, shares_of_people
from jaxecon.core.text import plural

if TYPE_CHECKING:
    from jaxecon.config.settings import Config


_LARGEST_POWER = 126  # binary exponent up to which float32 has room for a factor of 2


def check_all(config: "Config") -> None:
    """Raise ValueError, one line, where settings contradict each other."""
    for check in _CHECKS:
        check(config)


# --- the people -----------------------------------------------------------------------------------


def _somebody(config: "Config") -> None:
    if not config.cohorts:
        raise ValueError(
            "population: 0 agents; population.mechanical and population.llm (or "
            "population.cohorts) must add up to at least 1"
        )


def _unique_cohort_names(config: "Config") -> None:
    names = [cohort.name for cohort in config.cohorts]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"population.cohorts: name {name!r} is given {names.count(name)} times; names "
                "must be unique"
            )


def _cohorts(config: "Config") -> None:
    for i, cohort in enumerate(config.cohorts):
        for check in (_known_rule, _free_name, _objective_of_llm, _model_of_llm):
            check(f"population.cohorts.{i}", cohort)


def _known_rule(where: str, cohort: CohortConfig) -> None:
    known = (*RULES, LLM_RULE)
    if ":" not in cohort.rule and cohort.rule not in known:
        raise ValueError(
            f"{where}.rule: {cohort.rule!r}; {one_of(known, cohort.rule)}, or package.module:Class"
        )


def _free_name(where: str, cohort: CohortConfig) -> None:
    if cohort.rule != LLM_RULE and cohort.name == LLM_RULE:
        raise ValueError(f"{where}.name: 'llm'; stands for the LLM cohorts together, take another")
    if cohort.rule == LLM_RULE and cohort.name == "planner":
        raise ValueError(f"{where}.name: 'planner'; the planner's own, take another")


def _objective_of_llm(where: str, cohort: CohortConfig) -> None:
    if cohort.rule != LLM_RULE and cohort.objective != "egotistical":
        raise ValueError(
            f"{where}.objective: {cohort.objective!r}; of LLM cohorts, others have the rules "
            "altruistic and adversarial"
        )


def _model_of_llm(where: str, cohort: CohortConfig) -> None:
    if cohort.rule != LLM_RULE and cohort.llm is not None:
        raise ValueError(f"{where}.llm: {cohort.llm!r}; of LLM cohorts (rule: llm)")


def _hours(config: "Config") -> None:
    """Whether the choices of hours are some, and can be taken by who is to choose among them."""
    most = config.preferences.max_hours
    settings = {"labor.choices": (config.labor.choices, None)} | {
        f"population.cohorts.{i}.choices": (cohort.choices, cohort)
        for i, cohort in enumerate(config.cohorts)
        if cohort.choices is not None
    }
    for setting, (value, cohort) in settings.items():
        try:
            choices = choices_of(value)
        except ValueError as error:
            raise ValueError(f"{setting}: {error}") from None
        if choices[1] > most:
            raise ValueError(
                f"{setting}: {choices[1]:g} is the second; at least two must be within "
                f"preferences.max_hours ({most:g})"
            )
        if cohort is not None and cohort.rule in WITHOUT_CHOICES:
            raise ValueError(
                f"{setting}: {cohort.rule} workers do not choose among given hours; of adaptive, "
                "quantal and LLM cohorts and rules of your own"
            )
    for i, cohort in enumerate(config.cohorts):
        odd = [hours for hours in config.choices_of(cohort) if hours != int(hours)]
        if cohort.rule == LLM_RULE and odd:
            why = f"{odd[0]:g}; language models choose whole hours (cohort {cohort.name}"
            if cohort.choices is not None:
                raise ValueError(f"population.cohorts.{i}.choices: {why})")
            raise ValueError(
                f"labor.choices: {why}; population.cohorts.N.choices is for one cohort)"
            )


def _shares(config: "Config") -> None:
    shares_of_people(config.cohorts, config.population.shares)


def _microdata(config: "Config") -> None:
    people = config.population
    if (people.skills == "file") != (people.file is not None):
        raise ValueError(
            f"population.file: {people.file!r}; give it with population.skills=file, and only then"
        )


# --- the economy ----------------------------------------------------------------------------------


def _satisfaction(config: "Config") -> None:
    settings = config.satisfaction
    if settings.every_days > config.year.days:
        raise ValueError(
            f"satisfaction.every_days: {settings.every_days}; at most year.days = "
            f"{config.year.days}"
        )
    if not settings.tolerance[0] <= settings.tolerance[1]:
        raise ValueError(
            f"satisfaction.tolerance: {list(settings.tolerance)}; two numbers, the first not larger"
        )


def _curvature(config: "Config") -> None:
    curvature = config.preferences.consumption_curvature
    if config.precision == "float32" and curvature > 1:
        raise ValueError(
            "precision: 'float32'; preferences.consumption_curvature above 1 needs float64 "
            "(auto takes it)"
        )
    if curvature > 1 and config.needs_engine:
        raise ValueError(
            f"preferences.consumption_curvature: {curvature:g}; at most 1 with language models: "
            "utilities beyond differ in digits that no prompt can show"
        )
    if config.welfare.function == "atkinson" and curvature > 0:
        raise ValueError(
            "welfare.function: 'atkinson'; its floor is in $/year, "
            f"so it needs preferences.consumption_curvature = 0, not {curvature:g}"
        )


def _disutility(config: "Config") -> None:
    """In float32, hours to the power of the exponent must not overflow."""
    preferences = config.preferences
    exponent, hours = preferences.disutility_exponent, preferences.max_hours
    single = config.precision == "float32" or (
        config.precision == "auto" and preferences.consumption_curvature == 0
    )
    most = _LARGEST_POWER / math.log2(hours)
    if single and exponent > most:
        raise ValueError(
            f"preferences.disutility_exponent: {exponent:g}; at most {most:.4g} with "
            f"preferences.max_hours {hours:g} in float32 (precision=float64 takes up to 20)"
        )


def _saving(config: "Config") -> None:
    saving, curvature = config.dynamics.saving, config.preferences.consumption_curvature
    if saving.enabled and curvature > 0:
        raise ValueError(
            "dynamics.saving.enabled: True; with preferences.consumption_curvature 0, not "
            f"{curvature:g}"
        )
    if saving.tax == OPTIMUM and config.welfare.function in ("rawlsian", "atkinson"):
        raise ValueError(
            f"dynamics.saving.tax: {OPTIMUM!r}; for welfare with fixed weights, not "
            f"{config.welfare.function} (give a number)"
        )


# --- schedules and planners -----------------------------------------------------------------------


def _brackets(config: "Config") -> None:
    thresholds = config.schedule.brackets
    if isinstance(thresholds, str):
        return
    increasing = all(a < b for a, b in pairwise(thresholds))
    if not thresholds or thresholds[0] != 0 or not increasing or thresholds[-1] > MAX_DOLLARS:
        raise ValueError(
            f"schedule.brackets: {list(thresholds)}; {', '.join(BRACKETS)}, or thresholds in "
            f"$/year: the first 0, strictly increasing, at most {MAX_DOLLARS:g}"
        )


def _eligible_cohorts(config: "Config") -> None:
    eligible, names = config.elections.eligible, [cohort.name for cohort in config.cohorts]
    for name in eligible or ():
        if name not in names:
            raise ValueError(f"elections.eligible: {name!r}; no such cohort; {one_of(names, name)}")
    if eligible == ():
        raise ValueError("elections.eligible: []; one cohort at least, or unset for all")


def _retention(config: "Config") -> None:
    if config.elections.retention and config.planner_kind == "elected":
        raise ValueError(
            "elections.retention: True; of a standing planner, and planner.kind elected has none"
        )


def _what_elections_need(config: "Config") -> None:
    if config.holds_elections and config.dynamics.skills.enabled:
        raise ValueError(
            "dynamics.skills.enabled: True; elections are held among people whose skills stay "
            "what they are"
        )
    if config.holds_elections and config.devices != 1:
        raise ValueError(f"devices: {config.devices}; elections are held on one device")


def _rate_bounds(config: "Config") -> None:
    low, high = config.planner.rate_bounds
    if not low < high:
        raise ValueError(
            f"planner.rate_bounds: {[low, high]}; two rates in [0, 1], the first smaller"
        )


def _one_for_each_bracket(config: "Config") -> None:
    brackets, rates = config.schedule.brackets, config.schedule.rates
    count = BRACKETS[brackets] if isinstance(brackets, str) else len(brackets)
    if isinstance(rates, tuple) and len(rates) != count:
        raise ValueError(
            f"schedule.rates: {plural(len(rates), 'rate')} for {plural(count, 'bracket')}; one for "
            "all, or one per bracket"
        )
    elasticity = config.planner.elasticity
    if isinstance(elasticity, tuple) and len(elasticity) != count:
        raise ValueError(
            f"planner.elasticity: {len(elasticity)} for {plural(count, 'bracket')}; one for "
            "all, or one per bracket"
        )


# In this order: where several fail, a user reads about the first.
_CHECKS: tuple[Callable[["Config"], None], ...] = (
    _somebody,
    _unique_cohort_names,
    _cohorts,
    *LANGUAGE_CHECKS,
    _satisfaction,
    _hours,
    _shares,
    _curvature,
    _disutility,
    _microdata,
    _brackets,
    _eligible_cohorts,
    _retention,
    _saving,
    _what_elections_need,
    _rate_bounds,
    _one_for_each_bracket,
)
