"""The planners' memory against plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxecon.planners import PlannerMemory
from jaxecon.planners.memory import SCHEDULES

appended = jax.jit(PlannerMemory.appended)
A, B, C = (0.1, 0.2), (0.3, 0.2), (0.5, 0.4)


def memory_of(years, window=3):
    """years: [(rates, welfare)]."""
    memory = PlannerMemory.empty(2, window)
    for year, (rates, welfare) in enumerate(years):
        memory = appended(memory, year, jnp.asarray(rates, jnp.float32), welfare)
    return jax.tree.map(np.asarray, memory)


def plain(years):
    """By schedule: settled years' welfares, settling years' welfares; and the pooled repeats."""
    found, deviations, in_force = {}, [], 0
    for number, (rates, welfare) in enumerate(years):
        in_force = in_force + 1 if number and years[number - 1][0] == rates else 1
        settled, settling = found.setdefault(rates, ([], []))
        (settled if in_force > 1 else settling).append(welfare)
    for settled, _ in found.values():
        deviations += [w - np.mean(settled) for w in settled] if len(settled) > 1 else []
    repeats = sum(max(len(settled) - 1, 0) for settled, _ in found.values())
    return found, repeats, float(np.sum(np.square(deviations)))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([A, B, C]), st.integers(-50, 50)), max_size=30),
    st.integers(0, 3),
)
def test_it_is_what_lists_would_hold(years, window):
    memory = memory_of(years, window)
    recent = []
    for year in range(len(years)):
        if len(recent) == max(2 * window, 2):
            recent = recent[len(recent) // 2 :]
        recent.append(year)
    assert memory.count == len(recent)
    assert memory.years[: memory.count].tolist() == recent
    np.testing.assert_allclose(memory.welfare[: memory.count], [years[y][1] for y in recent])
    moved = [y == 0 or years[y - 1][0] != years[y][0] for y in recent]
    assert memory.settling[: memory.count].tolist() == moved
    found, repeats, squares = plain(years)
    schedules = memory.schedules
    assert (schedules.last_year >= 0).sum() == len(found)
    for place in range(len(found)):
        rates = tuple(np.round(schedules.rates[place].astype(float), 6).tolist())
        settled, settling = found[rates]
        assert schedules.years[:, place].tolist() == [len(settling), len(settled)]
        assert schedules.last_year[place] == max(y for y, (r, _) in enumerate(years) if r == rates)
        for row, welfares in enumerate((settling, settled)):
            if welfares:
                assert schedules.mean[row, place] == pytest.approx(np.mean(welfares), abs=1e-3)
                assert schedules.lowest[row, place] == min(welfares)
                assert schedules.highest[row, place] == max(welfares)
        assert schedules.value[place] == pytest.approx(np.mean(settled or settling), abs=1e-3)
    assert (np.diff(schedules.value[: len(found)]) <= 0).all()
    assert memory.repeats == repeats
    assert memory.repeat_squares == pytest.approx(squares, abs=0.02)
    assert memory.noise == pytest.approx(np.sqrt(squares / max(repeats, 1)), abs=1e-2)


def test_the_best_is_the_best_mean_of_settled_years():
    """A lucky year, and a year after a change, do not make a schedule the best."""
    lucky = memory_of([(A, 5.0), (A, 9.0), (A, 1.0), (B, 6.0), (B, 6.0)])
    assert np.round(lucky.schedules.rates[:2], 6).tolist() == np.float32([B, A]).tolist()
    assert lucky.schedules.value[:2].tolist() == [6.0, 5.0]
    settling = memory_of([(A, 3.0), (B, 9.0), (B, 2.0)])
    assert settling.schedules.value[:2].tolist() == [3.0, 2.0]
    assert settling.schedules.highest[:, 1].tolist() == [9.0, 2.0]


def test_noise_is_of_settled_repeats_alone():
    assert memory_of([(A, 3.0), (A, 5.0), (B, 9.0), (B, 4.0)]).repeats == 0
    again = memory_of([(A, 3.0), (A, 5.0), (A, 9.0), (B, 1.0), (B, 4.0), (B, 6.0)])
    assert (again.repeats, again.repeat_squares) == (2, 10.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("strange", [-np.inf, np.nan])
def test_infinite_welfare_stays_infinite_and_is_no_noise(strange):
    memory = memory_of([(A, 3.0), (A, strange), (A, 5.0), (B, 4.0), (C, strange)])
    assert memory.schedules.value[:4].tolist() == [4.0, -np.inf, -np.inf, -np.inf]
    assert memory.schedules.last_year[:4].tolist() == [3, 2, 4, -1]
    assert (memory.repeats, memory.noise) == (0, 0.0)
    assert not np.isnan(memory.schedules.mean).any()


def test_of_too_many_schedules_the_worst_go():
    years = [((i / 100, 0.5), float(i)) for i in range(SCHEDULES + 5)]
    best = memory_of(years).schedules
    assert best.value.tolist() == [float(i) for i in range(SCHEDULES + 4, 4, -1)]
    worse = memory_of([*years, ((0.9, 0.9), -1.0)]).schedules
    assert worse.value.tolist() == best.value.tolist()
