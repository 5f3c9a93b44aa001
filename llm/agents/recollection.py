"""What a worker's prompt says of what it remembers: its memory, at what hours are worth today."""

import math
from collections.abc import Sequence
from typing import Any

from jaxecon.config.memory import WorkerMemory as MemorySettings
from llm.agents.exploration import untried_hours
from llm.agents.memory import HoursRecord, MemoryExcerpt
from llm.agents.worth import OwnWorth
from llm.decisions.labor import HoursChange, TriedHours
from llm.decisions.shared import Cues, Objective


def remembered(
    memory: MemoryExcerpt,
    worth: OwnWorth,
    choices: Sequence[int],
    last_hours: int,
    objective: Objective,
    cues: Cues,
    settings: MemorySettings,
) -> dict[str, Any]:
    """The fields of a LaborObservation that come from memory.

    Workers compare hours by what these bring them at this year's tax; altruists and adversaries by
    the mean of social welfare over this year's days.

    worth: of each of the choices, for this worker. settings: which of the ingredients are shown.
    """
    tried = {
        record.hours: _tried(record, worth, choices, objective)
        for record in memory.worked
        if record.hours in choices
    }
    values = {
        hours: value for hours, t in tried.items() if (value := _value(t, objective)) is not None
    }
    ranked = sorted(values, key=lambda hours: (-values[hours], hours))
    best = tried[ranked[0]] if ranked and values[ranked[0]] > -math.inf else None
    shown = set(ranked[: settings.best])
    centre = best.hours if best is not None and cues.exploit else last_hours
    return {
        "history": memory.days,
        "tried": tuple(t for hours, t in tried.items() if hours in shown),
        "best": best,
        "untried": untried_hours(centre, ranked, choices) if ranked else (),
        "last_change": _last_change(memory, worth, choices, objective)
        if settings.direction_hint
        else None,
        "counts": settings.statistics,
    }


def _tried(
    record: HoursRecord, worth: OwnWorth, choices: Sequence[int], objective: Objective
) -> TriedHours:
    at = choices.index(record.hours)
    utility = worth.utility[at]
    return TriedHours(
        record.hours,
        record.days if objective == "egotistical" else record.this_year,
        worth.tax[at],
        utility if utility > -math.inf else None,
        record.welfare if record.this_year else None,
    )


def _value(tried: TriedHours, objective: Objective) -> float | None:
    """What a worker with this objective wants more of; None where it is not known."""
    if objective == "egotistical":
        return -math.inf if tried.utility is None else tried.utility
    if tried.welfare is None:
        return None
    return tried.welfare if objective == "altruistic" else -tried.welfare


def _last_change(
    memory: MemoryExcerpt, worth: OwnWorth, choices: Sequence[int], objective: Objective
) -> HoursChange | None:
    """The last change of hours among the recent days; None where there was none."""
    before, after = memory.before_change, memory.after_change
    if before is None or after is None:
        return None
    if objective == "egotistical":
        # hours between the choices, of people who could not change theirs, count as the nearest
        places = [_nearest(choices, day.hours) for day in (before, after)]
        was, now = (worth.utility[place] if len(set(places)) == 2 else math.nan for place in places)
    else:
        was, now = before.welfare, after.welfare
        # under another schedule, welfare is another
        now = now if before.year == after.year else math.nan
    known = math.isfinite(was) and math.isfinite(now)
    return HoursChange(before.hours, after.hours, now - was if known else None)


def _nearest(choices: Sequence[int], hours: float) -> int:
    """The index of the choice nearest to some hours."""
    return min(range(len(choices)), key=lambda i: abs(choices[i] - hours))
