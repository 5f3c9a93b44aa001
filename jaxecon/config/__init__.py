"""The settings of a run. `import jaxecon.config` needs no JAX."""

from jaxecon.config.read import load_config, to_yaml
from jaxecon.config.settings import Config

__all__ = ["Config", "load_config", "to_yaml"]
