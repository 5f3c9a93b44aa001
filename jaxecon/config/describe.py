"""Every setting in a line: its default, its accepted range, its meaning."""

import typing
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, get_args

import pydantic

from jaxecon.config.fields import annotation_members, fields_at, section_of
from jaxecon.config.language import Serving
from jaxecon.config.people import CohortConfig
from jaxecon.config.settings import Config

_MANY = {
    CohortConfig: "a list of cohorts or unset",
    Serving: "a mapping of names to settings of llm, from engine to price",
}


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
            if section is CohortConfig:
                yield from walk(CohortConfig, (*path, name, "N"))

    yield from walk(Config, ())


def accepted_values(path: Sequence[str]) -> str:
    """The accepted range of a setting in words, from the model's own annotations."""
    named = [p for p in path if not (p.isdigit() or p == "N")]
    field = fields_at(named[:-1]).get(named[-1])
    if field is None:  # an entry of a mapping: the mapping says what its values may be
        return accepted_values(named[:-1])
    kinds = []
    for member in annotation_members(field.annotation):
        if typing.get_origin(member) is Literal:
            choices = get_args(member)
            kinds.append(("one of " if len(choices) > 1 else "") + ", ".join(map(str, choices)))
        elif member is type(None):
            kinds.append("unset")
        elif typing.get_origin(member) is tuple:
            kinds.append("a list")
        elif typing.get_origin(member) is dict:
            kinds.append(
                "a mapping of names to " + ("sections" if section_of(member) else "numbers")
            )
        elif isinstance(member, type) and issubclass(member, pydantic.BaseModel):
            kinds.append(f"a section with {', '.join(member.model_fields)}")
        else:
            kinds.append(
                {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
                    member, ""
                )
            )
    bounds = _bounds(field)
    return " or ".join(k for k in kinds if k) + (f" {bounds}" if bounds else "")


def _bounds(field: Any) -> str:
    metadata = list(field.metadata)
    for member in get_args(field.annotation):  # of a union's or a mapping's parts
        if typing.get_origin(member) is Annotated:
            metadata += [c for m in get_args(member)[1:] for c in getattr(m, "metadata", [m])]
    limits = {
        name: getattr(m, name)
        for m in metadata
        for name in ("gt", "ge", "lt", "le")
        if getattr(m, name, None) is not None
    }
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
