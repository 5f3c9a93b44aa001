"""What all sections of settings share."""

import difflib
from collections.abc import Sequence
from typing import Annotated

import pydantic
from pydantic import Field

Bounded = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(pydantic.BaseModel):
    """A group of settings: immutable, without unknown names, infinities or NaN."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def one_of(names: Sequence[str], wrong: str) -> str:
    """What to say of a wrong name: the nearest of the right ones, and all of them."""
    near = difflib.get_close_matches(wrong, names, 1, 0.6)
    listed = f"one of {', '.join(names)}"
    return f"did you mean {near[0]!r}? {listed}" if near else listed
