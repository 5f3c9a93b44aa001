"""Settings of JAX on which no result may depend."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import jax

# A user can change them by variables such as JAX_THREEFRY_PARTITIONABLE. The first two change
# results; the others would refuse what a run does.
_FIXED: dict[Callable[[Any], AbstractContextManager[Any]], Any] = {
    jax.threefry_partitionable: True,
    jax.default_matmul_precision: None,
    jax.numpy_dtype_promotion: "standard",
    jax.numpy_rank_promotion: "allow",
    jax.transfer_guard: "allow",
}


@contextmanager
def usual_settings() -> Iterator[None]:
    """Make this thread compute as JAX does by itself, whatever the user's environment asks."""
    with ExitStack() as stack:
        for setting, value in _FIXED.items():
            stack.enter_context(setting(value))
        yield
