"""Settings that have another name now.

The old name is an error with a hint where a user writes it, and is translated where it was stored.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from jaxecon.core.errors import UserError

# Old dotted name -> today's. An entry for a section renames all of it; the longest entry that fits
# is the one that counts.
RENAMED = {
    "signatures": "diagnostics",
    "signatures.oscillating_rates.watched": "diagnostics.oscillating_rates.enabled",
    "signatures.welfare_collapse.watched": "diagnostics.welfare_collapse.enabled",
    "signatures.homogeneous_labor.watched": "diagnostics.homogeneous_labor.enabled",
    "signatures.fallback_rate.watched": "diagnostics.fallback_rate.enabled",
}
_RENAMED = {tuple(old.split(".")): tuple(new.split(".")) for old, new in RENAMED.items()}

_Path = tuple[Any, ...]  # parts of a dotted name; a user's own keys need not be text


def refuse_renamed(tree: Mapping[Any, Any]) -> None:
    """Raise UserError where a user's tree of settings has an old name: one line with today's."""
    for path, _ in _leaves(tree):
        refuse_renamed_name(".".join(map(str, path)))


def refuse_renamed_name(name: str) -> None:
    """Raise UserError where a dotted name is an old one: one line with today's."""
    path = tuple(name.split("."))
    if (now := _name_now(path)) != path:
        raise UserError(f"{name}: this setting is called {'.'.join(now)} now")


def migrate(tree: Mapping[str, Any]) -> dict[str, Any]:
    """A stored tree of settings with today's names; one that has them already comes back equal."""
    result: dict[str, Any] = {}
    for path, value in _leaves(tree):
        *sections, last = _name_now(path)
        node = result
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = copy.deepcopy(value)
    return result


def _leaves(tree: Mapping[Any, Any], above: _Path = ()) -> Iterator[tuple[_Path, Any]]:
    """Paths and values of all that is not a section with settings in it."""
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, (*above, name))
        else:
            yield (*above, name), value


def _name_now(path: _Path) -> _Path:
    for length in range(len(path), 0, -1):
        if path[:length] in _RENAMED:
            return (*_RENAMED[path[:length]], *path[length:])
    return path
