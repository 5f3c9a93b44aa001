"""The choices that a prompt names as not tried yet: those beside the best."""

from collections.abc import Iterable, Sequence

from jaxecon.planners.base import STEP as POINTS
from llm.decisions.plan import UntriedRates

STEP = 10  # h/week: how far beyond all that was tried the next suggestion is
_UP = POINTS / 100  # of a rate


def untried_hours(centre: int, tried: Iterable[int], choices: Sequence[int]) -> tuple[int, ...]:
    """Choices on either side of `centre` that were not tried, at most one each.

    Between `centre` and the next hours that were tried it is the choice nearest to the middle; on a
    side where nothing was tried, the choice nearest to a step of 10 hours on. Where one of the two
    is less than half as many choices away as the other, the other comes first. So a fine grid is
    searched in large steps and then by halving, and a grid of tens one neighbour after the other.

    Args:
        centre: h/week, one of the choices.
        tried: h/week.
        choices: h/week, rising.

    Returns:
        Hours in rising order; none where both neighbours were tried.
    """
    known = {choices.index(hours) for hours in tried}
    place, found = choices.index(centre), []
    for side in (-1, 1):
        beside = range(place + side, len(choices) if side > 0 else -1, side)
        edge = next((i for i in beside if i in known), None)
        target = centre + side * STEP if edge is None else (centre + choices[edge]) / 2
        between = [i for i in beside if edge is None or side * (edge - i) > 0]
        if between:
            found.append(min(between, key=lambda i: (abs(choices[i] - target), i)))
    farthest = max((abs(i - place) for i in found), default=0)
    return tuple(choices[i] for i in found if 2 * abs(i - place) > farthest)


def untried_rates(
    centre: Sequence[float], tried: Iterable[Sequence[float]]
) -> tuple[UntriedRates, ...]:
    """Rates one step of 10 points up or down in one bracket, within 0..100 %, that were not tried.

    Args:
        centre: (k,) fractions.
        tried: (k,) fractions each.

    Returns:
        The brackets that have any, with one or two rates each.
    """
    known = {_in_points(rates) for rates in tried}
    found = []
    for bracket, rate in enumerate(centre):
        beside = [round(min(max(rate + step, 0.0), 1.0), 6) for step in (-_UP, _UP)]
        rates = tuple(
            r
            for r in beside
            if r != rate and _in_points([*centre[:bracket], r, *centre[bracket + 1 :]]) not in known
        )
        if rates:
            found.append(UntriedRates(bracket, rates))
    return tuple(found)


def _in_points(rates: Sequence[float]) -> tuple[int, ...]:
    """Rates in thousandths of a percentage point, to compare them by."""
    return tuple(round(100_000 * rate) for rate in rates)
