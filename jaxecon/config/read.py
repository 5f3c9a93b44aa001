"""Reads settings from YAML and `key=value`, with one clear line for each mistake."""

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import yaml

from jaxecon.config.base import one_of
from jaxecon.config.describe import accepted_values
from jaxecon.config.fields import fields_at
from jaxecon.config.language import KEY_SETTING
from jaxecon.config.renamed_settings import refuse_renamed
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError
from jaxecon.core.text import shortened

_MAX_VALUE = 200  # characters of a wrong value that its line shows

# --- reading and writing --------------------------------------------------------------------------


def load_config(
    source: "str | Path | dict[str, Any] | Config | None" = None, overrides: Sequence[str] = ()
) -> Config:
    """The configuration from a YAML file, a dict, a Config or nothing (the defaults).

    `key=value` overrides are on top.

    Raises UserError: one line with the setting, the value and the accepted range.
    """
    if isinstance(source, Config):
        tree = source.model_dump(mode="json", exclude_unset=True)
    elif isinstance(source, dict):
        tree = copy.deepcopy(source)
    elif source is None:
        tree = {}
    elif isinstance(source, str | Path):
        tree = read_yaml(Path(source))
    else:
        raise UserError(f"configuration: {source!r}; a path, a dict, a Config or None")
    if isinstance(overrides, str):
        raise UserError(f"overrides: {overrides!r}; a list of key=value")
    for override in overrides:
        apply(tree, override)
    return _validate(tree)


def to_yaml(config: Config) -> str:
    """The resolved configuration: every setting with its value."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


class YamlNumbers(yaml.SafeLoader):
    """YAML in which 1e3 is a number, as it is in YAML 1.2."""


YamlNumbers.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


class _UniqueKeys(YamlNumbers):
    """The same, in which a key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=True)
        if len(mapping) != len(node.value):
            names = [key.value for key, _ in node.value]
            twice = next(name for name in names if names.count(name) > 1)
            raise yaml.constructor.ConstructorError(
                None, None, f"{twice} is given twice", node.start_mark
            )
        return mapping


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file. Raises UserError: no such file, no mapping, keys given twice."""
    try:
        tree = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeys)
    except OSError as error:
        raise UserError(f"configuration: {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"configuration: {path}: not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise UserError(
            f"configuration: {path}{where}: {getattr(error, 'problem', None) or 'not YAML'}"
        ) from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise UserError(
            f"configuration: {path}: holds a {type(tree).__name__}; a mapping of settings is needed"
        )
    return tree


def apply(tree: dict[str, Any], override: str) -> None:
    """Set `key=value` in a tree of settings. Raises UserError where there is no such place."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        said = f"...{KEY_SETTING}..." if KEY_SETTING in override else override
        raise UserError(f"--set {said!r}: needs the form key=value, for example year.days=16")
    try:
        value = yaml.load(text, YamlNumbers)
    except yaml.YAMLError as error:
        if KEY_SETTING in override:
            raise UserError(f"--set {key}: the value is not a YAML value") from None
        said = " ".join(str(getattr(error, "problem", None) or "").split())
        raise UserError(
            f"--set {key}: {text!r} is not a YAML value{f' ({said})' if said else ''}; quote texts "
            "that hold signs"
        ) from None
    set_in(tree, key.strip(), value, "--set ")


def set_in(tree: dict[str, Any], key: str, value: Any, option: str = "") -> None:
    """Set a value in a tree of settings, by its dotted name.

    Raises UserError where there is no such place.
    """
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        if isinstance(node, dict):
            node = node.setdefault(parent, {})
        elif isinstance(node, list) and parent.isdigit() and int(parent) < len(node):
            node = node[int(parent)]
        else:
            raise UserError(f"{option}{key}: {parent!r} is not a section of settings")
        if node is None:
            raise UserError(f"{option}{key}: {parent!r} is unset; give the whole of it")
    if isinstance(node, list) and last.isdigit() and int(last) < len(node):
        node[int(last)] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"{option}{key}: {'.'.join(parents)} has no setting {last!r}")


def _validate(tree: dict[str, Any]) -> Config:
    for key in tree:
        if not isinstance(key, str):
            raise UserError(
                f"{key!r}: no such setting; {one_of(list(Config.model_fields), str(key))}"
            )
    refuse_renamed(tree)
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        # an unknown name first, since other complaints are often its consequence; then the most
        # precise place
        problems = sorted(
            error.errors(), key=lambda e: (e["type"] != "extra_forbidden", -len(_path(e)))
        )
        settings = {_path(p)[:2] for p in problems}
        more = f" (and {len(settings) - 1} more)" if len(settings) > 1 else ""
        raise UserError(_explain(problems[0]) + more) from None


def _path(problem: Any) -> tuple[str, ...]:
    return tuple(str(part) for part in problem["loc"] if not _is_union_tag(part))


def _is_union_tag(part: object) -> bool:
    """Whether pydantic put this part of a location there: the name of a union's member.

    It is no part of the user's key.
    """
    return isinstance(part, str) and (
        "[" in part or part.startswith("constrained-") or part in ("float", "int", "str", "bool")
    )


def _explain(problem: Any) -> str:
    path = _path(problem)
    setting, value = ".".join(path), shortened(repr(problem["input"]), _MAX_VALUE)
    if KEY_SETTING in path:
        return (
            f"{setting}: the NAME of an environment variable, like OPENAI_API_KEY "
            "(capitals, digits and _), never the key"
        )
    if problem["type"] == "extra_forbidden":
        return f"{setting}: no such setting; {one_of(list(fields_at(path[:-1])), path[-1])}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "missing":
        return f"{setting}: missing; {accepted_values(path)}"
    if problem["type"] == "string_pattern_mismatch":
        return (
            f"{setting}: {value}; lower-case letters, digits and _, beginning with a letter, "
            "at most 31"
        )
    return f"{setting}: {value}; {accepted_values(path)}"
