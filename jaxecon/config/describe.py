"""Every setting in a line: its default, its accepted range, its meaning."""

import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import pydantic

from jaxecon.config.base import annotation_members
from jaxecon.config.fields import fields_at, section_of
from jaxecon.config.language import Serving
from jaxecon.config.people import CohortConfig
from jaxecon.config.settings import Config
from jaxecon.config.survey import Question

_MANY = {
    CohortConfig: "a list of cohorts or unset",
    Question: "a list of questions",
    Serving: "a mapping of names to settings of llm, from engine to price",
}


_PLURALS = {int: "whole numbers", float: "numbers", str: "texts"}


def describe() -> Iterator[str]:
    """Every setting in a line: name, default, accepted range, meaning."""

    def walk(model: type[pydantic.BaseModel], path: tuple[str, ...]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            section = next(
                (s for m in annotation_members(field.annotation) if (s := section_of(m))), None
            )
            many = next((word for of, word in _MANY.items() if section is of), None)
            if section is not None and many is None:
                yield from walk(section, (*path, name))
                continue
            default = (
                "required" if field.is_required() else field.get_default(call_default_factory=True)
            )
            range_ = many if many is not None else accepted_values((*path, name))
            yield f"{'.'.join((*path, name))} = {default}  ({range_})" + (
                f"\n    {field.description}" if field.description else ""
            )
            if section in (CohortConfig, Question):
                yield from walk(section, (*path, name, "N"))

    yield from walk(Config, ())


def accepted_values(path: Sequence[str]) -> str:
    """The accepted range of a setting in words, from the model's own annotations."""
    named = [p for p in path if not (p.isdecimal() or p == "N")]
    field = fields_at(named[:-1]).get(named[-1]) if named else None
    if field is None and len(named) < 2:
        return f"a section with {', '.join(Config.model_fields)}"
    if field is None:  # an entry of a mapping: the mapping says what its values may be
        return accepted_values(named[:-1])
    element = _element(field.annotation, int(path[-1])) if path[-1].isdecimal() else None
    if element is not None:
        return _in_words(element, ())
    return _in_words(field.annotation, field.metadata)


def _element(annotation: Any, place: int) -> Any:
    """The annotation of an element of a list; None where there is no list, or no such element."""
    for member in annotation_members(annotation):
        if typing.get_origin(member) is tuple:
            elements = get_args(member)
            if len(elements) == 2 and elements[1] is Ellipsis:
                return elements[0]
            return elements[place] if place < len(elements) else None
    return None


def _in_words(annotation: Any, metadata: Iterable[Any]) -> str:
    """What values are accepted. metadata: of the annotation, such as bounds."""
    words = [_kind(member) for member in annotation_members(annotation) if member is not type(None)]
    bounds = _bounds(annotation, metadata)
    values = " or ".join(k for k in words if k) + (f" {bounds}" if bounds else "")
    return f"{values} or unset" if type(None) in annotation_members(annotation) else values


def _kind(member: Any) -> str:
    """What values one of a union's types has; "" where no words say it."""
    if typing.get_origin(member) is Literal:
        choices = get_args(member)
        return ("one of " if len(choices) > 1 else "") + ", ".join(map(str, choices))
    if typing.get_origin(member) is tuple:
        elements = get_args(member)
        many = _PLURALS.get(annotation_members(elements[0])[0], "")
        number = "" if elements[-1] is Ellipsis else f"{len(elements)} "
        return f"a list of {number}{many}" if many else "a list"
    if typing.get_origin(member) is dict:
        values = annotation_members(get_args(member)[1])[0]
        many = "sections" if section_of(member) else _PLURALS.get(values, "values")
        return f"a mapping of names to {many}"
    if isinstance(member, type) and issubclass(member, pydantic.BaseModel):
        return f"a section with {', '.join(member.model_fields)}"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        member, ""
    )


def _bounds(annotation: Any, metadata: Iterable[Any]) -> str:
    """The range of numbers, or the length of texts; "" without bounds."""
    metadata = list(metadata)
    # of the annotation itself, and of a union's or a mapping's parts
    for member in (annotation, *get_args(annotation)):
        if typing.get_origin(member) is Annotated:
            metadata += [c for m in get_args(member)[1:] for c in getattr(m, "metadata", [m])]
    limits = {
        name: getattr(m, name)
        for m in metadata
        for name in ("gt", "ge", "lt", "le", "min_length", "max_length")
        if getattr(m, name, None) is not None
    }
    if "max_length" in limits:
        return f"of {limits.get('min_length', 0)} to {limits['max_length']:,} characters"
    if "min_length" in limits:
        return "that is not empty"
    return _range(limits)


def _range(limits: dict[str, float]) -> str:
    low = f"[{limits['ge']:g}" if "ge" in limits else f"({limits['gt']:g}" if "gt" in limits else ""
    high = (
        f"{limits['le']:,.15g}]"
        if "le" in limits
        else f"{limits['lt']:,.15g})"
        if "lt" in limits
        else ""
    )
    if low and high:
        return f"in {low}, {high}"
    if low:
        return f"{'of at least' if 'ge' in limits else 'above'} {low[1:]}"
    return f"of at most {high[:-1]}" if high else ""
