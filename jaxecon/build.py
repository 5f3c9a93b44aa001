"""Configuration into arrays, once per run."""

import dataclasses
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from jaxecon._pytree import pytree, static
from jaxecon.config import LLM_RULE, OPTIMUM, Config
from jaxecon.dynamics import Dynamics, SkillDynamics
from jaxecon.economy import Economy
from jaxecon.equilibrium import Outcome
from jaxecon.errors import UserError, first_line
from jaxecon.leader import LeaderProblem, with_endowment
from jaxecon.planners import Ingredients, Knowledge, announced
from jaxecon.population import (
    UNIFORM_WAGE,
    WEEKS_PER_YEAR,
    Cohort,
    PreferenceSet,
    base_preferences,
    federal_reference,
    gb2_nodes,
    gb2_skill,
    sample_gb2,
    survey_weights,
    uniform_skill,
    weighted_quantile_skill,
    with_curvature,
)
from jaxecon.preferences import REFERENCE_HOURS, Preferences
from jaxecon.random import draw, named_key, uniform
from jaxecon.satisfaction import Judgement
from jaxecon.saving import Endowment, Saving, endowment, optimal_capital_tax, untaxed_wealth
from jaxecon.sharding import Layout, compiled
from jaxecon.taxation import (
    THREE_BRACKET_THRESHOLDS,
    US_FEDERAL_RATES,
    US_FEDERAL_THRESHOLDS,
    TaxSchedule,
    weighted_mean,
)
from jaxecon.voting import ElectionRules
from jaxecon.welfare import SocialWelfare, WelfareKind, effective_sample_size, welfare_weights
from jaxecon.workers import WorkerRule, rule_named

Array = jax.Array
Leaf = Any  # a NumPy array, or what a trace makes of it

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
    thresholds, rates = first_brackets(config)
    return TaxSchedule(jnp.asarray(thresholds), jnp.asarray(rates))


def first_brackets(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and rates of the first year, (k,) each. Raises UserError: thresholds that are the same as float32."""
    brackets, rates = config.schedule.brackets, config.schedule.rates
    thresholds = _THRESHOLDS[brackets] if isinstance(brackets, str) else brackets
    if rates is None:
        rates = US_FEDERAL_RATES if brackets == "us_federal" else _START_RATE
    if not isinstance(rates, tuple):
        rates = (rates,) * len(thresholds)
    dtype = dtype_of(config)
    held: np.ndarray = np.asarray(thresholds, dtype)
    if not np.all(np.diff(held) > 0):
        raise UserError(f"schedule.brackets: {list(thresholds)}; as {np.dtype(dtype).name} two of them are the same")
    return held, np.asarray(rates, dtype)


def knowledge(config: Config) -> Knowledge:
    """What planners that work out a schedule are told."""
    thresholds = first_schedule(config).thresholds
    return Knowledge(thresholds, config.planner.elasticity, config.planner.rate_bounds, config.planner.monotone)


@pytree
class Blueprint:
    """What an economy is made from, as few and small arrays as that takes: cheap to make, and many can be stacked.

    seed, draw_seed: uint32 scalars. weights: survey weight of one agent, by cohort. skills: (n,) by cohort where they come
    from microdata, {} where `assemble` works them out. The rest are scalars of the configuration. What is static is part of
    the compiled program: each value compiles anew.
    """

    seed: Leaf
    draw_seed: Leaf
    weights: dict[str, Leaf]
    skills: dict[str, Leaf]
    parameters: dict[str, Any]
    disutility_exponent: Leaf
    max_hours: Leaf
    public_spending: Leaf
    penalty: Leaf
    tolerance: tuple[Leaf, Leaf, Leaf] | None  # lowest, highest, width; None where nobody is asked
    dynamics: Dynamics
    sizes: tuple[tuple[str, int], ...] = static()
    skill_source: tuple[str, str] = static()  # population.skills and population.sampling
    preference_set: PreferenceSet = static()
    curvature: float = static()
    welfare: tuple[WelfareKind, float, float] = static()  # function, epsilon, floor
    counts_satisfaction: bool = static()
    rebate_floor: float | None = static()
    optimal_capital_tax: bool = static()
    rules: tuple[tuple[str, WorkerRule], ...] = static()


def blueprint(config: Config) -> Blueprint:
    """Raises UserError: rules or microdata that do not work."""
    dtype = dtype_of(config)
    sizes = {c.name: c.size for c in sorted(config.cohorts, key=lambda c: c.name)}
    rules, parameters = _rules(config)
    given, satisfaction = config.preferences, config.satisfaction
    population, welfare = config.population, config.welfare

    def scalar(x: float) -> np.ndarray:
        return np.asarray(x, dtype)

    tolerance = (*(scalar(x) for x in satisfaction.tolerance), scalar(satisfaction.width)) if satisfaction.judged else None
    return Blueprint(
        seed=np.asarray(config.seed, np.uint32),
        draw_seed=np.asarray(config.seed_of_draws, np.uint32),
        weights={name: scalar(weight) for name, weight in survey_weights(sizes, config.shares).items()},
        skills={name: _microdata_skill(config, name, size) for name, size in sizes.items() if population.skills == "file"},
        parameters=parameters,
        disutility_exponent=scalar(given.disutility_exponent),
        max_hours=scalar(given.max_hours),
        public_spending=scalar(config.budget.public_spending),
        penalty=scalar(welfare.penalty),
        tolerance=tolerance,  # type: ignore[arg-type]
        dynamics=_dynamics(config),
        sizes=tuple(sizes.items()),
        skill_source=(population.skills, population.sampling),
        preference_set=given.set,
        curvature=given.consumption_curvature,
        welfare=(welfare.function, welfare.epsilon, welfare.floor),
        counts_satisfaction=welfare.satisfaction == "counted",
        rebate_floor=config.budget.rebate_floor,
        optimal_capital_tax=config.dynamics.saving.tax == OPTIMUM,
        rules=rules,
    )


def _dynamics(config: Config) -> Dynamics:
    """The scalars of what is switched on."""
    skills, inertia, saving = config.dynamics.skills, config.dynamics.hours_inertia, config.dynamics.saving

    def scalar(x: float) -> Any:
        return np.asarray(x, dtype_of(config))

    retirement = 0.0 if skills.working_years is None else 1 / skills.working_years
    moving = SkillDynamics(scalar(skills.persistence), scalar(skills.learning), scalar(skills.shock), scalar(retirement))
    saved = Saving(
        scalar(saving.return_rate),
        scalar(0.0 if isinstance(saving.tax, str) else saving.tax),  # the optimum: `assemble` works it out
        scalar(saving.elasticity),
        scalar(saving.adjustment),
        scalar(saving.wealth_income_ratio),
        scalar(saving.concentration),
    )
    return Dynamics(
        moving if skills.enabled else None, scalar(inertia) if inertia > 0 else None, saved if saving.enabled else None
    )


def announced_schedule(config: Config, economy: Economy) -> TaxSchedule:
    """What the configuration's planner works out. Raises UserError: none for this economy or these brackets."""
    try:
        return announced(config.planner_kind, economy, knowledge(config)).schedule
    except ValueError as error:
        raise UserError(f"planner.kind: {config.planner_kind!r}; {error}") from error


def ingredients(config: Config) -> Ingredients:
    """Of the in_context planner."""
    given, memory = config.planner, config.planner.memory
    return Ingredients(
        window=memory.window,
        best=memory.best,
        direction_hint=memory.direction_hint,
        exploration=memory.exploration,
        exploitation=memory.exploitation,
        exploration_rate=given.exploration_rate,
        max_change=given.max_change,
    )


def election_rules(config: Config) -> ElectionRules:
    """Of elected and retained planners."""
    given = config.elections
    return ElectionRules(
        method=given.method,
        candidates=given.candidates,
        platforms=given.platforms,
        eligible=given.eligible,
        term_limit=given.term_limit,
        noise=given.noise,
        cost=given.cost,
        bounds=config.planner.rate_bounds,
    )


def build_economy(config: Config, layout: Layout | None = None) -> Economy:
    """The economy a configuration describes, on the devices of a layout. Raises UserError where it describes none."""
    nodes = skill_nodes(config)
    # what all devices take is no array of one of them
    economy, poorest = _assemble(layout, blueprint(config), nodes if layout is None else jax.device_get(nodes))
    if config.preferences.consumption_curvature > 0 and not poorest > 0:
        raise UserError(too_poor(config.budget.public_spending, float(poorest)))
    return economy


def too_poor(public_spending: float, poorest: float) -> str:
    """What is wrong where the smallest reference consumption is not positive; both $/year."""
    return (
        f"budget.public_spending: {public_spending:g}; leaves the poorest {poorest:,.0f} $/year "
        "to consume under the US federal schedule, and preferences.consumption_curvature > 0 needs more than 0"
    )


def skill_nodes(config: Config) -> tuple[Array, Array] | None:
    """What `assemble` interpolates skills between, the same for all economies; None where they are not of the GB2."""
    return gb2_nodes(dtype_of(config)) if config.population.skills == "gb2" else None


def assemble(made_of: Blueprint, nodes: tuple[Array, Array] | None) -> tuple[Economy, Array]:
    """The economy, and the smallest reference consumption. For one compiled program; works under vmap."""
    sizes, eta = dict(made_of.sizes), made_of.curvature
    dtype = made_of.penalty.dtype
    skills = made_of.skills or {name: _skill(made_of, nodes, name, size) for name, size in sizes.items()}
    weights = {name: jnp.full(size, made_of.weights[name], dtype) for name, size in sizes.items()}
    skill, weight = jnp.concatenate(list(skills.values())), jnp.concatenate(list(weights.values()))
    d, most, spending = made_of.disutility_exponent, made_of.max_hours, made_of.public_spending
    base = base_preferences(made_of.preference_set, skill, d, most)
    reference = federal_reference(skill, base, weight, spending, made_of.rebate_floor)
    everyones = with_curvature(base, reference.consumption, eta) if eta > 0 else base
    at_reference = federal_reference(skill, everyones, weight, spending, made_of.rebate_floor)
    dynamics, wealth, adds = made_of.dynamics, None, None
    if dynamics.saving is not None:
        untaxed = dataclasses.replace(dynamics.saving, tax=jnp.zeros_like(dynamics.saving.tax))
        wealth = untaxed_wealth(untaxed, skill, weight, weighted_mean(reference.income, weight))
        adds = endowment(untaxed, wealth, wealth)
        reference = at_reference = with_endowment(at_reference, adds)
    c = _cut(jnp.broadcast_to(everyones.disutility_weight, skill.shape).astype(dtype), skills)
    x_ref = _cut(reference.consumption, skills)
    social_welfare = _social_welfare(made_of.welfare, reference, weight, skills, weights)
    g = _cut(_marginal_weights(social_welfare, skill, everyones, weight, at_reference, adds), skills)
    if dynamics.saving is not None and wealth is not None and made_of.optimal_capital_tax:
        best = optimal_capital_tax(wealth, dynamics.saving.elasticity, jnp.concatenate(list(g.values())), weight)
        dynamics = dataclasses.replace(dynamics, saving=dataclasses.replace(dynamics.saving, tax=best))
    economy = Economy(
        cohorts={n: Cohort(s, weights[n], Preferences(c[n], d, eta, most), x_ref[n], g[n], n) for n, s in skills.items()},
        parameters=made_of.parameters,
        welfare=social_welfare,
        public_spending=spending,
        penalty=made_of.penalty,
        reference=at_reference,
        reference_welfare=social_welfare(_cut(at_reference.utility, skills)),
        seed=made_of.draw_seed,
        judgement=None if made_of.tolerance is None else Judgement(*made_of.tolerance, made_of.seed),
        dynamics=dynamics,
        untaxed_wealth=None if wealth is None else _cut(wealth, skills),
        rules=made_of.rules,
        rebate_floor=made_of.rebate_floor,
        counts_satisfaction=made_of.counts_satisfaction,
    )
    return jax.tree.map(jnp.asarray, (economy, jnp.min(reference.consumption)))


_assemble = compiled(assemble)


def _cut(x: Array, like: dict[str, Array]) -> dict[str, Array]:
    """An array over everybody, cut into cohorts of the sizes of `like`."""
    ends = np.cumsum([part.shape[0] for part in like.values()])[:-1].tolist()
    return dict(zip(like, jnp.split(x, ends), strict=True))


def heard_sample(economy: Economy) -> float:
    """Effective sample size of the welfare weights: how many people welfare really hears."""
    parts = (jnp.concatenate(list(x.values())) for x in (economy.welfare.weights, economy.weights))
    return float(effective_sample_size(*parts))


def _social_welfare(
    function: tuple[WelfareKind, float, float],
    reference: Outcome,
    weight: Array,
    skills: dict[str, Array],
    weights: dict[str, Array],
) -> SocialWelfare:
    kind, epsilon, floor = function
    if kind == "rawlsian" or kind == "atkinson":
        g = jnp.ones_like(weight)
    else:
        seen = jnp.maximum(reference.consumption, 0) if kind == "inverse_consumption" else reference.income
        g = welfare_weights(kind, seen, weight, floor)
    return SocialWelfare(_cut(g, skills), weights, kind, epsilon, floor)


def _marginal_weights(
    welfare: SocialWelfare,
    skill: Array,
    preferences: Preferences,
    weight: Array,
    reference: Outcome,
    adds: Endowment | None,
) -> Array:
    """Marginal welfare weights (n,) of mean 1 at the reference; where they are the fixed ones, those."""
    g = jnp.concatenate(list(welfare.weights.values()))
    if preferences.consumption_curvature == 0 and welfare.kind not in ("rawlsian", "atkinson"):
        return g
    judged = SocialWelfare({"": g}, {"": weight}, welfare.kind, welfare.epsilon, welfare.floor)
    problem = LeaderProblem.of(skill, preferences, judged, weight)
    return dataclasses.replace(problem, endowment=adds).marginal_weights(reference)


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
                lambda x: np.asarray(x, dtype_of(config)), rule.parameters(**cohort.parameters)
            )
        except (ValueError, TypeError) as error:
            raise UserError(f"{where}.{error}") from error
        rules.append((cohort.name, rule))
    return tuple(rules), parameters


def _skill(made_of: Blueprint, nodes: tuple[Array, Array] | None, cohort: str, size: int) -> Array:
    dtype = made_of.penalty.dtype
    skills, sampling = made_of.skill_source
    random = sampling == "random"
    key = named_key(made_of.seed, cohort, "skill")
    if skills == "gb2":
        return sample_gb2(key, size, dtype=dtype, nodes=nodes) if random else gb2_skill(size, dtype=dtype, nodes=nodes)
    if not random:
        return uniform_skill(size, dtype)
    low, high = UNIFORM_WAGE
    return WEEKS_PER_YEAR * (low + (high - low) * uniform(draw(key, 0, 0, size).first, dtype))


def _microdata_skill(config: Config, cohort: str, size: int) -> np.ndarray:
    population, dtype = config.population, dtype_of(config)
    skill, weights = read_microdata(Path(population.file or ""), dtype)
    if population.sampling == "random":
        chosen = uniform(draw(named_key(config.seed, cohort, "skill"), 0, 0, size).first, np.float32)
        cumulated = np.cumsum(weights)
        at = np.searchsorted(cumulated, np.asarray(chosen, float) * cumulated[-1], side="right").clip(0, len(skill) - 1)
        return np.asarray(skill[at], dtype)
    return weighted_quantile_skill(skill, weights, size).astype(dtype)


def read_microdata(path: Path, dtype: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Skills and weights of a Parquet or CSV file, usable in `dtype`. Raises UserError: the file, the column, what is wrong."""
    if not path.is_file():
        raise UserError(f"population.file: {path}: no such file")
    return _microdata(path, path.stat().st_mtime_ns, dtype)


@lru_cache(maxsize=4)  # thousands of economies may be drawn from one file
def _microdata(path: Path, changed: int, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    setting = f"population.file: {path}"
    kind = "CSV" if path.suffix == ".csv" else "Parquet"
    try:
        table = pa.csv.read_csv(path) if kind == "CSV" else pa.parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{setting}: cannot be read as {kind} ({first_line(error)})") from error
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
        raise UserError(f"{setting}: column {column} is not one column of numbers ({first_line(error)})") from error
    with np.errstate(over="ignore"):
        stored: np.ndarray = values.astype(dtype)
    wrong = np.flatnonzero(~(np.isfinite(stored) & (stored > 0)))
    if len(wrong):
        raise UserError(f"{setting}: column {column}, row {wrong[0] + 1}: {values[wrong[0]]:g}; must be finite and above 0")
    return values
