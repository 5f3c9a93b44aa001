"""What all sections of settings share."""

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

Bounded = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(pydantic.BaseModel):
    """A group of settings: immutable, without unknown names, infinities or NaN.

    A number is never true or false, which pydantic would take for 1 and 0.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _numbers_are_no_booleans(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if _has_misplaced_boolean(value, field.annotation):
            raise PydanticCustomError("boolean", "true or false in the place of something else")
        return value


def _has_misplaced_boolean(value: Any, annotation: Any) -> bool:
    """Whether a value, or one in its list or mapping, is true or false where neither is meant."""
    members = annotation_members(annotation)
    if isinstance(value, bool):
        return bool not in members
    for member in members:
        origin, inner = typing.get_origin(member), typing.get_args(member)
        if origin is tuple and isinstance(value, list | tuple):
            kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
            return any(map(_has_misplaced_boolean, value, kinds))
        if origin is dict and isinstance(value, dict):
            return any(_has_misplaced_boolean(x, inner[1]) for x in value.values())
    return False


def annotation_members(annotation: Any) -> tuple[Any, ...]:
    """The alternatives of a union; one alone of any other annotation."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return tuple(m for arg in typing.get_args(annotation) for m in annotation_members(arg))
    if typing.get_origin(annotation) is Annotated:
        return annotation_members(typing.get_args(annotation)[0])
    return (annotation,)


def one_of(names: Sequence[str], wrong: str) -> str:
    """What to say of a wrong name: the nearest of the right ones, and all of them."""
    near = difflib.get_close_matches(wrong, names, 1, 0.6)
    listed = f"one of {', '.join(names)}"
    return f"did you mean {near[0]!r}? {listed}" if near else listed
