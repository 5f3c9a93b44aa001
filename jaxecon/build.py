"""Configuration into arrays, once per run."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from jaxecon.config import LLM_RULE, Budget, Config, PreferencesConfig, Welfare
from jaxecon.economy import Economy
from jaxecon.equilibrium import Outcome
from jaxecon.errors import UserError
from jaxecon.population import (
    UNIFORM_WAGE,
    WEEKS_PER_YEAR,
    Cohort,
    base_preferences,
    federal_reference,
    gb2_skill,
    sample_gb2,
    survey_weights,
    uniform_skill,
    weighted_quantile_skill,
    with_curvature,
)
from jaxecon.preferences import REFERENCE_HOURS, Preferences
from jaxecon.random import draw, named_key, uniform
from jaxecon.taxation import (
    THREE_BRACKET_THRESHOLDS,
    US_FEDERAL_RATES,
    US_FEDERAL_THRESHOLDS,
    TaxSchedule,
)
from jaxecon.welfare import SocialWelfare, effective_sample_size, welfare_weights
from jaxecon.workers import WorkerRule, rule_named

Array = jax.Array

_THRESHOLDS = {"flat": (0.0,), "three": THREE_BRACKET_THRESHOLDS, "us_federal": US_FEDERAL_THRESHOLDS}
_START_RATE = 0.5  # the paper's planner starts from 50 % everywhere


def dtype_of(config: Config) -> type:
    """float32 or float64 of the economy's arrays."""
    precision = config.precision
    if precision == "auto":  # with curvature, differences in welfare fall below what float32 utilities resolve
        precision = "float64" if config.preferences.consumption_curvature > 0 else "float32"
    return np.float64 if precision == "float64" else np.float32


def first_schedule(config: Config) -> TaxSchedule:
    """The schedule of the first year."""
    brackets, rates = config.schedule.brackets, config.schedule.rates
    thresholds = _THRESHOLDS[brackets] if isinstance(brackets, str) else brackets
    if rates is None:
        rates = US_FEDERAL_RATES if brackets == "us_federal" else _START_RATE
    if not isinstance(rates, tuple):
        rates = (rates,) * len(thresholds)
    dtype = dtype_of(config)
    try:
        return TaxSchedule(jnp.asarray(thresholds, dtype), jnp.asarray(rates, dtype))
    except ValueError as error:  # thresholds that are one and the same in float32
        raise UserError(f"schedule.brackets: {list(thresholds)}; as {np.dtype(dtype).name}, {error}") from error


def build_economy(config: Config) -> Economy:
    """The economy a configuration describes. Raises UserError where it describes none."""
    dtype = dtype_of(config)
    sizes = {c.name: c.size for c in sorted(config.cohorts, key=lambda c: c.name)}
    weight = survey_weights(sizes, config.shares)
    skills = {name: _skill(config, name, size, dtype) for name, size in sizes.items()}
    weights = {name: jnp.full(size, weight[name], dtype) for name, size in sizes.items()}
    rules, parameters = _rules(config)
    economy, poorest = _assemble(
        skills,
        weights,
        parameters,
        jnp.asarray(config.seed, jnp.uint32),
        preferences=config.preferences,
        welfare=config.welfare,
        budget=config.budget,
        rules=rules,
    )
    if config.preferences.consumption_curvature > 0 and not poorest > 0:
        raise UserError(
            f"budget.public_spending: {config.budget.public_spending:g}; leaves the poorest {float(poorest):,.0f} $/year "
            "to consume under the US federal schedule, and preferences.consumption_curvature > 0 needs more than 0"
        )
    return economy


@partial(jax.jit, static_argnames=("preferences", "welfare", "budget", "rules"))
def _assemble(
    skills: dict[str, Array],
    weights: dict[str, Array],
    parameters: dict[str, Any],
    seed: Array,
    *,
    preferences: PreferencesConfig,
    welfare: Welfare,
    budget: Budget,
    rules: tuple[tuple[str, WorkerRule], ...],
) -> tuple[Economy, Array]:
    """The economy, and the smallest reference consumption. One compiled program instead of a hundred small ones."""
    skill, weight = jnp.concatenate(list(skills.values())), jnp.concatenate(list(weights.values()))
    dtype, eta = skill.dtype, preferences.consumption_curvature
    base = base_preferences(preferences.set, skill, preferences.disutility_exponent, preferences.max_hours)
    reference = federal_reference(skill, base, weight, budget.public_spending, budget.rebate_floor)
    everyones = with_curvature(base, reference.consumption, eta) if eta > 0 else base
    at_reference = federal_reference(skill, everyones, weight, budget.public_spending, budget.rebate_floor)
    c = _cut(jnp.broadcast_to(everyones.disutility_weight, skill.shape).astype(dtype), skills)
    x_ref = _cut(reference.consumption, skills)
    d, most = jnp.asarray(preferences.disutility_exponent, dtype), jnp.asarray(preferences.max_hours, dtype)
    social_welfare = _social_welfare(welfare, reference, weight, skills, weights)
    economy = Economy(
        cohorts={n: Cohort(s, weights[n], Preferences(c[n], d, eta, most), x_ref[n], n) for n, s in skills.items()},
        parameters=parameters,
        welfare=social_welfare,
        public_spending=jnp.asarray(budget.public_spending, dtype),
        penalty=jnp.asarray(welfare.penalty, dtype),
        reference=at_reference,
        reference_welfare=social_welfare(_cut(at_reference.utility, skills)),
        seed=seed,
        rules=rules,
        rebate_floor=budget.rebate_floor,
        counts_satisfaction=welfare.satisfaction == "counted",
    )
    return economy, jnp.min(reference.consumption)


def _cut(x: Array, like: dict[str, Array]) -> dict[str, Array]:
    """An array over everybody, cut into cohorts of the sizes of `like`."""
    ends = np.cumsum([part.shape[0] for part in like.values()])[:-1].tolist()
    return dict(zip(like, jnp.split(x, ends), strict=True))


def heard_sample(economy: Economy) -> float:
    """Effective sample size of the welfare weights: how many people welfare really hears."""
    parts = (jnp.concatenate(list(x.values())) for x in (economy.welfare.weights, economy.weights))
    return float(effective_sample_size(*parts))


def _social_welfare(
    welfare: Welfare, reference: Outcome, weight: Array, skills: dict[str, Array], weights: dict[str, Array]
) -> SocialWelfare:
    kind = welfare.function
    if kind == "rawlsian" or kind == "atkinson":
        g = jnp.ones_like(weight)
    else:
        seen = jnp.maximum(reference.consumption, 0) if kind == "inverse_consumption" else reference.income
        g = welfare_weights(kind, seen, weight, welfare.floor)
    return SocialWelfare(_cut(g, skills), weights, kind, welfare.epsilon, welfare.floor)


def _rules(config: Config) -> tuple[tuple[tuple[str, WorkerRule], ...], dict[str, object]]:
    rules, parameters = [], {}
    for i, cohort in sorted(enumerate(config.cohorts), key=lambda item: item[1].name):
        where = f"population.cohorts.{i}"
        if cohort.rule == LLM_RULE:
            if cohort.parameters:
                raise UserError(f"{where}.parameters: {cohort.parameters}; an LLM cohort has none here, see the section llm")
            continue
        try:
            rule = rule_named(cohort.rule)
            parameters[cohort.name] = jax.tree.map(
                lambda x: jnp.asarray(x, dtype_of(config)), rule.parameters(**cohort.parameters)
            )
        except (ValueError, TypeError) as error:
            raise UserError(f"{where}.{error}") from error
        rules.append((cohort.name, rule))
    return tuple(rules), parameters


def _skill(config: Config, cohort: str, size: int, dtype: type) -> Array:
    population = config.population
    random = population.sampling == "random"
    key = named_key(config.seed, cohort, "skill")
    if population.skills == "gb2":
        return sample_gb2(key, size, dtype=dtype) if random else gb2_skill(size, dtype=dtype)
    if population.skills == "uniform":
        if not random:
            return uniform_skill(size, dtype)
        low, high = UNIFORM_WAGE
        return WEEKS_PER_YEAR * (low + (high - low) * uniform(draw(key, 0, 0, size).first, dtype))
    skill, weights = read_microdata(Path(population.file or ""), dtype)
    if random:
        chosen = uniform(draw(key, 0, 0, size).first, np.float32)
        cumulated = np.cumsum(weights)
        return jnp.asarray(
            skill[np.searchsorted(cumulated, np.asarray(chosen, float) * cumulated[-1], side="right").clip(0, len(skill) - 1)],
            dtype,
        )
    return jnp.asarray(weighted_quantile_skill(skill, weights, size), dtype)


def read_microdata(path: Path, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Skills and weights of a Parquet or CSV file, usable in `dtype`. Raises UserError: the file, the column, what is wrong."""
    setting = f"population.file: {path}"
    kind = "CSV" if path.suffix == ".csv" else "Parquet"
    if not path.is_file():
        raise UserError(f"{setting}: no such file")
    try:
        table = pa.csv.read_csv(path) if kind == "CSV" else pa.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{setting}: cannot be read as {kind} ({str(error).splitlines()[0]})") from error
    names = table.column_names
    column = "skill" if "skill" in names else "income"
    if column not in names:
        raise UserError(f"{setting}: columns {', '.join(names)}; needs skill ($/year per weekly hour) or income ($/year at 40 h)")
    if table.num_rows == 0:
        raise UserError(f"{setting}: holds no rows")
    values = _positive_numbers(table, column, setting, dtype)
    weights = _positive_numbers(table, "weight", setting, dtype) if "weight" in names else np.ones_like(values)
    return values / (1 if column == "skill" else REFERENCE_HOURS), weights


def _positive_numbers(table: pa.Table, column: str, setting: str, dtype: type) -> np.ndarray:
    try:
        values = np.asarray(table[column].cast(pa.float64()).to_numpy())
    except (pa.ArrowException, KeyError) as error:
        raise UserError(f"{setting}: column {column} is not one column of numbers ({str(error).splitlines()[0]})") from error
    with np.errstate(over="ignore"):
        stored: np.ndarray = values.astype(dtype)
    wrong = np.flatnonzero(~(np.isfinite(stored) & (stored > 0)))
    if len(wrong):
        raise UserError(f"{setting}: column {column}, row {wrong[0] + 1}: {values[wrong[0]]:g}; must be finite and above 0")
    return values
