"""What planners remember in checkpoints of format 1, converted."""

import numpy as np
import pytest

from jaxecon.core.errors import UserError
from jaxecon.core.pytree import named_leaves
from jaxecon.planners import PlannerMemory
from jaxecon.storage.earlier_memories import with_schedule_means

# three years with rates and welfare; the best of an earlier one, which the recent years have lost
YEARS = ((5, (0.5, 0.5), 10.0), (6, (0.4, 0.5), 12.0), (7, (0.4, 0.5), 8.0))
LOST = (2, (0.7, 0.5), 11.0)


def stored(prefix: str) -> dict[str, np.ndarray]:
    """The leaves of a memory with a window of two years, as format 1 stored them."""
    years = np.array([5, 6, 7, 0], np.int32)
    rates = np.zeros((4, 2), np.float32)
    rates[:3] = [rates for _, rates, _ in YEARS]
    welfare = np.array([10.0, 12.0, 8.0, 0.0], np.float32)
    leaves = {
        "years": years,
        "rates": rates,
        "welfare": welfare,
        "count": np.int32(3),
        "best_years": np.array([6, 2, 5, -1], np.int32),
        "best_rates": np.array([(0.4, 0.5), LOST[1], (0.5, 0.5), (0, 0)], np.float32),
        "best_welfare": np.array([12.0, LOST[2], 10.0, -np.inf], np.float32),
        "lived": np.int32(8),
        "mean": np.float32(9.0),
        "squares": np.float32(4.0),
    }
    return {prefix + name: leaf for name, leaf in leaves.items()}


@pytest.mark.parametrize("prefix", ["planner.memory.", "planner.planner.memory."])
def test_means_are_of_the_years_on_record(prefix):
    other = {"economy.rebate": np.float32(3.0)}
    leaves, meta = with_schedule_means(stored(prefix) | other, {"format": 1})
    expected = PlannerMemory.empty(2, 2)
    for year, rates, welfare in (LOST, *YEARS):
        expected = expected.appended(year, np.array(rates, np.float32), welfare)
    wanted = {prefix + name: leaf for name, leaf in named_leaves(expected).items()} | other
    assert leaves.keys() == wanted.keys()
    for name, leaf in wanted.items():
        np.testing.assert_array_equal(leaves[name], leaf, strict=False)
        assert leaves[name].dtype == leaf.dtype, name
    # the settled year of a schedule counts, not the better one after the change
    value = leaves[f"{prefix}schedules.mean"][1, leaves[f"{prefix}schedules.years"][1] > 0]
    assert value.tolist() == [8.0]
    assert meta == {"format": 1}


def test_what_is_not_a_memory_stays_as_it_is():
    leaves = {"economy.rebate": np.float32(3.0)}
    assert with_schedule_means(dict(leaves), {}) == (leaves, {})


def test_workers_memories_are_refused():
    with pytest.raises(UserError, match="can be read, but not go on"):
        with_schedule_means({"workers.llm.hours": np.zeros(3)}, {})
