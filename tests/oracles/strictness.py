"""Strict numerics for kernel tests: one precision, no silent rank promotion, NaN is an error."""

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, settings


@contextmanager
def strict(x64: bool, nans: bool = False):
    """64-bit or 32-bit JAX, `jax_numpy_rank_promotion="raise"` and (unless `nans`)
    `jax_debug_nans`, for a block.

    Context managers and not global configuration: one pytest process runs tests of both precisions.
    """
    with ExitStack() as stack:
        stack.enter_context(jax.enable_x64(x64))
        stack.enter_context(jax.numpy_rank_promotion("raise"))
        stack.enter_context(jax.debug_nans(not nans))
        yield


@dataclass(frozen=True)
class Precision:
    """One floating type and what may be asked of it."""

    dtype: type
    rtol: float  # of quantities computed in a handful of operations

    @property
    def x64(self) -> bool:
        return self.dtype is np.float64

    def array(self, *values):
        return jax.numpy.asarray(np.asarray(values[0] if len(values) == 1 else values), self.dtype)


DOUBLE = Precision(np.float64, 1e-12)
SINGLE = Precision(np.float32, 2e-5)

# Hypothesis: the same examples in every run; strictness fixtures live for the whole test function.
PROPERTY = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(params=[DOUBLE, SINGLE], ids=["float64", "float32"])
def precision(request):
    """Both precisions, one after the other; `x64` and `strict_numerics` follow it."""
    return request.param


@pytest.fixture(autouse=True)
def strict_numerics(request):
    """Kernel tests run strictly: in 64-bit unless they ask for `precision`."""
    x64 = request.getfixturevalue("precision").x64 if "precision" in request.fixturenames else True
    with strict(x64):
        yield
