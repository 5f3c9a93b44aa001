"""What an economy is made from: few and small arrays."""

from typing import Any

import jax
import numpy as np

from jaxecon.config.dynamics import OPTIMUM
from jaxecon.config.people import LLM_RULE
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.core.pytree import pytree, static
from jaxecon.economy.microdata import microdata_skill
from jaxecon.economy.population import PreferenceSet, survey_weights
from jaxecon.economy.precision import dtype_of
from jaxecon.kernels.saving import Saving
from jaxecon.kernels.skills import Dynamics, SkillDynamics
from jaxecon.kernels.welfare import WelfareKind
from jaxecon.workers import rule_named
from jaxecon.workers.base import WorkerRule

Leaf = Any  # a NumPy array, or what a trace makes of it


@pytree
class Blueprint:
    """What an economy is made from, as few and small arrays as that takes: cheap to make, and many
    can be stacked.

    seed, draw_seed: uint32 scalars. weights: survey weight of one agent, by cohort. skills: (n,) by
    cohort where they come from microdata, {} where `assemble` works them out. The rest are scalars
    of the configuration. What is static is part of the compiled program: each value compiles anew.
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

    tolerance = (
        (*(scalar(x) for x in satisfaction.tolerance), scalar(satisfaction.width))
        if satisfaction.judged
        else None
    )
    return Blueprint(
        seed=np.asarray(config.seed, np.uint32),
        draw_seed=np.asarray(config.seed_of_draws, np.uint32),
        weights={
            name: scalar(weight) for name, weight in survey_weights(sizes, config.shares).items()
        },
        skills={
            name: microdata_skill(config, name, size)
            for name, size in sizes.items()
            if population.skills == "file"
        },
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
    skills, inertia, saving = (
        config.dynamics.skills,
        config.dynamics.hours_inertia,
        config.dynamics.saving,
    )

    def scalar(x: float) -> Any:
        return np.asarray(x, dtype_of(config))

    retirement = 0.0 if skills.working_years is None else 1 / skills.working_years
    moving = SkillDynamics(
        scalar(skills.persistence),
        scalar(skills.learning),
        scalar(skills.shock),
        scalar(retirement),
    )
    saved = Saving(
        scalar(saving.return_rate),
        scalar(
            0.0 if isinstance(saving.tax, str) else saving.tax
        ),  # the optimum: `assemble` works it out
        scalar(saving.elasticity),
        scalar(saving.adjustment),
        scalar(saving.wealth_income_ratio),
        scalar(saving.concentration),
    )
    return Dynamics(
        moving if skills.enabled else None,
        scalar(inertia) if inertia > 0 else None,
        saved if saving.enabled else None,
    )


def _rules(config: Config) -> tuple[tuple[tuple[str, WorkerRule], ...], dict[str, object]]:
    rules, parameters = [], {}
    for i, cohort in sorted(enumerate(config.cohorts), key=lambda item: item[1].name):
        where = f"population.cohorts.{i}"
        if cohort.rule == LLM_RULE:
            if cohort.parameters:
                raise UserError(
                    f"{where}.parameters: {cohort.parameters}; an LLM cohort has none here, see "
                    "the section llm"
                )
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
