"""Planners: who sets the tax schedule of each year.

The planner that asks a language model is in llm/agents/planner.py; it implements the same protocol.
"""

from jaxecon.planners.announced import SCHEDULES, Announced, Knowledge, announced
from jaxecon.planners.base import (
    Planner,
    PlannerContext,
    YearObservation,
    changed_schedule,
    possible_changes,
)
from jaxecon.planners.elections.elected import Elected
from jaxecon.planners.elections.retained import Retained
from jaxecon.planners.fixed import Fixed
from jaxecon.planners.in_context import InContext, Ingredients
from jaxecon.planners.memory import PlannerMemory

__all__ = [
    "SCHEDULES",
    "Announced",
    "Elected",
    "Fixed",
    "InContext",
    "Ingredients",
    "Knowledge",
    "Planner",
    "PlannerContext",
    "PlannerMemory",
    "Retained",
    "YearObservation",
    "announced",
    "changed_schedule",
    "possible_changes",
]
