"""Reads settings from YAML and `key=value`, with one clear line for each mistake."""

import copy
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from jaxecon.config.base import one_of
from jaxecon.config.describe import accepted_values
from jaxecon.config.fields import fields_at, place_in, setting_names
from jaxecon.config.language import KEY_SETTING, SECRET_SETTINGS
from jaxecon.config.renamed_settings import refuse_renamed
from jaxecon.config.secrets import looks_secret, secret_name_in
from jaxecon.config.settings import Config
from jaxecon.config.yaml_text import check_tree, read_yaml_file, yaml_text, yaml_value
from jaxecon.core.errors import UserError
from jaxecon.core.text import is_text, shown

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
        tree = _copied(source)
    elif source is None:
        tree = {}
    elif isinstance(source, str | Path):
        tree = read_yaml(Path(source))
    else:
        raise UserError(
            f"configuration: {shown(source, _MAX_VALUE)}; a path, a dict, a Config or None"
        )
    for override in checked_overrides(overrides):
        apply(tree, override)
    return _validate(tree)


def checked_overrides(overrides: Iterable[str]) -> list[str]:
    """The overrides as a list. Raises UserError unless they are several texts."""
    if isinstance(overrides, str) or not isinstance(overrides, Iterable):
        raise UserError(f"overrides: {shown(overrides, _MAX_VALUE)}; a list of key=value")
    listed = list(overrides)
    for override in listed:
        if not isinstance(override, str):
            raise UserError(f"overrides: {shown(override, _MAX_VALUE)}; a text like year.days=16")
    return listed


def _copied(source: dict[str, Any]) -> dict[str, Any]:
    try:
        check_tree(source)
    except ValueError as error:
        raise UserError(f"configuration: {error}") from None
    return copy.deepcopy(source)


def to_yaml(config: Config) -> str:
    """The resolved configuration: every setting with its value."""
    return yaml_text(config.model_dump(mode="json"), allow_unicode=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """A mapping from a YAML file. Raises UserError: no such file, no mapping, keys given twice."""
    tree = read_yaml_file(path)
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
        secret = _secret_setting(override)
        said = shown(override, _MAX_VALUE) if secret is None else f"...{secret}..."
        raise UserError(f"--set {said}: needs the form key=value, for example year.days=16")
    key = key.strip()
    _refuse_brackets(key)
    try:
        value = yaml_value(text)
    except ValueError as error:
        if _secret_setting(override) is not None:
            raise UserError(f"--set {key}: the value is not a YAML value") from None
        raise UserError(
            f"--set {key}: {shown(text, _MAX_VALUE)} is not a YAML value ({error}); quote texts "
            "that hold signs"
        ) from None
    set_in(tree, key, value, "--set ")


def _secret_setting(override: str) -> str | None:
    """What in an override may be the name of a secret, whose value no message may show."""
    known = next((name for name in (KEY_SETTING, *SECRET_SETTINGS) if name in override), None)
    return known or secret_name_in(override)


def _refuse_brackets(key: str) -> None:
    """Raise UserError for a name like cohorts[0].size, with what is meant."""
    if "[" not in key:
        return
    if (secret := _secret_setting(key)) is not None:  # the rest may be a key
        raise UserError(f"--set ...{secret}...: no such setting; write it with dots")
    dotted = re.sub(r"\[\s*['\"]?([^\[\]'\"]*)['\"]?\s*\]", r".\1", key).strip(".")
    *section, last = dotted.split(".")
    known = last in fields_at(section)
    near = [dotted] if known else difflib.get_close_matches(dotted, list(setting_names()), 1, 0.6)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(
        f"--set {shown(key, _MAX_VALUE)}: no such setting; {hint}dots lead into sections and "
        "lists, as in population.cohorts.0.size"
    )


def set_in(tree: dict[str, Any], key: str, value: Any, option: str = "") -> None:
    """Set a value in a tree of settings, by its dotted name.

    Raises UserError where there is no such place.
    """
    *parents, last = key.split(".")
    node: Any = tree
    for parent in parents:
        place = place_in(node, parent)
        if isinstance(node, dict):
            node = node.setdefault(parent, {})
        elif place is not None:
            node = node[place]
        else:
            raise UserError(f"{option}{key}: {parent!r} is not a section of settings")
        if node is None:
            raise UserError(f"{option}{key}: {parent!r} is unset; give the whole of it")
    place = place_in(node, last)
    if place is not None:
        node[place] = value
    elif isinstance(node, dict):
        node[last] = value
    else:
        raise UserError(f"{option}{key}: {'.'.join(parents)} has no setting {last!r}")


def _validate(tree: dict[str, Any]) -> Config:
    for path, key in _wrong_keys(tree):
        above = f"{'.'.join(path)}: " if path else ""
        names = list(fields_at(path))
        known = one_of(names, shown(key, _MAX_VALUE)) if names else "names are texts"
        raise UserError(f"{above}{shown(key, _MAX_VALUE)}: no such setting; {known}")
    refuse_renamed(tree)
    try:
        return Config.model_validate(tree)
    except pydantic.ValidationError as error:
        paths = [(_path(problem, tree), problem) for problem in error.errors(include_url=False)]
        # an unknown name first, since other complaints are often its consequence; then the most
        # precise place
        problems = sorted(paths, key=lambda p: (p[1]["type"] != "extra_forbidden", -len(p[0])))
        settings = {path[:2] for path, _ in problems}
        more = f" (and {len(settings) - 1} more)" if len(settings) > 1 else ""
        raise UserError(_explain(*problems[0]) + more) from None


def _wrong_keys(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Keys that are no texts in UTF-8, with the places of their mappings."""
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, dict):
        yield from ((above, key) for key in tree if not (isinstance(key, str) and is_text(key)))
        parts = tree.items()
    elif isinstance(tree, list | tuple):
        parts = enumerate(tree)
    for key, value in parts:
        yield from _wrong_keys(value, (*above, str(key)))


def _path(problem: Any, tree: Mapping[str, Any]) -> tuple[str, ...]:
    """The user's own key of a problem: what pydantic adds, such as `float` in a union, is left out.

    Such an addition is at no place of the user's tree.
    """
    path: list[str] = []
    node: Any = tree
    *parts, last = problem["loc"] or ("",)
    for part in parts:
        if _is_place(node, part):
            node = node[part]
            path.append(str(part))
    own = problem["type"] == "missing" or _is_place(node, last)
    return (*path, str(last)) if own else tuple(path)


def _is_place(node: Any, part: Any) -> bool:
    """Whether a mapping has that name, or a list that index."""
    if isinstance(node, list | tuple):
        return isinstance(part, int) and part < len(node)
    return isinstance(node, Mapping) and part in node


def _explain(path: Sequence[str], problem: Any) -> str:
    setting, value = ".".join(path), shown(problem["input"], _MAX_VALUE)
    if looks_secret(value) or secret_name_in(value, SECRET_SETTINGS) is not None:
        value = "(a value that is not shown)"
    if KEY_SETTING in path:
        return (
            f"{setting}: the NAME of an environment variable, like OPENAI_API_KEY "
            "(capitals, digits and _), never the key"
        )
    if set(path) & set(SECRET_SETTINGS):
        accepted = accepted_values(path)
        hint = "; texts that YAML reads otherwise need quotes" if "texts" in accepted else ""
        return f"{setting}: {accepted}{hint}"
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
