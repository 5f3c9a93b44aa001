"""A chunk of a sweep: points that are simulated together, and how that can fail."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxecon.core.errors import UserError, first_line


@dataclass(frozen=True)
class Chunk:
    """Points that are simulated together.

    Args:
        number: The chunk's number in its sweep, from 0.
        kind: `batch`: mechanical runs, one compiled program. `run`: one run with language models.
            `refused`: points whose configurations are not accepted.
        points: Indices of the points.
        size: Runs in the compiled program; the last chunk of a form is filled up to it.
        form: Chunks of the same form share one compiled program.
        errors: In a refused chunk, what is wrong with each point.
    """

    number: int
    kind: str
    points: tuple[int, ...]
    size: int = 1
    form: int = 0
    errors: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The chunk as stored in plan.json, where the size is called `lanes`."""
        return {
            "number": self.number,
            "kind": self.kind,
            "points": self.points,
            "lanes": self.size,
            "form": self.form,
            "errors": self.errors,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "Chunk":
        """The chunk that `to_json` wrote."""
        return cls(
            stored["number"],
            stored["kind"],
            tuple(stored["points"]),
            stored["lanes"],
            stored["form"],
            tuple(stored["errors"]),
        )


class ChunkTooLarge(Exception):
    """There is not enough memory for a chunk."""


class SweepStopped(Exception):
    """An error that ends the sweep, since it concerns more than one point.

    Examples are a full disk, and a missing model or key. error: what was raised.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def error_line(error: Exception) -> str:
    """An error as one line, for the row of a point."""
    text, kind = first_line(error), type(error).__name__
    return text if isinstance(error, UserError) or text == kind else f"{kind}: {text}"
