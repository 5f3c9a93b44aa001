"""jaxecon: a JAX-accelerated hybrid simulator of tax policy.

`import jaxecon as je` is cheap: JAX and everything else load when a name is first used (PEP 562).
"""

from importlib import import_module

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
    "best_flat_tax": "stackelberg",
    "Config": "config",
    "Run": "records",
    "run": "api",
    "load": "api",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'jaxecon' has no attribute {name!r}")
    module = import_module(f"jaxecon.{_HOME[name]}")
    for public, home in _HOME.items():  # a submodule of the same name (equilibrium) must not shadow the function
        if home == _HOME[name]:
            globals()[public] = getattr(module, public)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted(__all__)
