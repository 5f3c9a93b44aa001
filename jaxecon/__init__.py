"""jaxecon: a JAX-accelerated hybrid simulator of tax policy.

`import jaxecon as je` is cheap: JAX and everything else load when a name is first used (PEP 562).
"""

import sys
from importlib import import_module

from jaxecon.core.moved_modules import MovedModules

__version__ = "0.1.0"

# The public names, by the module that holds them.
_NAMES_OF = {
    "kernels.taxation": ("TaxSchedule", "tax_due", "marginal_rate"),
    "kernels.preferences": ("Preferences", "isoelastic_utility", "satisfaction_adjusted"),
    "kernels.labor": ("HOURS", "best_response"),
    "kernels.quantal": ("quantal_response",),
    "economy.gb2": ("gb2_quantile", "gb2_skill", "sample_gb2"),
    "kernels.equilibrium": ("Outcome", "equilibrium"),
    "kernels.welfare": (
        "welfare_weights",
        "social_welfare",
        "paper_welfare",
        "atkinson_welfare",
        "rawlsian_welfare",
        "effective_sample_size",
        "gini",
        "SocialWelfare",
    ),
    "kernels.optimum.certified": ("optimal_schedule",),
    "kernels.optimum.saez": ("saez_rates", "saez_schedule"),
    "kernels.optimum.saez_one_rate": ("saez_top_rate", "saez_linear_rate"),
    "kernels.optimum.saez_fixed_point": ("saez_self_consistent",),
    "kernels.saving": ("optimal_capital_tax",),
    "kernels.optimum.elasticity": ("estimate_elasticity", "perturbed_elasticities"),
    "config": ("Config",),
    "storage.run": ("Run",),
    "simulation.run": ("run", "load"),
    "simulation.resume": ("resume",),
    "simulation.replay": ("replay",),
    "simulation.repair": ("repair",),
    "simulation.branch": ("branch",),
    "storage.digest": ("digest",),
    "sweeps.results": ("Sweep",),
    "sweeps.sweep": ("sweep",),
}
_MODULE_OF = {name: module for module, names in _NAMES_OF.items() for name in names}

__all__ = ["__version__", *_MODULE_OF]

sys.meta_path.append(MovedModules())


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'jaxecon' has no attribute {name!r}")
    value = getattr(import_module(f"jaxecon.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
