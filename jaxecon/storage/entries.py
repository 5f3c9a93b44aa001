"""JSON that jaxecon wrote, checked for the entries on which its readers rely."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic

from jaxecon.core.errors import DiskError
from jaxecon.core.text import shown

_MAX_VALUE = 80  # characters of a wrong value that its line shows


class Entries(pydantic.BaseModel):
    """Entries with the types of JSON; others may stand beside them."""

    model_config = pydantic.ConfigDict(strict=True, extra="allow")


class Hardware(Entries):
    """What is compared of the machine on which something was simulated."""

    economy_on: str = ""
    devices: list[str] = pydantic.Field(default_factory=list)


def check_entries(model: type[Entries], path: Path, content: Mapping[str, Any]) -> None:
    """Raise DiskError where the content of a file is not what the model says."""
    try:
        model.model_validate(content)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        entry = ".".join(map(str, problem["loc"]))
        if problem["type"] == "missing":
            raise DiskError(f"{path}: damaged (has no {entry})") from None
        value = shown(problem["input"], _MAX_VALUE)
        # pydantic's words without the name of our class
        wanted = problem["msg"].partition(" or instance of ")[0]
        wanted = wanted.removeprefix("Input ").removeprefix("List ").removeprefix("Dictionary ")
        raise DiskError(f"{path}: damaged ({entry} is {value}; it {wanted})") from None
