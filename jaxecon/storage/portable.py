"""How a run's files name other places of a machine: by the way from the run's folder.

A folder that is published then names no user's home, and a run that is moved together with what it
reads can be resumed.
"""

import copy
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxecon.config.yaml_text import yaml_text, yaml_value

# what ends a place in a text: no part of a name, though it may be an escaped line end before it
# (errors are one line), and no escaped letter after it
_BEFORE = r"(?:(?<![\w.~-])|(?<=\\[nrt]))"
_AFTER = r"(?![\w.-]|\\[ux])"

_HERE = (".", "~")  # with which a local model's path begins, unlike a model's name


def path_from(folder: Path, place: str | Path) -> str:
    """The way from a folder to a place.

    A place in the user's home is named from `~` if the folder is not there as well.
    """
    target, start = Path(place).expanduser().resolve(), folder.resolve()
    home = Path.home()
    if target.is_relative_to(home) and not start.is_relative_to(home):
        return str("~" / target.relative_to(home))
    return os.path.relpath(target, start)


def path_at(folder: Path, place: str) -> Path:
    """The place that `path_from` has named. An absolute path stays what it is."""
    return (folder / Path(place).expanduser()).resolve()


def portable_configuration(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A configuration's tree of settings, with paths from the run's folder."""
    return _with_paths(tree, lambda path: path_from(folder, path), _is_folder)


def located_configuration(tree: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The tree that `portable_configuration` has made, with absolute paths."""
    return _with_paths(
        tree, lambda path: str(path_at(folder, path)), lambda model: model.startswith(_HERE)
    )


def portable_text(text: str, folder: Path) -> str:
    """A text, or JSON, in which places on this machine are named from the folder or from `~`."""
    if "/" not in text:  # most settings, of which a sweep may have very many
        return text
    start = folder.resolve()
    ways = {start: "."} | {
        above: "/".join([".."] * number)
        for number, above in enumerate(start.parents, 1)
        if len(above.parts) > 2  # not /tmp or /home, from which the way may name a user
    }
    for place, way in {Path.home(): "~", **ways}.items():
        if len(place.parts) > 1:
            for form in {str(place), json.dumps(str(place))[1:-1]}:
                text = re.sub(f"{_BEFORE}{re.escape(form)}{_AFTER}", way, text)
    return text


def portable_yaml(tree: Any, folder: Path) -> str:
    """A tree of settings as YAML, in which places are named as by `portable_text`."""
    return yaml_text(_with_portable_texts(tree, folder), allow_unicode=True)


def is_same_yaml(one: str, other: str, folder: Path) -> bool:
    """Whether two YAML texts have the same content, however each is written and names places."""
    if one == other:
        return True
    try:
        first, second = (portable_yaml(yaml_value(text), folder) for text in (one, other))
    except ValueError:
        return False
    return first == second


def _with_portable_texts(tree: Any, folder: Path) -> Any:
    if isinstance(tree, Mapping):
        return {name: _with_portable_texts(value, folder) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_with_portable_texts(value, folder) for value in tree]
    return portable_text(tree, folder) if isinstance(tree, str) else tree


def _with_paths(
    tree: dict[str, Any], change: Callable[[str], str], is_local: Callable[[str], bool]
) -> dict[str, Any]:
    """A copy of a tree in which every path is changed. is_local: whether a model is a folder."""
    tree = copy.deepcopy(tree)
    for section, name in _paths(tree):
        section[name] = change(section[name])
    for serving in _servings(tree):
        model = serving.get("model")
        if serving.get("engine") == "vllm" and isinstance(model, str) and is_local(model):
            path = change(model)
            serving["model"] = path if path.startswith((*_HERE, "/")) else f"./{path}"
    return tree


def _paths(tree: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The sections, with the name in them, of all settings that hold a path."""
    of = [(_section(tree, "population"), "file"), (_section(tree, "llm"), "prompts")]
    of += [(serving, "transcript") for serving in _servings(tree)]
    yield from ((section, name) for section, name in of if isinstance(section.get(name), str))


def _servings(tree: dict[str, Any]) -> list[dict[str, Any]]:
    llm = _section(tree, "llm")
    others = _section(llm, "others")
    return [llm, *(_section(others, name) for name in others)]


def _section(tree: dict[str, Any], name: str) -> dict[str, Any]:
    """A section of settings; {} where a damaged file has something else."""
    section = tree.get(name)
    return section if isinstance(section, dict) else {}


def _is_folder(model: str) -> bool:
    return ("/" in model or model.startswith(_HERE)) and Path(model).expanduser().is_dir()
