"""Which choices a prompt names as not tried yet."""

import pytest

from llm.agents.exploration import untried_hours, untried_rates
from llm.decisions.plan import UntriedRates

TENS = tuple(range(0, 101, 10))
WHOLE = tuple(range(101))


@pytest.mark.parametrize(
    ("centre", "tried", "choices", "expected"),
    [
        (40, [40], TENS, (30, 50)),
        (40, [40, 30], TENS, (50,)),
        (40, [40, 30, 50], TENS, ()),
        (40, [20, 40], TENS, (30, 50)),
        (0, [0], TENS, (10,)),
        (100, [100], TENS, (90,)),
        (100, [90, 100], TENS, ()),
        (40, [], TENS, (30, 50)),
        (40, [40, 60], WHOLE, (30, 50)),
        (40, [30, 40], WHOLE, (50,)),
        (40, [30, 40, 41], WHOLE, (35,)),
        (40, [38, 40, 41], WHOLE, (39,)),
        (40, [38, 40, 42], WHOLE, (39, 41)),
        (40, [30, 40, 50], WHOLE, (35, 45)),
        (30, [30], (0, 25, 30, 80), (25, 80)),
    ],
)
def test_hours(centre, tried, choices, expected):
    assert untried_hours(centre, tried, choices) == expected


@pytest.mark.parametrize("top", range(0, 101, 7))
def test_following_them_finds_the_top_of_any_hill(top):
    """On a grid of whole hours, in fewer than 20 days."""
    tried = [40]
    while True:
        best = min(tried, key=lambda hours: abs(hours - top))
        untried = untried_hours(best, tried, WHOLE)
        if not untried:
            break
        tried.append(untried[0])
    assert best == top
    assert len(tried) < 20


def test_rates():
    assert untried_rates((0.5, 1.0), [(0.5, 1.0), (0.4, 1.0)]) == (
        UntriedRates(0, (0.6,)),
        UntriedRates(1, (0.9,)),
    )
    everything = [(a / 10, b / 10) for a in range(11) for b in range(11)]
    assert untried_rates((0.5, 0.0), everything) == ()
    assert untried_rates((0.05,), [(0.05,), (0.15,)]) == (UntriedRates(0, (0.0,)),)
    # rates that are not whole steps, and the last digits of float32
    assert untried_rates((0.375,), [(0.37500001,), (0.47500002,)]) == (UntriedRates(0, (0.275,)),)
