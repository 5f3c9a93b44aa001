"""Marks on settings: which of them a run may change when it is resumed, and which a branch may not.

A mark on a section holds for all that is in it. `jaxecon.config.fields` looks them up by name.
"""

from enum import Enum
from typing import Annotated, TypeVar

T = TypeVar("T")


class Mark(Enum):
    """What a setting decides, where that is not simply the results of a run."""

    FREE = "changes no result: how a run is served, stored, watched and paid for"
    PEOPLE = "decides who the people are and what a run's state is made of"


Free = Annotated[T, Mark.FREE]
DecidesPeople = Annotated[T, Mark.PEOPLE]
