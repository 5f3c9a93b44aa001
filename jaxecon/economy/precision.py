"""The precision of an economy's arrays, and the device that computes it."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np

from jaxecon.config.settings import Config
from jaxecon.core.jax_settings import usual_settings


def dtype_of(config: Config) -> type:
    """Return the dtype of the economy's arrays, float32 or float64."""
    precision = config.precision
    if precision == "auto":
        # with curvature, float32 utilities do not resolve differences in welfare
        precision = "float64" if config.preferences.consumption_curvature > 0 else "float32"
    return np.float64 if precision == "float64" else np.float32


@contextmanager
def compute_context(config: Config) -> Iterator[None]:
    """Make this thread compute with the precision and on the device that the settings ask for."""
    device = jax.local_devices(backend="cpu")[0] if config.device == "cpu" else None
    x64 = dtype_of(config) is np.float64
    with usual_settings(), jax.enable_x64(x64), jax.default_device(device):
        yield
