"""The blueprint of an economy: the settings as a few small arrays."""

from typing import Any

import jax
import numpy as np

from jaxecon.config.dynamics import (
    OPTIMUM,
    DynamicsConfig,
    SavingConfig,
    SkillDynamicsConfig,
)
from jaxecon.config.names import LLM_RULE
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

SMALLEST_SKILL, LARGEST_SKILL = 1e-3, 1e10  # $/year per weekly hour

Leaf = Any  # a NumPy array, or its tracer


@pytree
class Blueprint:
    """The settings from which `build.assemble` makes an economy, as a few small arrays.

    It is cheap to make, and many can be stacked. Fields not listed here are scalars of the
    configuration. Static fields are part of the compiled program: each new value compiles again.

    Attributes:
        seed, draw_seed: uint32 scalars.
        weights: survey weight of one agent, by cohort.
        skills: (n,) by cohort if they come from microdata; otherwise {}, and `assemble` computes
            them.
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
    # by cohort: its choices of hours, and whether it takes any others
    choices: tuple[tuple[str, tuple[tuple[float, ...], bool]], ...] = static()

    @classmethod
    def from_config(cls, config: Config) -> "Blueprint":
        """Return the blueprint of the economy that the settings describe.

        Raises UserError for rules or microdata that do not work.
        """
        dtype = dtype_of(config)

        def scalar(x: float) -> np.ndarray:
            return np.asarray(x, dtype)

        sizes = {c.name: c.size for c in sorted(config.cohorts, key=lambda c: c.name)}
        rules, parameters = _rules(config)
        preferences, satisfaction = config.preferences, config.satisfaction
        population, welfare = config.population, config.welfare
        tolerance = (*map(scalar, satisfaction.tolerance), scalar(satisfaction.width))
        shares = survey_weights(sizes, config.shares)
        return cls(
            seed=np.asarray(config.seed, np.uint32),
            draw_seed=np.asarray(config.seed_of_draws, np.uint32),
            weights={name: scalar(weight) for name, weight in shares.items()},
            skills={
                name: _usable(microdata_skill(config, name, size), config)
                for name, size in sizes.items()
                if population.skills == "file"
            },
            parameters=parameters,
            disutility_exponent=scalar(preferences.disutility_exponent),
            max_hours=scalar(preferences.max_hours),
            public_spending=scalar(config.budget.public_spending),
            penalty=scalar(welfare.penalty),
            tolerance=tolerance if satisfaction.judged else None,  # type: ignore[arg-type]
            dynamics=_dynamics(config.dynamics, dtype),
            sizes=tuple(sizes.items()),
            skill_source=(population.skills, population.sampling),
            preference_set=preferences.set,
            curvature=preferences.consumption_curvature,
            welfare=(welfare.function, welfare.epsilon, welfare.floor),
            counts_satisfaction=welfare.satisfaction == "counted",
            rebate_floor=config.budget.rebate_floor,
            optimal_capital_tax=config.dynamics.saving.tax == OPTIMUM,
            rules=rules,
            choices=tuple(
                (c.name, (config.choices_of(c), not c.has_choices)) for c in config.cohorts
            ),
        )


def _usable(skill: np.ndarray, config: Config) -> np.ndarray:
    """The skills (n,) of microdata, unless powers and products of such numbers would overflow.

    Raises UserError.
    """
    low, high = float(skill.min()), float(skill.max())
    if not SMALLEST_SKILL <= low <= high <= LARGEST_SKILL:
        raise UserError(
            f"population.file: {config.population.file}; skills from {low:g} to {high:g} $/year "
            f"per weekly hour; must be in [{SMALLEST_SKILL:g}, {LARGEST_SKILL:g}]"
        )
    return skill


def _dynamics(settings: DynamicsConfig, dtype: type) -> Dynamics:
    """Return the dynamics that the settings switch on, as scalars of this dtype."""
    inertia: Leaf = np.asarray(settings.hours_inertia, dtype)
    return Dynamics(
        _skill_dynamics(settings.skills, dtype) if settings.skills.enabled else None,
        inertia if settings.hours_inertia > 0 else None,
        _saving(settings.saving, dtype) if settings.saving.enabled else None,
    )


def _skill_dynamics(settings: SkillDynamicsConfig, dtype: type) -> SkillDynamics:
    """Return skill dynamics with the retirement probability that makes `working_years` the mean."""
    retirement = 0.0 if settings.working_years is None else 1 / settings.working_years
    numbers = settings.persistence, settings.learning, settings.shock, retirement
    return SkillDynamics(*(np.asarray(x, dtype) for x in numbers))  # type: ignore[arg-type]


def _saving(settings: SavingConfig, dtype: type) -> Saving:
    """Return the saving settings; a tax that is to be optimal is 0 until the economy is built."""
    numbers = (
        settings.return_rate,
        0.0 if isinstance(settings.tax, str) else settings.tax,
        settings.elasticity,
        settings.adjustment,
        settings.wealth_income_ratio,
        settings.concentration,
    )
    return Saving(*(np.asarray(x, dtype) for x in numbers))  # type: ignore[arg-type]


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
