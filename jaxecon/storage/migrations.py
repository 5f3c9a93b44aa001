"""Conversion of manifests of earlier formats to today's.

Settings and checkpoints have migrations of their own (`jaxecon.config.renamed_settings`,
`jaxecon.storage.checkpoint_files.MIGRATIONS`).
"""

from collections.abc import Mapping
from typing import Any

from jaxecon.config.renamed_settings import migrate
from jaxecon.storage.paths import FORMAT

# By format: entries of the manifest that are renamed in the next format.
_RENAMED_ENTRIES: dict[int, dict[str, str]] = {1: {"signatures": "diagnostics"}}
_RENAMED_IN_RESUMED = {"given": "harmless"}


def migrated_manifest(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest in today's format. Its `format` must be one that this jaxecon reads.

    Entries of other types than a manifest has are left as they are.
    """
    entries = dict(manifest)
    for step in range(entries["format"], FORMAT):
        entries = _renamed(entries, _RENAMED_ENTRIES[step])
    resumed, configuration = entries.get("resumed"), entries.get("configuration")
    if isinstance(resumed, list):
        # renamed without a new format, so older entries of any format may have the earlier name
        entries["resumed"] = [
            _renamed(entry, _RENAMED_IN_RESUMED) if isinstance(entry, Mapping) else entry
            for entry in resumed
        ]
    if isinstance(configuration, Mapping):
        entries["configuration"] = migrate(configuration)
    return entries | {"format": FORMAT}


def _renamed(entries: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in entries.items()}
