"""Who decides in a run: its planner, and the workers that have no mechanical rule."""

from typing import TYPE_CHECKING, Any

from jaxecon.economy.devices import on_host
from jaxecon.planners.registry import PlannerInputs, make_planner, with_retention
from jaxecon.simulation.language import make_electorate, make_language_planner, make_workers
from jaxecon.simulation.state import Prepared

if TYPE_CHECKING:
    from jaxecon.planners.base import Planner
    from jaxecon.simulation.ports import ExternalWorkers


def make_deciders(prepared: Prepared, bridge: Any) -> "tuple[Planner, ExternalWorkers | None]":
    """The planner, and the workers of the LLM cohorts; None where there are no such cohorts.

    bridge: to the language models; None in a run without them.
    """
    config, economy, workers, electorate = prepared.config, prepared.economy, None, None
    outside = {name: c for name, c in economy.cohorts.items() if name not in dict(economy.rules)}
    if outside:
        workers = make_workers(bridge, outside, config)
    if workers is not None and config.holds_elections:
        skills = {name: on_host(cohort.skill) for name, cohort in economy.cohorts.items()}
        electorate = make_electorate(bridge, workers, skills, config)
    inputs = PlannerInputs(
        config,
        economy,
        prepared.schedule,
        lambda: make_language_planner(bridge, config),
        electorate,
    )
    planner = make_planner(inputs) if prepared.planner is None else prepared.planner
    return with_retention(planner, inputs), workers
