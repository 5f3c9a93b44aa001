"""All planners by name, and how each is made.

The labels and colours for these names are in `jaxecon.config.names`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array

from jaxecon.config.settings import Config
from jaxecon.economy.devices import gathered
from jaxecon.economy.precision import compute_context
from jaxecon.economy.state import Economy
from jaxecon.kernels.taxation import TaxSchedule
from jaxecon.planners.announced import SCHEDULES, Announced, announced_planner
from jaxecon.planners.base import Planner
from jaxecon.planners.elections.elected import Elected
from jaxecon.planners.elections.electorate import Electorate
from jaxecon.planners.elections.retained import Retained
from jaxecon.planners.elections.voting import ElectionRules
from jaxecon.planners.fixed import Fixed
from jaxecon.planners.in_context import InContext, Ingredients


@dataclass(frozen=True)
class PlannerInputs:
    """What a planner is made from.

    Attributes:
        schedule: of the first year.
        language_model: function that makes the planner which asks a language model; None before the
            model's engine has started.
        electorate: makes the decisions of workers for whom a language model decides; None if all
            are mechanical, and before engines have started.
    """

    config: Config
    economy: Economy
    schedule: TaxSchedule
    language_model: Callable[[], Planner] | None = None
    electorate: Electorate | None = None


def _fixed(inputs: PlannerInputs) -> Planner:
    return Fixed()


def _in_context(inputs: PlannerInputs) -> Planner:
    return InContext(Ingredients.from_config(inputs.config))


def _language_model(inputs: PlannerInputs) -> Planner:
    if inputs.language_model is None:
        raise ValueError("planner llm: no language model has been started")
    return inputs.language_model()


def _elected(inputs: PlannerInputs) -> Planner:
    rules = ElectionRules.from_config(inputs.config)
    with compute_context(inputs.config):
        return Elected(inputs.economy, rules, inputs.schedule.thresholds, inputs.electorate)


def _announced(inputs: PlannerInputs) -> Planner:
    config = inputs.config
    with gathered(inputs.economy) as economy:
        return announced_planner(config, economy)


PLANNERS: dict[str, Callable[[PlannerInputs], Planner]] = {
    "fixed": _fixed,
    "in_context": _in_context,
    "llm": _language_model,
    "elected": _elected,
    **dict.fromkeys(SCHEDULES, _announced),
}

# Made after engines have started: they ask a language model, or workers for whom one may decide.
NEEDS_ENGINES = frozenset({"llm", "elected"})


def make_planner(inputs: PlannerInputs) -> Planner:
    """Return the planner that `planner.kind` names.

    Raises UserError if it has no schedule for this economy or these brackets.
    """
    return PLANNERS[inputs.config.planner_kind](inputs)


def with_retention(planner: Planner, inputs: PlannerInputs) -> Planner:
    """Return the planner, or one that the workers may replace each year.

    The setting `elections.retention` decides which.
    """
    config = inputs.config
    if not config.elections.retention:
        return planner
    rules = ElectionRules.from_config(config)
    return Retained(planner, inputs.economy, rules, config.years, inputs.electorate)


def make_traced_planner(
    economy: Economy,
    schedule: TaxSchedule,
    *,
    years: int,
    ingredients: Ingredients | None,
    later_rates: Array | None,
    elections: ElectionRules | None,
    retention: bool,
) -> Planner:
    """Return the planner of one run among many in one compiled program, made from arrays.

    Without ingredients, later_rates or elections it keeps the first schedule.

    Args:
        economy: the economy of the run.
        schedule: of the first year.
        years: how many the run has.
        ingredients: for a planner that learns in context.
        later_rates: (k,) for a planner that announces them from the second year on.
        elections: for an elected planner or, with retention, one that may be replaced.
        retention: whether the elections are about keeping the planner.
    """
    if elections is not None and not retention:
        return Elected(economy, elections, schedule.thresholds)
    planner: Planner = Fixed()
    if ingredients is not None:
        planner = InContext(ingredients)
    if later_rates is not None:
        later = TaxSchedule(schedule.thresholds, jnp.asarray(later_rates))
        planner = Announced("announced", later)
    return planner if elections is None else Retained(planner, economy, elections, years)
