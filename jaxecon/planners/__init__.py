"""Rules that set schedules. The language model's planner lives in llm/planner.py and implements the same protocol."""

from jaxecon.planners.base import CHANGES, Planner, PlannerContext, YearObservation, changed_schedule
from jaxecon.planners.fixed import Fixed

__all__ = ["CHANGES", "Fixed", "Planner", "PlannerContext", "YearObservation", "changed_schedule"]
