"""jaxecon: a JAX-accelerated hybrid simulator of tax policy.

`import jaxecon as je` is cheap: JAX and everything else load when a name is first used (PEP 562).
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_HOME = {
    "TaxSchedule": "taxation",
    "tax_due": "taxation",
    "marginal_rate": "taxation",
    "Preferences": "preferences",
    "isoelastic_utility": "preferences",
    "satisfaction_adjusted": "preferences",
    "HOURS": "labor",
    "best_response": "labor",
    "quantal_response": "labor",
    "gb2_quantile": "population",
    "gb2_skill": "population",
    "sample_gb2": "population",
    "Outcome": "equilibrium",
    "equilibrium": "equilibrium",
    "welfare_weights": "welfare",
    "social_welfare": "welfare",
    "paper_welfare": "welfare",
    "atkinson_welfare": "welfare",
    "rawlsian_welfare": "welfare",
    "effective_sample_size": "welfare",
    "gini": "welfare",
    "SocialWelfare": "welfare",
    "optimal_schedule": "stackelberg",
    "saez_rates": "saez",
    "saez_schedule": "saez",
    "saez_self_consistent": "saez",
    "saez_top_rate": "saez",
    "saez_linear_rate": "saez",
    "optimal_capital_tax": "saving",
    "estimate_elasticity": "elasticity",
    "perturbed_elasticities": "elasticity",
    "Config": "config",
    "Run": "records",
    "run": "api",
    "load": "api",
    "resume": "continuing",
    "replay": "continuing",
    "branch": "continuing",
    "digest": "digest",
    "Sweep": "sweep",
    "sweep": "sweep",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxecon' has no attribute {name!r}")
    value = getattr(import_module(f"jaxecon.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Importing the submodule `equilibrium` must not put it where the function `equilibrium` is looked for."""

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in _HOME:
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
