"""All experiments by name, and the designs in their files."""

from pathlib import Path
from typing import Any

from jaxecon.config.read import read_yaml
from jaxecon.core.errors import UserError

NAMES = (
    "tax_year",
    "planner_prompt",
    "voting",
    "baselines",
    "scale",
    "population_mix",
    "satisfaction",
    "empirical_saez",
    "units",
    "hours",
)

SIZES = ("quick", "full")

KINDS = ("mechanical", "llm")


Designs = dict[str, dict[str, Any]]  # of the kinds mechanical and llm, each by name


QUESTIONS = Path(__file__).resolve().parents[1] / "questions"


def load_designs(name: str, size: str) -> Designs:
    """The designs of an experiment. Raises UserError for an unknown name or an unreadable file."""
    if name not in NAMES:
        raise UserError(f"experiment: {name!r}; one of {', '.join(NAMES)}")
    tree = read_yaml(QUESTIONS / f"{name}.yaml")
    merged = _merged(tree.get("base") or {}, tree.get(size) or {})
    return {kind: merged.get(kind) or {} for kind in KINDS}


def _merged(base: Any, more: Any) -> Any:
    """Mappings merged recursively; any other value is replaced by the later one."""
    if not isinstance(base, dict) or not isinstance(more, dict):
        return more
    return base | {
        key: _merged(base[key], value) if key in base else value for key, value in more.items()
    }
