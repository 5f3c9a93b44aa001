"""The nodes of the interpolation of skills, computed once in a process."""

import jax
import numpy as np
import pytest

from jaxecon.config.read import load_config
from jaxecon.economy.build import skill_nodes
from jaxecon.economy.gb2 import gb2_nodes


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_they_are_the_computed_ones_in_the_economys_precision(precision):
    """Also outside of the context that a run computes in."""
    dtype = np.dtype(precision)
    nodes = skill_nodes(load_config({"precision": precision}))
    with jax.enable_x64(dtype == np.float64):
        expected = gb2_nodes(dtype)
    for array, computed in zip(nodes, expected, strict=True):
        assert array.dtype == dtype
        np.testing.assert_array_equal(array, computed)
    assert skill_nodes(load_config({"precision": precision, "seed": 1})) is nodes


def test_other_skills_need_none():
    assert skill_nodes(load_config({"population": {"skills": "uniform"}})) is None
