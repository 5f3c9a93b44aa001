"""What all sections of settings share."""

import difflib
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field
from pydantic_core import PydanticCustomError

Bounded = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# Within these bounds no power, product or sum of amounts overflows or vanishes, in float32 either.
MAX_DOLLARS = 1e12
Scale = Annotated[float, Field(ge=1e-6, le=1e6, allow_inf_nan=False)]  # without a unit


class Section(pydantic.BaseModel):
    """A group of settings: immutable, without unknown names, infinities or NaN.

    A number is a number, and true or false is one of these: pydantic would take true for 1, "1_000"
    for 1000 and "on" for true.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _scalars_are_of_their_kind(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        if _has_wrong_kind(value, field.annotation):
            raise PydanticCustomError("kind", "a value of one kind in the place of another")
        return value


def _has_wrong_kind(value: Any, annotation: Any) -> bool:
    """Whether a value, or one in its list or mapping, is text, a number or a boolean in the place
    of another of these.
    """
    members = annotation_members(annotation)
    if Any in members:
        return False
    if isinstance(value, bool):
        return bool not in members
    if isinstance(value, int | float):
        return bool in members and int not in members and float not in members
    if isinstance(value, str | bytes):
        choices = [typing.get_args(m) for m in members if typing.get_origin(m) is Literal]
        taken = str in members or any(value in names for names in choices)
        return not taken and not {int, float, bool}.isdisjoint(members)
    for member in members:
        origin, inner = typing.get_origin(member), typing.get_args(member)
        if origin is tuple and isinstance(value, list | tuple):
            kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
            return any(map(_has_wrong_kind, value, kinds))
        if origin is dict and isinstance(value, dict):
            return any(_has_wrong_kind(x, inner[1]) for x in value.values())
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
