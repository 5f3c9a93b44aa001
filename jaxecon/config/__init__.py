"""The settings of a run. `import jaxecon.config` needs no JAX."""

from jaxecon.config.read import load, to_yaml
from jaxecon.config.settings import Config

__all__ = ["Config", "load", "to_yaml"]
