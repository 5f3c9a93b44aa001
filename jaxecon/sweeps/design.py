"""What varies in a sweep: grids, lists, random and Latin-hypercube designs over any settings."""

import copy
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic import Field

from jaxecon.config.base import Section
from jaxecon.config.read import apply, checked_overrides, read_yaml
from jaxecon.config.yaml_text import check_tree
from jaxecon.core.errors import UserError
from jaxecon.core.text import shortened, shown

_Scalar = bool | int | float | str | None

_Value = _Scalar | list[Any] | dict[str, Any]

_MAX_VALUE = 80  # characters of a wrong value that its line shows

_Name = Annotated[str, Field(pattern=r"^[a-z][A-Za-z0-9_.]*$")]


class Range(Section):
    """The range of a sampled setting.

    Where both ends are whole numbers, values are whole too, and the upper end is included.
    """

    low: int | float
    high: int | float
    scale: Literal["linear", "log"] = "linear"

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Range":
        if not self.low < self.high:
            raise ValueError(f"[{self.low}, {self.high}]; two numbers, the first smaller")
        if any(isinstance(end, int) and abs(end) >= 2**63 for end in (self.low, self.high)):
            raise ValueError(f"[{self.low}, {self.high}]; whole numbers below 2^63 in size")
        if math.isinf(self.high - self.low):
            raise ValueError(f"[{self.low}, {self.high}]; two numbers, less than 1.7e308 apart")
        if self.scale == "log" and not self.low > 0:
            raise ValueError(f"low: {self.low}; above 0 on a log scale")
        return self

    def at(self, u: np.ndarray) -> list[int | float]:
        """Values at the fractions u, (n,) in [0, 1), of the range."""
        whole = isinstance(self.low, int) and isinstance(self.high, int)
        low, high = self.low, self.high + 1 if whole else self.high
        x = (
            np.exp(np.log(low) + u * (np.log(high) - np.log(low)))
            if self.scale == "log"
            else low + u * (high - low)
        )
        return (
            [int(v) for v in np.clip(np.floor(x), self.low, self.high)]
            if whole
            else [float(v) for v in x]
        )


class Sample(Section):
    """Points drawn at random, each setting from its range or its list of equally likely values."""

    points: int = Field(ge=1, le=100_000_000)
    seed: int = Field(0, ge=0)
    settings: dict[_Name, Range | list[_Value]] = Field(min_length=1)


class Design(Section):
    """The content of a sweep's file.

    Every point has the settings of `run`. The other parts are crossed: on top of `run`, a point
    has one entry of the list, one draw, one combination of the grid and one seed.
    """

    run: dict[str, Any] = Field(
        default_factory=dict, description="What all points share, as in a run's configuration."
    )
    list_: list[dict[_Name, _Value]] | None = Field(
        None, alias="list", description="Points one by one."
    )
    random: Sample | None = Field(None, description="Independent draws.")
    latin_hypercube: Sample | None = Field(
        None, description="Each setting's range covered evenly (McKay et al. 1979)."
    )
    grid: dict[_Name, list[_Value]] = Field(
        default_factory=dict, description="Every combination, the last setting fastest."
    )
    seeds: int | None = Field(
        None, ge=1, description="How many values `seed` takes, from run.seed on; varies fastest."
    )


def read(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Design:
    """Read a design from a YAML file or a mapping.

    Args:
        source: The file's path, or the mapping.
        overrides: `key=value` settings on top of what all points share (`run`).

    Raises:
        UserError: one line with the place, the value and what is accepted.
    """
    tree = _tree(source)
    if listed := checked_overrides(overrides):
        if not isinstance(tree.get("run") or {}, dict):
            raise UserError(f"run: {shown(tree['run'], _MAX_VALUE)}; a mapping of settings")
        tree["run"] = dict(tree.get("run") or {})
        for override in listed:
            apply(tree["run"], override)
    try:
        design = Design.model_validate(tree)
    except pydantic.ValidationError as error:
        raise UserError(_explain(error)) from None
    if not any((design.list_, design.random, design.latin_hypercube, design.grid, design.seeds)):
        raise UserError(
            "nothing varies: a sweep needs list, random, latin_hypercube, grid or seeds"
        )
    return design


def _tree(source: object) -> dict[str, Any]:
    """A design as a tree of its own. Raises UserError for what is none."""
    if isinstance(source, str | Path):
        return read_yaml(Path(source))
    if not isinstance(source, Mapping):
        raise UserError(f"design: {shown(source, _MAX_VALUE)}; a path, a mapping or a Design")
    tree = dict(source)
    try:
        check_tree(tree)
    except ValueError as error:
        raise UserError(f"design: {error}") from None
    return copy.deepcopy(tree)


def _explain(error: pydantic.ValidationError) -> str:
    """The first problem as one line: the place, the value and what is accepted."""
    problem = error.errors()[0]
    # names of types that pydantic puts into the path; they are not in the user's file
    tags = ("Range", "bool", "int", "float", "str")
    place = ".".join(
        str(part) for part in problem["loc"] if part not in tags and "[" not in str(part)
    )
    if problem["type"] == "extra_forbidden":
        known = [field.alias or name for name, field in Design.model_fields.items()]
        return f"{place}: not a part of a sweep; {', '.join(known)}"
    value = shortened(json.dumps(problem["input"], default=str), _MAX_VALUE)
    if problem["type"] == "missing":
        return f"{place}: missing"
    if problem["type"] in ("value_error", "greater_than_equal", "less_than_equal"):
        return f"{place}: {value}; {problem['msg'].removeprefix('Value error, ')}"
    accepted = next(
        (words for part, words in _ACCEPTED.items() if place.startswith(part)),
        "see docs/scaling.md",
    )
    return f"{place}: {value}; {accepted}"


_VALUES = "a list of values: numbers, text, true or false, null, lists, mappings"

_ACCEPTED = {
    "run": "a mapping of settings",
    "list": "a list of mappings of settings to values",
    "grid": f"a mapping of settings, each to {_VALUES}",
    "random": f"points, seed, and settings: each {{low, high, scale}} or {_VALUES}",
    "latin_hypercube": f"points, seed, and settings: each {{low, high, scale}} or {_VALUES}",
    "seeds": "a whole number of at least 1",
}


def to_tree(design: Design) -> dict[str, Any]:
    """The design as a tree that `read` accepts."""
    return design.model_dump(mode="json", by_alias=True, exclude_unset=True)
