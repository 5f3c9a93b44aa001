"""Checks that the packages which Python finds under jaxecon's names are jaxecon's own."""

import importlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from jaxecon import __version__
from jaxecon.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]  # the folder that holds the packages


def check_suite() -> None:
    """Raise UserError unless `import experiments` imports jaxecon's suite of experiments."""
    check_ours("experiments", "SUITE_OF")


def check_ours(name: str, mark: str) -> None:
    """Raise UserError unless `import name` imports jaxecon's own module.

    Args:
        name: a package of this installation, with a name that other projects may use too.
        mark: an attribute that only jaxecon's module has, with the value "jaxecon".
    """
    ours = ROOT / name
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError:
        raise UserError(
            f"{name}: this installation of jaxecon ({__version__}) is without it; install jaxecon "
            "again"
        ) from None
    location = Path(module.__file__).resolve() if module.__file__ else None
    is_ours = location is not None and location.parent == ours
    if is_ours and getattr(module, mark, None) == "jaxecon":
        return
    owners: Mapping[str, Sequence[str]] = metadata.packages_distributions()
    others = [other for other in dict.fromkeys(owners.get(name, ())) if other != "jaxecon"]
    remedy = (
        f"pip uninstall {' '.join(others)}"
        if others
        else "move it away, or run from another folder"
    )
    raise UserError(
        f"{name}: the module that Python finds at {location or module} is not jaxecon's "
        f"({__version__}); {remedy}"
    )
