"""Settings by their dotted names."""

import typing
from collections.abc import Iterator, Sequence
from typing import Any, get_args

import pydantic

from jaxecon.config.base import annotation_members, one_of
from jaxecon.config.field_marks import Mark
from jaxecon.config.renamed_settings import refuse_renamed_name
from jaxecon.config.settings import Config
from jaxecon.core.errors import UserError


def check_name(name: str, tree: dict[str, Any]) -> None:
    """Raise UserError unless there is a setting of that dotted name.

    The tree has the lists that the name goes through.
    """
    refuse_renamed_name(name)
    path = name.split(".")
    node: Any = tree
    for i, part in enumerate(path):
        if part.isdecimal():
            place = place_in(node, part)
            if place is None:
                raise UserError(f"{name}: {'.'.join(path[:i])} has no part {part} here")
            node = node[place]
            continue
        node = node.get(part) if isinstance(node, dict) else None
        fields, above = fields_at(path[:i]), _field_at(path[:i])
        if above is not None and _is_mapping(above):
            if _section_in(above) is None:
                return  # the mapping says itself what it may hold
            continue  # a name that the user gives
        if part not in fields:
            raise UserError(
                f"{name}: no such setting; "
                f"{one_of(list(fields), part) if fields else f'{path[i - 1]} has no parts'}"
            )


def place_in(node: object, part: str) -> int | None:
    """The index that a part of a dotted name has in a list; None where it is none."""
    if not isinstance(node, list | tuple) or not (part.isascii() and part.isdecimal()):
        return None
    return int(part) if len(part) < 10 and int(part) < len(node) else None


def is_section(name: str) -> str | None:
    """One of the settings in a section of that dotted name; None for a setting."""
    field = _field_at(name.split("."))
    if field is None or _is_mapping(field):
        return None
    for member in annotation_members(field.annotation):
        if isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            return next(iter(member.model_fields))
    return None


def changes_results(name: str) -> bool:
    """Whether a run computes something else when the setting of that dotted name changes.

    All settings do but those marked `Free`.
    """
    return Mark.FREE not in _marks_along(name.split("."))


def decides_people(name: str) -> bool:
    """Whether the setting of that dotted name is marked `DecidesPeople`."""
    return Mark.PEOPLE in _marks_along(name.split("."))


def marked(mark: Mark, model: type[pydantic.BaseModel] = Config, above: str = "") -> list[str]:
    """The dotted names of the settings, and of whole sections, that bear a mark."""
    names = []
    for name, field in model.model_fields.items():
        section = _section_in(field)
        if mark in field.metadata:
            names.append(f"{above}{name}")
        elif section is not None and not _is_mapping(field):
            names += marked(mark, section, f"{above}{name}.")
    return names


def setting_names(model: type[pydantic.BaseModel] = Config, above: str = "") -> Iterator[str]:
    """The dotted names of all settings and sections; 0 stands for the place in a list."""
    for name, field in model.model_fields.items():
        yield f"{above}{name}"
        section = _section_in(field)
        if section is not None and not _is_mapping(field):
            place = "0." if _is_list_of_sections(field) else ""
            yield from setting_names(section, f"{above}{name}.{place}")


def _is_list_of_sections(field: Any) -> bool:
    """Whether a field holds a list of sections."""
    members = annotation_members(field.annotation)
    return any(typing.get_origin(m) is tuple and section_of(m) is not None for m in members)


def _marks_along(path: Sequence[str]) -> set[Mark]:
    """The marks of a setting and of the sections around it."""
    marks: set[Mark] = set()
    model: type[pydantic.BaseModel] | None = Config
    rest = list(path)
    while rest and model is not None:
        field = model.model_fields.get(rest.pop(0))
        if field is None:
            break
        marks |= {mark for mark in field.metadata if isinstance(mark, Mark)}
        model = _section_in(field)
        if model is not None and _is_mapping(field):  # the user's name of it, which may have dots
            rest = rest[1:]
            while rest and rest[0] not in model.model_fields:
                rest = rest[1:]
    return marks


def _section_in(field: Any) -> type[pydantic.BaseModel] | None:
    """The section that a field holds: itself, in a list, or in a mapping."""
    sections = (section_of(member) for member in annotation_members(field.annotation))
    return next((section for section in sections if section is not None), None)


def _is_mapping(field: Any) -> bool:
    return typing.get_origin(field.annotation) is dict


def _field_at(path: Sequence[str]) -> Any:
    if not path or path[-1].isdecimal():
        return None
    return fields_at(path[:-1]).get(path[-1])


def fields_at(path: Sequence[str]) -> dict[str, Any]:
    """The fields of the section at a path; none where there is no section."""
    model: type[pydantic.BaseModel] = Config
    named = False  # whether the next part is a name that the user gave
    for part in path:
        if part.isdecimal() or part == "N" or named:
            named = False
            continue
        field = model.model_fields.get(part)
        if field is None:
            return {}
        named = _is_mapping(field)
        section = _section_in(field)
        if section is None:
            return {}
        model = section
    return dict(model.model_fields)


def section_of(annotation: Any) -> "type[pydantic.BaseModel] | None":
    """The section that an annotation is, or is a list or a mapping of."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return annotation
    if typing.get_origin(annotation) is tuple:
        return section_of(get_args(annotation)[0])
    if typing.get_origin(annotation) is dict:
        return section_of(get_args(annotation)[1])
    return None
