"""All planners by name."""

from typing import TYPE_CHECKING

from jaxecon.config.settings import Config

if TYPE_CHECKING:
    from jaxecon.planners.base import Planner


def configured_planner(config: Config) -> "Planner | None":
    """The planner that does not work out its schedule; None for one that asks a model or the
    people.
    """
    from jaxecon.planners.fixed import Fixed
    from jaxecon.planners.in_context import InContext, Ingredients

    match config.planner_kind:
        case "fixed":
            return Fixed()
        case "in_context":
            return InContext(Ingredients.from_config(config))
    return None
