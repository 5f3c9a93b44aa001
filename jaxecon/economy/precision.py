"""The precision of an economy's arrays, and the device that computes it."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np

from jaxecon.config.settings import Config


def dtype_of(config: Config) -> type:
    """float32 or float64 of the economy's arrays."""
    precision = config.precision
    if precision == "auto":
        # with curvature, differences in welfare fall below what float32 utilities resolve
        precision = "float64" if config.preferences.consumption_curvature > 0 else "float32"
    return np.float64 if precision == "float64" else np.float32


@contextmanager
def compute_context(config: Config) -> Iterator[None]:
    """Compute, in this thread, with the precision and on the device that the settings ask for."""
    device = jax.local_devices(backend="cpu")[0] if config.device == "cpu" else None
    with jax.enable_x64(dtype_of(config) is np.float64), jax.default_device(device):
        yield
