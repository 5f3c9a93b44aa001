"""Settings of in-context learning: what a worker or a planner remembers, and how it is shown."""

from pydantic import Field

from jaxecon.config.base import Section
from jaxecon.config.field_marks import DecidesPeople

_WINDOW = (
    "Days (a worker) or years (a planner) of recent history, between this number and twice as "
    "many. 0: none."
)
_BEST = (
    "Best distinct choices so far, each with what it brings. 0: none, except that "
    "the cue of exploitation names the best one of all."
)


class Memory(Section):
    """The ingredients of in-context learning; each has a switch."""

    window: int = Field(4, ge=0, le=1000, description=_WINDOW)
    best: int = Field(5, ge=0, le=50, description=_BEST)
    statistics: bool = Field(
        True,
        description="On how many days or years each of these is based; for a planner also their "
        "range, and how much welfare differs between years at the same rates.",
    )
    direction_hint: bool = Field(
        True, description="Whether the last change raised or lowered the result."
    )
    exploration: bool = Field(
        True,
        description="The cue to try something new, with the choices beside the best that were "
        "not tried; not in the last tenth of the run, nor, for workers, on a year's last day.",
    )
    exploitation: bool = Field(
        True, description="The cue of the best so far, and to take it where exploration ends."
    )


class PlannerMemory(Memory):
    """A planner remembers years, of which there are fewer: a longer window."""

    window: int = Field(8, ge=0, le=1000, description=_WINDOW)


class WorkerMemory(Memory):
    """Workers' memories are part of a run's state, whose size the window decides."""

    window: DecidesPeople[int] = Field(4, ge=0, le=1000, description=_WINDOW)
