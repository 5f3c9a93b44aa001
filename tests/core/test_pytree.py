"""Names of a state's arrays in checkpoints."""

import jax
import numpy as np
import pytest

from jaxecon.core.pytree import named_leaves, pytree, stored_as


def test_an_older_name_in_checkpoints_is_not_the_fields():
    @pytree
    class State:
        count: np.ndarray
        total: np.ndarray = stored_as("sum")

    state = State(count=np.array(1), total=np.array(2))
    assert named_leaves({"state": state}) == {"state.count": 1, "state.sum": 2}
    doubled = jax.tree.map(lambda x: 2 * x, state)
    assert (doubled.count, doubled.total) == (2, 4)


def test_two_fields_under_one_name_are_refused():
    with pytest.raises(AssertionError, match="State: two fields are stored under one name"):

        @pytree
        class State:
            total: np.ndarray
            other: np.ndarray = stored_as("total")
