"""How many years a run has, where this was changed while it was under way.

What depends on it: planners and language-model workers try nothing new in the last tenth of the
years, and language models are told how many years there are.
"""

from collections.abc import Iterator

from jaxecon.config.settings import Config
from jaxecon.core.text import plural
from jaxecon.simulation.changes import first_position
from jaxecon.storage.checkpoint_files import Position
from jaxecon.storage.run import Run

_EXPLORING = ("in_context", "llm")  # planners


def effects_of_horizon(config: Config, before: int, position: Position) -> list[str]:
    """What another number of years changes in a run that continues, one line each.

    Args:
        config: with which the run continues.
        before: the number of years until now.
        position: where the run continues.

    Returns:
        No line where nothing depends on the number.
    """
    effects = []
    if config.planner_kind in _EXPLORING or config.has_llm_cohort:
        begun = range(before - before // 10, min(before, position.year + (position.day > 0)))
        if begun:
            effects.append(
                f"{_years(begun)}: simulated without exploration, as in the last tenth of {before} "
                "years; they stay as they are"
            )
        final = range(config.years - config.years // 10, config.years)
        if final:
            effects.append(f"{_years(final)}: now the last tenth, without exploration")
    if config.needs_engine:
        effects.append(
            f"language models were told of {plural(before, 'year')}, and from {position} on of "
            f"{config.years:,}"
        )
    return effects


def _years(years: range) -> str:
    return f"year {years[0]}" if len(years) == 1 else f"years {years[0]} to {years[-1]}"


def horizons(run: Run) -> list[tuple[Position, int]]:
    """From which position on a run had how many years, in order."""
    resumed = run.manifest.get("resumed", [])
    changes = [entry["years"][0] for entry in resumed if entry.get("years")]
    years = changes[0] if changes else run.config.years
    found = [(first_position(run), years)]
    for entry in resumed:
        begin = Position(*entry["from"])
        years = entry["years"][1] if entry.get("years") else years
        # what was simulated after this position was simulated again
        found = [piece for piece in found if piece[0] < begin]
        if not found or found[-1][1] != years:
            found.append((begin, years))
    return found


def pieces(run: Run, begin: Position, end: Position) -> Iterator[tuple[int, Position]]:
    """The numbers of years that a run had between two positions, each with where it ended."""
    known = horizons(run)
    for (start, years), (until, _) in zip(known, [*known[1:], (end, 0)], strict=True):
        if until > begin and start < end:
            yield years, min(until, end)
    if begin >= end:
        yield run.config.years, end
