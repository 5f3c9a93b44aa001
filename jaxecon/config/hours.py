"""The hours a week that workers choose among."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import Field

LAST = 100.0  # h/week, the last choice of a step
MOST = 201  # choices; a rule's memory and its compiled program grow with them

Hours = Annotated[float, Field(ge=0, le=168, allow_inf_nan=False)]
Choices = Hours | tuple[Hours, ...]  # a step, or a list


def choices_of(setting: float | Sequence[float]) -> tuple[float, ...]:
    """The choices, h/week, rising: a list as it is, a step from 0 to LAST.

    Raises ValueError, without the setting's name, for a step or a list that is out of range.
    """
    if isinstance(setting, Sequence):
        choices = tuple(map(float, setting))
        if not 2 <= len(choices) <= MOST or any(a >= b for a, b in pairwise(choices)):
            raise ValueError(f"{len(choices)} hours; a list has 2 to {MOST} rising ones")
        return choices
    if not 0.5 <= setting <= 50:
        raise ValueError(f"{setting:g}; a step is in [0.5, 50]")
    return tuple(setting * k for k in range(int(LAST / setting + 1e-9) + 1))
