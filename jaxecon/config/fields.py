"""Settings by their dotted names."""

import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, get_args

import pydantic

from jaxecon.config.base import one_of
from jaxecon.config.renamed import refuse_renamed_name
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError


def check_name(name: str, tree: dict[str, Any]) -> None:
    """Raise UserError unless there is a setting of that dotted name, in a tree that gives the lists
    it goes through.
    """
    refuse_renamed_name(name)
    path = name.split(".")
    node: Any = tree
    for i, part in enumerate(path):
        if part.isdigit():
            if not isinstance(node, list) or int(part) >= len(node):
                raise UserError(f"{name}: {'.'.join(path[:i])} has no part {part} here")
            node = node[int(part)]
            continue
        node = node.get(part) if isinstance(node, dict) else None
        fields, above = fields_at(path[:i]), _field_at(path[:i])
        if above is not None and typing.get_origin(above.annotation) is dict:
            continue  # a name that the user gives
        if part not in fields:
            raise UserError(
                f"{name}: no such setting; "
                f"{one_of(list(fields), part) if fields else f'{path[i - 1]} has no parts'}"
            )


def is_section(name: str) -> str | None:
    """One of the settings in a section of that dotted name; None for a setting."""
    field = _field_at(name.split("."))
    if field is None or typing.get_origin(field.annotation) is dict:
        return None
    for member in annotation_members(field.annotation):
        if isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            return next(iter(member.model_fields))
    return None


def _field_at(path: Sequence[str]) -> Any:
    named = [part for part in path if not part.isdigit()]
    return (
        fields_at(path[: len(path) - 1]).get(path[-1]) if named and not path[-1].isdigit() else None
    )


def annotation_members(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(m for arg in get_args(annotation) for m in annotation_members(arg))
    if typing.get_origin(annotation) is Annotated:
        return annotation_members(get_args(annotation)[0])
    return (annotation,)


def fields_at(path: Sequence[str]) -> dict[str, Any]:
    model: type[pydantic.BaseModel] = Config
    named = False  # whether the next part is a name that the user gave
    for part in path:
        if part.isdigit() or part == "N" or named:
            named = False
            continue
        field = model.model_fields.get(part)
        if field is None:
            return {}
        named = typing.get_origin(field.annotation) is dict
        sections = [section_of(m) for m in annotation_members(field.annotation)]
        found = next((s for s in sections if s is not None), None)
        if found is None:
            return {}
        model = found
    return dict(model.model_fields)


def section_of(annotation: Any) -> "type[pydantic.BaseModel] | None":
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if typing.get_origin(annotation) is tuple:
        return section_of(get_args(annotation)[0])
    if typing.get_origin(annotation) is dict:
        return section_of(get_args(annotation)[1])
    return None
