"""What prompts say of the economy itself: the schedule, and what the settings make true of it."""

import numpy as np
from jax.typing import ArrayLike

from jaxecon.config.settings import Config
from jaxecon.kernels.taxation import TaxSchedule
from llm.decisions.shared import Bracket, EconomyFacts


def rates_of(rates: ArrayLike) -> tuple[float, ...]:
    """Rates as prompts show them, without the last digits of float32."""
    return tuple(round(float(rate), 6) for rate in np.asarray(rates))


def brackets_of(schedule: TaxSchedule) -> tuple[Bracket, ...]:
    """The schedule as prompts show it."""
    return tuple(
        Bracket(float(threshold), rate)
        for threshold, rate in zip(
            np.asarray(schedule.thresholds), rates_of(schedule.rates), strict=True
        )
    )


def facts_of(config: Config) -> EconomyFacts:
    """What the settings make true of the economy."""
    welfare, budget, dynamics = config.welfare, config.budget, config.dynamics
    return EconomyFacts(
        years=config.years,
        days=config.year.days,
        decide_every=config.llm.decide_every,
        curvature=config.preferences.consumption_curvature,
        welfare=welfare.function,
        floor=welfare.floor,
        epsilon=welfare.epsilon,
        judged=config.satisfaction.judged,
        counted=welfare.satisfaction == "counted",
        public_spending=budget.public_spending,
        rebate_floor=budget.rebate_floor,
        saving=dynamics.saving.enabled,
        inertia=dynamics.hours_inertia > 0,
    )
